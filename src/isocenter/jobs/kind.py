"""What a kind of job must offer to the engine."""

from collections.abc import AsyncIterator
from typing import Protocol

from isocenter.jobs.records import Apply, FailedItem, Job, NewJob, Step

__all__ = ["JobKind"]


class JobKind(Protocol):
    """One type of work, for example archives; one object serves all its jobs.

    Attributes
    ----------
    name
        The type in answers (behaviour manual §17).
    """

    name: str

    def run(self, job: Job) -> AsyncIterator[Step]:
        """Work, from the checkpoint of the job on.

        Each yielded step is saved before the next one begins; the job is paused, cancelled or given
        up for a restart of the server only between steps, so a step should take well below a
        second, or belong to a kind that may be cut off in the middle of a step
        (`EngineOptions.interruptible`): then it is cancelled, and may still yield what it has done.
        A step that was not saved is repeated after a crash, so it must be repeatable. The
        iterator is closed in any case. If it ends without a last step, the job has succeeded.

        Raises
        ------
        ServerError
            Ends the job as a failure.
        """
        ...

    def abandon(self, job: Job) -> Apply | None:
        """Build the change that removes what an unfinished job has left in the database.

        It runs in the transaction that makes the job a failure, or that begins it anew.
        """
        ...

    def build_retry(self, job: Job, failed: list[FailedItem]) -> NewJob:
        """Build a job that deals with the failed items of a finished one only.

        Raises
        ------
        BadJobStateError
            If this kind cannot.
        """
        ...
