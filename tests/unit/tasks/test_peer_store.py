"""Sending to a peer by a job: what it has confirmed is sent once, whatever happens in between."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock

import pytest
import pytest_asyncio
from tests.support.http_peer import Asked, HTTPPeer, Reply, confirm, run_http_peer
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api, open_api

from isocenter.archive import content as stored_content
from isocenter.archive.transcoding import Target, TranscodedFiles
from isocenter.config.peers import Peer
from isocenter.dicom.file_meta import read_file_meta
from isocenter.errors import (
    CodecTimeoutError,
    DatabaseUnavailableError,
    DeadlineExceededError,
    FullStorageError,
    RemoteError,
    ServerError,
    StorageUnavailableError,
    TranscodingError,
    UnknownResourceError,
)
from isocenter.index.jobs import DatabaseJobs
from isocenter.index.records import Attachment
from isocenter.jobs import runner
from isocenter.jobs.claims import Limits
from isocenter.jobs.engine import Engine, EngineOptions
from isocenter.jobs.port import Recovery
from isocenter.jobs.records import CANCELED, FailedItem, Job, Step
from isocenter.jobs.states import Action, JobState
from isocenter.tasks import sending
from isocenter.tasks.peer_store import PeerOrder, PeerStoreKind, build_peer_job
from isocenter.tasks.retries import RetryPolicy

COUNT = 6


class Case:
    """Jobs that the test runs step by step, in the place of the engine."""

    def __init__(self, api: Api, files: list[SyntheticFile]) -> None:
        self.api = api
        self.files = files
        self.contents = [file.content for file in files]
        self.jobs = DatabaseJobs(api.archive.workers._database, history=10)
        self.kind = PeerStoreKind(api.archive.remotes, RetryPolicy(3, 5, 15))

    async def submit(self, url: str, **order: Any) -> Job:
        await self.insert(url, **order)
        return self.claim()

    async def insert(self, url: str, **order: Any) -> None:
        remotes = self.api.archive.remotes
        peer = Peer(url)
        await remotes.peers.put("remote", peer)
        plan = await remotes.outgoing.plan([self.files[0].study])
        self.jobs.insert("j", build_peer_job(plan, PeerOrder("remote", **order), peer))

    def claim(self) -> Job:
        (job,) = self.jobs.claim("me", 1, Limits()).jobs
        return job

    async def run(self, job: Job, steps: int | None = None) -> Job:
        """Run and save some steps, or all."""
        async with aclosing(cast(Any, self.kind.run(job))) as iterator:
            while steps is None or steps > 0:
                step = await anext(iterator, Step(is_last=True))
                saved = self.jobs.save(job, step, runtime=1)
                assert saved is not None
                job = saved
                if job.state is not JobState.RUNNING:
                    return job
                steps = None if steps is None else steps - 1
        return job

    async def take(self, job: Job) -> Job:
        """Resume a job that waits for its next attempt."""
        database = self.api.archive.workers._database
        database.write(lambda tx: tx.run("set_job_state", {"state": 0, "job_ids": [job.job_id]}))
        return self.claim()

    async def fail(self, job: Job) -> ServerError:
        with pytest.raises(ServerError) as caught:
            await self.run(job)
        return caught.value


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


def refuse_after(count: int, reply: Reply) -> Callable[[Asked], Reply]:
    """Confirm some requests, then answer otherwise."""
    left = iter(range(count))
    return lambda asked: confirm(asked) if next(left, None) is not None else reply


async def test_store_sends_all_in_order_over_one_connection(case: Case) -> None:
    peer = HTTPPeer()
    async with run_http_peer(peer) as url:
        job = await case.run(await case.submit(url))
    assert job.state is JobState.SUCCESS
    assert [asked.body for asked in peer.asked] == case.contents
    assert peer.connections == 1
    assert job.content["Size"] == str(sum(map(len, case.contents)))


@pytest.mark.parametrize("done", range(COUNT))
async def test_store_goes_on_after_a_crash(case: Case, done: int) -> None:
    peer = HTTPPeer()
    async with run_http_peer(peer) as url:
        await case.run(await case.submit(url), steps=done)
        case.jobs.recover("other", Recovery.RESUME)
        job = await case.run(case.claim())
    assert job.state is JobState.SUCCESS
    assert [asked.body for asked in peer.asked] == case.contents
    assert job.content["Size"] == str(sum(map(len, case.contents)))


@pytest.mark.parametrize("reply", [Reply(503), Reply(507), Reply(0), Reply(429)])
async def test_store_tries_again_and_sends_nothing_twice(case: Case, reply: Reply) -> None:
    peer = HTTPPeer(refuse_after(2, reply))
    async with run_http_peer(peer) as url:
        job = await case.run(await case.submit(url, retries=1))
        assert job.state is JobState.RETRY
        assert job.content["RetriesCount"] == 1
        assert job.checkpoint is not None
        assert job.checkpoint["Done"] == 2
        confirmed = [asked.body for asked in peer.asked[:2]]
        peer.asked.clear()
        peer.answer = confirm
        job = await case.run(await case.take(job))
    assert job.state is JobState.SUCCESS
    assert confirmed + [asked.body for asked in peer.asked] == case.contents
    assert "RetriesCount" not in job.content


@pytest.mark.parametrize("status", [400, 401, 404, 302])
async def test_refusal_is_not_tried_again(case: Case, status: int) -> None:
    peer = HTTPPeer(lambda _: Reply(status))
    async with run_http_peer(peer) as url:
        error = await case.fail(await case.submit(url, retries=9))
    assert isinstance(error, RemoteError)
    assert str(status) in error.details
    assert len(peer.asked) == 1


@pytest.mark.parametrize(("status", "tried"), [(400, COUNT), (401, 1), (0, 1)])
async def test_permissive_store_tries_the_others_where_that_is_of_use(
    case: Case, status: int, tried: int
) -> None:
    peer = HTTPPeer(lambda _: Reply(status))
    async with run_http_peer(peer) as url:
        job = await case.run(await case.submit(url, is_permissive=True))
    assert job.state is JobState.SUCCESS
    assert job.content["FailedInstancesCount"] == COUNT
    assert job.content["Size"] == "0"
    assert len(peer.asked) == tried


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"[]", b"{}", b""])
async def test_answer_of_another_kind_of_server_confirms_nothing(case: Case, body: bytes) -> None:
    peer = HTTPPeer(lambda _: Reply(200, body))
    async with run_http_peer(peer) as url:
        assert isinstance(await case.fail(await case.submit(url)), RemoteError)


@pytest.mark.parametrize("is_compressed", [False, True])
async def test_large_files_are_sent_in_pieces(
    case: Case, monkeypatch: pytest.MonkeyPatch, is_compressed: bool
) -> None:
    monkeypatch.setattr(stored_content, "_SMALL", 10)
    peer = HTTPPeer()
    async with run_http_peer(peer) as url:
        job = await case.run(await case.submit(url, is_compressed=is_compressed))
    assert [asked.content for asked in peer.asked] == case.contents
    assert job.content["Size"] == str(sum(len(asked.body) for asked in peer.asked))


async def test_deleted_instance_is_no_fault_of_the_others(case: Case) -> None:
    peer = HTTPPeer()
    async with run_http_peer(peer) as url:
        job = await case.submit(url, is_permissive=True)
        await case.api.request("DELETE", case.files[2].paths["instances"])
        job = await case.run(job)
    assert [asked.body for asked in peer.asked] == case.contents[:2] + case.contents[3:]
    assert job.content["FailedInstancesCount"] == 1
    new = case.kind.build_retry(job, [FailedItem(case.files[2].paths["instances"], 13, "")])
    assert (new.kind, new.destination, new.content["Size"]) == ("OrthancPeerStore", "remote", "0")


async def test_file_that_an_instance_got_meanwhile_is_sent(case: Case) -> None:
    peer = HTTPPeer()
    outgoing = case.api.archive.remotes.outgoing
    async with run_http_peer(peer) as url:
        job = await case.submit(url)
        async with aclosing(cast(Any, case.kind.run(job))) as steps:
            case.jobs.save(job, await anext(steps), runtime=1)
            for file in case.files[1:4]:
                before = (await outgoing.find([file.instance]))[file.instance].attachment
                path = f"{file.paths['instances']}/attachments/dicom/compress"
                assert (await case.api.request("POST", path)).status_code == 200
                case.api.archive.storage.remove(before.attachment_uuid)
            last = [step async for step in steps][-1]
    assert last.is_last
    assert sorted(asked.body for asked in peer.asked) == sorted(case.contents)


@pytest.mark.parametrize(
    "kind", [CodecTimeoutError, FullStorageError, TranscodingError, StorageUnavailableError]
)
async def test_file_that_we_cannot_make_ready_is_no_fault_of_the_peer(
    case: Case, monkeypatch: pytest.MonkeyPatch, kind: type[ServerError]
) -> None:
    peer = HTTPPeer()
    spool = TranscodedFiles.spool
    keep = (await case.api.archive.remotes.outgoing.find([case.files[2].instance])).popitem()[1]

    async def spool_some(self: TranscodedFiles, attachment: Attachment, target: Target) -> Any:
        if attachment == keep.attachment:
            raise kind("ours")
        return await spool(self, attachment, target)

    monkeypatch.setattr(TranscodedFiles, "spool", spool_some)
    async with run_http_peer(peer) as url:
        job = await case.submit(url, is_permissive=True, target=Target("1.2.840.10008.1.2", 80))
        job = await case.run(job)
    assert (job.state, job.content["FailedInstancesCount"]) == (JobState.SUCCESS, 1)
    assert len(peer.asked) == COUNT - 1


async def test_store_to_a_silent_peer_can_be_canceled(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for the one behind the silent one to be confirmed.
    monkeypatch.setattr(runner, "_GRACE_S", 0.2)
    monkeypatch.setattr(sending, "_STEP_S", 100.0)
    reached = asyncio.Event()

    def answer(asked: Asked) -> Reply | None:
        if asked.body == case.contents[3]:
            reached.set()
        return None if asked.body == case.contents[2] else Reply()

    peer = HTTPPeer(answer)
    options = EngineOptions(interruptible=frozenset({case.kind.name}))
    engine = Engine(case.jobs, case.api.archive.workers.run, [case.kind], options)
    await engine.start()
    async with run_http_peer(peer) as url, asyncio.timeout(10):
        await case.insert(url, retries=5)
        engine.wake()
        await reached.wait()
        await engine.act("j", Action.CANCEL)
        job = await engine.wait("j", 10)
    await engine.stop(1)
    assert job.failure == CANCELED
    # The fourth as well: it was confirmed behind the silent one.
    assert job.checkpoint is not None
    assert (job.checkpoint["Done"], job.checkpoint["Ahead"]) == (2, [3])


async def test_job_that_waits_for_a_better_time_shows_how_far_it_is(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = HTTPPeer(lambda asked: Reply(400 if asked.body == case.contents[0] else 200))
    async with run_http_peer(peer) as url:
        job = await case.submit(url, is_permissive=True, quiet_hours=((1, 2),))
        monkeypatch.setattr(sending, "get_wait_s", lambda *_: 60 if len(peer.asked) > 1 else 0)
        job = await case.run(job)
    assert (job.state, "WaitsUntil" in job.content) == (JobState.RETRY, True)
    assert job.content["FailedInstancesCount"] == 1
    assert job.content["Size"] == str(len(case.contents[1]))


async def test_slow_query_of_ours_is_no_fault_of_the_peer(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = HTTPPeer()
    async with run_http_peer(peer) as url:
        job = await case.submit(url, is_permissive=True)
        failing = AsyncMock(side_effect=DeadlineExceededError("a query took too long"))
        monkeypatch.setattr(case.api.archive.remotes.outgoing, "find", failing)
        assert isinstance(await case.fail(job), DatabaseUnavailableError)


async def test_peer_that_is_gone_fails_the_job(case: Case) -> None:
    job = await case.submit("http://127.0.0.1:1/", retries=9)
    await case.api.archive.remotes.peers.delete("remote")
    assert isinstance(await case.fail(job), UnknownResourceError)


@pytest.mark.parametrize("is_compressed", [False, True])
async def test_store_transcodes_what_can_be(case: Case, is_compressed: bool) -> None:
    peer, target = HTTPPeer(), "1.2.840.10008.1.2"
    async with run_http_peer(peer) as url:
        order = Target(target, 80)
        job = await case.submit(url, is_compressed=is_compressed, target=order)
        assert (job.content["Transcode"], job.content["LossyQuality"]) == (target, 80)
        job = await case.run(job)
    assert job.state is JobState.SUCCESS
    syntaxes = {read_file_meta(asked.content).transfer_syntax_uid for asked in peer.asked}
    assert syntaxes == {target}
    assert len(peer.asked) == COUNT


# What follows: several files at once.


@pytest.fixture
def long_steps(monkeypatch: pytest.MonkeyPatch, case: Case) -> Case:
    """Steps and pages that do not end before the job."""
    monkeypatch.setattr(sending, "_STEP_S", 3600.0)
    monkeypatch.setattr(sending, "_PAGE", 256)
    return case


class Waiting:
    """Answers when so many requests wait, all but the first one, the last one first."""

    def __init__(self, contents: list[bytes], count: int, replies: dict[int, Reply]) -> None:
        self._contents = contents
        self._count = count
        self._replies = replies
        self._futures: list[tuple[asyncio.Future[Reply], Reply]] = []
        self.most = 0

    async def __call__(self, asked: Asked) -> Reply:
        index = self._contents.index(asked.body)
        reply = self._replies.get(index, Reply())
        if index == 0:
            return reply
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._futures.append((future, reply))
        self.most = max(self.most, len(self._futures))
        if len(self._futures) == self._count:
            self._count = 1
            while self._futures:
                future_of_last, reply_of_last = self._futures.pop()
                future_of_last.set_result(reply_of_last)
                await asyncio.sleep(0)
        return await future


async def test_four_go_together_once_the_first_is_confirmed(long_steps: Case) -> None:
    case, peer = long_steps, HTTPPeer()
    peer.answer = waiting = Waiting(case.contents, 4, {})
    async with run_http_peer(peer) as url:
        job = await case.run(await case.submit(url))
    assert job.state is JobState.SUCCESS
    assert [asked.body for asked in peer.asked] == case.contents
    assert (waiting.most, peer.connections) == (4, 4)
    assert job.content["Size"] == str(sum(map(len, case.contents)))


@pytest.mark.parametrize("status", [401, 503, 0])
async def test_peer_that_takes_nothing_is_tried_once(long_steps: Case, status: int) -> None:
    peer = HTTPPeer(lambda _: Reply(status))
    async with run_http_peer(peer) as url:
        await long_steps.fail(await long_steps.submit(url))
    assert len(peer.asked) == 1


@pytest.mark.parametrize("failing", [(1,), (2,), (4,), (1, 3), (2, 3, 4)])
async def test_what_went_together_with_a_failure_is_not_sent_again(
    long_steps: Case, failing: tuple[int, ...]
) -> None:
    case, peer = long_steps, HTTPPeer()
    peer.answer = Waiting(case.contents, 4, dict.fromkeys(failing, Reply(503)))
    async with run_http_peer(peer) as url:
        job = await case.run(await case.submit(url, retries=1))
        assert (job.state, job.content["RetriesCount"]) == (JobState.RETRY, 1)
        assert job.checkpoint is not None
        confirmed = {case.contents.index(asked.body) for asked in peer.asked} - set(failing)
        assert job.checkpoint["Done"] == failing[0]
        assert job.checkpoint.get("Ahead", []) == sorted(i for i in confirmed if i > failing[0])
        assert job.progress == 100 * len(confirmed) // COUNT
        peer.asked.clear()
        peer.answer = confirm
        job = await case.run(await case.take(job))
    assert job.state is JobState.SUCCESS
    left = [case.contents[index] for index in range(COUNT) if index not in confirmed]
    assert [asked.body for asked in peer.asked] == left
    assert job.content["Size"] == str(sum(map(len, case.contents)))
    assert job.checkpoint is not None
    assert "Ahead" not in job.checkpoint


async def test_first_failure_is_the_reason_whatever_was_answered_first(long_steps: Case) -> None:
    case, peer = long_steps, HTTPPeer()
    replies = {3: Reply(400, b'{"Message": "Third"}'), 1: Reply(400, b'{"Message": "First"}')}
    peer.answer = Waiting(case.contents, 4, replies)
    async with run_http_peer(peer) as url:
        error = await case.fail(await case.submit(url))
    assert "First" in error.details


async def test_nothing_is_begun_after_a_failure(long_steps: Case) -> None:
    case, peer = long_steps, HTTPPeer()

    async def answer(asked: Asked) -> Reply:
        index = case.contents.index(asked.body)
        if index == 1:
            return Reply(400)
        for _ in range(200 if index > 1 else 0):
            # What is written over the loopback is read in the next round of the loop.
            await asyncio.sleep(0)
        return Reply()

    peer.answer = answer
    async with run_http_peer(peer) as url:
        await case.fail(await case.submit(url))
    assert [asked.body for asked in peer.asked] == case.contents[:5]


async def test_permissive_store_names_each_that_failed(long_steps: Case) -> None:
    case, peer = long_steps, HTTPPeer()
    refusals = {3: Reply(400, b'{"Message": "C"}'), 1: Reply(400, b'{"Message": "A"}')}
    peer.answer = Waiting(case.contents, 4, refusals)
    async with run_http_peer(peer) as url:
        job = await case.run(await case.submit(url, is_permissive=True))
    assert (job.state, job.content["FailedInstancesCount"]) == (JobState.SUCCESS, 2)
    assert len(peer.asked) == COUNT
    failed = case.jobs.list_failed_items("j", limit=9)
    names = job.arguments["Instances"]
    assert {item.name: item.details[-1] for item in failed} == {names[1]: "A", names[3]: "C"}


async def test_permissive_store_keeps_what_was_confirmed_before_all_others_fail(
    long_steps: Case,
) -> None:
    case, peer = long_steps, HTTPPeer()
    peer.answer = Waiting(case.contents, 4, {2: Reply(401)})
    async with run_http_peer(peer) as url:
        job = await case.run(await case.submit(url, is_permissive=True))
    assert job.state is JobState.SUCCESS
    asked = {case.contents.index(asked.body) for asked in peer.asked}
    failed = [job.arguments["Instances"][i] for i in range(COUNT) if i == 2 or i not in asked]
    items = case.jobs.list_failed_items("j", limit=9)
    assert sorted(item.name for item in items) == sorted(failed)
    assert {0, 1, 2, 3, 4} <= asked
    assert job.content["Size"] == str(sum(len(case.contents[i]) for i in asked - {2}))


@pytest.mark.parametrize("steps", range(3))
async def test_nothing_is_under_way_between_steps(
    case: Case, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    clock = SimpleNamespace(monotonic=count().__next__)
    monkeypatch.setattr(sending, "time", clock)
    monkeypatch.setattr(sending, "_STEP_S", 3)
    peer = HTTPPeer()
    async with run_http_peer(peer) as url:
        job = await case.run(await case.submit(url), steps=steps)
        done = 0 if job.checkpoint is None else job.checkpoint["Done"]
        assert len(peer.asked) == done
        assert done >= steps
        case.jobs.recover("other", Recovery.RESUME)
        job = await case.run(case.claim())
    assert job.state is JobState.SUCCESS
    assert [asked.body for asked in peer.asked] == case.contents


async def test_stopped_server_leaves_nothing_under_way(long_steps: Case) -> None:
    case, peer, are_four_waiting = long_steps, HTTPPeer(), asyncio.Event()

    async def hold(asked: Asked) -> Reply:
        if asked.body != case.contents[0]:
            if len(peer.asked) == 5:
                are_four_waiting.set()
            await asyncio.get_running_loop().create_future()
        return Reply()

    peer.answer = hold
    async with run_http_peer(peer) as url:
        job = await case.submit(url)
        before = asyncio.all_tasks()
        running = asyncio.ensure_future(case.run(job))
        await asyncio.wait_for(are_four_waiting.wait(), 10)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        left = {task for task in asyncio.all_tasks() - before if "serve" not in repr(task)}
        assert left == set()
        peer.answer = confirm
        case.jobs.recover("other", Recovery.RESUME)
        job = await case.run(case.claim())
    assert job.state is JobState.SUCCESS
    assert {asked.body for asked in peer.asked} == set(case.contents)
