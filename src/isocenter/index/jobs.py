"""Jobs in the index database: rows, claims, checkpoints.

References
----------
Orthanc REST: jobs engine (behaviour manual §16); `isocenter.jobs.port`
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from isocenter.clock import now_us
from isocenter.errors import ServerError
from isocenter.index.job_rows import (
    insert_failed_items,
    insert_job,
    lock_job,
    lock_own,
    lookup_job,
    lookup_same,
    read_jobs,
    save_step,
    update_job,
)
from isocenter.index.port import Database, Transaction
from isocenter.jobs.claims import Candidate, Limits, choose
from isocenter.jobs.port import ActionResult, Claim, JobCounts, Recovery
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
from isocenter.jobs.states import FINISHED, TRANSITIONS, Action, JobState

__all__ = ["DatabaseJobs"]

T = TypeVar("T")

_LAST = 2**63 - 1
# A server that has not shown itself for that long is taken for dead.
_DEAD_AFTER_US = 30_000_000
# Jobs that are looked at when one is chosen; behind so many that may not run, others wait a round.
_MOST_CANDIDATES = 500
_MOST_FORGOTTEN = 1000
# Jobs whose arguments are in memory at once.
_ABANDONED_AT_ONCE = 20
# Another server that waits for the end of a job must have the time to see it.
_SHARED_GRACE_US = 60_000_000

# States that have an index: those jobs are found without passing over the history.
_LISTED_BY_STATE = frozenset({JobState.PENDING, JobState.RUNNING, JobState.RETRY})

_RECOVERED = {
    Recovery.RESUME: "list_orphaned_jobs",
    Recovery.PAUSE: "list_unfinished_jobs",
    Recovery.FORGET: "list_forgotten_jobs",
}


class _GroupOfThread(threading.local):
    """The group of operations that a thread is running, if it runs one."""

    is_grouped = False
    is_unsynced = False


class DatabaseJobs:
    """Jobs as rows (see `JobStore`).

    Parameters
    ----------
    history
        Finished jobs to remember.
    """

    def __init__(self, database: Database, *, history: int) -> None:
        self._database = database
        self._own = _GroupOfThread()
        self._history = history
        self._is_shared = not database.is_exclusive
        self._grace_us = 0 if database.is_exclusive else _SHARED_GRACE_US
        # Jobs that may end before the history is looked at; exact enough without a lock.
        self._until_forgetting = 0

    def run_together(self, operations: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run operations which wait for the disk together (see `JobStore.run_together`)."""
        results: list[Any] = []
        self._own.is_unsynced, self._own.is_grouped = False, True
        try:
            for operation in operations:
                try:
                    results.append(operation())
                except Exception as error:  # noqa: BLE001 - told to whoever waits for it
                    results.append(error)
        finally:
            self._own.is_grouped = False
        if self._own.is_unsynced:
            try:
                self._database.sync()
            except ServerError as error:
                return [error] * len(operations)
        return results

    def _write(self, change: Callable[[Transaction], T], *, can_be_redone: bool = False) -> T:
        """Run a change in one transaction, durable at its end or at that of its group."""
        if not self._own.is_grouped:
            return self._database.write(change, can_be_redone=can_be_redone)
        result = self._database.write(change, can_be_redone=True)
        self._own.is_unsynced = self._own.is_unsynced or not can_be_redone
        return result

    def insert(self, job_id: str, new: NewJob) -> Job:
        """Keep a new job (see `JobStore.insert`)."""
        return self._write(lambda tx: insert_job(tx, job_id, new))

    def lookup(self, job_id: str) -> Job | None:
        """Read a job (see `JobStore.lookup`)."""
        return self._database.read(lambda tx: lookup_job(tx, job_id))

    def lookup_same(self, new: NewJob) -> Job | None:
        """Find the job of the same request (see `JobStore.lookup_same`)."""
        return self._database.read(lambda tx: lookup_same(tx, new))

    def find(self, selection: JobFilter) -> list[Job]:
        """List jobs in the order of their submission (see `JobStore.find`)."""

        def query(tx: Transaction) -> list[Job]:
            job_ids = _list_ids(tx, selection)
            found = {job.job_id: job for job in read_jobs(tx, job_ids)}
            return [found[job_id] for job_id in job_ids if job_id in found]

        return self._database.read(query)

    def list_ids(self, selection: JobFilter) -> list[str]:
        """List identifiers of jobs (see `JobStore.list_ids`)."""
        job_ids = self._database.read(lambda tx: _list_ids(tx, selection))
        return sorted(job_ids) if not selection.since and selection.limit is None else job_ids

    def list_marks(self, completed_since: int, *, limit: int) -> list[JobMark]:
        """List the jobs that go on or ended since a moment (see `JobStore.list_marks`)."""
        keys = {"completed_since": completed_since, "limit": limit}

        def query(tx: Transaction) -> list[JobMark]:
            rows = [*tx.rows("list_waiting_marks", keys), *tx.rows("list_running_marks", keys)]
            rows += tx.rows("list_finished_marks", keys)
            return [JobMark(row[0], JobState(row[1]), *row[2:]) for row in rows]

        return self._database.read(query)

    def read(self, job_ids: Sequence[str]) -> list[Job]:
        """Read some jobs (see `JobStore.read`)."""
        return self._database.read(lambda tx: read_jobs(tx, job_ids))

    def list_failed_items(self, job_id: str, *, limit: int) -> list[FailedItem]:
        """List what a job could not deal with (see `JobStore.list_failed_items`)."""
        keys = {"job_id": job_id, "limit": limit}
        rows = self._database.read(lambda tx: tx.rows("list_failed_items", keys))
        return [FailedItem(*row) for row in rows]

    def claim(
        self,
        owner: str,
        count: int,
        limits: Limits,
        *,
        kinds: Collection[str] | None = None,
        busy: Collection[str] = (),
    ) -> Claim:
        """Take jobs that are due (see `JobStore.claim`)."""
        queue = _Queue(kinds, busy)
        # If a power failure takes it back, the job still waits; what is saved later comes after it.
        return self._write(lambda tx: _claim(tx, owner, queue, count, limits), can_be_redone=True)

    def save(self, job: Job, step: Step, *, runtime: int) -> Job | None:
        """Save a step of a running job (see `JobStore.save`)."""
        # A power failure may take back that a job has gone on; it does the step again. Not what a
        # step has changed: files are removed as soon as their rows are.
        can_be_redone = step.apply is None and not step.is_last and not step.failed_items
        return self._write(
            lambda tx: self._save(tx, job, step, runtime), can_be_redone=can_be_redone
        )

    def _save(self, tx: Transaction, job: Job, step: Step, runtime: int) -> Job | None:
        current = lock_own(tx, job)
        if current is None:
            return None
        if step.apply is not None:
            step.apply(tx)
        insert_failed_items(tx, job.job_id, step.failed_items)
        saved = replace(
            current,
            checkpoint=current.checkpoint if step.checkpoint is None else step.checkpoint,
            content=current.content if step.content is None else step.content,
            progress=current.progress if step.progress is None else step.progress,
            runtime=current.runtime + runtime,
        )
        if step.is_last:
            # A failed job keeps its locks, as it may be resubmitted.
            tx.run("delete_locks", {"job_id": job.job_id})
            saved = replace(saved, state=JobState.SUCCESS, progress=100)
            return self._finish(tx, saved, replace(step, progress=100))
        if step.retry_after_s is not None and current.requested is None:
            due_at = now_us() + int(step.retry_after_s * 1_000_000)
            saved = replace(saved, state=JobState.RETRY, resume_at=due_at, owner="")
        return save_step(tx, saved, step)

    def _finish(self, tx: Transaction, job: Job, step: Step | None = None) -> Job:
        """Save the end of a job, and forget those for which the history has no more room.

        Parameters
        ----------
        step
            What has changed besides; ``None`` to save all of the job.
        """
        completed_at = now_us()
        finished = replace(job, completed_at=completed_at, requested=None, resume_at=None, owner="")
        if step is None:
            update_job(tx, finished)
        else:
            save_step(tx, finished, step)
        self._until_forgetting -= 1
        if self._until_forgetting < 0:
            # Passing over a long history takes its time, so it may grow by a hundredth.
            self._until_forgetting = min(self._history // 100, _MOST_FORGOTTEN // 2)
            self._forget_old(tx, completed_at)
        return finished

    def _forget_old(self, tx: Transaction, now_us: int) -> None:
        keys = {
            "before": now_us - self._grace_us,
            "keep": self._history,
            "limit": _MOST_FORGOTTEN,
        }
        old = [row[0] for row in tx.rows("list_old_jobs", keys)]
        if old:
            _forget(tx, old)

    def release(self, job: Job) -> None:
        """Give a running job back, or do what was requested (see `JobStore.release`)."""

        def change(tx: Transaction) -> None:
            current = lock_own(tx, job)
            if current is not None:
                is_paused = current.requested is Action.PAUSE
                state = JobState.PAUSED if is_paused else JobState.PENDING
                requested = None if is_paused else current.requested
                released = replace(current, state=state, requested=requested, owner="")
                save_step(tx, released, Step())

        self._write(change)

    def fail(self, job: Job, failure: Failure, abandon: Apply | None) -> Job | None:
        """Make a running job a failure (see `JobStore.fail`)."""

        def change(tx: Transaction) -> Job | None:
            current = lock_own(tx, job)
            if current is None:
                return None
            if abandon is not None:
                abandon(tx)
            reason = CANCELED if current.requested is Action.CANCEL else failure
            failed = replace(current, state=JobState.FAILURE, failure=reason)
            return self._finish(tx, failed, Step())

        return self._write(change)

    def act(self, job_id: str, action: Action, abandon: Apply | None) -> ActionResult:
        """Do what a client asks (see `JobStore.act`)."""
        return self._write(lambda tx: self._act(tx, job_id, action, abandon))

    def _act(
        self, tx: Transaction, job_id: str, action: Action, abandon: Apply | None
    ) -> ActionResult:
        job = lock_job(tx, job_id)
        if job is None:
            return ActionResult(None, is_possible=False)
        target = TRANSITIONS.get((job.state, action))
        if target is None:
            return ActionResult(job, is_possible=False)
        if job.state is JobState.RUNNING:
            return ActionResult(update_job(tx, replace(job, requested=action)), is_possible=True)
        if abandon is not None and action in {Action.CANCEL, Action.RESUBMIT}:
            abandon(tx)
        if target is JobState.FAILURE:
            canceled = replace(job, state=target, failure=CANCELED)
            return ActionResult(self._finish(tx, canceled), is_possible=True)
        if action is Action.RESUBMIT:
            tx.run("delete_failed_items", {"job_id": job_id})
            job = _begin_anew(job)
        changed = replace(job, state=target, requested=None, resume_at=None, owner="")
        return ActionResult(update_job(tx, changed), is_possible=True)

    def delete(self, job_id: str) -> Job | None:
        """Forget a finished job (see `JobStore.delete`)."""

        def change(tx: Transaction) -> Job | None:
            job = lock_job(tx, job_id)
            if job is None or job.state not in FINISHED:
                return None
            _forget(tx, [job_id])
            return job

        return self._write(change)

    def recover(
        self,
        owner: str,
        recovery: Recovery,
        abandon: Callable[[Job], Apply | None] = lambda _: None,
    ) -> int:
        """Take care of the jobs of servers that have ended (see `JobStore.recover`)."""
        statement = _RECOVERED[recovery]
        state = JobState.PAUSED if recovery is Recovery.PAUSE else JobState.PENDING
        keys: dict[str, Any] = {"owner": owner, "silence": _DEAD_AFTER_US}
        if recovery is not Recovery.RESUME:
            keys["is_shared"] = int(self._is_shared)

        def change(tx: Transaction) -> int:
            tx.run("forget_dead_owners", {"silence": _DEAD_AFTER_US})
            job_ids = [row[0] for row in tx.rows(statement, keys)]
            if job_ids and recovery is Recovery.FORGET:
                _abandon_unfinished(tx, job_ids, abandon)
                _forget(tx, job_ids)
            elif job_ids:
                tx.run("set_job_state", {"state": int(state), "job_ids": job_ids})
            return len(job_ids)

        if not self._database.read(lambda tx: tx.rows(statement, keys)):
            return 0
        return self._write(change)

    def list_requested(self, owner: str) -> dict[str, Action]:
        """Tell what is to become of jobs (see `JobStore.list_requested`)."""
        rows = self._database.read(lambda tx: tx.rows("list_requested_of_jobs", {"owner": owner}))
        return {str(job_id): Action(requested) for job_id, requested in rows}

    def keep_alive(self, owner: str) -> None:
        """Tell the other servers that this one is alive (see `JobStore.keep_alive`)."""
        self._write(lambda tx: tx.run("keep_owner_alive", {"owner": owner}))

    def count(self) -> JobCounts:
        """Count the jobs of each state (see `JobStore.count`)."""
        rows = self._database.read(lambda tx: tx.rows("count_jobs"))
        return JobCounts({JobState(state): int(number) for state, number in rows})


@dataclass(frozen=True, slots=True)
class _Queue:
    """Which of the waiting jobs a server looks at."""

    kinds: Collection[str] | None
    busy: Collection[str]

    def list_due(self, tx: Transaction, limit: int) -> list[tuple[Any, ...]]:
        keys = {
            "kinds": sorted(self.kinds or ()),
            "all_kinds": int(self.kinds is None),
            "busy": sorted(self.busy),
            "limit": limit,
        }
        return tx.rows("list_due_jobs", keys)


def _claim(tx: Transaction, owner: str, queue: _Queue, count: int, limits: Limits) -> Claim:
    # Servers choose one after the other, as each has to see what those before it have taken.
    tx.row("lock_queue")
    now = now_us()
    next_due_at = _get_next_due(tx)
    if next_due_at is not None and next_due_at <= now:
        tx.run("wake_due_jobs", {"now": now})
        next_due_at = _get_next_due(tx)
    is_limited = bool(limits.by_kind) or limits.per_destination > 0
    candidates, held = _list_candidates(tx, queue, _MOST_CANDIDATES if is_limited else count)
    running = [
        (str(kind), str(destination), int(number))
        for kind, destination, number in (tx.rows("count_running_jobs") if is_limited else ())
    ]
    chosen = choose(candidates, running, count, limits, held=held)
    if chosen:
        tx.run("claim_jobs", {"owner": owner, "now": now, "job_ids": chosen})
    found = {
        # Only a first claim tells the time of the start.
        job.job_id: replace(job, is_new=job.started_at == now)
        for job in read_jobs(tx, chosen)
    }
    return Claim([found[job_id] for job_id in chosen], next_due_at)


def _get_next_due(tx: Transaction) -> int | None:
    """Tell when the first of the jobs that were put aside is due, in microseconds since 1970."""
    row = tx.row("next_due_job")
    return None if row is None else row[0]


def _list_candidates(
    tx: Transaction, queue: _Queue, limit: int
) -> tuple[list[Candidate], set[str]]:
    """List the jobs that are due in their order, and those of their locks that are held."""
    candidates, held = _read_candidates(tx, queue, limit)
    if limit < _MOST_CANDIDATES and any(candidate.locks for candidate in candidates):
        # Those that must wait let others pass.
        return _read_candidates(tx, queue, _MOST_CANDIDATES)
    return candidates, held


def _read_candidates(
    tx: Transaction, queue: _Queue, limit: int
) -> tuple[list[Candidate], set[str]]:
    due = queue.list_due(tx, limit)
    locks: defaultdict[str, set[str]] = defaultdict(set)
    held: set[str] = set()
    if due:
        for job_id, name, is_held in tx.rows("list_locks", {"job_ids": [row[0] for row in due]}):
            locks[job_id].add(name)
            if is_held:
                held.add(name)
    return [Candidate(row[0], row[1], row[2], frozenset(locks[row[0]])) for row in due], held


def _abandon_unfinished(
    tx: Transaction, job_ids: Sequence[str], abandon: Callable[[Job], Apply | None]
) -> None:
    """Remove what unfinished jobs have left, before they are forgotten."""
    keys = {"job_ids": list(job_ids)}
    unfinished = [row[0] for row in tx.rows("list_unfinished_of_jobs", keys)]
    for start in range(0, len(unfinished), _ABANDONED_AT_ONCE):
        for job in read_jobs(tx, unfinished[start : start + _ABANDONED_AT_ONCE]):
            apply = abandon(job)
            if apply is not None:
                apply(tx)


def _forget(tx: Transaction, job_ids: Sequence[str]) -> None:
    """Delete jobs; what they offer for download goes to the list of removals."""
    tx.run("insert_removals_of_jobs", {"job_ids": list(job_ids)})
    tx.run("delete_jobs", {"job_ids": list(job_ids)})


def _begin_anew(job: Job) -> Job:
    return replace(
        job,
        checkpoint=None,
        progress=0,
        runtime=0,
        started_at=None,
        completed_at=None,
        failure=None,
    )


def _list_ids(tx: Transaction, selection: JobFilter) -> list[str]:
    keys = {
        "states": [int(state) for state in selection.states or JobState],
        "kinds": list(selection.kinds),
        "all_kinds": int(not selection.kinds),
        "since": selection.since,
        "limit": _LAST if selection.limit is None else selection.limit,
    }
    is_short = bool(selection.states) and _LISTED_BY_STATE.issuperset(selection.states)
    statement = "list_unfinished_ids" if is_short else "list_jobs"
    if not selection.states and not selection.kinds:
        statement = "list_all_jobs"
    return [row[0] for row in tx.rows(statement, keys)]
