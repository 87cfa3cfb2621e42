"""Which requests are answered on the spot, and that all others are left alone."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from tests.support.scripted_peer import DEADLINE_S

from isocenter.archive.workers import Workers
from isocenter.errors import BadRequestError
from isocenter.http.access import AccessControl, hash_password
from isocenter.http.direct import DirectAnswers
from isocenter.http.exchange import DirectRequest, Request, Response
from isocenter.http.immediate_routes import ImmediateRoutes
from isocenter.http.limits import LimitedProtocol
from isocenter.http.repeated import Repeatable, RepeatedAnswers
from isocenter.http.routes import Route
from isocenter.http.server import HTTPServer, HTTPServerOptions
from isocenter.index.port import Database

_PLAIN = b"GET /things HTTP/1.1\r\nHost: h\r\n\r\n"
_DIRECT = b"direct"
_NORMAL = b"normal"


async def _answer(_: object, __: Request, resp: Response, **parameters: str) -> None:
    resp.data = b" ".join([_DIRECT, *(value.encode() for value in parameters.values())])


async def _wait(_: object, __: Request, resp: Response) -> None:
    resp.data = _DIRECT
    await asyncio.sleep(0)


async def _fail(_: object, __: Request, resp: Response) -> None:
    resp.data = _DIRECT
    raise BadRequestError


async def _miss(_: object, __: Request, resp: Response) -> None:
    resp.data = _DIRECT
    resp.status = 404


async def _be_long(_: object, __: Request, resp: Response) -> None:
    resp.data = bytes(100_000)


async def _count(_: object, __: Request, resp: Response) -> None:
    _counted.append(None)
    resp.data = b"%d" % len(_counted)


_counted: list[None] = []


def _route(
    path: str,
    responder: Any = _answer,
    *,
    is_immediate: bool = True,
    is_lasting: bool = False,
) -> Route:
    return Route("GET", path, responder, "-", "-", is_immediate=is_immediate, is_lasting=is_lasting)


_ROUTES = (
    _route("/"),
    _route("/things"),
    _route("/things/{name}"),
    _route("/things/{name}/parts"),
    _route("/things/all", is_immediate=False),
    _route("/things/{name}/slow", is_immediate=False),
    _route("/things/folder/below", is_immediate=False),
    _route("/things/{name}/notes/{note}"),
    _route("/things/{name}/notes/{note}/size"),
    _route("/things/{name}/notes/{note}/slow", is_immediate=False),
    _route("/things/{name}/notes/all", is_immediate=False),
    _route("/wait", _wait),
    _route("/fail", _fail),
    _route("/miss", _miss),
    _route("/long", _be_long),
    _route("/lasting", _count, is_lasting=True),
    _route("/passing", _count),
)


def _answers(*middleware: Any) -> DirectAnswers:
    return DirectAnswers(ImmediateRoutes(_ROUTES, None), middleware, RepeatedAnswers(lambda: 0))


def _build(target: str, *middleware: Any, headers: Mapping[bytes, bytes] = {}) -> bytes | None:
    answer = _answers(*middleware).build(target.encode("latin-1"), headers, "127.0.0.1")
    return None if answer is None else cast(bytes, answer.body)


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/", b"direct"),
        ("/things", b"direct"),
        ("/things?a=1", b"direct"),
        ("/things/a-b", b"direct a-b"),
        ("/things/a/parts", b"direct a"),
        ("/things/a/notes/b", b"direct a b"),
        ("/things/a/notes/b/size", b"direct a b"),
    ],
)
def test_answers_of_immediate_route_are_built(target: str, body: bytes) -> None:
    assert _build(target) == body


@pytest.mark.parametrize(
    "target",
    [
        "/unknown",
        "/things/",
        "/things/a/",
        "/things/a/parts/",
        "/things//parts",
        "/things/a/other",
        "/things/a/notes",
        "/things/a/notes/",
        "/things/a/notes/all",
        "/things/a/notes//size",
        "/things//notes/b",
        "/things/a/notes/b/",
        "/things/a/notes/b/slow",
        "/things/a/notes/b/size/c",
        "/things/a/other/b",
        "/things/a/slow",
        "/things/all",
        "/things/folder",
        "//things",
        "things",
        "http://h/things",
        "*",
        "/things/%61",
        "/things/\xe9",
        "/things#a",
        "/things?_method=DELETE",
        "/things?%5Fmethod=DELETE",
    ],
)
def test_answers_of_anything_else_are_not_built(target: str) -> None:
    assert _build(target) is None


@pytest.mark.parametrize("target", ["/wait", "/fail", "/miss"])
def test_answers_that_are_no_success_at_once_are_not_built_or_counted(target: str) -> None:
    counted: list[Any] = []

    class Counting:
        async def process_response(self, *arguments: Any) -> None:
            counted.append(arguments)

    assert _build(target, Counting()) is None
    assert counted == []


def test_answers_run_middleware_in_the_order_of_the_application() -> None:
    order = []

    class Part:
        def __init__(self, name: str) -> None:
            self._name = name

        async def process_request(self, *_: Any) -> None:
            order.append(f"{self._name} before")

        async def process_response(self, *_: Any) -> None:
            order.append(f"{self._name} after")

    assert _build("/things", Part("outer"), Part("inner")) == _DIRECT
    assert order == ["outer before", "inner before", "inner after", "outer after"]


@pytest.mark.parametrize("path", ["/{a}", "/a/b/{c}", "/a/{b}/{c}", "/a/b-{c}"])
def test_immediate_routes_with_other_templates_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="cannot be immediate"):
        ImmediateRoutes([_route(path)], None)


def _access(users: Mapping[str, str] | None, *, is_remote_allowed: bool = True) -> AccessControl:
    workers = Workers(cast(Database, None), 1)
    return AccessControl(workers, is_remote_allowed=is_remote_allowed, users=users)


def test_answers_with_right_clear_password_are_built() -> None:
    headers = {b"authorization": b"Basic dTpw"}
    assert _build("/things", _access({"u": "p"}), headers=headers) == _DIRECT


@pytest.mark.parametrize("header", [b"Basic dTpx", b"Basic eDpw", b"Basic", b"Bearer dTpw", b""])
def test_answers_with_wrong_credentials_are_not_built(header: bytes) -> None:
    headers = {b"authorization": header}
    assert _build("/things", _access({"u": "p"}), headers=headers) is None


def test_answers_without_credentials_are_not_built() -> None:
    assert _build("/things", _access({"u": "p"})) is None


def test_answers_with_hashed_password_are_built_once_it_was_verified() -> None:
    access, headers = _access({"u": hash_password("p")}), {b"authorization": b"Basic dTpw"}
    assert _build("/things", access, headers=headers) is None

    async def verify() -> None:
        request: Any = DirectRequest("/things", "", headers=headers, remote_addr="127.0.0.1")
        await access.process_request(request, cast(Response, None))

    asyncio.run(verify())
    assert _build("/things", access, headers=headers) == _DIRECT


def test_answers_to_other_machines_are_not_built_where_these_are_refused() -> None:
    answers = _answers(_access(None, is_remote_allowed=False))
    assert answers.build(b"/things", {}, "192.0.2.1") is None
    assert answers.build(b"/things", {}, "127.0.0.1") is not None


async def _answer_normally(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", b"6")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _NORMAL})


@asynccontextmanager
async def _connect(
    **options: Any,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to a server whose application answers differently."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = HTTPServer(_answer_normally, HTTPServerOptions(direct_answers=_answers(), **options))
    task = asyncio.create_task(server.serve_until_stopped([listener]))
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield reader, writer
    finally:
        writer.close()
        server.stop()
        await task
        listener.close()


async def _read_body(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return await reader.readexactly(int(length))


@pytest.mark.parametrize(
    "request_head",
    [
        _PLAIN,
        b"GET /things HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n",
        b"GET /things?a=b HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nUser-Agent: x\r\n\r\n",
    ],
)
async def test_protocol_plain_request_is_answered_directly(request_head: bytes) -> None:
    async with _connect() as (reader, writer):
        for _ in range(3):
            writer.write(request_head)
            assert await _read_body(reader) == _DIRECT


@pytest.mark.parametrize(
    "request_head",
    [
        b"HEAD /things HTTP/1.1\r\n",
        b"POST /things HTTP/1.1\r\n",
        b"GET /things HTTP/1.0\r\n",
        b"GET /things HTTP/1.1\r\nConnection: close\r\n",
        b"GET /things HTTP/1.1\r\nContent-Length: 0\r\n",
        b"GET /things HTTP/1.1\r\nExpect: 100-continue\r\n",
        b"GET /things HTTP/1.1\r\nRange: bytes=0-1\r\n",
        b'GET /things HTTP/1.1\r\nIf-None-Match: "x"\r\n',
        b'GET /things HTTP/1.1\r\nIf-Range: "x"\r\n',
        b"GET /things HTTP/1.1\r\nX-HTTP-Method-Override: DELETE\r\n",
        b"GET /things HTTP/1.1\r\nX-Twice: 1\r\nX-Twice: 2\r\n",
        b"GET /unknown HTTP/1.1\r\n",
    ],
)
async def test_protocol_special_request_is_left_to_the_application(request_head: bytes) -> None:
    async with _connect() as (reader, writer):
        writer.write(request_head + b"Host: h\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 100"):
            head = await reader.readuntil(b"\r\n\r\n")
        assert b"content-type" not in head.lower()
        if not request_head.startswith(b"HEAD"):
            assert await reader.readexactly(6) == _NORMAL


async def test_protocol_request_with_chunked_body_is_left_to_the_application() -> None:
    async with _connect() as (reader, writer):
        head = b"GET /things HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + b"3\r\nabc\r\n0\r\n\r\n" + _PLAIN)
        assert await _read_body(reader) == _NORMAL
        await _read_body(reader)


async def test_protocol_both_ways_take_turns_on_one_connection() -> None:
    async with _connect() as (reader, writer):
        for _ in range(3):
            writer.write(_PLAIN)
            assert await _read_body(reader) == _DIRECT
            writer.write(_PLAIN.replace(b"/things", b"/unknown"))
            assert await _read_body(reader) == _NORMAL


async def test_protocol_request_behind_an_unfinished_one_waits_for_its_answer() -> None:
    async with _connect() as (reader, writer):
        writer.write(_PLAIN.replace(b"/things", b"/unknown") + _PLAIN)
        assert [await _read_body(reader) for _ in range(2)] == [_NORMAL, _NORMAL]


async def test_protocol_long_pipeline_is_answered_completely_but_not_at_once() -> None:
    async with _connect() as (reader, writer):
        writer.write(_PLAIN * 40)
        bodies = [await _read_body(reader) for _ in range(40)]
    assert bodies[:16] == [_DIRECT] * 16
    assert _NORMAL in bodies


async def test_protocol_head_in_single_bytes_is_answered_directly() -> None:
    async with _connect() as (reader, writer):
        for byte in _PLAIN:
            writer.write(bytes([byte]))
            await writer.drain()
        assert await _read_body(reader) == _DIRECT


async def test_protocol_long_body_is_complete() -> None:
    async with _connect() as (reader, writer):
        writer.write(_PLAIN.replace(b"/things", b"/long"))
        assert await _read_body(reader) == bytes(100_000)


async def test_protocol_idle_connection_is_closed_after_the_timeout() -> None:
    async with _connect(keep_alive_timeout_s=0) as (reader, writer):
        writer.write(_PLAIN)
        assert await _read_body(reader) == _DIRECT
        assert await reader.read() == b""


async def test_protocol_stopping_closes_the_idle_connection() -> None:
    async with _connect() as (reader, writer):
        writer.write(_PLAIN)
        assert await _read_body(reader) == _DIRECT
    assert await reader.read() == b""


def _get(target: bytes, headers: bytes = b"") -> bytes:
    return b"GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n" % (target, headers)


@pytest.mark.parametrize(
    ("first", "second", "is_repeated"),
    [
        (_get(b"/lasting"), _get(b"/lasting"), True),
        (_get(b"/lasting?a"), _get(b"/lasting?b"), False),
        (_get(b"/lasting"), _get(b"/lasting", b"X: 1\r\n"), False),
        (_get(b"/lasting"), _get(b"/lasting") * 2, False),
        (_get(b"/passing"), _get(b"/passing"), False),
    ],
)
async def test_protocol_lasting_answer_to_what_is_asked_again_is_repeated_to_the_same_bytes(
    first: bytes, second: bytes, is_repeated: bool
) -> None:
    async with _connect() as (reader, writer):
        writer.write(_PLAIN)
        await _read_body(reader)
        # What is asked only once is not kept.
        writer.write(first)
        await _read_body(reader)
        writer.write(first)
        answer = await _read_body(reader)
        writer.write(second)
        assert (await _read_body(reader) == answer) is is_repeated


async def test_protocol_second_of_two_requests_at_once_is_not_taken_for_the_whole() -> None:
    async with _connect() as (reader, writer):
        writer.write(_PLAIN)
        await _read_body(reader)
        writer.write(_get(b"/things") + _get(b"/lasting"))
        assert await _read_body(reader) == _DIRECT
        counted = await _read_body(reader)
        writer.write(_get(b"/lasting"))
        assert await _read_body(reader) != counted


async def test_protocol_bytes_in_a_body_are_no_request() -> None:
    async with _connect() as (reader, writer):
        for _ in range(2):
            writer.write(_get(b"/lasting"))
            await _read_body(reader)
        known = _get(b"/lasting")
        writer.write(b"POST /things HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(known))
        await asyncio.sleep(0)
        writer.write(known)
        assert await _read_body(reader) == _NORMAL


async def test_protocol_repeated_answer_is_counted_and_access_checked() -> None:
    seen: list[str] = []

    class Part:
        async def process_request(self, *_: Any) -> None:
            seen.append("request")

        async def process_response(self, *_: Any) -> None:
            seen.append("response")

    answers = _answers(Part())
    request = _get(b"/lasting")
    built = answers.build(b"/lasting", {}, "127.0.0.1")
    assert built is not None
    assert built.req is not None
    assert built.resp is not None
    answers.repeated.add(
        "127.0.0.1", request, Repeatable(built.req, built.resp, b"whole"), generation=0
    )
    seen.clear()
    repeated = answers.repeat("127.0.0.1", request)
    assert repeated is not None
    assert repeated.answer == b"whole"
    assert seen == ["request", "response"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        _get(b"/things", b"Accept: text/html\r\nA!#$%&'*+-.^_`|~9: \xe9\t x \r\n"),
        _get(b"/things", b"Connection: Keep-Alive\r\n"),
        _get(b"/things", b"X:\r\nY: a:b\r\n"),
    ],
)
async def test_protocol_plain_lines_need_no_parser(
    request_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _connect() as (reader, writer):
        writer.write(_PLAIN)
        assert await _read_body(reader) == _DIRECT
        monkeypatch.setattr(LimitedProtocol, "data_received", None)
        for _ in range(2):
            writer.write(request_bytes)
            assert await _read_body(reader) == _DIRECT
        monkeypatch.undo()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /things HTTP/1.1\nHost: h\n\n",
        b"GET  /things HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /things HTTP/1.1\r\nHost : h\r\n\r\n",
        b"GET /things HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n",
        b"GET /things HTTP/1.1\r\nHost: h\x00\r\n\r\n",
        b"GET /things HTTP/1.1\r\n: h\r\n\r\n",
        b"GET /th ings HTTP/1.1\r\n\r\n",
        b"GET /things HTTP/1.11\r\n\r\n",
        b"get /things HTTP/1.1\r\n\r\n",
    ],
)
async def test_protocol_lines_that_are_not_plain_go_to_the_parser(
    request_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _connect() as (reader, writer):
        writer.write(_PLAIN)
        assert await _read_body(reader) == _DIRECT
        parsed: list[bytes] = []
        receive = LimitedProtocol.data_received

        def note(self: LimitedProtocol, data: bytes) -> None:
            parsed.append(data)
            receive(self, data)

        monkeypatch.setattr(LimitedProtocol, "data_received", note)
        writer.write(request_bytes)
        await reader.readuntil(b"\r\n\r\n")
        assert parsed == [request_bytes]
