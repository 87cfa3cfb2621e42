"""Which requests are answered on the spot, and that all others are left alone."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from isocenter.archive.workers import Workers
from isocenter.errors import BadRequestError
from isocenter.http.access import AccessControl, hash_password
from isocenter.http.direct import DirectAnswers, ImmediateRoutes
from isocenter.http.exchange import DirectRequest, Request, Response
from isocenter.http.routes import Route
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


def _route(path: str, responder: Any = _answer, *, is_immediate: bool = True) -> Route:
    return Route("GET", path, responder, "-", "-", is_immediate=is_immediate)


_ROUTES = (
    _route("/"),
    _route("/things"),
    _route("/things/{name}"),
    _route("/things/{name}/parts"),
    _route("/things/all", is_immediate=False),
    _route("/things/{name}/slow", is_immediate=False),
    _route("/things/folder/below", is_immediate=False),
    _route("/wait", _wait),
    _route("/fail", _fail),
    _route("/miss", _miss),
    _route("/long", _be_long),
)


def _answers(*middleware: Any) -> DirectAnswers:
    return DirectAnswers(ImmediateRoutes(_ROUTES, None), middleware)


def _build(target: str, *middleware: Any, headers: Mapping[bytes, bytes] = {}) -> bytes | None:
    answer = _answers(*middleware).build(target.encode("latin-1"), headers, "127.0.0.1")
    return None if answer is None else answer[1]


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/", b"direct"),
        ("/things", b"direct"),
        ("/things?a=1", b"direct"),
        ("/things/a-b", b"direct a-b"),
        ("/things/a/parts", b"direct a"),
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
