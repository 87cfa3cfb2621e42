"""Calls of one peer, at the same time if need be, with limits on time and on what is answered.

References
----------
RFC 9110; Orthanc REST: peers (behaviour manual §27)
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from types import TracebackType
from typing import Self

import msgspec

from isocenter.errors import DeadlineExceededError, PeerRefusalError
from isocenter.peers.connection import Body, Connection, PeerTarget, Route

__all__ = ["MOST_CONNECTIONS", "PeerClient"]

_log = logging.getLogger(__name__)

MOST_CONNECTIONS = 4
"""Connections to one peer at once."""
_LONGEST_REASON = 200
# A body has so much more time as it takes on a line of 64 kB/s that all connections share.
_SLOWEST_BYTES_PER_S = 65_536 // MOST_CONNECTIONS
_PERMANENT_SERVER_ERRORS = {HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED}
_TRANSIENT_REFUSALS = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
}
# They speak of the caller or of the address, not of what was sent.
_GENERAL_REFUSALS = {
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
}


class PeerClient:
    """Calls a peer over connections that are kept; an asynchronous context manager.

    Calls may be made at the same time, over `MOST_CONNECTIONS` connections; who calls one after
    another uses a single one. Redirections are not followed: they would turn what is sent into a
    question, and could lead credentials elsewhere.
    """

    def __init__(self, target: PeerTarget) -> None:
        self._target = target
        self._route = Route(target)
        self._idle: list[Connection] = []
        self._free = asyncio.Semaphore(MOST_CONNECTIONS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._idle:
            await self._idle.pop().close()

    async def get(self, path: str) -> bytes:
        """Ask for something.

        Raises
        ------
        PeerRefusalError
            If the status is not 2xx.
        RemoteError, DeadlineExceededError
            If there is no answer, or a too long one.
        """
        return await self._call("GET", path, None)

    async def post(self, path: str, body: Body) -> bytes:
        """Send something that may arrive twice.

        Raises
        ------
        PeerRefusalError, RemoteError, DeadlineExceededError
            As for `get`; besides what reading the body raises.
        """
        return await self._call("POST", path, body)

    async def _call(self, method: str, path: str, body: Body | None) -> bytes:
        began = time.monotonic()
        async with self._free, self._connected() as connection:
            try:
                async with asyncio.timeout(self._get_deadline_s(body)):
                    answer = await connection.call(method, path, body)
            except TimeoutError as error:
                raise DeadlineExceededError("the peer does not answer in time") from error
        if self._target.is_verbose:
            duration_ms = round(1000 * (time.monotonic() - began))
            extra = {"method": method, "path": path, "status": answer.status}
            extra |= {"peer": self._target.url, "duration_ms": duration_ms}
            _log.info("a peer was called", extra=extra)
        if answer.is_success:
            return answer.body
        raise _build_refusal(answer.status, _find_reason(answer.body))

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        """Take the connection that was used last, or a new one."""
        connection = self._idle.pop() if self._idle else Connection(self._route)
        try:
            yield connection
        finally:
            self._idle.append(connection)

    def _get_deadline_s(self, body: Body | None) -> float | None:
        timeout_s = self._target.timeout_s
        if timeout_s is None:
            return None
        size_bytes = body.size_bytes if body is not None else 0
        return timeout_s + size_bytes / _SLOWEST_BYTES_PER_S


def _find_reason(body: bytes) -> str:
    """Find the sentence in the answer of a server of our kind."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    reason = value.get("Message") if isinstance(value, dict) else None
    return reason[:_LONGEST_REASON] if isinstance(reason, str) else ""


def _build_refusal(status: int, reason: str) -> PeerRefusalError:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    text = f"the peer answered {status} {phrase}".rstrip()
    is_redirection = 300 <= status < 400
    is_transient = status in _TRANSIENT_REFUSALS or (
        status >= 500 and status not in _PERMANENT_SERVER_ERRORS
    )
    return PeerRefusalError(
        f"{text}: {reason}" if reason else text,
        status=status,
        is_permanent=not is_transient,
        is_general=is_redirection or status in _GENERAL_REFUSALS,
    )
