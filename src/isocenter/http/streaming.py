"""Answers that are made while they are sent, and given up when nobody is there any more."""

from collections.abc import AsyncIterator, Callable

from falcon.asgi import Request

__all__ = ["ABORT", "IS_GONE", "Stream"]

IS_GONE = "isocenter.is_gone"
"""Where the application notes in the ASGI scope how to see whether the client has left."""


ABORT = "isocenter.abort"
"""Where it notes how to end the connection at once, whatever is still to be sent."""


class Stream:
    """The pieces of an answer, for ``resp.stream``.

    Without it a server goes on making an answer whose client has left.

    Parameters
    ----------
    pieces
        An async generator; it is closed in any case.
    """

    def __init__(self, req: Request, pieces: AsyncIterator[bytes]) -> None:
        self._is_gone: Callable[[], bool] = req.scope.get(IS_GONE, lambda: False)
        self._pieces = pieces

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> bytes:
        if self._is_gone():
            raise StopAsyncIteration
        return await anext(self._pieces)

    async def close(self) -> None:
        """End the generator; Falcon calls this."""
        aclose = getattr(self._pieces, "aclose", None)
        if aclose is not None:
            await aclose()
