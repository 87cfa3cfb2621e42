"""Threads for work that is short and frequent: handing over costs little.

An executor of the standard library makes a future with a lock for each call, and asyncio a second
one and callbacks between them; together that takes longer than storing a small instance should.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

from isocenter.errors import InternalError

__all__ = ["Job", "JobThreads", "call_on_loop"]

_log = logging.getLogger(__name__)

T = TypeVar("T")
Operation = Callable[[], None]


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

    The thread that was busy last is the next one to be busy: what it needs is in the caches of the
    processor. So few threads do all the work as long as few are needed.

    Parameters
    ----------
    count
        How many at most; each begins when it is needed.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        # Guards all of it.
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._queues: list[SimpleQueue[Operation | None]] = []
        # Queues of the threads that have nothing to do.
        self._idle: list[SimpleQueue[Operation | None]] = []
        self._waiting: deque[Operation] = deque()
        self._is_closed = False

    def call(self, operation: Operation) -> None:
        """Begin a call that raises nothing and whose end is nobody's business.

        Raises
        ------
        InternalError
            After `close`.
        """
        with self._lock:
            if self._is_closed:
                raise InternalError("the threads are closed")
            if self._idle:
                queue = self._idle.pop()
            elif len(self._threads) < self._count:
                queue = self._start()
            else:
                self._waiting.append(operation)
                return
        queue.put(operation)

    def _start(self) -> "SimpleQueue[Operation | None]":
        queue: SimpleQueue[Operation | None] = SimpleQueue()
        name = f"{self._name}_{len(self._threads)}"
        # Whoever forgets to close them shall not keep the process from ending.
        thread = threading.Thread(target=self._run, args=(queue,), name=name, daemon=True)
        self._threads.append(thread)
        self._queues.append(queue)
        thread.start()
        return queue

    def _run(self, queue: "SimpleQueue[Operation | None]") -> None:
        while (operation := queue.get()) is not None:
            while operation is not None:
                operation()
                operation = self._take_next(queue)

    def _take_next(self, queue: "SimpleQueue[Operation | None]") -> Operation | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._idle.append(queue)
        return None

    def close(self) -> None:
        """Wait for all that was begun; harmless if done before."""
        with self._lock:
            self._is_closed = True
            queues, self._queues = self._queues, []
        for queue in queues:
            queue.put(None)
        for thread in self._threads:
            thread.join()


def call_on_loop(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    """Call something on an event loop that may have ended meanwhile."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        _log.debug("the event loop ended before the work for it")
