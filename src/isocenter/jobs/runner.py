"""One job from its claim to its end, step by step."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar, cast

from isocenter.errors import (
    DatabaseUnavailableError,
    InternalError,
    SerializationFailureError,
    ServerError,
)
from isocenter.jobs.grouping import RunBlocking
from isocenter.jobs.kind import JobKind
from isocenter.jobs.port import JobStore
from isocenter.jobs.records import CANCELED, Failure, Job, Step
from isocenter.jobs.states import Action, JobState

__all__ = ["Runner"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

_ENDING = frozenset({Action.CANCEL, Action.PAUSE})
# A step has so much time to end by itself.
_GRACE_S = 0.5


class Runner:
    """Runs the steps of a job and saves each of them.

    Parameters
    ----------
    on_saved
        Told of the job after each step and at its end.
    is_interruptible
        Whether a step that waits for others is cut off when somebody cancels or pauses the job.
    """

    def __init__(
        self,
        store: JobStore,
        run_blocking: RunBlocking,
        kind: JobKind,
        job: Job,
        on_saved: Callable[[Job], None],
        *,
        is_interruptible: bool = False,
    ) -> None:
        self._store = store
        self._run_blocking = run_blocking
        self._kind = kind
        self._job = job
        self._on_saved = on_saved
        self._is_interruptible = is_interruptible
        # The task that runs a step, while it does.
        self._stepping: asyncio.Task[Any] | None = None
        self._is_interrupted = False
        self._is_stopping = False
        # The database has not taken something, which says nothing about the job.
        self._is_unsaved = False
        self._requested = job.requested
        self._since = time.monotonic_ns()

    def request(self, action: Action) -> None:
        """Note what is to become of the job at the end of its step."""
        self._requested = action
        if self._is_interruptible and action in _ENDING:
            asyncio.get_running_loop().call_later(_GRACE_S, self._interrupt)

    def _interrupt(self) -> None:
        if self._stepping is not None and not self._is_interrupted:
            self._is_interrupted = True
            self._stepping.cancel()

    def stop(self) -> None:
        """Give the job back to the queue at the end of its step."""
        self._is_stopping = True

    async def run(self) -> Job | None:
        """Work until the job has ended, was paused or given back; ``None`` if it was taken away.

        Raises
        ------
        ServerError
            If the database does not take the result; the job is taken up again after a while.
        """
        try:
            return await self._run_steps()
        except asyncio.CancelledError:
            raise
        except ServerError as error:
            if self._is_unsaved:
                raise
            if self._requested is Action.CANCEL:
                return await self._fail(CANCELED)
            failure = _describe(error)
            _log.warning(
                "a job failed",
                extra={
                    "job": self._job.job_id,
                    "kind": self._job.kind,
                    "code": failure.code,
                    "reason": failure.details,
                },
            )
            return await self._fail(failure)
        except Exception:  # noqa: BLE001 - a bug of one kind must not end the engine
            _log.exception("a job broke", extra={"job": self._job.job_id, "kind": self._job.kind})
            return await self._fail(_describe(InternalError()))

    async def _run_steps(self) -> Job | None:
        steps = cast(Any, self._kind.run(self._job))
        # The steps are closed, and have tidied up, before anybody else can claim the job.
        async with aclosing(steps):
            while self._requested not in _ENDING and not self._is_stopping:
                step = await self._next(steps)
                if step is None:
                    break
                saved = await self._save(step)
                if saved is None or saved.state is not JobState.RUNNING:
                    return saved
        return await self._end_as_requested()

    async def _next(self, steps: AsyncIterator[Step]) -> Step | None:
        """Run one step; ``None`` if it was cut off. The end of the iterator is a last step."""
        task = self._stepping = cast("asyncio.Task[Any]", asyncio.current_task())
        try:
            return await anext(steps)
        except StopAsyncIteration:
            return Step(is_last=True)
        except asyncio.CancelledError:
            # Perhaps somebody has stopped the server as well.
            if not self._is_interrupted or task.cancelling() > 1:
                raise
            return None
        finally:
            self._stepping = None
            if self._is_interrupted:
                task.uncancel()

    async def _end_as_requested(self) -> Job | None:
        """Cancel, pause or give back the job, as somebody asked for."""
        if self._requested is Action.CANCEL:
            return await self._fail(CANCELED)
        await self._ask(self._store.release, self._job)
        job = await self._ask(self._store.lookup, self._job.job_id)
        if job is not None:
            self._on_saved(job)
        return job

    async def _ask(self, operation: Callable[..., T], /, *arguments: Any) -> T:
        """Let the store do something, and note if it cannot now."""
        try:
            return await self._run_blocking(operation, *arguments)
        except (DatabaseUnavailableError, SerializationFailureError):
            self._is_unsaved = True
            raise

    async def _save(self, step: Step) -> Job | None:
        now = time.monotonic_ns()
        runtime = (now - self._since) // 1000
        saved = await self._ask(partial(self._store.save, self._job, step, runtime=runtime))
        self._since = now
        if saved is not None:
            self._job = saved
            self._requested = self._requested or saved.requested
            self._on_saved(saved)
        return saved

    async def _fail(self, failure: Failure) -> Job | None:
        abandon = self._kind.abandon(self._job)
        failed = await self._ask(self._store.fail, self._job, failure, abandon)
        if failed is not None:
            self._on_saved(failed)
        return failed


def _describe(error: ServerError) -> Failure:
    return Failure(error.code, error.details or error.message, error.payload)
