"""Rows of jobs: written, read, locked; parts of the transactions of `index.jobs` and of others.

References
----------
Orthanc REST: jobs engine (behaviour manual §16); `isocenter.jobs.port`
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from isocenter.clock import now_us
from isocenter.errors import DuplicateResourceError
from isocenter.index.port import Transaction
from isocenter.jobs.records import FailedItem, Failure, Job, NewJob, Step
from isocenter.jobs.states import Action, JobState

__all__ = [
    "forget_failed_items",
    "insert_failed_items",
    "insert_job",
    "is_own",
    "lock_job",
    "lock_own",
    "lookup_job",
    "lookup_same",
    "read_jobs",
    "save_step",
    "set_arguments",
    "update_job",
]

# Longer arguments are kept beside the row of the job.
_LONG_ARGUMENTS = 2000

# Arguments that do not tell requests apart: the same client may have got another address.
_INCIDENTAL = frozenset({"origin"})

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def insert_job(tx: Transaction, job_id: str, new: NewJob) -> Job:
    """Keep a new job, as a part of a larger transaction (see `JobStore.insert`)."""
    if new.idempotency_key:
        # The same request may reach two servers at once.
        tx.row("lock_queue")
        if (known := lookup_same(tx, new)) is not None:
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
    arguments = _format(job.arguments)
    tx.run(
        "insert_job",
        {
            "job_id": job_id,
            "kind": new.kind,
            "priority": new.priority,
            "destination": new.destination,
            "created_at": job.created_at,
            "arguments": "" if len(arguments) > _LONG_ARGUMENTS else arguments,
            "content": _format(new.content),
            "user_data": _format_optional(new.user_data),
            "idempotency_key": new.idempotency_key or None,
        },
    )
    _keep_long(tx, job_id, arguments)
    if new.locks:
        names = [{"job_id": job_id, "name": name} for name in sorted(new.locks)]
        tx.run_many("insert_lock", names)
    return job


def _keep_long(tx: Transaction, job_id: str, arguments: str) -> str:
    """Keep long arguments beside the job's row; give what belongs into that."""
    if len(arguments) <= _LONG_ARGUMENTS:
        return arguments
    tx.run("insert_arguments", {"job_id": job_id, "arguments": arguments})
    return ""


def forget_failed_items(tx: Transaction, job_id: str) -> None:
    """Forget what a job could not deal with, in the transaction in which it begins anew."""
    tx.run("delete_failed_items", {"job_id": job_id})


def is_own(tx: Transaction, job: Job) -> bool:
    """Tell whether a job still runs for whoever claimed it; it stays so in this transaction."""
    return lock_own(tx, job) is not None


def set_arguments(tx: Transaction, job_id: str, arguments: Mapping[str, Any]) -> None:
    """Replace the arguments of a job, in the transaction of one of its steps."""
    text = _format(arguments)
    tx.run("delete_arguments", {"job_id": job_id})
    tx.run("set_arguments", {"job_id": job_id, "arguments": _keep_long(tx, job_id, text)})


def lookup_same(tx: Transaction, new: NewJob) -> Job | None:
    """Find the job of the same request (see `JobStore.lookup_same`)."""
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


def lock_own(tx: Transaction, job: Job) -> Job | None:
    """Bring a running job up to date; ``None`` if it was taken away from its owner.

    Only its owner changes what is not read again here, as its arguments may be long.
    """
    row = tx.row("lock_job", {"job_id": job.job_id})
    if row is None or JobState(row[0]) is not JobState.RUNNING or row[1] != job.owner:
        return None
    requested = Action(row[2]) if row[2] else None
    return replace(job, state=JobState.RUNNING, requested=requested, runtime=row[3], is_new=False)


def lock_job(tx: Transaction, job_id: str) -> Job | None:
    """Read a job that nobody else changes until the end of the transaction; ``None`` if unknown."""
    if not _is_name(job_id) or tx.row("lock_job", {"job_id": job_id}) is None:
        return None
    return lookup_job(tx, job_id)


def _is_name(job_id: str) -> bool:
    """Tell whether a job may have that name; databases do not even take NUL as a question."""
    return "\0" not in job_id


def _get(tx: Transaction, job_id: str) -> Job:
    return read_jobs(tx, [job_id])[0]


def lookup_job(tx: Transaction, job_id: str) -> Job | None:
    """Read a job, or ``None``."""
    found = read_jobs(tx, [job_id])
    return found[0] if found else None


def read_jobs(tx: Transaction, job_ids: Sequence[str]) -> list[Job]:
    """Read some jobs, in any order; those that do not exist are left out."""
    known = [job_id for job_id in job_ids if _is_name(job_id)]
    if not known:
        return []
    return [_build_job(row) for row in tx.rows("select_jobs", {"job_ids": known})]


def insert_failed_items(tx: Transaction, job_id: str, items: Sequence[FailedItem]) -> None:
    """Keep what a job could not deal with."""
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


def update_job(tx: Transaction, job: Job) -> Job:
    """Save all of a job but its arguments."""
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


def save_step(tx: Transaction, job: Job, step: Step) -> Job:
    """Save what may have changed in a running job; content and checkpoint as the step says."""
    tx.run(
        "save_step",
        {
            "job_id": job.job_id,
            "state": int(job.state),
            "requested": "" if job.requested is None else job.requested.value,
            "owner": job.owner,
            "progress": step.progress,
            "content": _format_optional(step.content),
            "checkpoint": _format_optional(step.checkpoint),
            "failure": None if job.failure is None else _format_failure(job.failure),
            "runtime": job.runtime,
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
