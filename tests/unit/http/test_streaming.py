"""What is done for clients that may leave."""

import asyncio
from typing import Any

import falcon.testing
import pytest
from falcon.asgi import Request

from isocenter.errors import BadRequestError, UnknownResourceError
from isocenter.http import streaming
from isocenter.http.streaming import IS_GONE, while_present


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
