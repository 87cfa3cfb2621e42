"""The one bounded hop from the event loop to threads, whole operation at a time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from isocenter.index.port import Database, NotBriefError, Transaction

__all__ = ["Workers", "WouldWaitError"]

P = ParamSpec("P")
T = TypeVar("T")


class WouldWaitError(Exception):
    """Something is not at hand, and the caller, which is no task, cannot wait for it.

    Never an answer: whoever calls outside of a task catches it and tries again inside of one.
    """


class Workers:
    """Runs blocking operations in threads, and short reads where they are cheapest.

    Parameters
    ----------
    database
        The index to read.
    threads
        Threads for blocking operations.

    Attributes
    ----------
    count
        How many operations can run at once.
    """

    def __init__(self, database: Database, threads: int) -> None:
        self.count = threads
        self._database = database
        self._size = threads
        # Touched on the event loop only.
        self._busy = 0
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="worker")

    @property
    def reads_inline(self) -> bool:
        """True if a short read needs no thread."""
        return self._database.reads_inline

    @property
    def idle_count(self) -> int:
        """Threads that have nothing to do."""
        return max(0, self._size - self._busy)

    def get_generation(self) -> int:
        """Tell a number that grows whenever the index changes (`Database.generation`)."""
        return self._database.generation

    async def run(
        self, operation: Callable[P, T], /, *arguments: P.args, **keywords: P.kwargs
    ) -> T:
        """Run a blocking operation in a worker thread.

        A cancelled caller does not stop the operation, which ends in its thread.

        Raises
        ------
        WouldWaitError
            If called outside of a task; the operation was not begun then.
        """
        loop = asyncio.get_running_loop()
        if asyncio.current_task(loop) is None:
            raise WouldWaitError
        self._busy += 1
        try:
            if keywords:
                return await loop.run_in_executor(
                    self._threads, lambda: operation(*arguments, **keywords)
                )
            return await loop.run_in_executor(self._threads, operation, *arguments)
        finally:
            self._busy -= 1

    async def read(self, query: Callable[[Transaction], T]) -> T:
        """Run a short indexed read: on the event loop where the database allows it."""
        if self._database.reads_inline:
            return self._database.read_inline(query)
        return await self.run(self._database.read, query)

    async def read_soon(
        self,
        query: Callable[[Transaction], T],
        brief: Callable[[Transaction], T] | None = None,
    ) -> T:
        """Run a read that is often short: on the event loop, or in a thread if it proves long.

        Parameters
        ----------
        query
            May be begun twice, so it must have no other effect.
        brief
            The same for the event loop, which may raise `NotBriefError` itself.
        """
        if self._database.reads_inline:
            try:
                return self._database.read_briefly(brief or query)
            except NotBriefError:
                pass
        return await self.run(self._database.read, query)

    async def read_long(self, query: Callable[[Transaction], T]) -> T:
        """Run a read whose length depends on how much is stored: always in a worker thread."""
        return await self.run(self._database.read, query)

    async def write(self, change: Callable[[Transaction], T]) -> T:
        """Run a change of the index in a worker thread."""
        return await self.run(self._database.write, change)

    def close(self) -> None:
        """Wait for what runs; what has not begun is dropped."""
        self._threads.shutdown(wait=True, cancel_futures=True)
