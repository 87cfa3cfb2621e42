"""Idle connections are closed in time, and no timer is set for each request."""

from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from isocenter.http.direct import DirectAnswers, build_protocol
from isocenter.http.exchange import Request, Response
from isocenter.http.immediate_routes import ImmediateRoutes
from isocenter.http.repeated import RepeatedAnswers
from isocenter.http.routes import Route

_REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
_KEEP_ALIVE_S = 10


class _Timer:
    def __init__(self, when: float, callback: Any) -> None:
        self.when = when
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class _Loop:
    """A loop whose time passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[_Timer] = []
        self.soon: list[Any] = []

    def call_soon(self, callback: Any) -> None:
        self.soon.append(callback)

    def end_turn(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, callback: Any) -> _Timer:
        self.timers.append(_Timer(self.now + delay_s, callback))
        return self.timers[-1]

    def pass_time(self, seconds: float) -> None:
        self.end_turn()
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer.when <= end]:
            timer = min(due, key=lambda one: one.when)
            self.timers.remove(timer)
            self.now = max(self.now, timer.when)
            if not timer.is_cancelled:
                timer.callback()
        self.now = end


class _Transport:
    def __init__(self) -> None:
        self.is_closed = False
        self.written = b""

    def get_extra_info(self, name: str, default: object = None) -> object:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


async def _answer(_: object, __: Request, resp: Response) -> None:
    resp.data = b"x"


@pytest.fixture
def connection() -> tuple[_Loop, _Transport, Any]:
    route = Route("GET", "/", _answer, "-", "-", is_immediate=True)
    answers = DirectAnswers(ImmediateRoutes([route], None), [], RepeatedAnswers(lambda: 0))
    application: Any = lambda *_: None  # noqa: E731 - never called
    config = uvicorn.Config(application, interface="asgi3", timeout_keep_alive=_KEEP_ALIVE_S)
    config.load()
    loop, transport = _Loop(), _Transport()
    protocol: Any = build_protocol(answers, None, request_timeout_s=30)
    protocol = protocol(config, ServerState(), {}, _loop=loop)
    protocol.connection_made(transport)
    protocol.data_received(_REQUEST)
    return loop, transport, protocol


def test_idle_connection_is_closed_after_its_time(
    connection: tuple[_Loop, _Transport, Any],
) -> None:
    loop, transport, _ = connection
    loop.pass_time(_KEEP_ALIVE_S + 0.1)
    assert transport.is_closed


def test_each_request_puts_the_end_off(connection: tuple[_Loop, _Transport, Any]) -> None:
    loop, transport, protocol = connection
    for _ in range(5):
        loop.pass_time(_KEEP_ALIVE_S - 1)
        protocol.data_received(_REQUEST)
    loop.pass_time(_KEEP_ALIVE_S - 0.1)
    assert transport.written.count(b"HTTP/1.1 200") == 6
    assert not transport.is_closed


def test_many_requests_set_one_timer(connection: tuple[_Loop, _Transport, Any]) -> None:
    loop, _, protocol = connection
    before = len(loop.timers)
    for _ in range(100):
        protocol.data_received(_REQUEST)
    assert len(loop.timers) == before


def test_request_under_way_is_not_taken_for_idleness(
    connection: tuple[_Loop, _Transport, Any],
) -> None:
    loop, transport, protocol = connection
    protocol.data_received(_REQUEST[:10])
    loop.pass_time(_KEEP_ALIVE_S + 1)
    assert not transport.is_closed
    protocol.data_received(_REQUEST[10:])
    loop.end_turn()
    assert transport.written.count(b"HTTP/1.1 200") == 2
    loop.pass_time(_KEEP_ALIVE_S + 0.1)
    assert transport.is_closed


def test_answer_leaves_at_the_end_of_the_turn(connection: tuple[_Loop, _Transport, Any]) -> None:
    loop, transport, protocol = connection
    transport.written = b""
    protocol.data_received(_REQUEST)
    assert not transport.written
    loop.end_turn()
    assert transport.written.count(b"HTTP/1.1 200") == 1
    assert not transport.is_closed


def test_many_answers_do_not_wait_for_the_end(connection: tuple[_Loop, _Transport, Any]) -> None:
    _, _, protocol = connection
    transports = []
    for _ in range(16):
        other: Any = type(protocol)(protocol.config, ServerState(), {}, _loop=protocol.loop)
        transports.append(_Transport())
        other.connection_made(transports[-1])
        # The first one of a connection goes through the parser.
        other.data_received(_REQUEST)
        transports[-1].written = b""
        assert not any(transport.written for transport in transports)
        other.data_received(_REQUEST)
    assert all(b"HTTP/1.1 200" in transport.written for transport in transports)


@pytest.mark.parametrize("follows", ["request", "garbage", "end", "stop"])
def test_answer_leaves_before_whatever_follows_in_the_same_turn(
    connection: tuple[_Loop, _Transport, Any], follows: str
) -> None:
    loop, transport, protocol = connection
    transport.written = b""
    protocol.data_received(_REQUEST)
    if follows == "request":
        protocol.data_received(_REQUEST)
    elif follows == "garbage":
        protocol.data_received(b"\0\r\n\r\n")
    elif follows == "end":
        protocol.eof_received()
    else:
        protocol.shutdown()
    assert transport.written.startswith(b"HTTP/1.1 200")
    loop.end_turn()
    assert transport.written.count(b"HTTP/1.1 200") == (2 if follows == "request" else 1)
    assert transport.is_closed == (follows in {"garbage", "stop"})


def test_lost_connection_gets_no_answer(connection: tuple[_Loop, _Transport, Any]) -> None:
    loop, transport, protocol = connection
    transport.written = b""
    protocol.data_received(_REQUEST)
    protocol.connection_lost(None)
    loop.end_turn()
    assert not transport.written


def test_lost_connection_leaves_no_timer(connection: tuple[_Loop, _Transport, Any]) -> None:
    loop, _, protocol = connection
    protocol.connection_lost(None)
    assert all(timer.is_cancelled for timer in loop.timers)
