"""Answers whose length is not known in advance."""

from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import pytest

from isocenter.http.exchange import DirectResponse
from isocenter.http.pieces import answer_pieces

PIECE = bytes(400_000)


class Pieces:
    """Gives pieces and notes how far it came."""

    def __init__(self, count: int, *, fails_at: int = -1) -> None:
        self.given = 0
        self.is_closed = False
        self._count = count
        self._fails_at = fails_at

    async def iterate(self) -> AsyncGenerator[bytes]:
        try:
            for number in range(self._count):
                if number == self._fails_at:
                    raise RuntimeError("broken")
                self.given += 1
                yield PIECE
        finally:
            self.is_closed = True


async def answer(pieces: Pieces, method: str = "GET") -> tuple[bool, DirectResponse]:
    req: Any = SimpleNamespace(method=method)
    resp = DirectResponse()
    return await answer_pieces(req, resp, pieces.iterate(), media_type="a/b"), resp


async def test_nothing_is_no_answer() -> None:
    is_answered, resp = await answer(Pieces(0))

    assert not is_answered
    assert (resp.data, resp.content_type) == (None, None)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_short_answer_is_sent_at_once(method: str) -> None:
    is_answered, resp = await answer(Pieces(2), method)

    assert is_answered
    assert (resp.data, resp.content_type, resp.stream) == (PIECE * 2, "a/b", None)


async def test_long_answer_is_streamed_as_it_comes() -> None:
    pieces = Pieces(6)

    _, resp = await answer(pieces)

    assert (resp.data, pieces.given) == (None, 3)
    assert b"".join([piece async for piece in resp.stream]) == PIECE * 6
    assert pieces.is_closed


async def test_long_answer_without_body_is_closed() -> None:
    pieces = Pieces(6)

    is_answered, resp = await answer(pieces, "HEAD")

    assert is_answered
    assert (resp.data, resp.stream, pieces.is_closed) == (None, None, True)


async def test_stream_that_is_left_closes_the_pieces() -> None:
    pieces = Pieces(6)
    _, resp = await answer(pieces)

    await anext(resp.stream)
    await resp.stream.aclose()

    assert pieces.is_closed


async def test_early_error_is_raised_before_anything_is_answered() -> None:
    with pytest.raises(RuntimeError):
        await answer(Pieces(6, fails_at=1))
