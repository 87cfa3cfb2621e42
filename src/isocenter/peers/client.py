"""One HTTP connection to one peer, with limits on time and on what is answered.

References
----------
RFC 9110; Orthanc REST: peers (behaviour manual §27)
"""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from isocenter.errors import (
    ConfigurationError,
    DeadlineExceededError,
    PeerRefusalError,
    RemoteError,
)
from isocenter.version import __version__

if TYPE_CHECKING:
    import httpx

__all__ = ["Body", "PeerClient", "PeerTarget", "check_proxy"]

_log = logging.getLogger(__name__)

_LARGEST_ANSWER_BYTES = 1 << 20
# So much of an answer that refuses is looked through for its reason, of which so much is told.
_LONGEST_REFUSAL_BYTES = 16_384
_LONGEST_REASON = 200
# A body has so much more time as it takes on a line that is slower than this.
_SLOWEST_BYTES_PER_S = 65_536
# Orthanc closes idle connections after a second; a request must not meet that moment.
_IDLE_S = 0.5
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


@dataclass(frozen=True, slots=True)
class PeerTarget:
    """Whom to call and how.

    Attributes
    ----------
    url
        Ends with a slash.
    credentials
        User and password, if it asks for them.
    timeout_s
        Longest silence, and longest call but for the time that its body takes; ``None`` for no
        limit.
    proxy
        ``http://[user:password@]host:port``, empty for none.
    ssl_context
        For addresses with https.
    is_verbose
        Log each call.
    """

    url: str
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float | None = 60
    proxy: str = field(default="", repr=False)
    ssl_context: ssl.SSLContext | None = None
    is_verbose: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries.

    Attributes
    ----------
    open
        Gives its bytes, as often as it is asked to.
    size_bytes
        How many they are.
    is_exact
        False if they may be fewer.
    """

    open: Callable[[], bytes | AsyncIterator[bytes]]
    size_bytes: int
    is_exact: bool = True
    media_type: str = "application/dicom"
    content_encoding: str = ""


def check_proxy(text: str) -> str:
    """Return the address of a proxy in the form that `PeerTarget` wants.

    Raises
    ------
    ConfigurationError
        If it is none; the text is not repeated, because it may hold a password.
    """
    import httpx  # noqa: PLC0415 - see the package

    address = text if "://" in text else f"http://{text}"
    try:
        url = httpx.URL(address)
        is_usable = url.scheme in {"http", "https"} and bool(url.host)
    except (httpx.InvalidURL, ValueError):
        is_usable = False
    if not is_usable:
        message = 'option "HttpProxy": must be [user:password@]host:port'
        raise ConfigurationError(message)
    return address


class PeerClient:
    """Calls a peer, one request after another; an asynchronous context manager.

    Redirections are not followed: they would turn what is sent into a question, and could lead
    credentials elsewhere.
    """

    def __init__(self, target: PeerTarget) -> None:
        import httpx  # noqa: PLC0415 - see the package

        self._target = target
        try:
            self._client = httpx.AsyncClient(
                base_url=target.url,
                auth=target.credentials,
                headers={"User-Agent": f"Isocenter/{__version__}", **target.headers},
                verify=target.ssl_context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                proxy=target.proxy or None,
                timeout=httpx.Timeout(target.timeout_s),
                limits=httpx.Limits(max_connections=1, keepalive_expiry=_IDLE_S),
                follow_redirects=False,
                trust_env=False,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise RemoteError(f"the address of the peer cannot be used: {error}") from error
        self._has_answered = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()

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
        import httpx  # noqa: PLC0415 - see the package

        began = time.monotonic()
        try:
            async with asyncio.timeout(self._get_deadline_s(body)):
                answer = await self._call_again(method, path, body)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise DeadlineExceededError("the peer does not answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise RemoteError(f"the peer cannot be reached: {_describe(error)}") from error
        if self._target.is_verbose:
            duration_ms = round(1000 * (time.monotonic() - began))
            extra = {"method": method, "path": path, "duration_ms": duration_ms}
            _log.info("a peer was called", extra={"peer": self._target.url, **extra})
        return answer

    def _get_deadline_s(self, body: Body | None) -> float | None:
        timeout_s = self._target.timeout_s
        if timeout_s is None:
            return None
        size_bytes = body.size_bytes if body is not None else 0
        return timeout_s + size_bytes / _SLOWEST_BYTES_PER_S

    async def _call_again(self, method: str, path: str, body: Body | None) -> bytes:
        """Call once more if a connection that was kept turns out to be closed."""
        import httpx  # noqa: PLC0415 - see the package

        try:
            answer = await self._call_once(method, path, body)
        except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
            if not self._has_answered:
                raise
            self._has_answered = False
            answer = await self._call_once(method, path, body)
        self._has_answered = True
        return answer

    async def _call_once(self, method: str, path: str, body: Body | None) -> bytes:
        headers = {"Accept-Encoding": "identity"}
        if body is not None:
            headers["Content-Type"] = body.media_type
            if body.is_exact:
                headers["Content-Length"] = str(body.size_bytes)
            if body.content_encoding:
                headers["Content-Encoding"] = body.content_encoding
        content = None if body is None else body.open()
        async with self._client.stream(method, path, headers=headers, content=content) as response:
            if response.is_success:
                return await _read(response, _LARGEST_ANSWER_BYTES)
            self._has_answered = True
            raise _build_refusal(response.status_code, await _read_reason(response))


async def _read(response: "httpx.Response", limit: int) -> bytes:
    """Read a body without decompressing it, which could make it endless."""
    data = bytearray()
    async for piece in response.aiter_raw():
        data += piece
        if len(data) > limit:
            raise RemoteError("the answer of the peer is too large")
    return bytes(data)


async def _read_reason(response: "httpx.Response") -> str:
    """Find the sentence in the answer of a server of our kind."""
    try:
        value = msgspec.json.decode(await _read(response, _LONGEST_REFUSAL_BYTES))
    except (msgspec.DecodeError, RemoteError, UnicodeDecodeError, RecursionError):
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


def _describe(error: Exception) -> str:
    return str(error) or type(error).__name__
