"""Jobs, their steps and what became of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from isocenter.jobs.states import FINISHED, Action, JobState

__all__ = [
    "CANCELED",
    "Apply",
    "FailedItem",
    "Failure",
    "Job",
    "JobFilter",
    "JobMark",
    "NewJob",
    "Step",
]

Apply = Callable[[Any], None]
"""A change of the database, run in the transaction that saves the step; may be run again."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed.

    Attributes
    ----------
    code
        Number of the error (behaviour manual §37).
    payload
        Machine-readable detail, ``{"Type": ..., "Content": ...}``, or ``None``.
    """

    code: int
    details: str = ""
    payload: Mapping[str, Any] | None = None


CANCELED = Failure(37, "the job was canceled")
"""Why a canceled job failed (behaviour manual §16.3)."""


@dataclass(frozen=True, slots=True)
class FailedItem:
    """One thing that a job could not deal with, while it went on with the others.

    Attributes
    ----------
    name
        What it is, for example the identifier of an instance.
    """

    name: str
    code: int
    details: str = ""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to submit.

    Attributes
    ----------
    arguments
        What the kind needs to do its work; JSON.
    content
        What clients see of it; JSON.
    destination
        Where it sends something, for the limit per destination; empty if nowhere.
    user_data
        Whatever the client wants to keep with the job; JSON, ``None`` if nothing.
    idempotency_key
        A second submission with the same key gives the first job; empty if there is none.
    drawn
        More arguments, drawn for this submission only: keys, numbers. Two submissions are the same
        even if these differ.
    locks
        Names of what nobody else may work on meanwhile: of two jobs that have one in common, the
        second in the queue is not begun while the first one runs or has to wait.
    """

    kind: str
    arguments: Mapping[str, Any]
    content: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    destination: str = ""
    user_data: Any = None
    idempotency_key: str = ""
    drawn: Mapping[str, Any] = field(default_factory=dict)
    locks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is kept; times in microseconds since 1970, UTC.

    Attributes
    ----------
    requested
        What is to become of a running job at the end of its step.
    checkpoint
        Where to go on after a pause or a crash; ``None`` for the beginning.
    progress
        0 to 100.
    runtime
        Microseconds of work, without the time in the queue.
    resume_at
        When a job in the state RETRY is due.
    owner
        The server that runs it; empty if none does.
    is_new
        It was claimed just now, and never before since its beginning: no step of it was cut off.
    """

    job_id: str
    kind: str
    state: JobState
    priority: int
    created_at: int
    arguments: Mapping[str, Any]
    content: Mapping[str, Any]
    requested: Action | None = None
    checkpoint: Mapping[str, Any] | None = None
    destination: str = ""
    user_data: Any = None
    progress: int = 0
    started_at: int | None = None
    completed_at: int | None = None
    runtime: int = 0
    resume_at: int | None = None
    failure: Failure | None = None
    owner: str = ""
    is_new: bool = field(default=False, compare=False)

    @property
    def is_finished(self) -> bool:
        """True if it will not go on by itself."""
        return self.state in FINISHED


@dataclass(frozen=True, slots=True)
class Step:
    """What a step has done; saved in one transaction before the next one begins.

    Attributes
    ----------
    checkpoint
        Where to go on; the step is not repeated once it is saved. ``None`` keeps the one before.
    content
        What clients see from now on; ``None`` for no change.
    apply
        Change of the database that belongs to the step.
    failed_items
        What could not be dealt with in this step.
    is_last
        The job has succeeded, in this very transaction.
    retry_after_s
        Put the job aside and go on after that many seconds.
    """

    checkpoint: Mapping[str, Any] | None = None
    progress: int | None = None
    content: Mapping[str, Any] | None = None
    apply: Apply | None = None
    failed_items: Sequence[FailedItem] = ()
    is_last: bool = False
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class JobMark:
    """How far a job is, to tell whether it has gone on since it was last looked at."""

    job_id: str
    state: JobState
    progress: int
    runtime: int
    requested: str

    @classmethod
    def of(cls, job: Job) -> "JobMark":
        """Mark a job."""
        requested = "" if job.requested is None else job.requested.value
        return cls(job.job_id, job.state, job.progress, job.runtime, requested)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list.

    Attributes
    ----------
    states, kinds
        Empty means all.
    since
        So many are skipped, in the order of submission.
    limit
        ``None`` means all.
    """

    states: tuple[JobState, ...] = ()
    kinds: tuple[str, ...] = ()
    since: int = 0
    limit: int | None = None
