"""Reports of storage commitment: sent once, tried again, never too early."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.support.dicom_files import CT_IMAGE_STORAGE
from tests.support.ports import find_free_port
from tests.support.receiving import Receiver, run_receiver
from tests.support.scripted_peer import ScriptedPeer, accept_association, scripted_acceptor
from tests.support.server import build_synthetic
from tests.unit.rest.api import Api, open_api

from isocenter.config.remote_modalities import RemoteModality
from isocenter.dicom.data_sets import get_layout, get_text, read_data_set
from isocenter.dimse.data_sink import MemorySink, Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import REJECT_CALLED_AE_TITLE
from isocenter.errors import BadJobStateError, RemoteError
from isocenter.index.jobs import DatabaseJobs
from isocenter.jobs.claims import Limits
from isocenter.jobs.records import Job, Step
from isocenter.tasks.retries import RetryPolicy
from isocenter.tasks.storage_commitment import StorageCommitmentKind, build_commitment_job

MR = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT = "1.2.840.10008.1.2.1"


@dataclass
class Listener(Receiver):
    """Takes reports."""

    reports: list[tuple[int | None, Any]] = field(default_factory=list)
    status: int = 0

    def open_data_sink(self, *_: object) -> MemorySink:
        """Keep the report."""
        return MemorySink()

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Answer an N-EVENT-REPORT."""
        assert isinstance(message.sink, MemorySink)
        layout = get_layout(message.context.transfer_syntax_uid)
        report = read_data_set(message.sink.get_content(), layout)
        self.reports.append((message.command.event_type_id, report))
        response = message.command.build_response(self.status)
        await association.send_response(message.context.context_id, response)


class Case:
    """A job that the test runs itself."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.jobs = DatabaseJobs(api.archive.workers._database, history=10)
        remotes = api.archive.remotes
        self.kind = StorageCommitmentKind(
            api.archive.workers, remotes.modalities, remotes.calling, RetryPolicy(2, 5, 15)
        )

    def submit(self, *references: tuple[str, str]) -> Job:
        job = build_commitment_job(
            "asker",
            "1.2.3",
            references,
            remote_ae_title="ASKER",
            remote_ip="192.0.2.1",
            called_ae_title="US",
        )
        self.jobs.insert("j", job)
        (claimed,) = self.jobs.claim("me", 1, Limits()).jobs
        return claimed

    async def run(self, job: Job) -> list[Step]:
        return [step async for step in self.kind.run(job)]

    async def listen(self, port: int, **changes: Any) -> None:
        modality = RemoteModality("ASKER", "127.0.0.1", port, **changes)
        await self.api.archive.remotes.modalities.put("asker", modality)


@pytest_asyncio.fixture
async def case(tmp_path: Path) -> AsyncIterator[Case]:
    async with open_api(tmp_path, {}) as api:
        await api.jobs.stop(1.0)
        await api.store(build_synthetic(study="1.1", series="1.1.1", instance="1.1.1.1"))
        yield Case(api)


async def test_report_tells_what_is_kept_and_why_the_rest_is_not(case: Case) -> None:
    listener = Listener()
    async with run_receiver(listener) as port:
        await case.listen(port)
        job = case.submit((CT_IMAGE_STORAGE, "1.1.1.1"), (CT_IMAGE_STORAGE, "9"), (MR, "1.1.1.1"))
        (step,) = await case.run(job)
    assert step.is_last
    ((event_type, report),) = listener.reports
    assert event_type == 2
    assert get_text(report, 0x00081195) == "1.2.3"
    assert [get_text(item, 0x00081155) for item in report[0x00081199].value] == ["1.1.1.1"]
    failed = [
        (get_text(item, 0x00081155), get_text(item, 0x00081197))
        for item in report[0x00081198].value
    ]
    # PS3.3 Table C.14-1: no such object instance; class and instance conflict.
    assert failed == [("9", str(0x0112)), ("1.1.1.1", str(0x0119))]


async def test_report_waits_for_a_modality_that_is_away(case: Case) -> None:
    await case.listen(find_free_port())
    job = case.submit((CT_IMAGE_STORAGE, "1.1.1.1"))
    (step,) = await case.run(job)
    assert (step.retry_after_s, step.checkpoint) == (5, {"Attempts": 1})
    saved = case.jobs.save(job, step, runtime=1)
    assert saved is not None
    (step,) = await case.run(saved)
    assert (step.retry_after_s, step.checkpoint) == (10, {"Attempts": 2})


@pytest.mark.parametrize(
    ("change", "code", "payload"),
    [
        ({"status": 0x0110}, 9, {"Type": "Dimse", "Content": {"DimseErrorStatus": 0x0110}}),
        ({"accepts": lambda _: []}, 2015, None),
        ({"rejection": REJECT_CALLED_AE_TITLE}, 9, None),
    ],
)
async def test_report_that_is_refused_fails_the_job(
    case: Case, change: dict[str, Any], code: int, payload: dict[str, Any] | None
) -> None:
    listener = Listener(**change)
    async with run_receiver(listener) as port:
        await case.listen(port)
        with pytest.raises(RemoteError) as caught:
            await case.run(case.submit((CT_IMAGE_STORAGE, "1.1.1.1")))
    assert (caught.value.code, caught.value.payload) == (code, payload)


async def _play(peer: ScriptedPeer, answer: bytes | None) -> None:
    await accept_association(peer)
    await peer.read_command()
    if answer is None:
        peer.drop()
        return
    await peer.send(answer)
    while await peer.read_pdu() is not None:
        pass


@pytest.mark.parametrize(
    "answer",
    [None, b"", b"\x04\x00\x00\x00\x00\x02??", b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00"],
    ids=["closes in the middle", "hangs", "sends garbage", "aborts"],
)
async def test_report_to_a_modality_at_fault_is_tried_again(
    case: Case, answer: bytes | None
) -> None:
    async with scripted_acceptor(partial(_play, answer=answer)) as port:
        await case.listen(port, timeout_s=1)
        (step,) = await case.run(case.submit((CT_IMAGE_STORAGE, "1.1.1.1")))
    assert (step.retry_after_s, step.checkpoint) == (5, {"Attempts": 1})


async def test_report_has_no_items_to_send_again(case: Case) -> None:
    job = case.submit()
    assert case.kind.abandon(job) is None
    with pytest.raises(BadJobStateError):
        case.kind.build_retry(job, [])
