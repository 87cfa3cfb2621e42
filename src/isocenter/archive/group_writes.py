"""Small changes of the index that arrive together: one hop to a thread, one wait for the disk."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from isocenter.archive.threads import JobThreads, call_on_loop
from isocenter.errors import DatabaseUnavailableError, InternalError
from isocenter.index.annotations import run_changes
from isocenter.index.batch import Batch
from isocenter.index.port import Database
from isocenter.index.records import NO_RULES, Rules

__all__ = ["GroupWrites"]

T = TypeVar("T")
Change = Callable[[Batch], Any]

_LARGEST_GROUP = 64


@dataclass(slots=True, eq=False)
class _Waiting:
    change: Change
    future: "asyncio.Future[Any]"

    def resolve(self, result: Any) -> None:
        if self.future.done():
            # Whoever asked has left.
            return
        if isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


class GroupWrites:
    """Makes changes that arrive while others are being written in one transaction.

    One group at a time: a second one beside it would only make both smaller, and its thread would
    wait for the interpreter while the first one waits for the disk.

    A change raises what is wrong with it before it writes anything, and then fails alone. It is
    durable when `run` returns.

    Parameters
    ----------
    rules
        Limits of storage, and what else holds for all of them.

    References
    ----------
    Decision 0004
    """

    def __init__(self, database: Database, rules: Rules = NO_RULES) -> None:
        self._rules = rules
        self._database = database
        self._threads = JobThreads(1, "writes")
        # Touched on the event loop only.
        self._queue: deque[_Waiting] = deque()
        # A group is being written, or is about to be put together.
        self._is_busy = False
        self._is_closed = False

    def close(self) -> None:
        """Wait for what was begun; what waits is refused, and so is all that comes afterwards."""
        self._is_closed = True
        self._threads.close()
        self._refuse()

    def _refuse(self) -> None:
        while self._queue:
            self._queue.popleft().resolve(InternalError("the server is about to stop"))

    async def run(self, change: Callable[[Batch], T]) -> T:
        """Make a change and return what it returns.

        A cancelled caller does not stop the change.

        Raises
        ------
        ServerError
            What the change raised, or why the index could not be written.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.append(_Waiting(change, future))
        if not self._is_busy:
            # A moment later, so that those that come with the same look at the network share it.
            self._is_busy = True
            loop.call_soon(self._start, loop)
        return await future

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._is_closed:
            self._refuse()
        self._is_busy = bool(self._queue)
        if self._is_busy:
            count = min(len(self._queue), _LARGEST_GROUP)
            group = [self._queue.popleft() for _ in range(count)]
            self._threads.call(partial(self._write_group, group, loop))

    def _write_group(self, group: Sequence[_Waiting], loop: asyncio.AbstractEventLoop) -> None:
        """Write a group in a thread of ours."""
        try:
            results = self.write_blocking([waiting.change for waiting in group])
        except Exception as error:  # noqa: BLE001 - told to those who wait
            results = [error] * len(group)
        call_on_loop(loop, partial(self._end, group, results, loop))

    def _end(
        self, group: Sequence[_Waiting], results: Sequence[Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        for waiting, result in zip(group, results, strict=True):
            waiting.resolve(result)
        self._start(loop)

    def write_blocking(self, changes: Sequence[Change]) -> list[Any]:
        """Make changes on the calling thread; if they fail together, one by one.

        Returns
        -------
        list
            What each change returned, or an exception.
        """
        try:
            return self._database.write(lambda tx: run_changes(tx, changes, self._rules))
        except Exception as error:  # noqa: BLE001 - told to those who wait
            # The commit may have succeeded, and trying again would keep everybody waiting.
            if len(changes) == 1 or isinstance(error, DatabaseUnavailableError):
                return [error] * len(changes)
        return [result for change in changes for result in self.write_blocking([change])]
