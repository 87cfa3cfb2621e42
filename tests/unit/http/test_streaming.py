"""What is done for clients that may leave."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import falcon.testing
import pytest
from falcon.asgi import Request

from isocenter.errors import BadRequestError, UnknownResourceError
from isocenter.http import streaming
from isocenter.http.streaming import IS_GONE, Stream, while_present


def _build_request(*, is_gone: bool) -> Request:
    scope = {**falcon.testing.create_scope(), IS_GONE: lambda: is_gone}
    return Request(scope, None)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_LOOK_S", 0)


async def _pass() -> None:
    """Let the loop turn a few times, so that the client is looked at."""
    for _ in range(9):
        await asyncio.sleep(0)


async def test_operation_whose_client_leaves_is_cancelled() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async with asyncio.timeout(20):
        with pytest.raises(BadRequestError):
            await while_present(_build_request(is_gone=True), work())
        await asyncio.sleep(0)
    assert seen == ["cancelled"]


async def test_result_and_error_of_an_operation_come_through() -> None:
    async def work(error: Exception | None = None) -> int:
        await _pass()
        if error is not None:
            raise error
        return 7

    req: Any = _build_request(is_gone=False)
    assert await while_present(req, work()) == 7
    assert await while_present(None, work()) == 7  # type: ignore[arg-type]
    with pytest.raises(UnknownResourceError):
        await while_present(req, work(UnknownResourceError()))


async def test_slow_stream_ends_when_its_client_leaves() -> None:
    seen: list[str] = []
    has_left = False

    async def make() -> AsyncIterator[bytes]:
        nonlocal has_left
        try:
            yield b"one"
            has_left = True
            await asyncio.Event().wait()
            yield b"never"
        finally:
            seen.append("closed")

    scope = {**falcon.testing.create_scope(), IS_GONE: lambda: has_left}
    stream = Stream(Request(scope, None), make(), is_slow=True)  # type: ignore[arg-type]
    async with asyncio.timeout(20):
        assert [piece async for piece in stream] == [b"one"]
        await stream.close()
    assert seen == ["closed"]


async def test_slow_stream_gives_all_pieces_and_its_error() -> None:
    async def make(error: Exception | None) -> AsyncIterator[bytes]:
        yield b"one"
        await _pass()
        yield b"two"
        if error is not None:
            raise error

    req = _build_request(is_gone=False)
    assert [p async for p in Stream(req, make(None), is_slow=True)] == [b"one", b"two"]
    with pytest.raises(UnknownResourceError):
        _ = [p async for p in Stream(req, make(UnknownResourceError()), is_slow=True)]
