"""Answers of a length that is not known before they are complete."""

from collections.abc import AsyncGenerator

import falcon.asgi

from isocenter.http.exchange import Request, Response
from isocenter.http.streaming import Stream

__all__ = ["answer_pieces", "answer_stream"]

# An answer up to this size is sent at once, with its length.
_SHORT = 1024 * 1024


async def answer_pieces(
    req: Request, resp: Response, pieces: AsyncGenerator[bytes], *, media_type: str
) -> bool:
    """Answer what comes in pieces: with its length if it is short, else as it comes.

    An error while the first pieces are made is answered as any other. A later one can only be told
    by the end of the connection.

    Parameters
    ----------
    pieces
        Closed unless it is streamed.

    Returns
    -------
    bool
        False if there was no piece; nothing is set then.
    """
    waiting: list[bytes] = []
    size = 0
    async for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size > _SHORT:
            break
    else:
        if not waiting:
            return False
        resp.content_type = media_type
        resp.data = b"".join(waiting)
        return True
    resp.content_type = media_type
    if req.method == "HEAD":
        await pieces.aclose()
    else:
        answer_stream(req, resp, _chain(waiting, pieces))
    return True


def answer_stream(req: Request, resp: Response, pieces: AsyncGenerator[bytes]) -> None:
    """Answer what comes in pieces, as long as there is a client."""
    resp.stream = Stream(req, pieces) if isinstance(req, falcon.asgi.Request) else pieces


async def _chain(first: list[bytes], rest: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    try:
        while first:
            yield first.pop(0)
        async for piece in rest:
            yield piece
    finally:
        await rest.aclose()
