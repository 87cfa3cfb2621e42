"""Answers that are made while they are sent, and given up when nobody is there any more."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import falcon.asgi
from falcon.asgi import Request

from isocenter.errors import BadRequestError
from isocenter.http.exchange import Request as AnyRequest

__all__ = ["ABORT", "IS_GONE", "Stream", "while_present"]

T = TypeVar("T")

# How often to look whether a client is still there.
_LOOK_S = 0.5

IS_GONE = "isocenter.is_gone"
"""Where the application notes in the ASGI scope how to see whether the client has left."""


ABORT = "isocenter.abort"
"""Where it notes how to end the connection at once, whatever is still to be sent."""


async def while_present(req: AnyRequest, operation: Coroutine[Any, Any, T]) -> T:
    """Wait for the end of an operation that may take long; it is cancelled if the client leaves.

    Raises
    ------
    BadRequestError
        If the client has left.
    """
    is_gone = req.scope.get(IS_GONE) if isinstance(req, falcon.asgi.Request) else None
    if is_gone is None:
        return await operation
    result = await _watch(operation, is_gone)
    if result is None:
        raise BadRequestError("the client has left before the end of its request")
    return result[0]


async def _watch(operation: Coroutine[Any, Any, T], is_gone: Callable[[], bool]) -> tuple[T] | None:
    """Give the result of an operation; ``None``, and it is cancelled, if the client leaves."""
    task = asyncio.create_task(operation)
    try:
        while not (await asyncio.wait([task], timeout=_LOOK_S))[0]:
            if is_gone():
                return None
        return (task.result(),)
    finally:
        if task.cancel():
            # What it has begun is not to be used by anybody else before it ends.
            await asyncio.wait([task])


class Stream:
    """The pieces of an answer, for ``resp.stream``.

    Without it a server goes on making an answer whose client has left.

    Parameters
    ----------
    pieces
        An async generator; it is closed in any case.
    is_slow
        A piece may take so long that the client has to be looked at meanwhile.
    """

    def __init__(
        self, req: Request, pieces: AsyncIterator[bytes], *, is_slow: bool = False
    ) -> None:
        self._is_slow = is_slow
        self._is_gone: Callable[[], bool] = req.scope.get(IS_GONE, lambda: False)
        self._pieces = pieces

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> bytes:
        if self._is_gone():
            raise StopAsyncIteration
        if not self._is_slow:
            return await anext(self._pieces)
        result = await _watch(self._take(), self._is_gone)
        if result is None or result[0] is None:
            raise StopAsyncIteration
        return result[0]

    async def _take(self) -> bytes | None:
        return await anext(self._pieces, None)

    async def close(self) -> None:
        """End the generator; Falcon calls this."""
        aclose = getattr(self._pieces, "aclose", None)
        if aclose is not None:
            await aclose()
