"""Answers to clients of HTTP/1.0, which know no chunks."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

__all__ = ["end_with_connection"]

_WITHOUT_BODY = frozenset({204, 304})


class _Unchunked:
    """Sends an answer of unknown length as it is; the end of the connection is its end."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._send = cycle.send
        self._is_open_ended = False

    async def send(self, message: Any) -> None:
        """Send a part of the answer, as ASGI wants it."""
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            is_empty = message["status"] in _WITHOUT_BODY
            self._is_open_ended = b"content-length" not in names and not is_empty
            if self._is_open_ended:
                self._cycle.chunked_encoding = False
        elif self._is_open_ended:
            # What uvicorn still expects; it compares both.
            self._cycle.expected_content_length = len(message.get("body", b""))
        await self._send(message)


def end_with_connection(cycle: RequestResponseCycle) -> None:
    """Have an answer that does not know its length end with the connection.

    References
    ----------
    RFC 9112 §6.1: no Transfer-Encoding unless the request is HTTP/1.1; §6.3
    """
    cycle.send = _Unchunked(cycle).send  # type: ignore[method-assign]
