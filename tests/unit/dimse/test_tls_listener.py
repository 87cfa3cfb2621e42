"""Handshakes that are never ended: only so many are kept, and honest callers get through."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tests.support.certificates import build_server_context, make_certificate

from isocenter.dimse import tls_listener
from isocenter.dimse.tls_listener import TLSListener

_LIMIT = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificate(folder)
    return folder


class Greeter(asyncio.Protocol):
    """Says a word and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


@asynccontextmanager
async def listen(folder: Path, *, handshake_s: float = 30) -> AsyncIterator[TLSListener]:
    listener = TLSListener(Greeter, build_server_context(folder), handshake_s=handshake_s)
    listener.start("127.0.0.1", 0, backlog=100)
    try:
        yield listener
    finally:
        listener.close()
        await asyncio.sleep(0)


async def greet(port: int) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def read_end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""


async def test_connection_is_given_to_its_protocol_after_the_handshake(folder: Path) -> None:
    async with listen(folder) as listener:
        assert await greet(listener.port) == b"hello"
        assert listener.handshake_count == 0


async def test_oldest_handshakes_make_room_for_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls_listener, "_MOST_HANDSHAKES", _LIMIT)
    monkeypatch.setattr(tls_listener, "_SHIELDED_S", 0.02)
    caplog.set_level(logging.WARNING)
    async with listen(folder) as listener, AsyncExitStack() as stack:
        silent = []
        for _ in range(_LIMIT + 2):
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            stack.push_async_callback(writer.wait_closed)
            stack.callback(writer.close)
            silent.append(reader)
        for reader in silent[:2]:
            assert await read_end(reader) == b""
        assert listener.handshake_count == _LIMIT
        assert await greet(listener.port) == b"hello"
        assert len(caplog.records) == 1
        # The connections end when the listener closes.
        listener.close()
        assert await read_end(silent[-1]) == b""


async def test_burst_of_honest_callers_waits_for_its_turn(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_listener, "_MOST_HANDSHAKES", _LIMIT)
    async with listen(folder) as listener, asyncio.timeout(20):
        answers = await asyncio.gather(*(greet(listener.port) for _ in range(10 * _LIMIT)))
    assert answers == [b"hello"] * 10 * _LIMIT


async def test_caller_who_waits_for_room_is_let_go_when_the_listener_closes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_listener, "_MOST_HANDSHAKES", 1)
    async with listen(folder) as listener, AsyncExitStack() as stack:
        readers = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            stack.push_async_callback(writer.wait_closed)
            stack.callback(writer.close)
            readers.append(reader)
        while not listener.handshake_count:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)
        listener.close()
        assert [await read_end(reader) for reader in readers] == [b"", b""]


async def test_handshake_that_takes_too_long_ends(folder: Path) -> None:
    async with listen(folder, handshake_s=0.1) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        assert await read_end(reader) == b""
        writer.close()
        await writer.wait_closed()


async def test_garbage_is_no_handshake(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "isocenter")
    async with listen(folder) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await read_end(reader)
        writer.close()
        await writer.wait_closed()
        assert await greet(listener.port) == b"hello"
    (record,) = caplog.records
    assert vars(record)["remote_host"] == "127.0.0.1"
    assert vars(record)["reason"]


async def test_all_families_share_the_port(folder: Path) -> None:
    listener = TLSListener(Greeter, build_server_context(folder), handshake_s=30)
    listener.start(None, 0, backlog=100)
    try:
        assert await greet(listener.port) == b"hello"
    finally:
        listener.close()
