"""Where jobs are kept: what a database must offer to the engine."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from isocenter.jobs.claims import Limits
from isocenter.jobs.records import (
    Apply,
    FailedItem,
    Failure,
    Job,
    JobFilter,
    JobMark,
    NewJob,
    Step,
)
from isocenter.jobs.states import Action, JobState

__all__ = ["ActionResult", "Claim", "JobCounts", "JobStore", "Recovery"]


class Recovery(Enum):
    """What becomes of the jobs that were not finished when their server ended."""

    RESUME = "resume"
    """They go on (option ``SaveJobs``)."""

    PAUSE = "pause"
    """They wait until somebody resumes them (``--no-jobs``)."""

    FORGET = "forget"
    """All jobs are forgotten, finished or not (``SaveJobs`` is false).

    Where several servers share a database, this and `PAUSE` concern only jobs that ran on a server
    that is dead: all others may belong to servers that live.
    """


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What an action did.

    Attributes
    ----------
    job
        After the action; ``None`` if there is no such job.
    is_possible
        False if nothing can be done in that state; the job is as it was then.
    """

    job: Job | None
    is_possible: bool


@dataclass(frozen=True, slots=True)
class JobCounts:
    """How many jobs there are of each state, those in the history included."""

    by_state: Mapping[JobState, int]

    def _sum(self, *states: JobState) -> int:
        return sum(self.by_state.get(state, 0) for state in states)

    @property
    def pending(self) -> int:
        """Those that wait, put aside or not."""
        return self._sum(JobState.PENDING, JobState.RETRY)

    @property
    def running(self) -> int:
        """Those that run."""
        return self._sum(JobState.RUNNING)

    @property
    def success(self) -> int:
        """Those that have succeeded."""
        return self._sum(JobState.SUCCESS)

    @property
    def failed(self) -> int:
        """Those that have failed."""
        return self._sum(JobState.FAILURE)


@dataclass(frozen=True, slots=True)
class Claim:
    """Jobs that were taken from the queue.

    Attributes
    ----------
    next_due_at
        When the first of the jobs that are put aside is due, in microseconds since 1970; ``None``
        if there is none.
    """

    jobs: list[Job]
    next_due_at: int | None


class JobStore(Protocol):
    """Jobs in a database. Thread-safe; every method blocks and is one transaction.

    Finished jobs are forgotten by transactions that finish another one, those that completed
    first before the others, as many as the history has no room for; there may be a hundredth more.
    """

    def insert(self, job_id: str, new: NewJob) -> Job:
        """Keep a new job; durable on return. With a known idempotency key, the older job.

        Raises
        ------
        DuplicateResourceError
            If the key belongs to a job of another kind or with other arguments.
        """
        ...

    def lookup(self, job_id: str) -> Job | None:
        """Read a job, or ``None``."""
        ...

    def lookup_same(self, new: NewJob) -> Job | None:
        """Read the job that `insert` would find by the idempotency key, or ``None``.

        Raises
        ------
        DuplicateResourceError
            As for `insert`.
        """
        ...

    def find(self, selection: JobFilter) -> list[Job]:
        """List jobs in the order of their submission."""
        ...

    def list_ids(self, selection: JobFilter) -> list[str]:
        """List identifiers of jobs; in alphabetical order if nothing is skipped or limited."""
        ...

    def list_marks(self, completed_since: int, *, limit: int) -> list[JobMark]:
        """List the jobs that wait or run, and those that ended since a moment.

        Paused jobs are left out: they do nothing by themselves.

        Parameters
        ----------
        completed_since
            Microseconds since 1970, UTC.
        limit
            The most of each of the two to list; those that ended last go before others.
        """
        ...

    def read(self, job_ids: Sequence[str]) -> list[Job]:
        """Read some jobs, in any order; those that do not exist are left out."""
        ...

    def list_failed_items(self, job_id: str, *, limit: int) -> list[FailedItem]:
        """List what a job could not deal with."""
        ...

    def claim(
        self,
        owner: str,
        count: int,
        limits: Limits,
        *,
        kinds: Collection[str] | None = None,
        busy: Collection[str] = (),
    ) -> Claim:
        """Take up to ``count`` jobs that are due and may run, and make them running.

        First those of the highest priority, then first in, first out. Locks and limits hold for
        all servers of the database together.

        Parameters
        ----------
        kinds
            Leave others alone; ``None`` for all kinds.
        busy
            Identifiers of jobs to leave alone.
        """
        ...

    def run_together(self, operations: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run operations of this store in their order, which then wait for the disk together.

        Returns
        -------
        list
            What each operation returned, or the exception that it raised.
        """
        ...

    def save(self, job: Job, step: Step, *, runtime: int) -> Job | None:
        """Save a step of a running job; ``None`` if the job is not this owner's any more.

        A job that is to be canceled or paused is not put aside; it stays running, and the runner
        sees what was requested.

        Parameters
        ----------
        runtime
            Microseconds of work since the job was claimed or last saved.
        """
        ...

    def release(self, job: Job) -> None:
        """Give a running job back to the queue, its checkpoint kept, or do what was requested."""
        ...

    def fail(self, job: Job, failure: Failure, abandon: Apply | None) -> Job | None:
        """Make a running job a failure; ``None`` if it is not this owner's any more.

        One that was to be canceled anyhow is canceled.
        """
        ...

    def act(self, job_id: str, action: Action, abandon: Apply | None) -> ActionResult:
        """Do what a client asks, or note it for the end of the step of a running job."""
        ...

    def delete(self, job_id: str) -> Job | None:
        """Forget a finished job; ``None`` if there is none, finished or not."""
        ...

    def recover(
        self,
        owner: str,
        recovery: Recovery,
        abandon: Callable[[Job], Apply | None] = lambda _: None,
    ) -> int:
        """Take care of the jobs of servers that have ended; tell how many there were.

        Parameters
        ----------
        owner
            The server that asks, whose own jobs go on.
        abandon
            Builds what removes the traces of an unfinished job (see `JobKind.abandon`), for those
            that are forgotten.
        """
        ...

    def list_requested(self, owner: str) -> dict[str, Action]:
        """Tell what is to become of the running jobs of a server, by their identifiers."""
        ...

    def keep_alive(self, owner: str) -> None:
        """Tell the other servers of the database that this one is alive."""
        ...

    def count(self) -> JobCounts:
        """Count the jobs of each state."""
        ...
