"""A remote modality that is away for an hour, by a clock that the test moves."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytest_asyncio
from tests.support.dicom_files import CT_IMAGE_STORAGE
from tests.support.ports import find_free_port
from tests.support.receiving import Receiver, run_receiver
from tests.support.server import build_synthetic
from tests.unit.rest.api import Api, open_api
from tests.unit.tasks.test_storage_commitment import Listener

from isocenter.config.configuration import Configuration
from isocenter.config.remote_modalities import RemoteModality
from isocenter.index import jobs as stored_jobs
from isocenter.jobs import engine
from isocenter.jobs.records import Job, NewJob
from isocenter.jobs.states import JobState
from isocenter.tasks import sending
from isocenter.tasks.modality_store import StoreOrder, build_store_job
from isocenter.tasks.storage_commitment import build_commitment_job

COUNT = 6
HOUR_S = 3600
DEADLINE_S = 20
RETRIES = Configuration.defaults().integer("Isocenter.TransferRetries")
# Twice as long each time, up to ten minutes.
WAITS_S = [5, 10, 20, 40, 80, 160, 320, *[600] * 5]


@dataclass
class Clock:
    """The time of the queue, which stands still until the test moves it."""

    now_us: int = 1_800_000_000_000_000
    waits_s: list[float] = field(default_factory=list)

    def move_to(self, moment_us: int) -> None:
        """Let time pass."""
        self.waits_s.append((moment_us - self.now_us) / 1e6)
        self.now_us = moment_us


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stored_jobs, "now_us", lambda: clock.now_us)
    monkeypatch.setattr(engine, "time", SimpleNamespace(time=lambda: clock.now_us / 1e6))
    # A step for each instance.
    monkeypatch.setattr(sending, "_STEP_S", 0.0)
    return clock


@pytest_asyncio.fixture
async def api(tmp_path: Path, clock: Clock) -> AsyncIterator[Api]:
    async with open_api(tmp_path, {}) as api:
        yield api


async def wait_for_attempt(api: Api, job_id: str, after: Job | None = None) -> Job:
    """Wait until a job has ended, or was put aside once more."""
    before = None if after is None else after.resume_at
    async with asyncio.timeout(DEADLINE_S):
        while True:
            job = await api.jobs.lookup(job_id)
            assert job is not None
            if job.is_finished or (job.state is JobState.RETRY and job.resume_at != before):
                return job


async def pass_an_hour(api: Api, job: Job, clock: Clock) -> Job:
    """Let a job try in vain for an hour; return it as it waits for the next attempt."""
    stop_at = clock.now_us + HOUR_S * 1_000_000
    while job.resume_at is not None and job.resume_at < stop_at:
        clock.move_to(job.resume_at)
        api.jobs.wake()
        job = await wait_for_attempt(api, job.job_id, job)
    return job


async def try_once_more(api: Api, job: Job, clock: Clock) -> Job:
    assert job.resume_at is not None, job.failure
    clock.move_to(job.resume_at)
    api.jobs.wake()
    return await wait_for_attempt(api, job.job_id, job)


async def know(api: Api, port: int) -> None:
    modality = RemoteModality("REMOTE", "127.0.0.1", port)
    await api.archive.remotes.modalities.put("remote", modality)


async def build_transfer(api: Api) -> tuple[NewJob, list[str]]:
    """Store a study and build the job that sends it; give its SOP instance UIDs, too."""
    files = [
        build_synthetic(
            {0x00200013: ("IS", str(number))},
            patient_id="P",
            study="1.2",
            series="1.3",
            instance=f"1.4.{number}",
        )
        for number in range(COUNT)
    ]
    for file in files:
        await api.store(file)
    remotes = api.archive.remotes
    plan = await remotes.outgoing.plan([files[0].study])
    order = StoreOrder("remote", retries=RETRIES)
    target = remotes.calling.build_target(remotes.modalities["remote"])
    return build_store_job(plan, order, target), [file.uids[2] for file in files]


async def test_transfer_outlasts_an_hour_and_repeats_nothing(api: Api, clock: Clock) -> None:
    port = find_free_port()
    await know(api, port)
    new, uids = await build_transfer(api)
    # It breaks down in the middle.
    receiver = Receiver(answer=lambda uid: None if uid == uids[COUNT // 2] else 0)
    async with run_receiver(receiver, port=port):
        job = await wait_for_attempt(api, (await api.jobs.submit(new)).job_id)
    job = await pass_an_hour(api, job, clock)
    assert receiver.confirmed == uids[: COUNT // 2]
    receiver.answer = lambda _: 0
    async with run_receiver(receiver, port=port):
        job = await try_once_more(api, job, clock)
    assert job.state is JobState.SUCCESS
    assert receiver.confirmed == uids
    assert clock.waits_s == WAITS_S
    assert sum(WAITS_S) >= HOUR_S


async def test_report_of_a_commitment_outlasts_an_hour(api: Api, clock: Clock) -> None:
    port = find_free_port()
    await know(api, port)
    new = build_commitment_job(
        "remote",
        "1.9",
        [(CT_IMAGE_STORAGE, "1.4")],
        remote_ae_title="REMOTE",
        remote_ip="192.0.2.1",
        called_ae_title="US",
    )
    job = await wait_for_attempt(api, (await api.jobs.submit(new)).job_id)
    job = await pass_an_hour(api, job, clock)
    listener = Listener()
    async with run_receiver(listener, port=port):
        job = await try_once_more(api, job, clock)
    assert job.state is JobState.SUCCESS
    assert len(listener.reports) == 1
    assert clock.waits_s == WAITS_S
