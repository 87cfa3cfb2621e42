"""A server that answers by HTTP as a test tells it, and remembers what it was asked."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

__all__ = ["Asked", "HTTPPeer", "Reply", "confirm", "run_http_peer"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> bytes:
        """The body as its sender had it."""
        is_packed = self.headers.get("content-encoding") == "gzip"
        return gzip.decompress(self.body) if is_packed else self.body


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered; nothing at all with the status 0."""

    status: int = 200
    body: bytes = b'{"ID": "known", "Status": "Success"}'
    headers: dict[str, str] = field(default_factory=dict)
    # Close the connection afterwards, without having said so.
    closes: bool = False


def confirm(_: Asked) -> Reply:
    """Confirm whatever is asked."""
    return Reply()


@dataclass
class HTTPPeer:
    """What it does and what it was asked."""

    answer: Callable[[Asked], Reply | Awaitable[Reply] | None] = confirm
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection; ``None`` leaves it open in silence."""
        self.connections += 1
        try:
            while (asked := await _read_request(reader)) is not None:
                self.asked.append(asked)
                reply = self.answer(asked)
                if isinstance(reply, Awaitable):
                    reply = await reply
                if reply is None:
                    await reader.read()
                    return
                if reply.status:
                    writer.write(_format(reply))
                    await writer.drain()
                if reply.closes or not reply.status:
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Asked | None:
    line = await reader.readline()
    if not line:
        return None
    method, path, _ = line.decode().split(" ")
    headers: dict[str, str] = {}
    while (line := await reader.readline()).strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, path, headers, body)


def _format(reply: Reply) -> bytes:
    headers = {"Content-Length": str(len(reply.body)), **reply.headers}
    lines = [f"HTTP/1.1 {reply.status} Reason", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + reply.body


@asynccontextmanager
async def run_http_peer(
    peer: HTTPPeer, ssl_context: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Run it on a free port of the loopback; give its address."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        # Cancelled below; asyncio would log it as an error.
        with suppress(asyncio.CancelledError):
            await peer.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=ssl_context)
    scheme = "http" if ssl_context is None else "https"
    try:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
