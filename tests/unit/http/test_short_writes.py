"""Which requests with a body take the short way, that their bytes arrive, and what is answered."""

import asyncio
import ctypes
import gc
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import falcon
import pytest
from tests.support.scripted_peer import DEADLINE_S

from isocenter.errors import BadRequestError, UnauthorizedError
from isocenter.http.arguments import read_body
from isocenter.http.direct import DirectAnswers
from isocenter.http.error_answers import ErrorAnswers, NotFound
from isocenter.http.exchange import Response, WritingRequest
from isocenter.http.immediate_routes import ImmediateRoutes
from isocenter.http.limits import ConnectionLimit
from isocenter.http.observing import Observer
from isocenter.http.repeated import RepeatedAnswers
from isocenter.http.routes import Route
from isocenter.http.server import HTTPServer, HTTPServerOptions
from isocenter.http.short_writes import LARGEST_BODY_BYTES, ShortRequest, ShortWrites
from isocenter.measures import Measures

_ROOM = 2 * LARGEST_BODY_BYTES
_NORMAL = b"normal"


async def _echo(_: object, req: WritingRequest, resp: Response, **parameters: str) -> None:
    await asyncio.sleep(0)
    names = " ".join([req.method, *parameters.values(), req.query_string])
    resp.data = names.encode() + b"|" + await read_body(req)


async def _fail(_: object, req: WritingRequest, __: Response) -> None:
    raise BadRequestError("wrong " + (await read_body(req)).decode())


async def _miss(_: object, __: WritingRequest, ___: Response) -> None:
    raise NotFound


async def _forbid(_: object, __: WritingRequest, ___: Response) -> None:
    raise falcon.HTTPMethodNotAllowed(["PUT"])


async def _break(_: object, __: WritingRequest, ___: Response) -> None:
    raise RuntimeError


async def _wait(gate: asyncio.Event, _: WritingRequest, resp: Response) -> None:
    await gate.wait()
    resp.data = b"waited"


def _route(method: str, path: str, responder: Any = _echo, *, is_light: bool = True) -> Route:
    return Route(method, path, responder, "-", "-", is_light=is_light)


_ROUTES = (
    _route("POST", "/things"),
    _route("PUT", "/things/{name}/notes/{note}"),
    _route("DELETE", "/things/{name}/notes/{note}"),
    _route("POST", "/heavy", is_light=False),
    _route("POST", "/fail", _fail),
    _route("POST", "/miss", _miss),
    _route("POST", "/break", _break),
    _route("POST", "/not-allowed", _forbid),
    _route("POST", "/wait", _wait),
)


class _Refusing:
    async def process_request(self, *_: Any) -> None:
        raise UnauthorizedError


def _build(*middleware: Any, services: Any = None) -> tuple[ShortWrites, Observer]:
    observer = Observer(Measures())
    writes = ShortWrites(
        _ROUTES,
        services,
        middleware=[observer, *middleware],
        errors=ErrorAnswers(has_bodies=True),
        observer=observer,
        most_bytes=_ROOM,
    )
    return writes, observer


def _begin(
    writes: ShortWrites,
    method: str = "POST",
    target: str = "/things",
    headers: Mapping[bytes, bytes] = {b"content-length": b"3"},
) -> ShortRequest | None:
    return writes.begin(method, target.encode("latin-1"), headers, "127.0.0.1")


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/things"),
        ("POST", "/things?a=b"),
        ("PUT", "/things/a/notes/b"),
        ("DELETE", "/things/a/notes/b"),
    ],
)
def test_begin_light_route_is_admitted(method: str, target: str) -> None:
    assert _begin(_build()[0], method, target) is not None


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/unknown"),
        ("POST", "/things/"),
        ("POST", "//things"),
        ("POST", "/%74hings"),
        ("POST", "/things#a"),
        ("POST", "/th\xefngs"),
        ("POST", "http://h/things"),
        ("PUT", "/things"),
        ("POST", "/things/a/notes/b"),
        ("POST", "/heavy"),
        ("PATCH", "/things"),
        ("GET", "/things"),
    ],
)
def test_begin_anything_else_is_not_admitted(method: str, target: str) -> None:
    assert _begin(_build()[0], method, target) is None


@pytest.mark.parametrize(
    "headers",
    [
        {b"content-length": b"%d" % (LARGEST_BODY_BYTES + 1)},
        {b"content-length": b"9" * 5000},
        {b"content-length": b"3", b"content-type": b"Multipart/form-data; boundary=x"},
    ],
)
def test_begin_long_or_multipart_body_is_not_admitted(headers: Mapping[bytes, bytes]) -> None:
    assert _begin(_build()[0], headers=headers) is None


def test_begin_refused_request_is_left_to_the_application() -> None:
    writes, observer = _build(_Refusing())
    assert _begin(writes) is None
    assert observer.active == 0


async def test_begin_takes_no_more_than_its_room() -> None:
    writes, observer = _build()
    large = {b"content-length": b"%d" % LARGEST_BODY_BYTES}
    taken = [_begin(writes, headers=large) for _ in range(3)]
    assert taken[2] is None
    assert observer.active == 2
    first, second = taken[0], taken[1]
    assert first is not None
    assert second is not None
    writes.drop(first)
    second.append(bytes(LARGEST_BODY_BYTES))
    await writes.finish(second)
    assert observer.active == 0
    assert all(_begin(writes, headers=large) for _ in range(2))


def test_body_in_pieces_becomes_one() -> None:
    short = _begin(_build()[0], headers={b"content-length": b"8"})
    assert short is not None
    short.append(b"abc")
    short.get_rest()[:2] = b"de"
    short.note(2)
    assert len(short.get_rest()) == 3
    short.append(b"fgh")
    assert short.is_whole
    short.hand_over()
    assert short.req.body == b"abcdefgh"


def test_body_in_pieces_is_not_copied() -> None:
    short = _begin(_build()[0], headers={b"content-length": b"8"})
    assert short is not None
    with short.get_rest() as room:
        place = ctypes.addressof(ctypes.c_char.from_buffer(room))
        room[:] = b"abcdefgh"
    short.note(8)
    gc.collect()
    short.hand_over()
    assert ctypes.cast(ctypes.c_char_p(short.req.body), ctypes.c_void_p).value == place


@pytest.mark.parametrize(
    ("target", "status", "content"),
    [
        ("/things?q", 200, b"POST q|abc"),
        ("/fail", 400, b'"Details": "wrong abc"'),
        ("/miss", 400, b"\r\n\r\n"),
        ("/not-allowed", 405, b"\r\nallow: PUT\r\n"),
        ("/break", 500, b'"Internal error"'),
    ],
)
async def test_finish_answers_as_the_application_would(
    target: str, status: int, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    writes, observer = _build()
    short = _begin(writes, target=target)
    assert short is not None
    short.append(b"abc")
    answer = await writes.finish(short)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert content in answer
    assert b"content-length: %d" % len(body) in head
    assert observer.requests == 1
    assert observer.errors == (status == 500)
    assert ("unexpected error" in caplog.text) == (status == 500)


async def _answer_normally(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", b"6")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _NORMAL})


class _Served:
    """A server whose application answers differently, and a connection to it."""

    def __init__(self, server: HTTPServer, observer: Observer, address: Any) -> None:
        self.server = server
        self.observer = observer
        self.address = address
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def read(self) -> bytes:
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return await self.reader.readexactly(int(length))

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)

    async def wait_until_busy(self) -> None:
        await self.wait_until(lambda: self.observer.active > 0)

    async def wait_until_idle(self) -> None:
        await self.wait_until(lambda: not self.observer.active)

    def is_told_to_stop(self) -> bool:
        connections: set[Any] = {*self.server.server_state.connections}
        return not any(connection.cycle.keep_alive for connection in connections)


@asynccontextmanager
async def _serve(services: Any = None, **options: Any) -> AsyncIterator[_Served]:
    listener = socket.create_server(("127.0.0.1", 0))
    writes, observer = _build(services=services)
    answers = DirectAnswers(ImmediateRoutes(_ROUTES, None), [], RepeatedAnswers(lambda: 0))
    settings = HTTPServerOptions(direct_answers=answers, short_writes=writes, **options)
    server = HTTPServer(_answer_normally, settings)
    task = asyncio.create_task(server.serve_until_stopped([listener]))
    served = _Served(server, observer, listener.getsockname())
    served.reader, served.writer = await asyncio.open_connection(*listener.getsockname())
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield served
    finally:
        served.writer.close()
        server.stop()
        await task
        listener.close()


def _request(body: bytes, *headers: bytes, target: bytes = b"/things") -> bytes:
    lines = [b"POST " + target + b" HTTP/1.1", b"Host: h", b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, *headers, b"", body])


def _fill(size: int) -> bytes:
    return bytes(range(251)) * (size // 251) + bytes(size % 251)


@pytest.mark.parametrize("size", [0, 1, 5_000, 300_000, LARGEST_BODY_BYTES])
async def test_protocol_body_of_any_size_arrives_again_and_again(size: int) -> None:
    body = _fill(size)
    async with _serve() as served:
        for _ in range(3):
            served.writer.write(_request(body))
            assert await served.read() == b"POST |" + body
        await served.wait_until_idle()


async def test_protocol_connection_that_brought_a_long_body_serves_all_else() -> None:
    body = _fill(300_000)
    async with _serve() as served:
        for _ in range(2):
            served.writer.write(_request(body))
            assert await served.read() == b"POST |" + body
            served.writer.write(_request(b"abc"))
            assert await served.read() == b"POST |abc"
            served.writer.write(_request(bytes(LARGEST_BODY_BYTES + 1)))
            assert await served.read() == _NORMAL


async def test_protocol_body_in_small_pieces_arrives() -> None:
    request = _request(_fill(1000))
    async with _serve() as served:
        for start in range(0, len(request), 97):
            served.writer.write(request[start : start + 97])
            await served.writer.drain()
            await asyncio.sleep(0)
        assert await served.read() == b"POST |" + _fill(1000)


@pytest.mark.parametrize("size", [3, 700_000])
async def test_protocol_requests_behind_each_other_are_answered_in_order(size: int) -> None:
    first, second = _fill(size), _fill(size + 1)
    async with _serve() as served:
        served.writer.write(_request(first) + _request(second) + _request(b"", target=b"/x"))
        assert await served.read() == b"POST |" + first
        # What waits for the first one takes the normal way.
        assert await served.read() in (b"POST |" + second, _NORMAL)
        assert await served.read() == _NORMAL


@pytest.mark.parametrize("size", [3, 300_000])
@pytest.mark.parametrize("target", [b"/things", b"/heavy"])
async def test_protocol_client_that_sends_no_more_is_answered(size: int, target: bytes) -> None:
    body = _fill(size)
    async with _serve() as served:
        served.writer.write(_request(body, target=target))
        served.writer.write_eof()
        assert await served.read() == (_NORMAL if target == b"/heavy" else b"POST |" + body)
        assert await served.reader.read() == b""


async def test_protocol_client_that_ends_within_a_body_is_dropped() -> None:
    async with _serve() as served:
        served.writer.write(_request(_fill(300_000))[:200_000])
        await served.wait_until_busy()
        served.writer.write_eof()
        assert await served.reader.read() == b""
        await served.wait_until_idle()


@pytest.mark.parametrize("size", [3, 300_000])
@pytest.mark.parametrize("target", [b"/things", b"/heavy"])
async def test_protocol_garbage_behind_a_request_does_not_replace_its_answer(
    size: int, target: bytes
) -> None:
    body = _fill(size)
    async with _serve() as served:
        served.writer.write(_request(body, target=target) + b"no request")
        assert await served.read() == (_NORMAL if target == b"/heavy" else b"POST |" + body)
        # If the answer was quicker than the garbage, that is refused by itself.
        with suppress(ConnectionResetError):
            assert await served.reader.read(12) in (b"", b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "request_bytes",
    [
        _request(b"abc", b"Connection: close"),
        _request(b"abc", b"Expect: 100-continue"),
        _request(b"abc", b"X-HTTP-Method-Override: DELETE"),
        _request(b"abc", b"X-Twice: 1", b"X-Twice: 2"),
        _request(b"abc", target=b"/heavy"),
        b"POST /things HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"POST /things HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
        _request(bytes(LARGEST_BODY_BYTES + 1)),
    ],
)
async def test_protocol_special_request_is_left_to_the_application(request_bytes: bytes) -> None:
    async with _serve() as served:
        served.writer.write(request_bytes)
        head = await served.reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 100"):
            await served.reader.readuntil(b"\r\n\r\n")
        assert await served.reader.readexactly(6) == _NORMAL


async def test_protocol_crowded_server_leaves_the_refusal_to_the_application() -> None:
    async with _serve() as served:
        served.writer.write(_request(b"abc"))
        assert await served.read() == b"POST |abc"
        connection: Any
        for connection in served.server.server_state.connections:
            connection.connection_limit = ConnectionLimit(1, lambda: 0)
        served.writer.write(_request(b"abc"))
        assert (await served.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize("sent", [10, 100_000, 600_000])
async def test_protocol_client_that_leaves_within_a_body_gives_its_room_back(sent: int) -> None:
    async with _serve() as served:
        served.writer.write(_request(_fill(900_000))[:sent])
        if sent > 100:
            await served.wait_until_busy()
        served.writer.transport.abort()
        await served.wait_until_idle()
        assert served.observer.requests == 0


async def test_protocol_client_that_leaves_before_its_answer_harms_nobody() -> None:
    gate = asyncio.Event()
    async with _serve(gate) as served:
        served.writer.write(_request(b"abc", target=b"/wait"))
        await served.wait_until_busy()
        served.writer.transport.abort()
        gate.set()
        await served.wait_until_idle()
        assert served.observer.requests == 1


@pytest.mark.parametrize("sent", [150, 600_000])
async def test_protocol_client_that_stops_within_a_body_is_dropped(sent: int) -> None:
    async with _serve(request_timeout_s=1) as served:
        served.writer.write(_request(_fill(900_000))[:sent])
        assert await served.reader.read() == b""
        assert served.observer.active == 0


async def test_protocol_stopped_server_answers_and_closes() -> None:
    gate = asyncio.Event()
    async with _serve(gate) as served:
        served.writer.write(_request(b"abc", target=b"/wait"))
        await served.wait_until_busy()
        served.server.stop()
        reader, writer = served.reader, served.writer
        await served.wait_until(served.is_told_to_stop)
        gate.set()
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"connection: close" in head
        assert await reader.read() == b"waited"
        writer.close()


async def test_protocol_cancelled_request_closes_its_connection() -> None:
    async with _serve(asyncio.Event(), shutdown_timeout_s=0) as served:
        served.writer.write(_request(b"abc", target=b"/wait"))
        await served.wait_until_busy()
        served.server.stop()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await served.reader.readexactly(1)
        await served.wait_until_idle()
