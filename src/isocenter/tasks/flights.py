"""What is under way to a receiver at the same time: how much of it, and what came of each.

References
----------
Decision 0021
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

__all__ = ["run_flights"]

# So many bytes are under way at once; a larger file goes alone. It bounds the memory, and what a
# slow line has to carry before a step ends.
_MOST_BYTES = 16 * 1024 * 1024

_Result = TypeVar("_Result")


async def run_flights(
    loads: Iterable[tuple[int, int]],
    send: Callable[[int], Coroutine[Any, Any, _Result]],
    *,
    most: int,
    may_start: Callable[[], bool],
) -> dict[int, _Result]:
    """Send instances in their order, some at once; return when none is under way any more.

    Parameters
    ----------
    loads
        Index and size of each in bytes.
    send
        Sends the one with an index. If it raises, or if we are cancelled, the others are cancelled.
    most
        So many at once.
    may_start
        Asked before each but the first.

    Returns
    -------
    dict
        What came of each that was begun, by its index.
    """
    waiting = iter(loads)
    following = next(waiting, None)
    running: dict[asyncio.Task[_Result], tuple[int, int]] = {}
    results: dict[int, _Result] = {}
    try:
        while following is not None or running:
            while following is not None and _has_room(running.values(), following[1], most):
                running[asyncio.create_task(send(following[0]))] = following
                following = next(waiting, None) if may_start() else None
            finished, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                index, _ = running.pop(task)
                results[index] = task.result()
            if not may_start():
                following = None
    finally:
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
    return results


def _has_room(running: Iterable[tuple[int, int]], size_bytes: int, most: int) -> bool:
    sizes = [size for _, size in running]
    return not sizes or (len(sizes) < most and sum(sizes) + size_bytes <= _MOST_BYTES)
