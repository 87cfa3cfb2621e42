"""What happens, as one feed: changes of resources and progress of jobs, of all servers together.

Nothing is read while nobody listens. The jobs of this server report themselves; its changes, and
all that other servers of the same database do, are looked for at a bounded rate.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from isocenter.archive.changes import ChangeLog, ChangePage
from isocenter.archive.records import Change
from isocenter.archive.workers import Workers
from isocenter.clock import now_us
from isocenter.errors import ServerError
from isocenter.jobs.engine import Engine
from isocenter.jobs.records import Job, JobMark
from isocenter.jobs.states import FINISHED, JobState

__all__ = ["EventBatch", "EventFeed", "EventPosition"]

_log = logging.getLogger(__name__)

# What happens within this time is told together, of a job only the last state.
_INTERVAL_S = 0.1
# How often the database is asked about other servers.
_SHARED_INTERVAL_S = 1.0
# A page up to this size is read on the event loop.
_MOST_CHANGES = 200
_MOST_JOBS = 1000
_MOST_PENDING = 10_000
# Behind the end of any job.
_NEVER_US = 2**62
# A job that ended so long before a position is told again: clocks of servers differ, and what
# another server did is seen late.
_OVERLAP_US = 10_000_000
_BACKOFF_S = 5.0


@dataclass(frozen=True, slots=True)
class EventPosition:
    """Up to where a client has seen what happened.

    Attributes
    ----------
    change
        Number of the last change.
    moment
        Microseconds since 1970, UTC; says how new the jobs were that it saw.
    """

    change: int
    moment: int


@dataclass(frozen=True, slots=True)
class EventBatch:
    """What happened in a short time: changes first, then jobs as they are now.

    Attributes
    ----------
    position
        Behind the batch.
    """

    changes: tuple[Change, ...]
    jobs: tuple[Job, ...]
    position: EventPosition


class EventFeed:
    """Collects what happens. For the event loop's thread only.

    Parameters
    ----------
    changes
        The log of changes.
    workers
        Tell whether the index has changed.
    """

    def __init__(self, workers: Workers, changes: ChangeLog) -> None:
        self._workers = workers
        self._changes = changes
        self._jobs: Engine | None = None
        self._pending: dict[str, Job] = {}
        self._known: dict[str, JobMark] = {}
        self._is_open = False
        self._position = EventPosition(0, 0)
        self._generation = -1
        self._next_poll_at = 0.0

    @property
    def position(self) -> EventPosition:
        """Behind the last batch."""
        return self._position

    def bind(self, jobs: Engine) -> None:
        """Say who knows the jobs; to be called before the first `open`."""
        self._jobs = jobs

    def note_job(self, job: Job) -> None:
        """Take the new state of a job of this server."""
        if not self._is_open:
            return
        if len(self._pending) >= _MOST_PENDING and job.job_id not in self._pending:
            # The database does not answer, or the jobs end faster than anybody can be told.
            self._pending.pop(next(iter(self._pending)))
        self._pending[job.job_id] = job

    async def open(self) -> None:
        """Begin to collect, from now on."""
        page = await self._changes.find_last()
        self._generation = -1
        self._pending.clear()
        self._is_open = True
        self._position = EventPosition(page.last, now_us())
        self._known = {}
        if self._engine.is_shared:
            self._known = {mark.job_id: mark for mark in await self._list_marks()}

    def close(self) -> None:
        """Collect no more; what was not taken is forgotten."""
        self._is_open = False
        self._pending.clear()

    @property
    def _engine(self) -> Engine:
        assert self._jobs is not None, "bind() comes first"  # noqa: S101
        return self._jobs

    async def collect(self) -> EventBatch | None:
        """Wait a moment and take what has happened; ``None`` if nothing has."""
        await asyncio.sleep(_INTERVAL_S)
        try:
            return await self._collect_now()
        except ServerError as error:
            _log.warning("what happens cannot be read", extra={"error": str(error)})
            await asyncio.sleep(_BACKOFF_S)
            return None

    async def _collect_now(self) -> EventBatch | None:
        """Take what has happened since the last time, or ``None``."""
        moment = now_us()
        is_due = self._is_due()
        changes = await self._take_changes() if is_due else []
        jobs = await self._take_jobs(has_others=is_due and self._engine.is_shared)
        if not changes and not jobs:
            return None
        last = changes[-1].seq if changes else self._position.change
        self._position = EventPosition(last, moment)
        return EventBatch(tuple(changes), tuple(jobs), self._position)

    def _is_due(self) -> bool:
        """Tell whether there may be something new in the database."""
        if self._workers.reads_inline:
            return self._workers.get_generation() != self._generation
        now = asyncio.get_running_loop().time()
        if now < self._next_poll_at and self._generation != -1:
            return False
        self._next_poll_at = now + _SHARED_INTERVAL_S
        return True

    async def _take_changes(self) -> list[Change]:
        """Read the next page of changes."""
        # Read before: what is written meanwhile is found the next time.
        generation = self._workers.get_generation()
        page = await self._changes.find(
            since=self._position.change, until=None, limit=_MOST_CHANGES
        )
        self._generation = generation if page.is_done else -1
        return page.changes

    async def _take_jobs(self, *, has_others: bool) -> list[Job]:
        """Take the jobs of this server that went on, and find those of others."""
        own, self._pending = self._pending, {}
        if not self._engine.is_shared:
            return list(own.values())
        for job in own.values():
            self._remember(job)
        found = await self._find_others(own) if has_others else []
        return [*own.values(), *found]

    async def _find_others(self, own: Mapping[str, Job]) -> list[Job]:
        """Find the jobs that went on elsewhere; what this server knows itself goes before."""
        current = {mark.job_id: mark for mark in await self._list_marks()}
        moved = [name for name, mark in current.items() if self._known.get(name) != mark]
        # Paused, deleted, or at an end.
        moved += [
            name
            for name, mark in self._known.items()
            if name not in current and mark.state not in FINISHED
        ]
        wanted = [name for name in moved if name not in own][:_MOST_JOBS]
        jobs = await self._engine.read(wanted) if wanted else []
        for name in wanted:
            self._known.pop(name, None)
        for name in [name for name, mark in self._known.items() if _is_old(name, mark, current)]:
            del self._known[name]
        # Those that this server has noted meanwhile are newer.
        told = [job for job in jobs if job.job_id not in self._pending]
        for job in told:
            self._remember(job)
        return told

    def _remember(self, job: Job) -> None:
        if job.state is JobState.PAUSED:
            # It does nothing by itself; it is met again when it goes on.
            self._known.pop(job.job_id, None)
        else:
            self._known[job.job_id] = JobMark.of(job)

    async def _list_marks(self) -> list[JobMark]:
        return await self._engine.list_marks(self._position.moment - _OVERLAP_US, limit=_MOST_JOBS)

    async def read_missed(self, since: int) -> ChangePage:
        """Read a page of the changes behind a number."""
        return await self._changes.find(since=since, until=None, limit=_MOST_CHANGES)

    async def list_jobs(self, since: EventPosition | None) -> list[Job]:
        """List the jobs that wait or run, and those that ended since a position."""
        moment = _NEVER_US if since is None else since.moment - _OVERLAP_US
        marks = await self._engine.list_marks(moment, limit=_MOST_JOBS)
        return await self._engine.read([mark.job_id for mark in marks])

    async def lookup_job(self, job_id: str) -> Job | None:
        """Read a job, or ``None``."""
        return await self._engine.lookup(job_id)


def _is_old(name: str, mark: JobMark, current: Mapping[str, JobMark]) -> bool:
    """Tell whether a job ended so long ago that it is not listed any more."""
    return mark.state in FINISHED and name not in current
