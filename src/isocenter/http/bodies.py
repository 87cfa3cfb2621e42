"""Request bodies: read when a responder asks for them, and never taken for whole if cut short."""

from collections.abc import Awaitable, Callable
from typing import Any

from falcon.asgi import App, Request, Response

from isocenter.errors import BadRequestError
from isocenter.http.streaming import ABORT, IS_GONE

__all__ = ["Application", "require_whole_body"]

_WITHOUT_BODY = {"GET", "HEAD", "OPTIONS"}
_VERSIONS = {"1.0", "1.1"}
_NOTHING_YET = {"type": "http.request", "body": b"", "more_body": True}

Receive = Callable[[], Awaitable[dict[str, Any]]]


class Application(App[Request, Response]):
    """A Falcon application whose responders see only whole bodies."""

    async def __call__(  # type: ignore[override]
        self, scope: dict[str, Any], receive: Any, send: Any
    ) -> None:
        """Answer a request; the server calls this."""
        if scope["type"] == "http":
            if scope["http_version"] not in _VERSIONS:
                # Falcon takes this for a bug of the server that called it.
                await _refuse_version(send)
                return
            if scope["method"] not in _WITHOUT_BODY:
                receive = require_whole_body(receive)
            # uvicorn takes what is sent to a client that has left, and says nothing.
            cycle = getattr(send, "__self__", None)
            scope[IS_GONE] = lambda: getattr(cycle, "disconnected", False)
            scope[ABORT] = lambda: _abort(cycle)
        await super().__call__(scope, receive, send)


def _abort(cycle: Any) -> None:
    """End the connection of a request as uvicorn knows it; nothing if it is no connection."""
    transport = getattr(cycle, "transport", None)
    if transport is not None:
        transport.abort()


async def _refuse_version(send: Any) -> None:
    """Answer 505, for clients of before 1996 (RFC 9110 §15.6.6)."""
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 505, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def require_whole_body(receive: Receive) -> Receive:
    """Wrap the ASGI channel of a request.

    Falcon takes what has arrived for the whole body if the client leaves; the wrapped channel
    raises `BadRequestError` instead. Falcon also waits for the first piece before it looks at the
    request; the wrapped channel gives it an empty one. So a caller who is refused, or whose body is
    too long, is told at once, and one who waits for ``100 Continue`` does not get it for nothing.

    References
    ----------
    ASGI specification, HTTP: request receive event, disconnect event; RFC 9110 §10.1.1
    """
    is_first = is_partial = True

    async def receive_whole() -> dict[str, Any]:
        nonlocal is_first, is_partial
        if is_first:
            is_first = False
            return _NOTHING_YET
        event = await receive()
        if event["type"] == "http.disconnect" and is_partial:
            message = "the client left before the body was complete"
            raise BadRequestError(message)
        is_partial = event.get("more_body", False)
        return event

    return receive_whole
