"""Bodies that are cut short, and bodies that nobody asked for."""

from typing import Any

import pytest
from falcon.asgi import Request, Response

from isocenter.errors import BadRequestError
from isocenter.http.bodies import Application, Receive, require_whole_body
from isocenter.http.streaming import ABORT

LAST = {"type": "http.request", "body": b"b", "more_body": False}
PART = {"type": "http.request", "body": b"a", "more_body": True}
LEFT = {"type": "http.disconnect"}


def build_channel(*events: dict[str, Any]) -> Receive:
    """Build a channel that gives some events and then fails the test."""
    left = list(events)

    async def receive() -> dict[str, Any]:
        return left.pop(0)

    return require_whole_body(receive)


async def test_first_event_is_there_before_the_client_has_sent_anything() -> None:
    receive = build_channel()
    assert await receive() == {"type": "http.request", "body": b"", "more_body": True}


@pytest.mark.parametrize("events", [[LAST], [PART, LAST], [PART, PART, LAST]])
async def test_whole_body_is_handed_on(events: list[dict[str, Any]]) -> None:
    receive = build_channel(*events)
    await receive()
    assert [await receive() for _ in events] == events


@pytest.mark.parametrize("events", [[LEFT], [PART, LEFT], [PART, PART, LEFT]])
async def test_client_that_leaves_before_the_end_is_an_error(events: list[dict[str, Any]]) -> None:
    receive = build_channel(*events)
    for _ in events:
        await receive()
    with pytest.raises(BadRequestError, match="left"):
        await receive()


async def test_client_may_leave_after_the_end() -> None:
    receive = build_channel(LAST, LEFT)
    await receive()
    await receive()
    assert await receive() == LEFT


async def test_event_without_more_body_is_the_last() -> None:
    receive = build_channel({"type": "http.request"}, LEFT)
    await receive()
    await receive()
    assert await receive() == LEFT


async def test_responder_can_end_the_connection_at_once() -> None:
    class Cycle:
        """What uvicorn keeps of a request, whose connection is this object, too."""

        aborted = False

        @property
        def transport(self) -> "Cycle":
            return self

        def abort(self) -> None:
            self.aborted = True

        async def send(self, _: dict[str, Any]) -> None:
            """Take an event."""

    class Resource:
        async def on_get(self, req: Request, _: Response) -> None:
            req.scope[ABORT]()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    application = Application()
    application.add_route("/", Resource())
    cycle = Cycle()
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/",
        "headers": [],
        "query_string": b"",
        "asgi": {"version": "3.0", "spec_version": "2.1"},
    }
    await application(scope, receive, cycle.send)
    assert cycle.aborted
