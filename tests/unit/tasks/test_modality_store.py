"""Sending by a job: what the receiver has confirmed is sent once, whatever happens in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast
from unittest.mock import AsyncMock

import pytest
import pytest_asyncio
from tests.support.dicom_files import IMPLICIT_LITTLE
from tests.support.receiving import Receiver, run_receiver
from tests.support.scripted_peer import (
    misbehave,
    scripted_acceptor,
)
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api, open_api

from isocenter.archive.modalities import CallOptions
from isocenter.archive.outgoing import OutgoingInstance
from isocenter.archive.recoded_files import RecodedFiles
from isocenter.archive.recoding import Recoding
from isocenter.config.remote_modalities import RemoteModality
from isocenter.dicom.file_meta import build_file_meta
from isocenter.dicom.json_forms import Shape, build_tags_json
from isocenter.dimse.commands import CommandField
from isocenter.dimse.data_sink import Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import REJECT_CALLED_AE_TITLE
from isocenter.errors import (
    DatabaseUnavailableError,
    FullStorageError,
    MissingFileError,
    NoPresentationContextError,
    RemoteError,
    ServerError,
    StorageUnavailableError,
    UnknownItemError,
)
from isocenter.index.jobs import DatabaseJobs
from isocenter.index.routing import Fingerprint, list_rules_with_fingerprints, set_fingerprints
from isocenter.jobs import runner
from isocenter.jobs.claims import Limits
from isocenter.jobs.engine import Engine, EngineOptions
from isocenter.jobs.port import Recovery
from isocenter.jobs.records import CANCELED, FailedItem, Job, NewJob, Step
from isocenter.jobs.states import Action, JobState
from isocenter.scu.store import InstanceToStore, MoveOriginator
from isocenter.tasks import sending
from isocenter.tasks.modality_store import (
    ModalityStoreKind,
    StoreOrder,
    build_store_job,
)
from isocenter.tasks.retries import RetryPolicy
from isocenter.tasks.routed import note_routed

COUNT = 6


class Case:
    """Jobs that the test runs step by step, in the place of the engine."""

    def __init__(self, api: Api, files: list[SyntheticFile]) -> None:
        self.api = api
        self.files = files
        self.uids = [file.uids[2] for file in files]
        self.jobs = DatabaseJobs(api.archive.workers._database, history=10)
        self.kind = self.build_kind()

    def build_kind(self, *, may_recode: bool = True) -> ModalityStoreKind:
        archive = self.api.archive
        files = (
            RecodedFiles(archive.workers, archive.buffers, archive.transcoder)
            if may_recode
            else None
        )
        recoding = Recoding(files, IMPLICIT_LITTLE)
        policy = RetryPolicy(3, 5, 15)
        return ModalityStoreKind(archive.remotes, recoding, policy)

    async def submit(self, **order: Any) -> Job:
        await self.insert(**order)
        return self.claim()

    async def insert(self, **order: Any) -> None:
        remotes = self.api.archive.remotes
        plan = await remotes.outgoing.plan([self.files[0].study])
        chosen = StoreOrder("remote", **order)
        target = remotes.calling.build_target(remotes.modalities["remote"], chosen.options)
        self.jobs.insert("j", build_store_job(plan, chosen, target))

    def claim(self) -> Job:
        (job,) = self.jobs.claim("me", 1, Limits()).jobs
        return job

    async def run(self, job: Job, steps: int | None = None) -> Job:
        """Run and save some steps, or all."""
        async with aclosing(cast(Any, self.kind.run(job))) as iterator:
            while steps is None or steps > 0:
                try:
                    step = await anext(iterator)
                except StopAsyncIteration:
                    step = Step(is_last=True)
                saved = self.jobs.save(job, step, runtime=1)
                assert saved is not None
                job = saved
                if job.state is not JobState.RUNNING:
                    return job
                steps = None if steps is None else steps - 1
        return job

    async def fail(self, job: Job) -> ServerError:
        with pytest.raises(ServerError) as caught:
            await self.run(job)
        return caught.value

    async def listen(self, port: int, **changes: Any) -> None:
        await self.api.archive.remotes.modalities.put(
            "remote", RemoteModality("REMOTE", "127.0.0.1", port, **changes)
        )


@pytest_asyncio.fixture
async def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Case]:
    # A step for each instance.
    monkeypatch.setattr(sending, "_STEP_S", 0.0)
    monkeypatch.setattr(sending, "_PAGE", 4)
    async with open_api(tmp_path, {}) as api:
        await api.jobs.stop(1.0)
        files = [
            await api.store(
                build_synthetic(
                    {0x00200013: ("IS", str(number))},
                    study="1.2",
                    series="1.3",
                    instance=f"1.4.{number}",
                    patient_id="P",
                )
            )
            for number in range(1, COUNT + 1)
        ]
        yield Case(api, files)


async def test_store_sends_all_in_order_over_one_association(case: Case) -> None:
    receiver = Receiver()
    async with run_receiver(receiver) as port:
        await case.listen(port)
        job = await case.run(await case.submit())
    assert job.state is JobState.SUCCESS
    assert receiver.confirmed == case.uids
    assert len(receiver.proposals) == 1
    data_sets = [
        file.content[-len(content) :]
        for file, content in zip(case.files, receiver.contents, strict=True)
    ]
    assert receiver.contents == data_sets
    assert all(not content.startswith(b"\0" * 128) for content in receiver.contents)
    assert job.content["InstancesCount"] == COUNT
    assert job.content["LocalAet"] == "ISOCENTER"
    assert job.content["RemoteAet"] == "REMOTE"
    assert job.content["Resources"] == [{"ID": case.files[0].study, "Type": "Study"}]


@pytest.mark.parametrize("done", range(COUNT))
async def test_store_goes_on_after_a_crash(case: Case, done: int) -> None:
    receiver = Receiver()
    async with run_receiver(receiver) as port:
        await case.listen(port)
        await case.run(await case.submit(), steps=done)
        case.jobs.recover("other", Recovery.RESUME)
        job = await case.run(case.claim())
    assert job.state is JobState.SUCCESS
    assert receiver.confirmed == case.uids


async def test_store_tries_again_while_receiver_is_down_and_sends_nothing_twice(case: Case) -> None:
    receiver = Receiver(answer=lambda uid: None if uid == case.uids[2] else 0)
    async with run_receiver(receiver) as port:
        await case.listen(port)
        job = await case.run(await case.submit(retries=3))
    assert job.state is JobState.RETRY
    assert (job.content["RetriesCount"], job.checkpoint) == (
        1,
        {"Done": 2, "Failed": 0, "Attempts": 1},
    )
    job = await case.run(await _take(case, job))
    assert (job.content["RetriesCount"], job.state) == (2, JobState.RETRY)
    receiver.answer = lambda _: 0
    async with run_receiver(receiver, port=port):
        job = await case.run(await _take(case, job))
    assert job.state is JobState.SUCCESS
    assert receiver.confirmed == case.uids
    assert "LastError" not in job.content


async def _take(case: Case, job: Job) -> Job:
    """Resume a job that waits for its next attempt."""
    database = case.api.archive.workers._database
    database.write(lambda tx: tx.run("set_job_state", {"state": 0, "job_ids": [job.job_id]}))
    return case.claim()


async def test_store_fails_after_its_last_attempt(case: Case) -> None:
    await case.listen(1)
    job = await case.submit(retries=2)
    waits = []
    for _ in range(2):
        job = await case.run(job)
        assert job.resume_at is not None
        waits.append(job.state)
        job = await _take(case, job)
    assert waits == [JobState.RETRY] * 2
    error = await case.fail(job)
    assert (error.code, error.payload) == (9, None)


async def test_store_without_retries_fails_at_once(case: Case) -> None:
    await case.listen(1)
    error = await case.fail(await case.submit())
    assert isinstance(error, RemoteError)
    assert "no connection" in error.details


@pytest.mark.parametrize("status", [0xA900, 0xC123, 0xA702])
async def test_store_refused_instance_fails_with_its_status(case: Case, status: int) -> None:
    receiver = Receiver(answer=lambda uid: status if uid == case.uids[1] else 0)
    async with run_receiver(receiver) as port:
        await case.listen(port)
        error = await case.fail(await case.submit())
    assert error.code == 9
    assert error.payload == {"Type": "Dimse", "Content": {"DimseErrorStatus": status}}
    assert receiver.confirmed == case.uids[:1]


@pytest.mark.parametrize(("status", "is_later"), [(0xA900, False), (0xA700, True)])
async def test_store_tries_again_only_when_resources_lack(
    case: Case, status: int, is_later: bool
) -> None:
    async with run_receiver(Receiver(answer=lambda _: status)) as port:
        await case.listen(port)
        job = await case.submit(retries=1)
        if is_later:
            assert (await case.run(job)).state is JobState.RETRY
        else:
            await case.fail(job)


async def test_store_warning_counts_as_success(case: Case) -> None:
    receiver = Receiver(answer=lambda _: 0xB000)
    async with run_receiver(receiver) as port:
        await case.listen(port)
        job = await case.run(await case.submit())
    assert (job.state, job.content["FailedInstancesCount"]) == (JobState.SUCCESS, 0)


@pytest.mark.parametrize("status", [0xA900, 0xA700, None])
async def test_permissive_store_passes_over_what_is_refused(case: Case, status: int | None) -> None:
    receiver = Receiver(answer=lambda uid: status if uid in case.uids[1:3] else 0)
    async with run_receiver(receiver) as port:
        await case.listen(port)
        job = await case.run(await case.submit(is_permissive=True))
    assert job.state is JobState.SUCCESS
    assert job.content["FailedInstancesCount"] == 2
    assert receiver.confirmed == case.uids[:1] + case.uids[3:]
    failed = case.jobs.list_failed_items("j", limit=10)
    assert {item.name for item in failed} == {file.instance for file in case.files[1:3]}
    retry = case.kind.build_retry(job, failed)
    assert retry.arguments["Instances"] == [item.name for item in failed]
    assert retry.content["InstancesCount"] == 2


async def test_permissive_store_without_receiver_fails_all_after_one_attempt(case: Case) -> None:
    await case.listen(1)
    job = await case.run(await case.submit(is_permissive=True))
    assert (job.state, job.content["FailedInstancesCount"]) == (JobState.SUCCESS, COUNT)


async def test_store_of_deleted_instance_fails_or_passes_over(case: Case) -> None:
    receiver = Receiver()
    async with run_receiver(receiver) as port:
        await case.listen(port)
        job = await case.submit(is_permissive=True)
        await case.api.request("DELETE", f"/instances/{case.files[4].instance}")
        job = await case.run(job)
    assert job.content["FailedInstancesCount"] == 1
    assert receiver.confirmed == case.uids[:4] + case.uids[5:]


async def test_store_of_vanished_file_fails(case: Case) -> None:
    storage = case.api.archive.storage
    found = await case.api.archive.remotes.outgoing.find([case.files[1].instance])
    storage.remove(found[case.files[1].instance].attachment.attachment_uuid)
    async with run_receiver(Receiver()) as port:
        await case.listen(port)
        error = await case.fail(await case.submit())
    assert isinstance(error, MissingFileError)


async def test_store_sends_the_file_that_an_instance_got_meanwhile(case: Case) -> None:
    receiver = Receiver()
    async with run_receiver(receiver) as port:
        await case.listen(port)
        job = await case.submit()
        async with aclosing(cast(Any, case.kind.run(job))) as steps:
            case.jobs.save(job, await anext(steps), runtime=1)
            # Looked up already; the next one was even opened.
            for file in case.files[1:4]:
                await replace_file(case.api, file.instance)
            last = [step async for step in steps][-1]
    assert last.is_last
    assert receiver.confirmed == case.uids


async def replace_file(api: Api, instance: str) -> None:
    """Give an instance another file, and remove the older one."""
    outgoing = api.archive.remotes.outgoing
    before = (await outgoing.find([instance]))[instance].attachment
    await api.request("POST", f"/instances/{instance}/attachments/dicom/compress")
    after = (await outgoing.find([instance]))[instance].attachment
    assert after.attachment_uuid != before.attachment_uuid
    api.archive.storage.remove(before.attachment_uuid)


@pytest.mark.parametrize("kind", [StorageUnavailableError, FullStorageError])
@pytest.mark.parametrize("is_permissive", [False, True])
async def test_store_waits_for_a_disk_of_ours(
    case: Case, monkeypatch: pytest.MonkeyPatch, kind: type[ServerError], is_permissive: bool
) -> None:
    receiver = Receiver()
    async with run_receiver(receiver) as port:
        await case.listen(port)
        job = await case.submit(retries=1, is_permissive=is_permissive)
        with monkeypatch.context() as patch:
            failing = AsyncMock(side_effect=kind("the disk"))
            patch.setattr(case.api.archive.remotes.outgoing, "open", failing)
            job = await case.run(job)
        assert (job.state, job.content["LastError"]) == (JobState.RETRY, "the disk")
        job = await case.run(await _take(case, job))
    assert job.state is JobState.SUCCESS
    assert receiver.confirmed == case.uids


async def test_permissive_store_passes_over_what_a_full_disk_keeps_back(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Receiver()
    open_instance = case.api.archive.remotes.outgoing.open

    async def open_some(instance: OutgoingInstance) -> InstanceToStore:
        if instance.sop_instance_uid == case.uids[2]:
            raise FullStorageError
        return await open_instance(instance)

    monkeypatch.setattr(case.api.archive.remotes.outgoing, "open", open_some)
    async with run_receiver(receiver) as port:
        await case.listen(port)
        job = await case.run(await case.submit(is_permissive=True))
    assert job.content["FailedInstancesCount"] == 1
    assert receiver.confirmed == case.uids[:2] + case.uids[3:]


@pytest.mark.parametrize(("status", "noted"), [(0, 1), (0xA900, 1), (0xA700, 0), (None, 0)])
async def test_store_of_a_rule_notes_whether_it_has_sent(
    case: Case, status: int | None, noted: int
) -> None:
    note = Fingerprint(case.files[0].study, "rule", "1")
    receiver = Receiver(answer=lambda uid: status if uid == case.uids[0] else 0)
    async with run_receiver(receiver) as port:
        await case.listen(port)
        job = await case.submit(is_permissive=True)
        # As if it had been submitted again, unless it will have missed something.
        if not noted:
            await case.api.archive.workers.write(lambda tx: set_fingerprints(tx, [note]))
        routed = note_routed(NewJob(job.kind, job.arguments), [note])
        job = await case.run(replace(job, arguments=routed.arguments))
    assert job.state is JobState.SUCCESS
    rules = await case.api.archive.workers.read_long(list_rules_with_fingerprints)
    assert len(rules) == noted


class SilentReceiver(Receiver):
    """Never answers about one instance."""

    silent = ""
    asked: asyncio.Event

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        if message.command.affected_sop_instance_uid == self.silent:
            self.asked.set()
        else:
            await super().handle(association, message)


@pytest.mark.parametrize("action", [Action.CANCEL, Action.PAUSE])
async def test_store_to_a_silent_receiver_can_be_ended(
    case: Case, monkeypatch: pytest.MonkeyPatch, action: Action
) -> None:
    monkeypatch.setattr(runner, "_GRACE_S", 0.01)
    # What was confirmed is noted by the step that is cut off.
    monkeypatch.setattr(sending, "_STEP_S", 100.0)
    receiver = SilentReceiver()
    receiver.silent = case.uids[2]
    options = EngineOptions(interruptible=frozenset({case.kind.name}))
    asked, ended = asyncio.Event(), asyncio.Event()
    receiver.asked = asked
    saved: list[Job] = []

    def note(job: Job) -> None:
        saved.append(job)
        if job.state not in {JobState.PENDING, JobState.RUNNING}:
            ended.set()

    run = case.api.archive.workers.run
    engine = Engine(case.jobs, run, [case.kind], options, on_saved=note)
    await engine.start()
    async with run_receiver(receiver) as port, asyncio.timeout(10):
        await case.listen(port)
        await case.insert(retries=5)
        engine.wake()
        await asked.wait()
        await engine.act("j", action)
        await ended.wait()
    await engine.stop(1)
    job = saved[-1]
    assert receiver.confirmed == case.uids[:2]
    assert job.checkpoint is not None
    assert job.checkpoint["Done"] == 2
    if action is Action.CANCEL:
        assert job.failure == CANCELED
    else:
        assert job.state is JobState.PAUSED


class MuteReceiver(Receiver):
    """Never answers."""

    asked: list[str]

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        self.asked.append(message.command.affected_sop_instance_uid or "")


async def test_permissive_store_waits_for_a_silent_receiver_twice_only(case: Case) -> None:
    receiver = MuteReceiver()
    receiver.asked = []
    async with run_receiver(receiver) as port:
        await case.listen(port, timeout_s=0.05)
        job = await case.submit(is_permissive=True, retries=1)
        states = []
        while job.state is not JobState.SUCCESS:
            job = await case.run(job)
            states.append(job.state)
            if job.state is JobState.RETRY:
                job = await _take(case, job)
    # Two attempts for each of the first two, then none.
    assert receiver.asked == [uid for uid in case.uids[:2] for _ in range(2)]
    assert states == [JobState.RETRY, JobState.RETRY, JobState.SUCCESS]
    assert job.content["FailedInstancesCount"] == COUNT


async def test_store_refused_context_fails_without_retries(case: Case) -> None:
    async with run_receiver(Receiver(accepts=lambda _: [])) as port:
        await case.listen(port)
        error = await case.fail(await case.submit(retries=3))
    assert isinstance(error, NoPresentationContextError)


async def test_store_permanently_rejected_fails_without_retries(case: Case) -> None:
    async with run_receiver(Receiver(rejection=REJECT_CALLED_AE_TITLE)) as port:
        await case.listen(port)
        error = await case.fail(await case.submit(retries=3))
    assert "called" in error.details.lower()


async def test_store_recodes_what_is_refused_in_its_own_syntax(case: Case) -> None:
    receiver = Receiver(accepts=lambda proposed: [c for c in proposed if c[1] == IMPLICIT_LITTLE])
    async with run_receiver(receiver) as port:
        await case.listen(port)
        job = await case.run(await case.submit())
    assert job.state is JobState.SUCCESS
    assert receiver.confirmed == case.uids
    assert len(receiver.proposals) <= 3
    for file, content in zip(case.files, receiver.contents, strict=True):
        header = build_file_meta("", "", transfer_syntax_uid=IMPLICIT_LITTLE)
        sent = build_tags_json(header + content, Shape.SHORT)
        assert sent == build_tags_json(file.content, Shape.SHORT)


@pytest.mark.parametrize("changes", [{"allow_transcoding": False}, {}])
async def test_store_recodes_nothing_where_it_may_not(case: Case, changes: dict[str, Any]) -> None:
    if not changes:
        case.kind = case.build_kind(may_recode=False)
    receiver = Receiver(accepts=lambda proposed: [c for c in proposed if c[1] == IMPLICIT_LITTLE])
    async with run_receiver(receiver) as port:
        await case.listen(port, **changes)
        error = await case.fail(await case.submit())
    assert isinstance(error, NoPresentationContextError)


async def test_store_asks_for_commitment_at_its_end(case: Case) -> None:
    receiver = Receiver()
    async with run_receiver(receiver) as port:
        await case.listen(port)
        job = await case.run(await case.submit(commitment_uid="2.25.7"))
    assert job.state is JobState.SUCCESS
    assert job.content["StorageCommitmentTransactionUID"] == "2.25.7"
    assert receiver.commands[-1].command_field == CommandField.N_ACTION_RQ
    state = await case.api.archive.remotes.commitment_reports.get("2.25.7")
    assert (state.remote_aet, state.status) == ("REMOTE", "Pending")


async def test_store_to_forgotten_modality_fails(case: Case) -> None:
    await case.listen(1)
    job = await case.submit()
    await case.api.archive.remotes.modalities.delete("remote")
    assert isinstance(await case.fail(job), UnknownItemError)


async def test_permissive_store_passes_over_a_refused_class_only(case: Case) -> None:
    other = await case.api.store(
        build_synthetic(
            {
                0x00080016: ("UI", "1.2.840.10008.5.1.4.1.1.88.22"),
                0x00200013: ("IS", "3"),
            },
            study="1.2",
            series="1.3",
            instance="1.4.2.5",
            patient_id="P",
        )
    )
    refused = "1.2.840.10008.5.1.4.1.1.88.22"
    receiver = Receiver(accepts=lambda proposed: [c for c in proposed if c[0] != refused])
    async with run_receiver(receiver) as port:
        await case.listen(port)
        job = await case.run(await case.submit(is_permissive=True))
    assert receiver.confirmed == case.uids
    assert job.content["FailedInstancesCount"] == 1
    (item,) = case.jobs.list_failed_items("j", limit=10)
    assert item.name == other.instance


@pytest.mark.parametrize("retries", [0, 1])
async def test_permissive_store_fails_no_instance_because_of_the_database(
    case: Case, retries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    outgoing = case.api.archive.remotes.outgoing
    find = outgoing.find
    calls = []

    async def find_at_first(public_ids: Any) -> Any:
        calls.append(public_ids)
        if len(calls) > 1:
            raise DatabaseUnavailableError("the connection was lost")
        return await find(public_ids)

    monkeypatch.setattr(outgoing, "find", find_at_first)
    receiver = Receiver()
    async with run_receiver(receiver) as port:
        await case.listen(port)
        job = await case.submit(is_permissive=True, retries=retries)
        if retries:
            job = await case.run(job)
            assert (job.state, job.content["FailedInstancesCount"]) == (JobState.RETRY, 0)
        else:
            assert isinstance(await case.fail(job), DatabaseUnavailableError)
    assert receiver.confirmed == case.uids[:4]
    assert not case.jobs.list_failed_items("j", limit=10)


async def test_store_keeps_failed_items_when_commitment_cannot_be_asked(case: Case) -> None:
    refused = "1.2.840.10008.1.20.1"
    receiver = Receiver(
        answer=lambda uid: 0xA900 if uid == case.uids[-1] else 0,
        accepts=lambda proposed: [c for c in proposed if c[0] != refused],
    )
    async with run_receiver(receiver) as port:
        await case.listen(port)
        await case.fail(await case.submit(is_permissive=True, commitment_uid="2.25.7"))
    (item,) = case.jobs.list_failed_items("j", limit=10)
    assert item.name == case.files[-1].instance
    job = case.jobs.lookup("j")
    assert job is not None
    assert (job.content["FailedInstancesCount"], job.checkpoint) == (
        1,
        {"Done": COUNT, "Failed": 1, "Attempts": 0},
    )


async def test_retry_of_failed_instances_asks_in_a_new_transaction(case: Case) -> None:
    await case.listen(1)
    job = await case.submit(commitment_uid="2.25.7")
    retry = case.kind.build_retry(job, [FailedItem(case.files[0].instance, 9, "")])
    transaction_uid = retry.arguments["CommitmentUid"]
    assert transaction_uid != "2.25.7"
    assert retry.content["StorageCommitmentTransactionUID"] == transaction_uid
    assert job.arguments["CommitmentUid"] == "2.25.7"


async def test_store_uses_options_and_originator(case: Case) -> None:
    receiver = Receiver()
    async with run_receiver(receiver) as port:
        await case.listen(1)
        options = CallOptions("OTHER", 20, "CALLED", "localhost", port)
        job = await case.run(
            await case.submit(options=options, move_originator=MoveOriginator("MOVER", 7))
        )
    assert (job.content["LocalAet"], job.content["RemoteAet"]) == ("OTHER", "CALLED")
    assert (job.content["MoveOriginatorAET"], job.content["MoveOriginatorID"]) == ("MOVER", 7)
    command = receiver.commands[0]
    assert (command.move_originator_ae_title, command.move_originator_message_id) == ("MOVER", 7)
    assert receiver.confirmed == case.uids


@pytest.mark.parametrize(("attempts", "delay_s"), [(1, 5), (2, 10), (3, 20), (8, 600), (5000, 600)])
def test_retry_delays_grow(attempts: int, delay_s: float) -> None:
    assert RetryPolicy(9, 5, 600).get_delay_s(attempts) == delay_s


async def test_store_waits_for_its_time_and_goes_on(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = iter([60, 0, 0, 0, 30, 30])
    monkeypatch.setattr(sending, "get_wait_s", lambda *_: next(waits, 0))
    receiver = Receiver()
    async with run_receiver(receiver) as port:
        await case.listen(port)
        job = await case.run(await case.submit(not_before=1))
        assert (job.state, receiver.confirmed) == (JobState.RETRY, [])
        assert "WaitsUntil" in job.content
        job = await case.run(await _take(case, job))
        assert (job.state, receiver.confirmed) == (JobState.RETRY, case.uids[:2])
        job = await case.run(await _take(case, job))
    assert job.state is JobState.SUCCESS
    assert receiver.confirmed == case.uids
    assert "WaitsUntil" not in job.content


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("speaks another protocol", 9),
        ("closes at once", 9),
        ("sends garbage", 9),
        ("aborts", 9),
        ("closes in the middle", 9),
        ("hangs", 16),
    ],
)
async def test_store_to_peer_at_fault_fails_or_is_put_aside(
    case: Case, fault: str, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with scripted_acceptor(partial(misbehave, fault=fault)) as port:
        await case.listen(port, timeout_s=1)
        job = await case.run(await case.submit(retries=1))
        assert (job.state, job.content["RetriesCount"]) == (JobState.RETRY, 1)
        error = await case.fail(await _take(case, job))
    assert (error.code, error.payload) == (code, None)
    attempts = [r for r in caplog.records if r.message == "a transfer will be tried again"]
    assert len(attempts) <= 1
