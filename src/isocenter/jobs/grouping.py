"""Operations of the store that come together: one hop to a thread, one wait for the disk."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

__all__ = ["GroupedCalls", "RunBlocking"]

T = TypeVar("T")
Operation = Callable[[], Any]
_Waiting = tuple[Operation, "asyncio.Future[Any]"]

_LARGEST_GROUP = 64


class RunBlocking(Protocol):
    """Runs a blocking operation in a thread."""

    def __call__(self, operation: Callable[..., T], /, *arguments: Any) -> Awaitable[T]:
        """Return what the operation returns."""
        ...


class GroupedCalls:
    """Runs short operations in the order in which they come, a group after the other.

    What comes while a group is being run is the next group. For the event loop's thread.

    Parameters
    ----------
    run_together
        Runs a group: gives what each operation returned, or the exception that it raised.
    run_blocking
        Runs that in a thread.

    References
    ----------
    Decision 0004
    """

    def __init__(
        self,
        run_together: Callable[[Sequence[Operation]], list[Any]],
        run_blocking: RunBlocking,
    ) -> None:
        self._run_together = run_together
        self._run_blocking = run_blocking
        self._queue: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None

    def __call__(self, operation: Callable[..., T], /, *arguments: Any) -> "asyncio.Future[T]":
        """Run an operation (see `RunBlocking`); a cancelled caller does not stop it."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.append((partial(operation, *arguments), future))
        if self._task is None:
            self._task = asyncio.create_task(self._run_groups(), name="writes of jobs")
        return future

    async def _run_groups(self) -> None:
        group: list[_Waiting] = []
        try:
            while self._queue:
                count = min(len(self._queue), _LARGEST_GROUP)
                group = [self._queue.popleft() for _ in range(count)]
                for (_, future), result in zip(group, await self._run(group), strict=True):
                    _resolve(future, result)
        finally:
            self._task = None
            # Whoever still waits does so in vain: the event loop is about to end.
            for _, future in (*group, *self._queue):
                future.cancel()
            self._queue.clear()

    async def _run(self, group: Sequence[_Waiting]) -> Sequence[Any]:
        try:
            return await self._run_blocking(
                self._run_together, [operation for operation, _ in group]
            )
        except Exception as error:  # noqa: BLE001 - told to those who wait
            return [error] * len(group)


def _resolve(future: "asyncio.Future[Any]", result: Any) -> None:
    if future.done():
        # Whoever asked has left.
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
