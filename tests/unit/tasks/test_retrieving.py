"""Retrieves: what was answered is not asked for again, whatever happens in between."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
from tests.support.asked import Asked, run_asked
from tests.support.ports import find_free_port
from tests.support.scripted_peer import (
    misbehave,
    scripted_acceptor,
)
from tests.unit.rest.api import Api, open_api

from isocenter.archive.retrieval import Retrieval
from isocenter.config.remote_modalities import RemoteModality
from isocenter.dicom.levels import Level
from isocenter.errors import BadJobStateError, ServerError
from isocenter.index.jobs import DatabaseJobs
from isocenter.jobs.claims import Limits
from isocenter.jobs.port import Recovery
from isocenter.jobs.records import FailedItem, Job, Step
from isocenter.jobs.states import JobState
from isocenter.tasks.retries import RetryPolicy
from isocenter.tasks.retrieving import GetKind, MoveKind, RetrieveOrder, build_retrieve_job

STUDY_UID = 0x0020000D
STUDIES = ["1.1", "1.2", "1.3"]
KINDS: dict[str, type[MoveKind | GetKind]] = {"move": MoveKind, "get": GetKind}


class Case:
    """Jobs that the test runs step by step, in the place of the engine."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.jobs = DatabaseJobs(api.archive.workers._database, history=10)
        archive, remotes = api.archive, api.archive.remotes
        self._retrieval = Retrieval(
            remotes.queries, remotes.arrivals, archive.incoming, archive.acceptance
        )

    def build_kind(self, name: str) -> MoveKind | GetKind:
        remotes = self.api.archive.remotes
        policy = RetryPolicy(2, 5, 600)
        return KINDS[name](self._retrieval, remotes.modalities, remotes.calling, policy)

    async def know(self, port: int) -> None:
        modality = RemoteModality("REMOTE", "127.0.0.1", port, timeout_s=1)
        await self.api.archive.remotes.modalities.put("remote", modality)

    def submit(self, name: str, **order: Any) -> Job:
        remotes = self.api.archive.remotes
        items = [(Level.STUDY, {STUDY_UID: uid}, dict[int, str]()) for uid in STUDIES]
        destination = "US" if name == "move" else None
        chosen = RetrieveOrder("remote", items, destination=destination, **order)
        target = remotes.calling.build_target(remotes.modalities["remote"])
        self.jobs.insert("j", build_retrieve_job(chosen, target))
        return self.claim()

    def claim(self) -> Job:
        (job,) = self.jobs.claim("me", 1, Limits()).jobs
        return job

    def take_again(self, job: Job) -> Job:
        """Resume a job that waits for its next attempt."""
        database = self.api.archive.workers._database
        database.write(lambda tx: tx.run("set_job_state", {"state": 0, "job_ids": [job.job_id]}))
        return self.claim()

    async def run(self, name: str, job: Job, steps: int = 1000) -> Job:
        """Run and save some steps, or all."""
        async with aclosing(cast(Any, self.build_kind(name).run(job))) as iterator:
            for _ in range(steps):
                step = await anext(iterator, Step(is_last=True))
                saved = self.jobs.save(job, step, runtime=1)
                assert saved is not None
                job = saved
                if job.state is not JobState.RUNNING:
                    break
        return job

    async def fail(self, name: str, job: Job) -> ServerError:
        with pytest.raises(ServerError) as caught:
            await self.run(name, job)
        return caught.value


@pytest_asyncio.fixture
async def case(tmp_path: Path) -> AsyncIterator[Case]:
    async with open_api(tmp_path, {}) as api:
        await api.jobs.stop(1.0)
        # It goes behind a claim that is under way.
        await api.jobs.delete("none")
        yield Case(api)


class Picky(Asked):
    """Answers with a status for each study."""

    statuses: dict[str, int]

    async def handle(self, *arguments: Any) -> None:
        association, message = arguments
        content = message.sink.get_content().decode("latin-1")
        (study,) = (uid for uid in STUDIES if uid in content)
        self.status = self.statuses.get(study, 0)
        self.failed = 0
        await super().handle(association, message)

    @property
    def studies(self) -> list[str]:
        """What was asked for."""
        return [identifier["0020,000d"] for identifier in self.identifiers]


def build_picky(**statuses: int) -> Picky:
    picky = Picky()
    picky.statuses = {uid: statuses[f"s{uid[2:]}"] for uid in STUDIES if f"s{uid[2:]}" in statuses}
    return picky


@pytest.mark.parametrize("name", KINDS)
async def test_retrieve_goes_on_behind_what_was_answered(case: Case, name: str) -> None:
    port = find_free_port()
    await case.know(port)
    remote = build_picky(s2=0xA700)
    async with run_asked(remote, port=port):
        job = await case.run(name, case.submit(name, retries=2))
    assert (job.state, job.content["RetriesCount"]) == (JobState.RETRY, 1)
    assert len(job.content["Details"]) == 1
    # Then it is down.
    job = await case.run(name, case.take_again(job))
    assert (job.state, job.content["RetriesCount"]) == (JobState.RETRY, 2)
    assert "no connection" in job.content["LastError"]
    remote.statuses = {}
    async with run_asked(remote, port=port):
        job = await case.run(name, case.take_again(job))
    assert job.state is JobState.SUCCESS
    assert remote.studies == ["1.1", "1.2", "1.2", "1.3"]
    assert [detail["DimseErrorStatus"] for detail in job.content["Details"]] == [0, 0, 0]
    assert "LastError" not in job.content


@pytest.mark.parametrize("name", KINDS)
async def test_retrieve_goes_on_after_a_crash(case: Case, name: str) -> None:
    remote = build_picky()
    async with run_asked(remote) as port:
        await case.know(port)
        await case.run(name, case.submit(name), steps=2)
        case.jobs.recover("other", Recovery.RESUME)
        job = await case.run(name, case.claim())
    assert job.state is JobState.SUCCESS
    assert remote.studies == STUDIES
    assert len(job.content["Details"]) == len(STUDIES)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("fault", "code", "is_later"),
    [
        ("rejects", 9, False),
        ("accepts nothing", 2015, False),
        ("sends garbage", 9, True),
        ("closes in the middle", 9, True),
        ("hangs", 16, True),
    ],
)
async def test_retrieve_from_a_modality_at_fault_fails_or_is_put_aside(
    case: Case, name: str, fault: str, code: int, is_later: bool
) -> None:
    async with scripted_acceptor(partial(misbehave, fault=fault)) as port:
        await case.know(port)
        job = case.submit(name, retries=1)
        if is_later:
            job = await case.run(name, job)
            assert (job.state, job.content["RetriesCount"]) == (JobState.RETRY, 1)
            job = case.take_again(job)
        error = await case.fail(name, job)
    assert (error.code, error.payload) == (code, None)


@pytest.mark.parametrize("name", KINDS)
async def test_retrieve_that_is_refused_tells_all_details(case: Case, name: str) -> None:
    remote = build_picky(s2=0xC000)
    async with run_asked(remote) as port:
        await case.know(port)
        error = await case.fail(name, case.submit(name, retries=5))
    assert error.payload is not None
    assert error.payload["Type"] == "RetrieveJob"
    details = error.payload["Content"]
    assert [detail["DimseErrorStatus"] for detail in details] == [0, 0xC000]
    assert remote.studies == STUDIES[:2]


@pytest.mark.parametrize("name", KINDS)
async def test_permissive_retrieve_can_be_repeated_for_what_failed(case: Case, name: str) -> None:
    remote = build_picky(s2=0xC000)
    async with run_asked(remote) as port:
        await case.know(port)
        job = await case.run(name, case.submit(name, is_permissive=True))
        assert job.state is JobState.SUCCESS
        failed = case.jobs.list_failed_items("j", limit=10)
        assert [(item.name, item.code) for item in failed] == [("1", 9)]
        kind = case.build_kind(name)
        remote.identifiers.clear()
        remote.statuses = {}
        case.jobs.insert("again", kind.build_retry(job, failed))
        again = await case.run(name, case.claim())
    assert again.state is JobState.SUCCESS
    assert remote.studies == ["1.2"]
    assert again.content["Query"] == [job.content["Query"][1]]
    with pytest.raises(BadJobStateError):
        kind.build_retry(job, [FailedItem("7", 9, "")])
