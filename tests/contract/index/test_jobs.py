"""Jobs as rows, on every database."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any, cast

import pytest

from isocenter import clock
from isocenter.errors import DuplicateResourceError, FullStorageError
from isocenter.index import job_rows
from isocenter.index import jobs as jobs_module
from isocenter.index.job_rows import set_arguments
from isocenter.index.jobs import DatabaseJobs
from isocenter.index.port import Database, Transaction
from isocenter.jobs.claims import Limits
from isocenter.jobs.port import Claim, Recovery
from isocenter.jobs.records import (
    CANCELED,
    Apply,
    FailedItem,
    Failure,
    Job,
    JobFilter,
    JobMark,
    NewJob,
    Step,
)
from isocenter.jobs.states import TRANSITIONS, Action, JobState

_FAILURE = Failure(9, "peer gone", {"Type": "Dimse", "Content": {"DimseErrorStatus": 42}})


@pytest.fixture
def jobs(database: Database) -> DatabaseJobs:
    return DatabaseJobs(database, history=10)


def _new(kind: str = "Kind", **values: Any) -> NewJob:
    return NewJob(kind, values.pop("arguments", {"a": [1, "é"]}), **values)


def _insert(jobs: DatabaseJobs, *job_ids: str, **values: Any) -> None:
    for job_id in job_ids:
        jobs.insert(job_id, _new(**values))


def _claim(jobs: DatabaseJobs, count: int = 10, limits: Limits | None = None) -> Sequence[Job]:
    return jobs.claim("me", count, limits or Limits()).jobs


def _claim_one(jobs: DatabaseJobs) -> Job:
    (job,) = _claim(jobs, 1)
    return job


def _bring_to(jobs: DatabaseJobs, state: JobState) -> None:
    _insert(jobs, "j")
    if state is JobState.PAUSED:
        jobs.act("j", Action.PAUSE, None)
    elif state is not JobState.PENDING:
        job = _claim_one(jobs)
        if state is JobState.SUCCESS:
            jobs.save(job, Step(is_last=True), runtime=1)
        elif state is JobState.FAILURE:
            jobs.fail(job, _FAILURE, None)
        elif state is JobState.RETRY:
            jobs.save(job, Step(retry_after_s=1000), runtime=1)


def test_insert_keeps_everything(jobs: DatabaseJobs) -> None:
    new = _new(content={"D": 1}, priority=-3, destination="pacs", user_data=[None, {"x": "ü"}])
    inserted = jobs.insert("j", new)
    assert jobs.lookup("j") == inserted
    assert inserted.state is JobState.PENDING
    assert (inserted.arguments, inserted.content) == ({"a": [1, "é"]}, {"D": 1})
    assert (inserted.priority, inserted.destination) == (-3, "pacs")
    assert inserted.user_data == [None, {"x": "ü"}]
    assert jobs.lookup("other") is None


def test_job_of_an_impossible_name_is_unknown(jobs: DatabaseJobs) -> None:
    for name in ("", "\0", "j\0", "é" * 1000):
        assert jobs.lookup(name) is None
        assert jobs.delete(name) is None
        assert jobs.act(name, Action.PAUSE, None).job is None


def test_insert_with_known_key_gives_the_older_job(jobs: DatabaseJobs) -> None:
    first = jobs.insert("j", _new(idempotency_key="k"))
    assert jobs.insert("other", _new(idempotency_key="k")) == first
    assert jobs.lookup("other") is None
    for different in (_new("Other", idempotency_key="k"), _new(arguments={}, idempotency_key="k")):
        with pytest.raises(DuplicateResourceError):
            jobs.insert("other", different)


def test_claim_takes_higher_priority_first_then_first_in(jobs: DatabaseJobs) -> None:
    _insert(jobs, "c", "b", "a")
    _insert(jobs, "low", priority=-1)
    _insert(jobs, "high", priority=7)
    order = [_claim_one(jobs).job_id for _ in range(5)]
    assert order == ["high", "c", "b", "a", "low"]
    assert _claim(jobs) == []


def test_claim_makes_jobs_running_and_owned(jobs: DatabaseJobs) -> None:
    _insert(jobs, "a", "b", "c")
    claimed = _claim(jobs, 2)
    assert [job.job_id for job in claimed] == ["a", "b"]
    assert {job.state for job in claimed} == {JobState.RUNNING}
    assert {job.owner for job in claimed} == {"me"}
    assert all(job.started_at for job in claimed)
    assert jobs.count().running == 2
    assert jobs.count().pending == 1


def test_claim_respects_limits_of_kinds_and_destinations(jobs: DatabaseJobs) -> None:
    limits = Limits(by_kind={"Kind": 2}, per_destination=1)
    _insert(jobs, "a", "b", destination="x")
    _insert(jobs, "c", "d", destination="y")
    _insert(jobs, "e", kind="Other", destination="x")
    _insert(jobs, "f", kind="Other")
    assert [job.job_id for job in _claim(jobs, 10, limits)] == ["a", "c", "f"]
    assert _claim(jobs, 10, limits) == []


def test_save_keeps_the_step_and_applies_its_change(jobs: DatabaseJobs, database: Database) -> None:
    _insert(jobs, "j")
    job = _claim_one(jobs)

    def apply(tx: Transaction) -> None:
        tx.run("keep_owner_alive", {"owner": "applied"})

    step = Step({"at": 3}, 40, {"N": 1}, apply, [FailedItem("i", 15, "bad")])
    saved = jobs.save(job, step, runtime=500)
    assert saved is not None
    assert saved == jobs.lookup("j")
    assert (saved.checkpoint, saved.progress, saved.content) == ({"at": 3}, 40, {"N": 1})
    assert (saved.runtime, saved.state) == (500, JobState.RUNNING)
    assert jobs.list_failed_items("j", limit=10) == [FailedItem("i", 15, "bad")]
    again = jobs.save(saved, Step(), runtime=250)
    assert again is not None
    assert again.runtime == 750
    assert (again.checkpoint, again.progress) == ({"at": 3}, 40)
    owners = database.write(lambda tx: tx.rows("list_orphaned_jobs", {"owner": "x", "silence": 0}))
    assert owners == [("j",)]


def test_save_whose_change_fails_keeps_nothing(jobs: DatabaseJobs) -> None:
    _insert(jobs, "j")
    job = _claim_one(jobs)

    def apply(_: Transaction) -> None:
        raise FullStorageError

    with pytest.raises(FullStorageError):
        jobs.save(job, Step({"at": 1}, failed_items=[FailedItem("i", 1)], apply=apply), runtime=1)
    assert jobs.lookup("j") == job
    assert jobs.list_failed_items("j", limit=10) == []


def test_save_of_a_job_that_was_taken_away_changes_nothing(jobs: DatabaseJobs) -> None:
    _insert(jobs, "j")
    job = _claim_one(jobs)
    assert jobs.save(replace(job, owner="other"), Step({"at": 1}), runtime=1) is None
    jobs.release(job)
    assert jobs.save(job, Step({"at": 1}), runtime=1) is None
    assert jobs.fail(job, _FAILURE, None) is None
    kept = jobs.lookup("j")
    assert kept is not None
    assert (kept.state, kept.checkpoint) == (JobState.PENDING, None)


def test_last_step_is_a_success(jobs: DatabaseJobs) -> None:
    _insert(jobs, "j")
    saved = jobs.save(_claim_one(jobs), Step(content={"ID": "x"}, is_last=True), runtime=1)
    assert saved is not None
    assert saved == jobs.lookup("j")
    assert (saved.state, saved.progress, saved.owner) == (JobState.SUCCESS, 100, "")
    assert saved.completed_at is not None
    assert saved.is_finished


def test_step_may_put_the_job_aside(jobs: DatabaseJobs) -> None:
    _insert(jobs, "j")
    saved = jobs.save(_claim_one(jobs), Step({"at": 1}, retry_after_s=3600), runtime=1)
    assert saved is not None
    assert saved.state is JobState.RETRY
    claim = jobs.claim("me", 1, Limits())
    assert claim.jobs == []
    assert claim.next_due_at == saved.resume_at


def test_job_that_was_put_aside_is_claimed_when_it_is_due(jobs: DatabaseJobs) -> None:
    _insert(jobs, "j")
    jobs.save(_claim_one(jobs), Step({"at": 1}, retry_after_s=0), runtime=1)
    claim = jobs.claim("me", 1, Limits())
    assert [job.checkpoint for job in claim.jobs] == [{"at": 1}]
    assert claim.next_due_at is None


@pytest.mark.parametrize("action", [Action.CANCEL, Action.PAUSE])
def test_job_that_is_to_end_is_not_put_aside(jobs: DatabaseJobs, action: Action) -> None:
    _insert(jobs, "j")
    job = _claim_one(jobs)
    jobs.act("j", action, None)
    assert jobs.list_requested("me") == {"j": action}
    assert jobs.list_requested("other") == {}
    saved = jobs.save(job, Step({"at": 1}, retry_after_s=100), runtime=1)
    assert saved is not None
    assert (saved.state, saved.requested) == (JobState.RUNNING, action)
    failed = jobs.fail(saved, _FAILURE, None)
    assert failed is not None
    assert failed.failure == (CANCELED if action is Action.CANCEL else _FAILURE)
    assert jobs.list_requested("me") == {}


def test_fail_keeps_the_reason_and_cleans_up(jobs: DatabaseJobs) -> None:
    _insert(jobs, "j")
    called: list[Any] = []
    failed = jobs.fail(_claim_one(jobs), _FAILURE, called.append)
    assert failed is not None
    assert failed == jobs.lookup("j")
    assert (failed.state, failed.failure) == (JobState.FAILURE, _FAILURE)
    assert len(called) == 1


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("action", Action)
def test_act_follows_the_table(jobs: DatabaseJobs, state: JobState, action: Action) -> None:
    _bring_to(jobs, state)
    before = jobs.lookup("j")
    assert before is not None
    assert before.state is state
    called: list[Any] = []

    result = jobs.act("j", action, called.append)

    expected = TRANSITIONS.get((state, action))
    assert result.is_possible is (expected is not None)
    assert result.job == jobs.lookup("j")
    assert result.job is not None
    if expected is None:
        assert result.job == before
    elif state is JobState.RUNNING:
        assert (result.job.state, result.job.requested) == (JobState.RUNNING, action)
    else:
        assert (result.job.state, result.job.requested) == (expected, None)
    is_cleaned = action in {Action.CANCEL, Action.RESUBMIT} and state is not JobState.RUNNING
    assert bool(called) is (is_cleaned and expected is not None)


def test_act_on_an_unknown_job(jobs: DatabaseJobs) -> None:
    result = jobs.act("j", Action.CANCEL, None)
    assert (result.job, result.is_possible) == (None, False)


def test_canceled_job_tells_so(jobs: DatabaseJobs) -> None:
    _insert(jobs, "j")
    result = jobs.act("j", Action.CANCEL, None)
    assert result.job is not None
    assert result.job.failure == CANCELED
    assert result.job.completed_at is not None


def test_resubmitted_job_begins_anew(jobs: DatabaseJobs) -> None:
    _insert(jobs, "j")
    step = Step({"at": 3}, 40, {"N": 1}, failed_items=[FailedItem("i", 1)])
    job = jobs.save(_claim_one(jobs), step, runtime=9)
    assert job is not None
    jobs.fail(job, _FAILURE, None)
    anew = jobs.act("j", Action.RESUBMIT, None).job
    assert anew is not None
    assert (anew.checkpoint, anew.progress, anew.runtime, anew.failure) == (None, 0, 0, None)
    assert (anew.started_at, anew.completed_at) == (None, None)
    assert jobs.list_failed_items("j", limit=10) == []
    assert _claim_one(jobs).job_id == "j"


def test_release_gives_back_or_pauses(jobs: DatabaseJobs) -> None:
    _insert(jobs, "j", "k")
    first, second = _claim(jobs)
    jobs.act("k", Action.PAUSE, None)
    jobs.release(first)
    jobs.release(second)
    states = [(job.state, job.owner, job.requested) for job in jobs.find(JobFilter())]
    assert states == [(JobState.PENDING, "", None), (JobState.PAUSED, "", None)]


def test_history_forgets_those_that_completed_first(database: Database) -> None:
    jobs = DatabaseJobs(database, history=2)
    jobs._grace_us = 0
    _insert(jobs, "a", "b", "c", "d")
    for job in reversed(_claim(jobs)):
        jobs.save(job, Step(is_last=True), runtime=1)
    assert jobs.list_ids(JobFilter()) == ["a", "b"]


def test_shared_history_gives_other_servers_time(index: Any) -> None:
    jobs = DatabaseJobs(index.database, history=0)
    _insert(jobs, "a")
    jobs.save(_claim_one(jobs), Step(is_last=True), runtime=1)
    assert (jobs.lookup("a") is None) is index.database.is_exclusive


def test_delete_forgets_finished_jobs_only(jobs: DatabaseJobs) -> None:
    _insert(jobs, "a")
    assert jobs.delete("a") is None
    job = _claim_one(jobs)
    assert jobs.delete("a") is None
    jobs.save(job, Step(failed_items=[FailedItem("i", 1)], is_last=True), runtime=1)
    assert jobs.delete("a") is not None
    assert jobs.lookup("a") is None
    assert jobs.list_failed_items("a", limit=1) == []


def test_find_filters_and_pages_in_the_order_of_submission(jobs: DatabaseJobs) -> None:
    _insert(jobs, "z", "y")
    _insert(jobs, "x", kind="Other")
    _claim_one(jobs)

    def ids(**values: Any) -> list[str]:
        return [job.job_id for job in jobs.find(JobFilter(**values))]

    assert ids() == ["z", "y", "x"]
    assert ids(kinds=("Other",)) == ["x"]
    assert ids(states=(JobState.RUNNING, JobState.PAUSED)) == ["z"]
    assert ids(since=1, limit=1) == ["y"]
    assert jobs.list_ids(JobFilter()) == ["x", "y", "z"]
    assert jobs.list_ids(JobFilter(limit=2)) == ["z", "y"]


@pytest.mark.parametrize(
    ("recovery", "expected"),
    [(Recovery.RESUME, JobState.PENDING), (Recovery.PAUSE, JobState.PAUSED)],
)
def test_recover_takes_care_of_the_jobs_of_the_dead(
    jobs: DatabaseJobs, recovery: Recovery, expected: JobState
) -> None:
    _insert(jobs, "j")
    saved = jobs.save(_claim_one(jobs), Step({"at": 2}), runtime=1)
    assert saved is not None
    assert jobs.recover("new", recovery) == 1
    recovered = jobs.lookup("j")
    assert recovered is not None
    assert (recovered.state, recovered.owner) == (expected, "")
    assert recovered.checkpoint == {"at": 2}
    assert jobs.recover("new", recovery) == 0


def test_recover_leaves_the_jobs_of_the_living(jobs: DatabaseJobs) -> None:
    _insert(jobs, "j")
    _claim_one(jobs)
    jobs.keep_alive("me")
    assert jobs.recover("new", Recovery.RESUME) == 0
    assert jobs.recover("me", Recovery.RESUME) == 0


def test_two_servers_never_claim_the_same_job(index: Any) -> None:
    jobs = DatabaseJobs(index.database, history=10)
    _insert(jobs, *(f"j{number}" for number in range(10)))
    first = jobs.claim("a", 4, Limits()).jobs
    second = jobs.claim("b", 10, Limits()).jobs
    claimed = [job.job_id for job in (*first, *second)]
    assert len(claimed) == len(set(claimed)) == 10


class _Slow:
    """A database whose transactions end only when they may."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.is_exclusive = database.is_exclusive
        self.is_done, self.may_end = threading.Event(), threading.Event()

    def write(self, change: Callable[[Transaction], Any], **more: Any) -> Any:
        def slow(tx: Transaction) -> Any:
            result = change(tx)
            self.is_done.set()
            assert self.may_end.wait(20)
            return result

        return self._database.write(slow, **more)


def _insert_and_claim(jobs: DatabaseJobs) -> Claim:
    _insert(jobs, "2", locks=frozenset({"a"}))
    return jobs.claim("b", 1, Limits())


def test_servers_that_claim_at_once_respect_locks(index: Any) -> None:
    jobs = DatabaseJobs(index.database, history=10)
    _insert(jobs, "1", locks=frozenset({"a"}))
    slow = _Slow(index.database)
    first = DatabaseJobs(cast(Database, slow), history=10)
    with ThreadPoolExecutor(2) as threads:
        claims = [threads.submit(first.claim, "a", 1, Limits())]
        assert slow.is_done.wait(20)
        claims.append(threads.submit(_insert_and_claim, jobs))
        # Whoever does not wait for the other has ended by then.
        wait(claims[1:], timeout=0.2)
        slow.may_end.set()
        claimed = [len(claim.result(20).jobs) for claim in claims]
    assert claimed == [1, 0]


def test_claim_leaves_other_kinds_and_busy_jobs_alone(jobs: DatabaseJobs) -> None:
    _insert(jobs, "1", kind="Other")
    _insert(jobs, "2", "3")

    claim = jobs.claim("me", 9, Limits(), kinds=["Kind"], busy=["2"])

    assert [job.job_id for job in claim.jobs] == ["3"]


@pytest.mark.parametrize("recovery", [Recovery.PAUSE, Recovery.FORGET])
def test_waiting_jobs_may_be_those_of_servers_that_live(index: Any, recovery: Recovery) -> None:
    jobs = DatabaseJobs(index.database, history=10)
    _insert(jobs, "running")
    _claim_one(jobs)
    _insert(jobs, "waiting")

    is_shared = not index.database.is_exclusive
    assert jobs.recover("new", recovery) == (1 if is_shared else 2)

    waiting = jobs.lookup("waiting")
    is_untouched = waiting is not None and waiting.state is JobState.PENDING
    assert is_untouched == is_shared


def test_job_waits_for_an_older_one_with_a_lock_in_common(jobs: DatabaseJobs) -> None:
    _insert(jobs, "1", locks=frozenset({"a", "b"}))
    _insert(jobs, "2", locks=frozenset({"b", "c"}))
    _insert(jobs, "3", locks=frozenset({"c"}))
    _insert(jobs, "4")

    first = _claim(jobs)

    assert [job.job_id for job in first] == ["1", "4"]
    assert _claim(jobs) == []
    jobs.save(first[0], Step(is_last=True), runtime=1)
    assert [job.job_id for job in _claim(jobs)] == ["2"]


@pytest.mark.parametrize("action", [Action.PAUSE, None])
def test_job_that_does_not_run_holds_no_lock(jobs: DatabaseJobs, action: Action | None) -> None:
    _insert(jobs, "1", locks=frozenset({"a"}))
    job = _claim_one(jobs)
    _insert(jobs, "2", locks=frozenset({"a"}))
    assert _claim(jobs) == []
    if action is None:
        jobs.fail(job, _FAILURE, None)
    else:
        jobs.act("1", action, None)
        jobs.release(job)

    assert _claim_one(jobs).job_id == "2"


def test_resubmitted_job_wants_its_locks_again(jobs: DatabaseJobs) -> None:
    _insert(jobs, "1", locks=frozenset({"a"}))
    jobs.fail(_claim_one(jobs), _FAILURE, None)
    _insert(jobs, "2", locks=frozenset({"a"}))
    assert _claim_one(jobs).job_id == "2"

    jobs.act("1", Action.RESUBMIT, None)

    assert _claim(jobs) == []


def test_locks_do_not_change_the_order_of_others(jobs: DatabaseJobs) -> None:
    _insert(jobs, "1", locks=frozenset({"a"}))
    _insert(jobs, "2", priority=5, locks=frozenset({"a"}))
    _insert(jobs, "3")
    _insert(jobs, "4", priority=9)

    assert [job.job_id for job in _claim(jobs)] == ["4", "2", "3"]


def test_drawn_arguments_do_not_tell_submissions_apart(jobs: DatabaseJobs) -> None:
    first = jobs.insert("j", _new(idempotency_key="k", drawn={"Key": "x"}))
    again = jobs.insert("other", _new(idempotency_key="k", drawn={"Key": "y"}))

    assert again == first
    assert first.arguments == {"a": [1, "é"], "Key": "x"}


def test_origin_does_not_tell_submissions_apart(jobs: DatabaseJobs) -> None:
    first, again = (
        _new(idempotency_key="k", arguments={"a": 1, "origin": {"remote_ip": address}})
        for address in ("127.0.0.1", "127.0.0.2")
    )
    assert jobs.lookup_same(first) is None
    job = jobs.insert("j", first)
    assert jobs.insert("other", again) == jobs.lookup_same(again) == job


def test_same_request_at_two_servers_makes_one_job(index: Any) -> None:
    jobs = DatabaseJobs(index.database, history=10)
    slow = _Slow(index.database)
    first = DatabaseJobs(cast(Database, slow), history=10)
    with ThreadPoolExecutor(2) as threads:
        inserted = [threads.submit(first.insert, "j", _new(idempotency_key="k"))]
        assert slow.is_done.wait(20)
        inserted.append(threads.submit(jobs.insert, "other", _new(idempotency_key="k")))
        wait(inserted[1:], timeout=0.2)
        slow.may_end.set()
        assert {insertion.result(20).job_id for insertion in inserted} == {"j"}


def _list_marks(jobs: DatabaseJobs, since: int = 0, limit: int = 100) -> dict[str, JobMark]:
    marks = jobs.list_marks(since, limit=limit)
    found = {mark.job_id: mark for mark in marks}
    assert len(found) == len(marks)
    return found


def test_marks_tell_how_far_jobs_are(jobs: DatabaseJobs) -> None:
    _insert(jobs, "running", priority=1)
    job = _claim_one(jobs)
    _insert(jobs, "waiting", "paused")
    jobs.act("paused", Action.PAUSE, None)
    saved = jobs.save(job, Step(progress=40), runtime=7)
    assert saved is not None
    marks = _list_marks(jobs)
    assert marks == {
        "running": JobMark("running", JobState.RUNNING, 40, 7, ""),
        "waiting": JobMark("waiting", JobState.PENDING, 0, 0, ""),
    }
    assert marks["running"] == JobMark.of(saved)
    jobs.act("running", Action.CANCEL, None)
    assert _list_marks(jobs)["running"].requested == "cancel"


def test_marks_of_ended_jobs_begin_at_a_moment(jobs: DatabaseJobs) -> None:
    completed = []
    for name in ("a", "b", "c"):
        _insert(jobs, name)
        job = jobs.save(_claim_one(jobs), Step(is_last=True), runtime=1)
        assert job is not None
        assert job.completed_at is not None
        completed.append(job.completed_at)
    assert _list_marks(jobs).keys() == {"a", "b", "c"}
    assert _list_marks(jobs, completed[1]).keys() >= {"b", "c"}
    assert _list_marks(jobs, completed[-1] + 1) == {}
    # The last ones count.
    assert _list_marks(jobs, limit=1).keys() == {"c"}


def test_several_jobs_are_read_at_once(jobs: DatabaseJobs) -> None:
    _insert(jobs, "a", "b")
    read = jobs.read(["b", "unknown", "a", "\0"])
    assert {job.job_id: job for job in read} == {name: jobs.lookup(name) for name in ("a", "b")}
    assert jobs.read([]) == []


def test_unfinished_jobs_are_listed_by_their_state(jobs: DatabaseJobs) -> None:
    _insert(jobs, "run", priority=9)
    _claim_one(jobs)
    _insert(jobs, "later", priority=8)
    jobs.save(_claim_one(jobs), Step(retry_after_s=1000), runtime=1)
    _insert(jobs, "wait", "end")
    jobs.act("end", Action.CANCEL, None)

    def ids(*states: JobState, **values: Any) -> list[str]:
        return jobs.list_ids(JobFilter(states=states, limit=values.pop("limit", 10), **values))

    assert ids(JobState.PENDING) == ["wait"]
    assert ids(JobState.RUNNING) == ["run"]
    assert ids(JobState.PENDING, JobState.RUNNING, JobState.RETRY) == ["run", "later", "wait"]
    assert ids(JobState.PENDING, JobState.FAILURE) == ["wait", "end"]
    assert ids(JobState.PENDING, JobState.RUNNING, since=1, limit=1) == ["wait"]
    assert ids(JobState.PENDING, kinds=("Other",)) == []


def test_long_history_grows_by_a_hundredth_at_most(database: Database) -> None:
    jobs = DatabaseJobs(database, history=200)
    jobs._grace_us = 0
    counts = []
    for number in range(250):
        jobs.insert(f"{number:04}", _new())
        jobs.save(_claim_one(jobs), Step(is_last=True), runtime=1)
        counts.append(jobs.count().success)
    assert counts[199] == 200
    assert max(counts) <= 202
    assert min(counts[200:]) >= 200
    assert "0000" not in jobs.list_ids(JobFilter())
    assert "0249" in jobs.list_ids(JobFilter())


def test_only_a_first_claim_makes_a_job_new(jobs: DatabaseJobs) -> None:
    _insert(jobs, "j")
    job = _claim_one(jobs)
    assert job.is_new
    jobs.release(job)
    assert not _claim_one(jobs).is_new
    jobs.act("j", Action.CANCEL, None)
    jobs.fail(jobs.lookup("j") or job, CANCELED, None)
    jobs.act("j", Action.RESUBMIT, None)
    assert _claim_one(jobs).is_new


@pytest.mark.parametrize("length", [0, 3000])
def test_arguments_of_any_length_stay_while_the_job_runs(jobs: DatabaseJobs, length: int) -> None:
    arguments = {"a": "x" * length}
    _insert(jobs, "j", arguments=arguments, content={"c": 1})
    job = _claim_one(jobs)
    assert job.arguments == arguments
    saved = jobs.save(job, Step({"n": 1}, 50), runtime=2)
    assert saved is not None
    assert saved == jobs.lookup("j")
    saved = jobs.save(saved, Step(content={"c": 2}), runtime=3)
    assert saved == jobs.lookup("j")
    assert saved is not None
    assert (saved.arguments, saved.content, saved.checkpoint) == (arguments, {"c": 2}, {"n": 1})
    assert (saved.progress, saved.runtime) == (50, 5)


@pytest.mark.parametrize(("before", "after"), [(0, 3000), (3000, 0), (3000, 4000)])
def test_arguments_are_replaced_whatever_their_length(
    jobs: DatabaseJobs, before: int, after: int
) -> None:
    _insert(jobs, "j", arguments={"a": "x" * before})
    arguments = {"b": "y" * after}
    step = Step(apply=lambda tx: set_arguments(tx, "j", arguments), is_last=True)
    assert jobs.save(_claim_one(jobs), step, runtime=1) is not None
    found = jobs.lookup("j")
    assert found is not None
    assert found.arguments == arguments
    assert jobs.delete("j") is not None


def test_long_arguments_are_not_read_by_a_step(
    jobs: DatabaseJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    _insert(jobs, "j", arguments={"a": "x" * 3000})
    job = _claim_one(jobs)

    def refuse(*_: Any) -> list[Job]:
        raise AssertionError("all of the job was read")

    monkeypatch.setattr(job_rows, "read_jobs", refuse)
    assert jobs.save(job, Step({"n": 1}), runtime=1) is not None
    assert jobs.save(job, Step({"n": 2}, is_last=True), runtime=1) is not None


def test_giving_a_job_back_keeps_what_was_saved_meanwhile(jobs: DatabaseJobs) -> None:
    _insert(jobs, "j", content={"c": 1})
    claimed = _claim_one(jobs)
    saved = jobs.save(claimed, Step({"n": 1}, 50, {"c": 2}), runtime=7)
    jobs.release(claimed)
    found = jobs.lookup("j")
    assert saved is not None
    assert found == replace(saved, state=JobState.PENDING, owner="")


def test_operations_of_a_group_fail_alone(jobs: DatabaseJobs) -> None:
    def fail() -> None:
        jobs.insert("a", _new())

    first, second, third = jobs.run_together(
        [lambda: jobs.insert("a", _new()), fail, lambda: jobs.insert("b", _new())]
    )
    assert (first.job_id, third.job_id) == ("a", "b")
    assert isinstance(second, Exception)
    assert sorted(jobs.list_ids(JobFilter())) == ["a", "b"]


def test_group_waits_for_the_disk_once(
    jobs: DatabaseJobs, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    write, sync = database.write, database.sync

    def write_observed(change: Callable[[Transaction], Any], *, can_be_redone: bool = False) -> Any:
        steps.append("unsynced" if can_be_redone else "synced")
        return write(change, can_be_redone=can_be_redone)

    def sync_observed() -> None:
        steps.append("sync")
        sync()

    monkeypatch.setattr(database, "write", write_observed)
    monkeypatch.setattr(database, "sync", sync_observed)
    jobs.run_together([lambda: jobs.insert("a", _new()), lambda: jobs.insert("b", _new())])
    jobs.run_together([lambda: _claim(jobs, 1)])
    jobs.insert("c", _new())
    assert steps == ["unsynced", "unsynced", "sync", "unsynced", "synced"]


def test_group_whose_sync_fails_has_failed(
    jobs: DatabaseJobs, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise FullStorageError

    monkeypatch.setattr(database, "sync", fail)
    results = jobs.run_together([lambda: jobs.insert("a", _new()), lambda: jobs.lookup("x")])
    assert [type(result) for result in results] == [FullStorageError, FullStorageError]


@pytest.mark.parametrize("hours", [-1, 1])
def test_clocks_of_servers_do_not_matter_for_signs_of_life(
    jobs: DatabaseJobs, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    _insert(jobs, "j")
    _claim_one(jobs)
    with monkeypatch.context() as patch:
        for module in (jobs_module, job_rows, clock):
            patch.setattr(module, "now_us", lambda: int(time.time() * 1e6) + hours * 3_600_000_000)
        jobs.keep_alive("me")
    assert jobs.recover("new", Recovery.RESUME) == 0

    monkeypatch.setattr(jobs_module, "_DEAD_AFTER_US", 0)
    assert jobs.recover("new", Recovery.RESUME) == 1


def test_forgotten_jobs_are_abandoned_if_they_were_begun(jobs: DatabaseJobs) -> None:
    _insert(jobs, "begun", "done")
    begun, done = _claim(jobs, 2)
    saved = jobs.save(begun, Step({"at": 2}), runtime=1)
    jobs.save(done, Step(is_last=True), runtime=1)
    abandoned: list[Job] = []

    def abandon(job: Job) -> Apply:
        abandoned.append(job)
        return lambda tx: applied.append(tx.row("lock_job", {"job_id": job.job_id}) is not None)

    applied: list[bool] = []
    is_shared = jobs._is_shared
    # Where others live, a finished job without an owner may be theirs.
    assert jobs.recover("new", Recovery.FORGET, abandon) == (1 if is_shared else 2)
    assert abandoned == [saved]
    assert applied == [True]
    assert jobs.list_ids(JobFilter()) == (["done"] if is_shared else [])
