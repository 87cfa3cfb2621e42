"""The engine on a real database, with kinds of jobs that tests control."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.jobs import CountingKind

from isocenter.errors import (
    BadJobStateError,
    DatabaseUnavailableError,
    InternalError,
    MissingFileError,
    ReadOnlyError,
    SerializationFailureError,
    StillRunningError,
    UnknownItemError,
)
from isocenter.index.jobs import DatabaseJobs
from isocenter.index.sqlite import SQLiteDatabase
from isocenter.jobs import runner
from isocenter.jobs.claims import Limits
from isocenter.jobs.engine import Engine, EngineOptions
from isocenter.jobs.port import Recovery
from isocenter.jobs.records import CANCELED, FailedItem, Job, JobFilter, NewJob, Step
from isocenter.jobs.states import Action, JobState

_DEADLINE_S = 20.0


class Case:
    """An engine that can be stopped and started again over the same database."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kind = CountingKind()
        self.saved: list[Job] = []

    @asynccontextmanager
    async def start(self, *, history: int = 10, **options: Any) -> AsyncIterator[Engine]:
        database = SQLiteDatabase(self.path, is_durable=False)
        store = DatabaseJobs(database, history=history)
        engine = Engine(
            store,
            asyncio.to_thread,
            [self.kind],
            EngineOptions(**options),
            on_saved=self.saved.append,
        )
        await engine.start()
        try:
            async with asyncio.timeout(_DEADLINE_S):
                yield engine
        finally:
            await engine.stop(1.0)
            database.close()

    async def wait_until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(_DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - any condition, none of them has an event
                await asyncio.sleep(0.001)

    def states(self, job_id: str) -> list[JobState]:
        states = [job.state for job in self.saved if job.job_id == job_id]
        return [s for s, before in zip(states, [None, *states], strict=False) if s is not before]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path / "index")


def _new(to: int = 3, **values: Any) -> NewJob:
    keys = ("fail_at", "break_at", "bad")
    arguments = {"to": to, **{key: values.pop(key) for key in keys if key in values}}
    return NewJob("Counting", arguments, **values)


async def test_job_runs_to_its_end_and_wakes_who_waits(case: Case) -> None:
    async with case.start() as engine:
        job = await engine.run(_new(), _DEADLINE_S)
    assert (job.state, job.content, job.progress) == (JobState.SUCCESS, {"Count": 3}, 100)
    assert case.states(job.job_id) == [JobState.PENDING, JobState.RUNNING, JobState.SUCCESS]
    assert case.kind.closed == [job.job_id]


async def test_job_without_history_still_gives_its_result(case: Case) -> None:
    async with case.start(history=0) as engine:
        job = await engine.run(_new(), _DEADLINE_S)
        assert job.content == {"Count": 3}
        with pytest.raises(UnknownItemError):
            await engine.wait(job.job_id, _DEADLINE_S)


async def test_jobs_of_one_priority_run_first_in_first_out(case: Case) -> None:
    case.kind.gate.clear()
    async with case.start(concurrent=1) as engine:
        jobs = [await engine.submit(_new(1)) for _ in range(5)]
        high = await engine.submit(_new(1, priority=1))
        case.kind.gate.set()
        for job in (*jobs, high):
            await engine.wait(job.job_id, _DEADLINE_S)
    order = [job_id for job_id, _ in case.kind.begun]
    assert order == [jobs[0].job_id, high.job_id, *(job.job_id for job in jobs[1:])]


async def test_no_more_jobs_run_at_once_than_allowed(case: Case) -> None:
    case.kind.gate.clear()
    async with case.start(concurrent=2) as engine:
        jobs = [await engine.submit(_new(1)) for _ in range(4)]
        await case.wait_until(lambda: len(case.kind.begun) == 2)
        await asyncio.sleep(0.05)
        assert len(case.kind.begun) == 2
        case.kind.gate.set()
        for job in jobs:
            await engine.wait(job.job_id, _DEADLINE_S)


@pytest.mark.parametrize(
    ("arguments", "code", "details"),
    [
        ({"fail_at": 1}, MissingFileError.code, "gone"),
        ({"break_at": 1}, InternalError.code, InternalError.message),
    ],
)
async def test_error_in_a_step_is_a_failure(
    case: Case, arguments: dict[str, int], code: int, details: str
) -> None:
    async with case.start() as engine:
        job = await engine.run(_new(**arguments), _DEADLINE_S)
    assert job.state is JobState.FAILURE
    assert job.failure is not None
    assert (job.failure.code, job.failure.details) == (code, details)
    assert job.content == {"Count": 1}
    assert case.kind.abandoned == [job.job_id]
    if "fail_at" in arguments:
        assert job.failure.payload == {"Type": "T", "Content": [1]}


async def test_cancel_stops_within_one_step(case: Case) -> None:
    case.kind.gate.clear()
    async with case.start() as engine:
        job = await engine.submit(_new(1000))
        await case.wait_until(lambda: case.kind.begun)
        result = await engine.act(job.job_id, Action.CANCEL)
        assert result.is_possible
        case.kind.gate.set()
        ended = await engine.wait(job.job_id, _DEADLINE_S)
    assert (ended.state, ended.failure) == (JobState.FAILURE, CANCELED)
    assert len(case.kind.begun) == 1
    assert case.kind.abandoned == [job.job_id]
    assert case.kind.closed == [job.job_id]


async def test_paused_job_goes_on_where_it_was(case: Case) -> None:
    case.kind.gate.clear()
    async with case.start() as engine:
        job = await engine.submit(_new(4))
        await case.wait_until(lambda: case.kind.begun)
        await engine.act(job.job_id, Action.PAUSE)
        case.kind.gate.set()
        await case.wait_until(lambda: JobState.PAUSED in case.states(job.job_id))
        assert [number for _, number in case.kind.begun] == [0]
        await engine.act(job.job_id, Action.RESUME)
        ended = await engine.wait(job.job_id, _DEADLINE_S)
    assert ended.content == {"Count": 4}
    assert [number for _, number in case.kind.begun] == [0, 1, 2, 3]


@pytest.mark.parametrize("action", [Action.CANCEL, Action.PAUSE])
async def test_step_that_waits_for_others_is_cut_off(
    case: Case, monkeypatch: pytest.MonkeyPatch, action: Action
) -> None:
    monkeypatch.setattr(runner, "_GRACE_S", 0.01)
    case.kind.gate.clear()
    async with case.start(interruptible=frozenset({"Counting"})) as engine:
        job = await engine.submit(_new(3))
        await case.wait_until(lambda: case.kind.begun)
        await engine.act(job.job_id, action)
        await case.wait_until(lambda: case.kind.closed)
        if action is Action.CANCEL:
            ended = await engine.wait(job.job_id, _DEADLINE_S)
            assert (ended.state, ended.failure) == (JobState.FAILURE, CANCELED)
            assert case.kind.abandoned == [job.job_id]
            return
        await case.wait_until(lambda: JobState.PAUSED in case.states(job.job_id))
        case.kind.gate.set()
        await engine.act(job.job_id, Action.RESUME)
        assert (await engine.wait(job.job_id, _DEADLINE_S)).content == {"Count": 3}


async def test_step_that_is_cut_off_saves_what_it_has_done(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Careful(CountingKind):
        async def run(self, job: Job) -> AsyncIterator[Step]:
            self.begun.append((job.job_id, 0))
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                yield Step({"at": 7}, content={"Count": 7})
                raise

    monkeypatch.setattr(runner, "_GRACE_S", 0.01)
    case.kind = Careful()
    case.kind.gate.clear()
    async with case.start(interruptible=frozenset({"Counting"})) as engine:
        job = await engine.submit(_new())
        await case.wait_until(lambda: case.kind.begun)
        await engine.act(job.job_id, Action.CANCEL)
        ended = await engine.wait(job.job_id, _DEADLINE_S)
    assert (ended.failure, ended.content) == (CANCELED, {"Count": 7})


async def test_step_that_waits_for_others_keeps_no_server_from_stopping(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_GRACE_S", 0.01)
    case.kind.gate.clear()
    async with case.start(interruptible=frozenset({"Counting"})) as engine:
        job = await engine.submit(_new(2))
        await case.wait_until(lambda: case.kind.begun)
        await engine.stop(_DEADLINE_S)
        assert case.states(job.job_id)[-1] is JobState.PENDING
    case.kind.gate.set()
    async with case.start() as engine:
        assert (await engine.wait(job.job_id, _DEADLINE_S)).content == {"Count": 2}


async def test_canceled_step_that_fails_is_canceled(case: Case) -> None:
    case.kind.gate.clear()
    async with case.start() as engine:
        job = await engine.submit(_new(fail_at=0))
        await case.wait_until(lambda: case.kind.begun)
        await engine.act(job.job_id, Action.CANCEL)
        case.kind.gate.set()
        ended = await engine.wait(job.job_id, _DEADLINE_S)
    assert ended.failure == CANCELED


async def test_what_another_server_was_asked_is_done_here(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_GRACE_S", 0.01)
    monkeypatch.setattr("isocenter.jobs.engine._POLL_S", 0.01)
    monkeypatch.setattr("isocenter.jobs.engine._HEARTBEAT_S", 0.01)
    case.kind.gate.clear()
    async with case.start(is_shared=True, interruptible=frozenset({"Counting"})) as engine:
        job = await engine.submit(_new())
        await case.wait_until(lambda: case.kind.begun)
        await asyncio.to_thread(engine._store.act, job.job_id, Action.CANCEL, None)
        ended = await engine.wait(job.job_id, _DEADLINE_S)
    assert ended.failure == CANCELED


async def test_waiting_job_can_be_paused_and_canceled(case: Case) -> None:
    case.kind.gate.clear()
    async with case.start(concurrent=1) as engine:
        running = await engine.submit(_new(1))
        waiting = await engine.submit(_new(1))
        await engine.act(waiting.job_id, Action.PAUSE)
        case.kind.gate.set()
        await engine.wait(running.job_id, _DEADLINE_S)
        canceled = await engine.act(waiting.job_id, Action.CANCEL)
    assert canceled.job is not None
    assert canceled.job.failure == CANCELED
    assert len(case.kind.begun) == 1


async def test_who_waits_too_long_is_told_where_to_look(case: Case) -> None:
    case.kind.gate.clear()
    async with case.start() as engine:
        with pytest.raises(StillRunningError, match="/jobs/"):
            await engine.run(_new(), 0.01)
        case.kind.gate.set()


async def test_stopped_server_goes_on_at_the_next_start(case: Case) -> None:
    case.kind.gate.clear()
    async with case.start() as engine:
        job = await engine.submit(_new(4))
        await case.wait_until(lambda: case.kind.begun)
        asyncio.get_running_loop().call_later(0.05, case.kind.gate.set)
    begun = len(case.kind.begun)
    assert begun < 4
    async with case.start() as engine:
        ended = await engine.wait(job.job_id, _DEADLINE_S)
    assert ended.content == {"Count": 4}
    assert [number for _, number in case.kind.begun] == [0, 1, 2, 3]


async def test_step_that_does_not_end_is_repeated_at_the_next_start(case: Case) -> None:
    case.kind.gate.clear()
    async with case.start() as engine:
        job = await engine.submit(_new(2))
        await case.wait_until(lambda: case.kind.begun)
    case.kind.gate.set()
    async with case.start() as engine:
        ended = await engine.wait(job.job_id, _DEADLINE_S)
    assert ended.content == {"Count": 2}
    assert [number for _, number in case.kind.begun] == [0, 0, 1]


async def test_unfinished_jobs_wait_if_the_start_says_so(case: Case) -> None:
    case.kind.gate.clear()
    async with case.start() as engine:
        job = await engine.submit(_new(2))
        await case.wait_until(lambda: case.kind.begun)
    case.kind.gate.set()
    async with case.start(recovery=Recovery.PAUSE) as engine:
        await engine.act(job.job_id, Action.RESUME)
        assert (await engine.wait(job.job_id, _DEADLINE_S)).content == {"Count": 2}


async def test_job_put_aside_is_taken_up_when_it_is_due(case: Case) -> None:
    class Hesitating(CountingKind):
        async def run(self, job: Job) -> AsyncIterator[Step]:
            if job.checkpoint is None:
                yield Step({"tried": 1}, retry_after_s=0.05)
            yield Step(content={"Done": True}, is_last=True)

    case.kind = Hesitating()
    async with case.start() as engine:
        job = await engine.run(_new(), _DEADLINE_S)
    assert job.content == {"Done": True}
    assert JobState.RETRY in case.states(job.job_id)


async def test_failed_items_are_dealt_with_by_a_new_job(case: Case) -> None:
    async with case.start() as engine:
        job = await engine.run(_new(4, bad=[1, 3]), _DEADLINE_S)
        retried = await engine.retry_failed(job.job_id)
        ended = await engine.wait(retried.job_id, _DEADLINE_S)
        assert ended.content == {"Count": 2}
        with pytest.raises(BadJobStateError):
            await engine.retry_failed(retried.job_id)
        with pytest.raises(UnknownItemError):
            await engine.retry_failed("unknown")


async def test_deleted_job_is_forgotten(case: Case) -> None:
    async with case.start() as engine:
        job = await engine.run(_new(), _DEADLINE_S)
        assert await engine.delete(job.job_id)
        assert not await engine.delete(job.job_id)


async def test_unknown_kind_is_refused(case: Case) -> None:
    async with case.start() as engine:
        with pytest.raises(InternalError):
            await engine.submit(NewJob("Unknown", {}))


async def test_database_that_fails_for_a_while_loses_no_job(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([True, True, False])
    save = DatabaseJobs.save
    fail = DatabaseJobs.fail

    def failing(self: DatabaseJobs, *arguments: Any, **keywords: Any) -> Any:
        if next(failures, False):
            raise DatabaseUnavailableError
        return save(self, *arguments, **keywords)

    def failing_too(self: DatabaseJobs, *arguments: Any) -> Any:
        if next(failures, False):
            raise DatabaseUnavailableError
        return fail(self, *arguments)

    monkeypatch.setattr("isocenter.jobs.engine._BACKOFF_S", 0.01)
    monkeypatch.setattr(DatabaseJobs, "save", failing)
    monkeypatch.setattr(DatabaseJobs, "fail", failing_too)
    async with case.start() as engine:
        job = await engine.run(_new(), _DEADLINE_S)
    assert (job.state, job.content) == (JobState.SUCCESS, {"Count": 3})


async def test_step_that_cannot_be_saved_for_a_while_is_no_failure(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([DatabaseUnavailableError, SerializationFailureError])
    save = DatabaseJobs.save

    def failing(self: DatabaseJobs, *arguments: Any, **keywords: Any) -> Any:
        if (error := next(failures, None)) is not None:
            raise error
        return save(self, *arguments, **keywords)

    monkeypatch.setattr("isocenter.jobs.engine._BACKOFF_S", 0.01)
    monkeypatch.setattr(DatabaseJobs, "save", failing)
    async with case.start() as engine:
        job = await engine.run(_new(), _DEADLINE_S)
    assert (job.state, job.content) == (JobState.SUCCESS, {"Count": 3})
    assert case.kind.abandoned == []


@pytest.mark.parametrize("action", [Action.PAUSE, None])
async def test_steps_are_closed_before_the_job_can_be_claimed_again(
    case: Case, monkeypatch: pytest.MonkeyPatch, action: Action | None
) -> None:
    release = DatabaseJobs.release
    closed: list[list[str]] = []

    def observed(self: DatabaseJobs, job: Job) -> None:
        closed.append([*case.kind.closed])
        release(self, job)

    monkeypatch.setattr(DatabaseJobs, "release", observed)
    case.kind.gate.clear()
    async with case.start() as engine:
        job = await engine.submit(_new(1000))
        await case.wait_until(lambda: case.kind.begun)
        if action is not None:
            await engine.act(job.job_id, action)
            case.kind.gate.set()
            await case.wait_until(lambda: closed)
        else:
            asyncio.get_running_loop().call_later(0.05, case.kind.gate.set)
    assert closed == [[job.job_id]]


async def test_job_resumed_before_its_task_has_ended_waits_for_that(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, claim = DatabaseJobs.release, DatabaseJobs.claim
    loop = asyncio.get_running_loop()
    is_claimed = threading.Event()
    seen: list[Job | None] = []

    def claim_observed(self: DatabaseJobs, *arguments: Any, **keywords: Any) -> Any:
        found = claim(self, *arguments, **keywords)
        is_claimed.set()
        return found

    def resume_at_once(self: DatabaseJobs, job: Job) -> None:
        release(self, job)
        is_claimed.clear()
        resuming = asyncio.run_coroutine_threadsafe(engine.act(job.job_id, Action.RESUME), loop)
        resuming.result(_DEADLINE_S)
        assert is_claimed.wait(_DEADLINE_S)
        seen.append(self.lookup(job.job_id))

    monkeypatch.setattr(DatabaseJobs, "claim", claim_observed)
    monkeypatch.setattr(DatabaseJobs, "release", resume_at_once)
    case.kind.gate.clear()
    # Operations of a server that has the database to itself run one after the other.
    async with case.start(is_shared=True) as engine:
        job = await engine.submit(_new(3))
        await case.wait_until(lambda: case.kind.begun)
        await engine.act(job.job_id, Action.PAUSE)
        case.kind.gate.set()
        ended = await engine.wait(job.job_id, _DEADLINE_S)
        assert [job and job.state for job in seen] == [JobState.PENDING]
        assert ended.content == {"Count": 3}
        assert [number for _, number in case.kind.begun] == [0, 1, 2]
        assert (await engine.run(_new(1), _DEADLINE_S)).state is JobState.SUCCESS


async def test_job_of_an_unknown_kind_waits_and_stops_no_others(case: Case) -> None:
    async with case.start() as engine:
        store = engine._store
        store.insert("failed", NewJob("Strange", {}))
        [failed] = store.claim("x", 1, Limits()).jobs
        store.insert("waiting", NewJob("Strange", {}, priority=9))
        item = FailedItem("i", 1, "")
        store.save(failed, Step(failed_items=[item], is_last=True), runtime=1)
        assert (await engine.run(_new(1), _DEADLINE_S)).state is JobState.SUCCESS
        with pytest.raises(BadJobStateError, match="Strange"):
            await engine.retry_failed("failed")


async def test_server_runs_and_takes_only_kinds_that_it_may(case: Case) -> None:
    async with case.start(allowed=frozenset({"Other"})) as engine:
        engine._store.insert("j", _new(1))
        engine.wake()
        with pytest.raises(ReadOnlyError):
            await engine.submit(_new(1))
    assert case.kind.begun == []
    async with case.start() as engine:
        assert (await engine.wait("j", _DEADLINE_S)).state is JobState.SUCCESS


async def test_server_shows_that_it_lives_before_it_takes_jobs(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    for name in ("keep_alive", "recover", "claim"):
        original = getattr(DatabaseJobs, name)

        def observed(
            self: DatabaseJobs,
            *arguments: Any,
            _name: str = name,
            _call: Any = original,
            **more: Any,
        ) -> Any:
            called.append(_name)
            return _call(self, *arguments, **more)

        monkeypatch.setattr(DatabaseJobs, name, observed)
    async with case.start(is_shared=True) as engine:
        await engine.run(_new(1), _DEADLINE_S)
    assert called[:3] == ["keep_alive", "recover", "claim"]


async def test_thousand_jobs_leave_a_history_in_bounds(case: Case) -> None:
    async with case.start(history=7, concurrent=4) as engine:
        jobs = [await engine.submit(_new(1)) for _ in range(100)]
        await engine.wait(jobs[-1].job_id, _DEADLINE_S)
        await case.wait_until(lambda: len(case.kind.closed) == 100)
    with sqlite3.connect(case.path) as connection:
        assert connection.execute("SELECT COUNT(*) FROM jobs").fetchone() == (7,)
    connection.close()
    assert JobFilter().limit is None
