"""All jobs of a server: submitted, run in order, controlled, remembered."""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from isocenter.errors import (
    BadJobStateError,
    InternalError,
    ReadOnlyError,
    ServerError,
    StillRunningError,
    UnknownItemError,
)
from isocenter.jobs.claims import Limits
from isocenter.jobs.grouping import GroupedCalls, RunBlocking
from isocenter.jobs.kind import JobKind
from isocenter.jobs.port import ActionResult, JobCounts, JobStore, Recovery
from isocenter.jobs.records import Apply, FailedItem, Job, JobFilter, JobMark, NewJob
from isocenter.jobs.runner import Runner
from isocenter.jobs.states import Action, JobState
from isocenter.jobs.waiting import Waiters

__all__ = ["Engine", "EngineOptions"]

_log = logging.getLogger(__name__)

# How long to leave the database alone after it failed.
_BACKOFF_S = 1.0
# Where other servers share the database, the queue is looked at this often; otherwise only when
# something happened.
_POLL_S = 1.0
_HEARTBEAT_S = 5.0
_MOST_FAILED_ITEMS = 100_000


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to run jobs.

    Attributes
    ----------
    concurrent
        Jobs of this server that run at once (option ``ConcurrentJobs``); at least 1.
    is_shared
        Other servers take jobs from the same database.
    interruptible
        Kinds whose steps wait for others, and are cut off when a client cancels or pauses the job,
        or the server stops.
    allowed
        Kinds to run and to submit; ``None`` for all that the server knows.
    """

    concurrent: int = 2
    limits: Limits = field(default_factory=Limits)
    recovery: Recovery = Recovery.RESUME
    is_shared: bool = False
    interruptible: frozenset[str] = frozenset()
    allowed: frozenset[str] | None = None


class Engine:
    """Runs jobs. For the event loop's thread only.

    Parameters
    ----------
    run_blocking
        Runs what waits for the database.
    kinds
        The types of jobs that can be submitted.
    on_saved
        Told of a job when it is submitted, after each of its steps, and when it ends.

    References
    ----------
    Orthanc REST: jobs engine (behaviour manual §16)
    """

    def __init__(
        self,
        store: JobStore,
        run_blocking: RunBlocking,
        kinds: Iterable[JobKind],
        options: EngineOptions,
        *,
        on_saved: Callable[[Job], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._run_blocking = run_blocking
        # Where other servers write as well, an operation may wait for one of them, and a sync can
        # not be shared by several transactions.
        self._change: RunBlocking = (
            run_blocking if options.is_shared else GroupedCalls(store.run_together, run_blocking)
        )
        self._kinds: Mapping[str, JobKind] = {kind.name: kind for kind in kinds}
        # Others are left to servers that can run them.
        self._claimed = frozenset(
            name for name in self._kinds if options.allowed is None or name in options.allowed
        )
        self._options = options
        self._on_saved = on_saved
        self._owner = uuid.uuid4().hex
        self._waiters = Waiters()
        self._wake = asyncio.Event()
        self._runners: dict[str, tuple[Runner, asyncio.Task[None]]] = {}
        self._dispatcher: asyncio.Task[None] | None = None
        # When a job that was put aside is due, in microseconds since 1970.
        self._next_due_at: int | None = None
        self._next_heartbeat = 0.0

    async def start(self) -> None:
        """Take care of the jobs that were left unfinished, and begin to run what waits."""
        if self._options.is_shared:
            # Before it claims anything, lest others take its jobs for those of a dead server.
            await self._run_blocking(self._store.keep_alive, self._owner)
        await self._run_blocking(
            self._store.recover, self._owner, self._options.recovery, self._abandon
        )
        self._dispatcher = asyncio.create_task(self._dispatch(), name="jobs dispatcher")

    async def stop(self, deadline_s: float) -> None:
        """End: running jobs stop after their step and go on at the next start.

        Parameters
        ----------
        deadline_s
            How long to wait for the steps; one that takes longer is repeated at the next start.
        """
        if self._dispatcher is not None:
            self._dispatcher.cancel()
            await asyncio.gather(self._dispatcher, return_exceptions=True)
        for runner, _ in self._runners.values():
            runner.stop()
        tasks = [task for _, task in self._runners.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=deadline_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def submit(self, new: NewJob) -> Job:
        """Accept a job; it is durable when this returns.

        Raises
        ------
        DuplicateResourceError
            If its idempotency key belongs to a different job.
        ReadOnlyError
            If this server may not run jobs of that kind.
        """
        return await self._submit(str(uuid.uuid4()), new)

    def wake(self) -> None:
        """Look at the queue, because somebody else has written a job into it."""
        self._wake.set()

    async def _submit(self, job_id: str, new: NewJob) -> Job:
        if new.kind not in self._kinds:
            raise InternalError(f"no kind of job is named {new.kind}")
        if new.kind not in self._claimed:
            raise ReadOnlyError("jobs of this kind change the archive")
        job = await self._change(self._store.insert, job_id, new)
        self._on_saved(job)
        self._wake.set()
        return job

    async def run(self, new: NewJob, timeout_s: float) -> Job:
        """Accept a job and wait for its end.

        Raises
        ------
        StillRunningError
            If it does not end in time; it goes on.
        DuplicateResourceError
            If its idempotency key belongs to a different job.
        """
        job_id = str(uuid.uuid4())
        # Before the job is there, lest it ends and is forgotten before anybody waits for it.
        future = self._waiters.begin(job_id)
        try:
            job = await self._submit(job_id, new)
            if job.job_id != job_id:
                return await self.wait(job.job_id, timeout_s)
            return await self._wait_for(future, job_id, timeout_s)
        finally:
            self._waiters.end(job_id, future)

    async def wait(self, job_id: str, timeout_s: float) -> Job:
        """Wait for the end of a job.

        Raises
        ------
        StillRunningError
            If it does not end in time; it goes on.
        UnknownItemError
            If there is no such job, or it was deleted meanwhile.
        """
        future = self._waiters.begin(job_id)
        try:
            job = await self._run_blocking(self._store.lookup, job_id)
            if job is None:
                raise _forgotten()
            return job if job.is_finished else await self._wait_for(future, job_id, timeout_s)
        finally:
            self._waiters.end(job_id, future)

    async def _wait_for(
        self, future: "asyncio.Future[Job | None]", job_id: str, timeout_s: float
    ) -> Job:
        try:
            async with asyncio.timeout(timeout_s):
                while not future.done() and self._options.is_shared:
                    await self._look_after(future, job_id)
                job = await future
        except TimeoutError as error:
            message = f"the job still runs; its state is at /jobs/{job_id}"
            raise StillRunningError(message) from error
        if job is None:
            raise _forgotten()
        return job

    async def _look_after(self, future: "asyncio.Future[Job | None]", job_id: str) -> None:
        """Wait a while for a job that another server may run, then see how it is."""
        await asyncio.wait([future], timeout=_POLL_S / 4)
        if not future.done():
            job = await self._run_blocking(self._store.lookup, job_id)
            if (job is None or job.is_finished) and not future.done():
                future.set_result(job)

    async def lookup(self, job_id: str) -> Job | None:
        """Read a job, or ``None``."""
        return await self._run_blocking(self._store.lookup, job_id)

    async def lookup_same(self, new: NewJob) -> Job | None:
        """Read the job that was submitted before with the idempotency key, or ``None``.

        Raises
        ------
        DuplicateResourceError
            If the key belongs to a different job.
        """
        return await self._run_blocking(self._store.lookup_same, new)

    async def find(self, selection: JobFilter) -> list[Job]:
        """List jobs in the order of their submission."""
        return await self._run_blocking(self._store.find, selection)

    async def list_ids(self, selection: JobFilter) -> list[str]:
        """List identifiers of jobs; in alphabetical order if nothing is skipped or limited."""
        return await self._run_blocking(self._store.list_ids, selection)

    @property
    def is_shared(self) -> bool:
        """Whether other servers take jobs from the same database."""
        return self._options.is_shared

    async def list_marks(self, completed_since: int, *, limit: int) -> list[JobMark]:
        """List the jobs that wait or run, and those that ended since a moment."""
        return await self._run_blocking(
            partial(self._store.list_marks, completed_since, limit=limit)
        )

    async def read(self, job_ids: Sequence[str]) -> list[Job]:
        """Read some jobs, in any order; those that do not exist are left out."""
        return await self._run_blocking(self._store.read, job_ids)

    async def list_failed_items(self, job_id: str, *, limit: int) -> list[FailedItem]:
        """List what a job could not deal with."""
        return await self._run_blocking(partial(self._store.list_failed_items, job_id, limit=limit))

    async def count(self) -> JobCounts:
        """Count the jobs of each state."""
        return await self._run_blocking(self._store.count)

    async def act(self, job_id: str, action: Action) -> ActionResult:
        """Pause, resume, cancel or resubmit a job; a running one at the end of its step."""
        job = await self._run_blocking(self._store.lookup, job_id)
        if job is None:
            return ActionResult(None, is_possible=False)
        abandon = self._abandon(job)
        result = await self._change(self._store.act, job_id, action, abandon)
        if result.is_possible and result.job is not None:
            if result.job.state is JobState.RUNNING and job_id in self._runners:
                self._runners[job_id][0].request(action)
            self._tell(result.job)
            self._wake.set()
        return result

    def _abandon(self, job: Job) -> Apply | None:
        """Build what removes the traces of a job, if its kind is known here."""
        kind = self._kinds.get(job.kind)
        return None if kind is None else kind.abandon(job)

    async def retry_failed(self, job_id: str, *, idempotency_key: str = "") -> Job:
        """Submit a job that deals with what a finished job could not deal with.

        Parameters
        ----------
        idempotency_key
            Of the request; empty if it has none.

        Raises
        ------
        UnknownItemError
            If there is no such job.
        BadJobStateError
            If it is not finished, nothing failed, or its kind cannot.
        DuplicateResourceError
            If the idempotency key belongs to a different job.
        """
        job = await self._run_blocking(self._store.lookup, job_id)
        if job is None:
            raise UnknownItemError("there is no such job")
        if not job.is_finished:
            raise BadJobStateError("the job has not ended")
        failed = await self.list_failed_items(job_id, limit=_MOST_FAILED_ITEMS)
        if not failed:
            raise BadJobStateError("no item of the job has failed")
        if job.kind not in self._kinds:
            raise BadJobStateError(f"this server knows no jobs of the kind {job.kind}")
        new = self._kinds[job.kind].build_retry(job, failed)
        return await self.submit(replace(new, idempotency_key=idempotency_key))

    async def delete(self, job_id: str) -> bool:
        """Forget a finished job; false if there is none."""
        job = await self._change(self._store.delete, job_id)
        if job is None:
            return False
        self._waiters.wake(job_id, None)
        return True

    async def _dispatch(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._start_due()
            except ServerError as error:
                _log.warning("the queue of jobs cannot be read", extra={"error": str(error)})
                await asyncio.sleep(_BACKOFF_S)
            await self._pause()

    async def _pause(self) -> None:
        """Wait until something happens, a job is due, or the other servers are to be looked at."""
        delays_s = [_POLL_S] if self._options.is_shared else []
        if self._next_due_at is not None:
            delays_s.append(max(0.0, self._next_due_at / 1e6 - time.time()))
        try:
            async with asyncio.timeout(min(delays_s, default=None)):
                await self._wake.wait()
        except TimeoutError:
            pass
        if self._options.is_shared and time.monotonic() >= self._next_heartbeat:
            self._next_heartbeat = time.monotonic() + _HEARTBEAT_S
            await self._watch_others()

    async def _watch_others(self) -> None:
        """Show that this server lives, and see what has become of the others and of its jobs."""
        try:
            await self._run_blocking(self._store.keep_alive, self._owner)
            await self._run_blocking(self._store.recover, self._owner, Recovery.RESUME)
            requests = await self._run_blocking(self._store.list_requested, self._owner)
            for job_id, action in requests.items():
                if job_id in self._runners:
                    self._runners[job_id][0].request(action)
        except ServerError as error:
            _log.warning("the other servers cannot be seen", extra={"error": str(error)})

    async def _start_due(self) -> None:
        free = self._options.concurrent - len(self._runners)
        if free <= 0:
            self._next_due_at = None
            return
        claim = await self._change(
            partial(
                self._store.claim,
                self._owner,
                free,
                self._options.limits,
                kinds=self._claimed,
                # A job that was given back, and whose task has not ended yet.
                busy=frozenset(self._runners),
            )
        )
        for job in claim.jobs:
            self._start(job)
        self._next_due_at = claim.next_due_at

    def _start(self, job: Job) -> None:
        runner = Runner(
            self._store,
            self._change,
            self._kinds[job.kind],
            job,
            self._tell,
            is_interruptible=job.kind in self._options.interruptible,
        )
        task = asyncio.create_task(self._run(runner, job), name=f"job {job.job_id}")
        self._runners[job.job_id] = (runner, task)
        self._tell(job)

    async def _run(self, runner: Runner, job: Job) -> None:
        try:
            await runner.run()
        except ServerError as error:
            _log.warning(
                "the database does not take the result of a job; it will be taken up again",
                extra={"job": job.job_id, "error": str(error)},
            )
            await asyncio.sleep(_BACKOFF_S)
            await self._give_back(job)
        finally:
            if self._runners.get(job.job_id, (None,))[0] is runner:
                del self._runners[job.job_id]
            self._wake.set()

    async def _give_back(self, job: Job) -> None:
        try:
            await self._change(self._store.release, job)
        except ServerError:
            _log.exception("a job waits for the next start", extra={"job": job.job_id})

    def _tell(self, job: Job) -> None:
        self._on_saved(job)
        if job.is_finished:
            self._waiters.wake(job.job_id, job)


def _forgotten() -> UnknownItemError:
    return UnknownItemError("there is no such job, or it was deleted before its end was seen")
