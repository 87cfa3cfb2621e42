"""Jobs in the index database: rows, claims, checkpoints.

References
----------
Orthanc REST: jobs engine (behaviour manual §16); `isocenter.jobs.port`
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from isocenter.clock import now_us
from isocenter.errors import DuplicateResourceError
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

__all__ = ["DatabaseJobs", "forget_failed_items", "insert_job", "is_own", "set_arguments"]

_LAST = 2**63 - 1
# A server that has not shown itself for that long is taken for dead.
_DEAD_AFTER_US = 30_000_000
# Jobs that are looked at when one is chosen; behind so many that may not run, others wait a round.
_MOST_CANDIDATES = 500
_MOST_FORGOTTEN = 1000
# Another server that waits for the end of a job must have the time to see it.
_SHARED_GRACE_US = 60_000_000

# States that have an index: those jobs are found without passing over the history.
_LISTED_BY_STATE = frozenset({JobState.PENDING, JobState.RUNNING, JobState.RETRY})

_RECOVERED = {
    Recovery.RESUME: "list_orphaned_jobs",
    Recovery.PAUSE: "list_unfinished_jobs",
    Recovery.FORGET: "list_forgotten_jobs",
}

# Arguments that do not tell requests apart: the same client may have got another address.
_INCIDENTAL = frozenset({"origin"})

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class DatabaseJobs:
    """Jobs as rows (see `JobStore`).

    Parameters
    ----------
    history
        Finished jobs to remember.
    """

    def __init__(self, database: Database, *, history: int) -> None:
        self._database = database
        self._history = history
        self._is_shared = not database.is_exclusive
        self._grace_us = 0 if database.is_exclusive else _SHARED_GRACE_US
        # Jobs that may end before the history is looked at; exact enough without a lock.
        self._until_forgetting = 0

    def insert(self, job_id: str, new: NewJob) -> Job:
        """Keep a new job (see `JobStore.insert`)."""
        return self._database.write(lambda tx: insert_job(tx, job_id, new))

    def lookup(self, job_id: str) -> Job | None:
        """Read a job (see `JobStore.lookup`)."""
        return self._database.read(lambda tx: _lookup(tx, job_id))

    def lookup_same(self, new: NewJob) -> Job | None:
        """Find the job of the same request (see `JobStore.lookup_same`)."""
        return self._database.read(lambda tx: _lookup_same(tx, new))

    def find(self, selection: JobFilter) -> list[Job]:
        """List jobs in the order of their submission (see `JobStore.find`)."""

        def query(tx: Transaction) -> list[Job]:
            job_ids = _list_ids(tx, selection)
            found = {job.job_id: job for job in _read(tx, job_ids)}
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
        return self._database.read(lambda tx: _read(tx, job_ids))

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
        return self._database.write(
            lambda tx: _claim(tx, owner, queue, count, limits), can_be_redone=True
        )

    def save(self, job: Job, step: Step, *, runtime: int) -> Job | None:
        """Save a step of a running job (see `JobStore.save`)."""
        # A power failure may take back that a job has gone on; it does the step again. Not what a
        # step has changed: files are removed as soon as their rows are.
        can_be_redone = step.apply is None and not step.is_last and not step.failed_items
        return self._database.write(
            lambda tx: self._save(tx, job, step, runtime), can_be_redone=can_be_redone
        )

    def _save(self, tx: Transaction, job: Job, step: Step, runtime: int) -> Job | None:
        current = _lock_own(tx, job)
        if current is None:
            return None
        if step.apply is not None:
            step.apply(tx)
        _insert_failed_items(tx, job.job_id, step.failed_items)
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
            return self._finish(tx, replace(saved, state=JobState.SUCCESS, progress=100))
        if step.retry_after_s is not None:
            due_at = now_us() + int(step.retry_after_s * 1_000_000)
            saved = replace(saved, state=JobState.RETRY, resume_at=due_at, owner="")
        return _update(tx, saved)

    def _finish(self, tx: Transaction, job: Job) -> Job:
        """Save the end of a job, and forget those for which the history has no more room."""
        completed_at = now_us()
        finished = _update(
            tx, replace(job, completed_at=completed_at, requested=None, resume_at=None, owner="")
        )
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
            current = _lock_own(tx, job)
            if current is not None:
                is_paused = current.requested is Action.PAUSE
                state = JobState.PAUSED if is_paused else JobState.PENDING
                requested = None if is_paused else current.requested
                _update(tx, replace(current, state=state, requested=requested, owner=""))

        self._database.write(change)

    def fail(self, job: Job, failure: Failure, abandon: Apply | None) -> Job | None:
        """Make a running job a failure (see `JobStore.fail`)."""

        def change(tx: Transaction) -> Job | None:
            current = _lock_own(tx, job)
            if current is None:
                return None
            if abandon is not None:
                abandon(tx)
            return self._finish(tx, replace(current, state=JobState.FAILURE, failure=failure))

        return self._database.write(change)

    def act(self, job_id: str, action: Action, abandon: Apply | None) -> ActionResult:
        """Do what a client asks (see `JobStore.act`)."""
        return self._database.write(lambda tx: self._act(tx, job_id, action, abandon))

    def _act(
        self, tx: Transaction, job_id: str, action: Action, abandon: Apply | None
    ) -> ActionResult:
        job = _lock(tx, job_id)
        if job is None:
            return ActionResult(None, is_possible=False)
        target = TRANSITIONS.get((job.state, action))
        if target is None:
            return ActionResult(job, is_possible=False)
        if job.state is JobState.RUNNING:
            return ActionResult(_update(tx, replace(job, requested=action)), is_possible=True)
        if abandon is not None and action in {Action.CANCEL, Action.RESUBMIT}:
            abandon(tx)
        if target is JobState.FAILURE:
            canceled = replace(job, state=target, failure=CANCELED)
            return ActionResult(self._finish(tx, canceled), is_possible=True)
        if action is Action.RESUBMIT:
            tx.run("delete_failed_items", {"job_id": job_id})
            job = _begin_anew(job)
        changed = replace(job, state=target, requested=None, resume_at=None, owner="")
        return ActionResult(_update(tx, changed), is_possible=True)

    def delete(self, job_id: str) -> Job | None:
        """Forget a finished job (see `JobStore.delete`)."""

        def change(tx: Transaction) -> Job | None:
            job = _lock(tx, job_id)
            if job is None or job.state not in FINISHED:
                return None
            _forget(tx, [job_id])
            return job

        return self._database.write(change)

    def recover(self, owner: str, recovery: Recovery) -> int:
        """Take care of the jobs of servers that have ended (see `JobStore.recover`)."""
        statement = _RECOVERED[recovery]
        state = JobState.PAUSED if recovery is Recovery.PAUSE else JobState.PENDING
        keys: dict[str, Any] = {"owner": owner, "since": now_us() - _DEAD_AFTER_US}
        if recovery is not Recovery.RESUME:
            keys["is_shared"] = int(self._is_shared)

        def change(tx: Transaction) -> int:
            tx.run("forget_dead_owners", {"since": keys["since"]})
            job_ids = [row[0] for row in tx.rows(statement, keys)]
            if job_ids and recovery is Recovery.FORGET:
                _forget(tx, job_ids)
            elif job_ids:
                tx.run("set_job_state", {"state": int(state), "job_ids": job_ids})
            return len(job_ids)

        if not self._database.read(lambda tx: tx.rows(statement, keys)):
            return 0
        return self._database.write(change)

    def keep_alive(self, owner: str) -> None:
        """Tell the other servers that this one is alive (see `JobStore.keep_alive`)."""
        keys = {"owner": owner, "now": now_us()}
        self._database.write(lambda tx: tx.run("keep_owner_alive", keys))

    def count(self) -> JobCounts:
        """Count the jobs of each state (see `JobStore.count`)."""
        rows = self._database.read(lambda tx: tx.rows("count_jobs"))
        return JobCounts({JobState(state): int(number) for state, number in rows})


def insert_job(tx: Transaction, job_id: str, new: NewJob) -> Job:
    """Keep a new job, as a part of a larger transaction (see `JobStore.insert`)."""
    if new.idempotency_key:
        # The same request may reach two servers at once.
        tx.row("lock_queue")
        if (known := _lookup_same(tx, new)) is not None:
            return known
    job = Job(
        job_id=job_id,
        kind=new.kind,
        state=JobState.PENDING,
        priority=new.priority,
        created_at=now_us(),
        arguments={**new.arguments, **new.drawn},
        content=new.content,
        destination=new.destination,
        user_data=new.user_data,
    )
    tx.run(
        "insert_job",
        {
            "job_id": job_id,
            "kind": new.kind,
            "priority": new.priority,
            "destination": new.destination,
            "created_at": job.created_at,
            "arguments": _format(job.arguments),
            "content": _format(new.content),
            "user_data": _format_optional(new.user_data),
            "idempotency_key": new.idempotency_key or None,
        },
    )
    if new.locks:
        names = [{"job_id": job_id, "name": name} for name in sorted(new.locks)]
        tx.run_many("insert_lock", names)
    return job


def forget_failed_items(tx: Transaction, job_id: str) -> None:
    """Forget what a job could not deal with, in the transaction in which it begins anew."""
    tx.run("delete_failed_items", {"job_id": job_id})


def is_own(tx: Transaction, job: Job) -> bool:
    """Tell whether a job still runs for whoever claimed it; it stays so in this transaction."""
    return _lock_own(tx, job) is not None


def set_arguments(tx: Transaction, job_id: str, arguments: Mapping[str, Any]) -> None:
    """Replace the arguments of a job, in the transaction of one of its steps."""
    tx.run("set_arguments", {"job_id": job_id, "arguments": _format(arguments)})


def _lookup_same(tx: Transaction, new: NewJob) -> Job | None:
    known = tx.row("select_job_of_key", {"idempotency_key": new.idempotency_key})
    return None if known is None else _check_same(_get(tx, known[0]), new)


def _check_same(job: Job, new: NewJob) -> Job:
    ignored = _INCIDENTAL.union(new.drawn)
    known, asked = (
        _format({name: value for name, value in arguments.items() if name not in ignored})
        for arguments in (job.arguments, new.arguments)
    )
    if job.kind != new.kind or known != asked:
        message = "the idempotency key belongs to another job"
        raise DuplicateResourceError(message)
    return job


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
    tx.run("wake_due_jobs", {"now": now})
    is_limited = bool(limits.by_kind) or limits.per_destination > 0
    candidates, held = _list_candidates(tx, queue, _MOST_CANDIDATES if is_limited else count)
    running = [
        (str(kind), str(destination), int(number))
        for kind, destination, number in (tx.rows("count_running_jobs") if is_limited else ())
    ]
    chosen = choose(candidates, running, count, limits, held=held)
    if chosen:
        tx.run("claim_jobs", {"owner": owner, "now": now, "job_ids": chosen})
    due = tx.row("next_due_job")
    found = {job.job_id: job for job in _read(tx, chosen)}
    return Claim([found[job_id] for job_id in chosen], None if due is None else due[0])


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


def _lock_own(tx: Transaction, job: Job) -> Job | None:
    """Read a running job of the same owner; ``None`` if it was taken away."""
    current = _lock(tx, job.job_id)
    if current is None or current.state is not JobState.RUNNING or current.owner != job.owner:
        return None
    return current


def _lock(tx: Transaction, job_id: str) -> Job | None:
    if not _is_name(job_id) or tx.row("lock_job", {"job_id": job_id}) is None:
        return None
    return _lookup(tx, job_id)


def _is_name(job_id: str) -> bool:
    """Tell whether a job may have that name; databases do not even take NUL as a question."""
    return "\0" not in job_id


def _get(tx: Transaction, job_id: str) -> Job:
    return _read(tx, [job_id])[0]


def _lookup(tx: Transaction, job_id: str) -> Job | None:
    found = _read(tx, [job_id])
    return found[0] if found else None


def _read(tx: Transaction, job_ids: Sequence[str]) -> list[Job]:
    known = [job_id for job_id in job_ids if _is_name(job_id)]
    if not known:
        return []
    return [_build_job(row) for row in tx.rows("select_jobs", {"job_ids": known})]


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
    return [row[0] for row in tx.rows(statement, keys)]


def _insert_failed_items(tx: Transaction, job_id: str, items: Sequence[FailedItem]) -> None:
    if items:
        tx.run_many(
            "insert_failed_item",
            [
                {"job_id": job_id, "name": i.name, "code": i.code, "details": i.details}
                for i in items
            ],
        )


def _build_job(row: tuple[Any, ...]) -> Job:
    return Job(
        job_id=row[0],
        kind=row[1],
        state=JobState(row[2]),
        priority=row[3],
        created_at=row[4],
        arguments=_decode(row[5]),
        content=_decode(row[6]),
        requested=Action(row[7]) if row[7] else None,
        checkpoint=_parse(row[8], _decode),
        destination=row[9],
        user_data=_parse(row[10], _decode),
        progress=row[11],
        started_at=row[12],
        completed_at=row[13],
        runtime=row[14],
        resume_at=row[15],
        failure=_parse(row[16], _parse_failure),
        owner=row[17],
    )


def _update(tx: Transaction, job: Job) -> Job:
    tx.run(
        "save_job",
        {
            "job_id": job.job_id,
            "state": int(job.state),
            "requested": "" if job.requested is None else job.requested.value,
            "owner": job.owner,
            "progress": job.progress,
            "content": _format(job.content),
            "checkpoint": _format_optional(job.checkpoint),
            "failure": None if job.failure is None else _format_failure(job.failure),
            "runtime": job.runtime,
            "started_at": job.started_at,
            "completed_at": job.completed_at,
            "resume_at": job.resume_at,
        },
    )
    return job


def _parse(text: str | None, parse: Callable[[str], Any]) -> Any:
    return None if text is None else parse(text)


def _parse_failure(text: str) -> Failure:
    return Failure(**_decode(text))


def _format_failure(failure: Failure) -> str:
    values: Mapping[str, Any] = {
        "code": failure.code,
        "details": failure.details,
        "payload": failure.payload,
    }
    return _format(values)


def _format(value: Any) -> str:
    return _encode(value).decode()


def _format_optional(value: Any) -> str | None:
    return None if value is None else _format(value)
