"""Small changes of the index that arrive together: one hop to a thread, one wait for the disk."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from isocenter.archive.workers import Workers
from isocenter.errors import DatabaseUnavailableError
from isocenter.index.annotations import run_changes
from isocenter.index.batch import Batch
from isocenter.index.port import Database

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

    A change raises what is wrong with it before it writes anything, and then fails alone. It is
    durable when `run` returns.

    References
    ----------
    Decision 0004
    """

    def __init__(self, workers: Workers, database: Database) -> None:
        self._workers = workers
        self._database = database
        # Touched on the event loop only.
        self._queue: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None

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
        if self._task is None:
            self._task = loop.create_task(self._write_all())
        return await future

    async def _write_all(self) -> None:
        try:
            while self._queue:
                count = min(len(self._queue), _LARGEST_GROUP)
                await self._write_group([self._queue.popleft() for _ in range(count)])
        finally:
            self._task = None

    async def _write_group(self, group: Sequence[_Waiting]) -> None:
        changes = [waiting.change for waiting in group]
        try:
            results = await self._workers.run(self.write_blocking, changes)
        except Exception as error:  # noqa: BLE001 - told to those who wait
            results = [error] * len(group)
        for waiting, result in zip(group, results, strict=True):
            waiting.resolve(result)

    def write_blocking(self, changes: Sequence[Change]) -> list[Any]:
        """Make changes on the calling thread; if they fail together, one by one.

        Returns
        -------
        list
            What each change returned, or an exception.
        """
        try:
            return self._database.write(lambda tx: run_changes(tx, changes))
        except Exception as error:  # noqa: BLE001 - told to those who wait
            # The commit may have succeeded, and trying again would keep everybody waiting.
            if len(changes) == 1 or isinstance(error, DatabaseUnavailableError):
                return [error] * len(changes)
        return [result for change in changes for result in self.write_blocking([change])]
