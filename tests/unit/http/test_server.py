"""uvicorn inside our own event loop."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.support.scripted_peer import DEADLINE_S

from isocenter.http.server import HTTPServer, HTTPServerOptions

Send = Callable[[dict[str, Any]], Awaitable[None]]
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Application:
    """Answers when the test lets it."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def __call__(self, _: Any, __: Any, send: Send) -> None:
        self.started.set()
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})


@asynccontextmanager
async def serve(
    application: Application, options: HTTPServerOptions
) -> AsyncIterator[tuple[HTTPServer, int, "asyncio.Task[None]"]]:
    """Serve on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = HTTPServer(application, options)
    task = asyncio.create_task(server.serve_until_stopped([listener]))
    try:
        yield server, port, task
    finally:
        application.may_answer.set()
        server.stop()
        await asyncio.wait_for(task, DEADLINE_S)
        listener.close()


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """Read to the end of the connection."""
    async with asyncio.timeout(DEADLINE_S):
        return await reader.read()


async def test_stopping_lets_the_present_request_end_and_closes_the_connection() -> None:
    application = Application()
    async with serve(application, HTTPServerOptions()) as (server, port, task):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        await asyncio.wait_for(application.started.wait(), DEADLINE_S)
        server.stop()
        application.may_answer.set()
        answer = await read_all(reader)
        await asyncio.wait_for(task, DEADLINE_S)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"hello" in answer


async def test_stopping_does_not_wait_for_idle_connections() -> None:
    application = Application()
    application.may_answer.set()
    async with serve(application, HTTPServerOptions()) as (server, port, task):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
        server.stop()
        await asyncio.wait_for(task, DEADLINE_S)
        writer.close()


async def test_answers_do_not_tell_which_server_they_come_from() -> None:
    application = Application()
    application.may_answer.set()
    async with serve(application, HTTPServerOptions(keep_alive_timeout_s=1)) as (_, port, _task):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n"))
        answer = await read_all(reader)
        writer.close()
    assert b"server:" not in answer.lower()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_are_left_to_the_composition_root(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    async with serve(Application(), HTTPServerOptions()) as (server, port, _):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        assert signal.getsignal(number) is before
        writer.close()
        server.stop()
    assert signal.getsignal(number) is before
