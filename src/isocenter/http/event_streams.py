"""Server-sent events: one source, thousands of listeners, each with a bounded queue.

References
----------
HTML Living Standard §9.2 (server-sent events)
"""

import asyncio
import math
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from isocenter.archive.event_feed import EventBatch, EventFeed, EventPosition
from isocenter.archive.records import Change
from isocenter.errors import BadParameterError, TooManyRequestsError
from isocenter.jobs.records import Job

__all__ = ["EventFormats", "EventStreams", "Interest", "parse_position"]

_MOST_LISTENERS = 5000
# What waits for one client; a slower one is dropped, and comes back for what it has missed.
_MOST_WAITING = 10_000
_KEEP_ALIVE_S = 30.0
# How long a client that was dropped may take to read that.
_GRACE_S = 10.0
_RETRY_MS = 2000
# So many collections without a listener end the work: the next one may come at once.
_LINGER = 10
_POSITION = re.compile(r"(\d{1,18})\.(\d{1,18})", re.ASCII)

_BEGINNING = f"retry: {_RETRY_MS}\n: connected\n\n".encode()
_KEEP_ALIVE = b": keep-alive\n\n"
_TOO_SLOW = b": too slow; connect again with Last-Event-ID\n\n"
_STOPPING = b": the server stops; connect again with Last-Event-ID\n\n"


def parse_position(text: str) -> EventPosition:
    """Read what a client sends as ``Last-Event-ID``.

    Raises
    ------
    BadParameterError
        If it is no identifier of ours.
    """
    match = _POSITION.fullmatch(text.strip())
    if match is None:
        raise BadParameterError("the identifier of the last event is not one of this server")
    return EventPosition(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class Interest:
    """What a client wants to hear of.

    Attributes
    ----------
    job_id
        Only of this job; empty for all.
    """

    has_changes: bool = True
    has_jobs: bool = True
    job_id: str = ""


@dataclass(frozen=True, slots=True)
class EventFormats:
    """How events are written, as JSON in one line."""

    change: Callable[[Change], bytes]
    job: Callable[[Job], bytes]


class _Batch:
    """A batch, written once for each interest, however many clients share it."""

    def __init__(self, batch: EventBatch, before: EventPosition, formats: EventFormats) -> None:
        self._batch = batch
        self._before = before
        self._formats = formats
        self._written: dict[Interest, bytes] = {}
        self.size = len(batch.changes) + len(batch.jobs)

    def write(self, interest: Interest, after: int) -> bytes:
        """Write it without the changes that a client was told already, up to ``after``."""
        if self._batch.changes and self._batch.changes[0].seq <= after:
            return self._write(interest, after)
        written = self._written.get(interest)
        if written is None:
            written = self._written[interest] = self._write(interest, 0)
        return written

    def _write(self, interest: Interest, after: int) -> bytes:
        batch, pieces = self._batch, []
        if interest.has_changes:
            changes = [change for change in batch.changes if change.seq > after]
            pieces.append(write_changes(changes, self._before.moment, self._formats))
        if interest.has_jobs:
            jobs = [j for j in batch.jobs if not interest.job_id or j.job_id == interest.job_id]
            pieces.append(write_jobs(jobs, batch.position, self._formats))
        return b"".join(pieces)


def write_changes(changes: Iterable[Change], moment: int, formats: EventFormats) -> bytes:
    """Write events of changes, each with the position behind it."""
    return b"".join(
        b"id: %d.%d\nevent: change\ndata: %b\n\n" % (change.seq, moment, formats.change(change))
        for change in changes
    )


def write_jobs(jobs: Iterable[Job], position: EventPosition, formats: EventFormats) -> bytes:
    """Write events of jobs."""
    change, moment = position.change, position.moment
    return b"".join(
        b"id: %d.%d\nevent: job\ndata: %b\n\n" % (change, moment, formats.job(job)) for job in jobs
    )


class _Listener:
    """One client: what waits for it.

    Attributes
    ----------
    after
        The last change that it was told before it began to listen.
    """

    def __init__(self, interest: Interest, abort: Callable[[], None]) -> None:
        self.interest = interest
        self.after = 0
        self._abort = abort
        self._waiting: deque[_Batch] = deque()
        self._size = 0
        self._wake: asyncio.Future[None] | None = None
        self._end: bytes | None = None
        self._grace: asyncio.TimerHandle | None = None

    def put(self, batch: _Batch) -> None:
        if self._end is not None:
            return
        if self._size + batch.size > _MOST_WAITING:
            self.end(_TOO_SLOW)
            self._grace = asyncio.get_running_loop().call_later(_GRACE_S, self._abort)
            return
        self._waiting.append(batch)
        self._size += batch.size
        self._rouse()

    def end(self, reason: bytes) -> None:
        """Let the stream end with a comment; what waits is thrown away."""
        if self._end is None:
            self._end = reason
            self._waiting.clear()
            self._rouse()

    def close(self) -> None:
        if self._grace is not None:
            self._grace.cancel()

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def take(self, timeout_s: float) -> bytes | None:
        """Wait for something, and take it; empty if it is of no interest, ``None`` at the end."""
        if not self._waiting and self._end is None:
            self._wake = asyncio.get_running_loop().create_future()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake, timeout_s)
            self._wake = None
        if self._end is not None:
            reason, self._end = self._end, b""
            return reason or None
        written = b"".join(batch.write(self.interest, self.after) for batch in self._waiting)
        self._waiting.clear()
        self._size = 0
        return written


class EventStreams:
    """Tells clients what happens. For the event loop's thread only.

    Parameters
    ----------
    feed
        Where it comes from; read only while somebody listens.
    """

    def __init__(self, feed: EventFeed, formats: EventFormats) -> None:
        self._feed = feed
        self._formats = formats
        self._listeners: set[_Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._is_closed = False

    @property
    def count(self) -> int:
        """How many clients listen."""
        return len(self._listeners)

    def close(self) -> None:
        """Let all streams end."""
        self._is_closed = True
        for listener in self._listeners:
            listener.end(_STOPPING)
        if self._task is not None:
            self._task.cancel()

    def check_room(self) -> None:
        """Refuse one more listener if there are too many.

        Raises
        ------
        TooManyRequestsError
            If there are, or the server stops.
        """
        if self._is_closed or self.count >= _MOST_LISTENERS:
            raise TooManyRequestsError("too many clients listen already")

    async def listen(
        self,
        interest: Interest,
        since: EventPosition | None,
        *,
        timeout_s: float | None,
        abort: Callable[[], None],
    ) -> AsyncIterator[bytes]:
        """Write what a client has missed, the present state of jobs, and what happens from now on.

        Parameters
        ----------
        since
            What it has seen; ``None`` if it is new.
        timeout_s
            End after so many seconds; ``None`` for never.
        abort
            Ends the connection of a client that does not even read that it was dropped.
        """
        await self.open()
        if self._is_closed:
            yield _STOPPING
            return
        # From here to the listener nothing is waited for: what comes behind `start` goes to it.
        start = self._feed.position
        listener = _Listener(interest, abort)
        self._listeners.add(listener)
        ends_at = math.inf if timeout_s is None else _now() + timeout_s
        try:
            yield _BEGINNING
            async for piece in self._replay(listener, since, start):
                if piece:
                    yield piece
            async for piece in _follow(listener, ends_at):
                yield piece
        finally:
            listener.close()
            self._listeners.discard(listener)

    async def open(self) -> None:
        """Begin to collect, if nobody listens yet.

        Raises
        ------
        DatabaseUnavailableError
            If the database does not answer.
        """
        async with self._opening:
            if self._task is None and not self._is_closed:
                await self._feed.open()
                self._task = asyncio.create_task(self._run(), name="events")

    async def _replay(
        self, listener: _Listener, since: EventPosition | None, start: EventPosition
    ) -> AsyncIterator[bytes]:
        interest, is_done = listener.interest, since is None or not listener.interest.has_changes
        listener.after = start.change if since is None else since.change
        moment = start.moment if since is None else since.moment
        while not is_done:
            page = await self._feed.read_missed(listener.after)
            yield write_changes(page.changes, moment, self._formats)
            is_done = page.is_done or not page.changes
            # Without changes this is the last number of all, even if the client knows a later one.
            listener.after = page.last
        if interest.has_jobs:
            yield write_jobs(await self._list_jobs(interest, since), start, self._formats)

    async def _list_jobs(self, interest: Interest, since: EventPosition | None) -> list[Job]:
        if not interest.job_id:
            return await self._feed.list_jobs(since)
        job = await self._feed.lookup_job(interest.job_id)
        return [] if job is None else [job]

    async def _run(self) -> None:
        """Hand out what happens until nobody listens any more."""
        lonely = 0
        try:
            while lonely < _LINGER:
                lonely = 0 if self._listeners else lonely + 1
                before = self._feed.position
                batch = await self._feed.collect()
                if batch is not None:
                    shared = _Batch(batch, before, self._formats)
                    for listener in self._listeners:
                        listener.put(shared)
        finally:
            self._feed.close()
            self._task = None


async def _follow(listener: _Listener, ends_at: float) -> AsyncIterator[bytes]:
    """Write what happens, and something now and then even if nothing does."""
    sent_at = _now()
    while (now := _now()) < ends_at:
        until = min(ends_at, sent_at + _KEEP_ALIVE_S)
        piece = await listener.take(until - now)
        if piece is None:
            return
        if piece or _now() >= sent_at + _KEEP_ALIVE_S:
            sent_at = _now()
            yield piece or _KEEP_ALIVE


def _now() -> float:
    return asyncio.get_running_loop().time()
