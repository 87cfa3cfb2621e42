"""Threads for work that is short and frequent: handing over costs little.

An executor of the standard library makes a future with a lock for each call, and asyncio a second
one and callbacks between them; together that takes longer than storing a small instance should.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

__all__ = ["Job", "JobThreads", "call_on_loop"]

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Job(Generic[T]):
    """A call in another thread. Any number of threads may wait for it."""

    __slots__ = ("_done", "_error", "_operation", "_value")

    def __init__(self, operation: Callable[[], T]) -> None:
        self._operation = operation
        self._error: BaseException | None = None
        self._value: T
        self._done = threading.Lock()
        self._done.acquire()

    def run(self) -> None:
        """Do it; called by the thread."""
        try:
            self._value = self._operation()
        except BaseException as error:  # noqa: BLE001 - told to those who wait
            self._error = error
        self._done.release()

    def wait(self) -> BaseException | None:
        """Wait for the end; tell what was raised."""
        with self._done:
            return self._error

    def result(self) -> T:
        """Wait for the result, or raise what was raised."""
        error = self.wait()
        if error is not None:
            raise error
        return self._value


class JobThreads:
    """Some threads that do what they are given, in order.

    Parameters
    ----------
    count
        How many; they begin with the first call.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._is_closed = False

    def submit(self, operation: Callable[[], T]) -> Job[T]:
        """Begin a call, whose result any thread may wait for."""
        job = Job(operation)
        self.call(job.run)
        return job

    def call(self, operation: Callable[[], None]) -> None:
        """Begin a call that raises nothing and whose end is nobody's business.

        Raises
        ------
        RuntimeError
            After `close`.
        """
        if not self._threads:
            self._start()
        self._queue.put(operation)

    def _start(self) -> None:
        with self._lock:
            if self._is_closed:
                message = "the threads are closed"
                raise RuntimeError(message)
            if not self._threads:
                threads = [
                    threading.Thread(target=self._run, name=f"{self._name}_{number}")
                    for number in range(self._count)
                ]
                for thread in threads:
                    thread.start()
                self._threads = threads

    def _run(self) -> None:
        while (operation := self._queue.get()) is not None:
            operation()

    def close(self) -> None:
        """Wait for all that was begun; harmless if done before."""
        with self._lock:
            self._is_closed = True
            threads, self._threads = self._threads, []
        for _ in threads:
            self._queue.put(None)
        for thread in threads:
            thread.join()


def call_on_loop(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """Call something on an event loop that may have ended meanwhile."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        _log.debug("the event loop ended before the work for it")
