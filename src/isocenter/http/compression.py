"""Compressed answers for clients that take them.

References
----------
RFC 9110 §8.4, §12.5.3; Orthanc configuration: ``HttpCompressionEnabled``
"""

import re
from collections.abc import Iterable
from enum import IntEnum
from typing import Any

from isal import isal_zlib

from isocenter.archive.workers import Workers

__all__ = ["Coding", "CompressedApplication", "choose_coding"]

# A shorter answer fills one packet either way.
_SMALLEST = 1024
# A longer piece is compressed in a thread: 1 MB takes some 4 ms.
_LARGEST_INLINE = 256 * 1024
_LEVEL = 1
_COMPRESSIBLE = re.compile(
    rb"text/(?!event-stream)|application/(json|dicom\+json|dicom\+xml|javascript|xml)\b"
    rb"|image/svg",
    re.IGNORECASE,
)
_WEIGHT = re.compile(r"q=([01](?:\.\d{0,3})?)")

Headers = list[tuple[bytes, bytes]]


class Coding(IntEnum):
    """Ways to compress; the values are those of zlib's ``wbits``."""

    GZIP = 31
    DEFLATE = 15

    @property
    def token(self) -> bytes:
        """Its name in headers."""
        return self.name.lower().encode()


def choose_coding(accept_encoding: str) -> Coding | None:
    """Choose how to compress for a client, ``None`` if it does not want that.

    Parameters
    ----------
    accept_encoding
        The header ``Accept-Encoding``; of equal weights gzip wins.

    References
    ----------
    RFC 9110 §12.5.3
    """
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        name, *parameters = (word.strip() for word in part.split(";"))
        found = _WEIGHT.fullmatch(parameters[0]) if parameters else None
        weights["gzip" if name == "x-gzip" else name] = float(found[1]) if found else 1.0
    everything = weights.get("*", 0.0)
    gzip, deflate = weights.get("gzip", everything), weights.get("deflate", everything)
    if max(gzip, deflate) <= 0:
        return None
    return Coding.GZIP if gzip >= deflate else Coding.DEFLATE


class CompressedApplication:
    """An ASGI application that compresses the texts among the answers of another one.

    Left alone are short answers, those that are compressed already, ranges, and those with an
    entity tag, which names the bytes as they are.

    Parameters
    ----------
    workers
        Threads for long answers.
    """

    def __init__(self, application: Any, workers: Workers) -> None:
        self._application = application
        self._workers = workers

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer a request; the server calls this."""
        if scope["type"] == "http" and scope["method"] != "HEAD":
            accepted = b",".join(
                value for name, value in scope["headers"] if name == b"accept-encoding"
            )
            coding = choose_coding(accepted.decode("latin-1"))
            send = _Sender(send, coding, self._workers).send
        await self._application(scope, receive, send)


class _Sender:
    """Sends one answer, compressed or not."""

    def __init__(self, send: Any, coding: Coding | None, workers: Workers) -> None:
        self._send = send
        self._coding = coding
        self._workers = workers
        self._compressor: Any = None
        # Kept until the first part of the body tells the length.
        self._start: dict[str, Any] | None = None

    @property
    def disconnected(self) -> bool:
        """Whether the client has left, as uvicorn's own record of a request says."""
        return bool(getattr(getattr(self._send, "__self__", None), "disconnected", False))

    @property
    def transport(self) -> Any:
        """The connection of the request."""
        return getattr(getattr(self._send, "__self__", None), "transport", None)

    async def send(self, event: dict[str, Any]) -> None:
        if event["type"] == "http.response.start":
            headers = _Fields(event["headers"])
            if not headers.are_compressible:
                await self._send(event)
                return
            vary = (b"vary", b"Accept-Encoding")
            self._start = {**event, "headers": [*event["headers"], vary]}
        elif event["type"] == "http.response.body":
            await self._send_body(event)
        else:
            await self._send(event)

    async def _send_body(self, event: dict[str, Any]) -> None:
        body, is_last = event.get("body", b""), not event.get("more_body", False)
        if self._start is not None:
            start, self._start = self._start, None
            is_wanted = self._coding is not None and not (is_last and len(body) < _SMALLEST)
            if not is_wanted or self._coding is None:
                await self._send(start)
                await self._send(event)
                return
            self._compressor = isal_zlib.compressobj(_LEVEL, wbits=self._coding)
            body = await self._compress(body, is_last=is_last)
            headers = [field for field in start["headers"] if field[0].lower() != b"content-length"]
            headers.append((b"content-encoding", self._coding.token))
            if is_last:
                headers.append((b"content-length", str(len(body)).encode()))
            await self._send({**start, "headers": headers})
            await self._send({**event, "body": body})
        elif self._compressor is not None:
            await self._send({**event, "body": await self._compress(body, is_last=is_last)})
        else:
            await self._send(event)

    async def _compress(self, data: bytes, *, is_last: bool) -> bytes:
        if len(data) > _LARGEST_INLINE:
            return await self._workers.run(self._compress_now, data, is_last=is_last)
        return self._compress_now(data, is_last=is_last)

    def _compress_now(self, data: bytes, *, is_last: bool) -> bytes:
        compressed: bytes = self._compressor.compress(data)
        return compressed + self._compressor.flush() if is_last else compressed


class _Fields:
    """What the headers of an answer say of its body."""

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._fields = {name.lower(): value for name, value in headers}

    @property
    def are_compressible(self) -> bool:
        fields = self._fields
        if fields.keys() & {b"content-encoding", b"content-range", b"etag"}:
            return False
        return _COMPRESSIBLE.match(fields.get(b"content-type", b"")) is not None
