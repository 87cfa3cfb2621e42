"""One HTTP connection to one peer: how it is opened, what it sends, and what it reads at most.

httpx only reads the addresses. Its requests would cost more than twice the processor time of those
over the connections of httpcore below it, which are therefore used directly: requests begin with
headers that were put together once, and there is no pool.

References
----------
RFC 9110; Decision 0021
"""

import base64
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isocenter.errors import ConfigurationError, DeadlineExceededError, RemoteError
from isocenter.version import __version__

if TYPE_CHECKING:
    import httpcore
    import httpx

__all__ = ["Answer", "Body", "Connection", "PeerTarget", "Route", "check_proxy"]

_LARGEST_ANSWER_BYTES = 1 << 20
# So much of an answer that refuses is looked through for its reason.
_LONGEST_REFUSAL_BYTES = 16_384
# So much is written at once: each write has the whole time limit for silence.
_PIECE_BYTES = 1 << 18
# Orthanc closes idle connections after a second; a request must not meet that moment.
_IDLE_S = 0.5
# They follow from the body.
_OF_A_BODY = ("Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding")
_SCHEMES = {"http", "https"}


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


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer has answered; the body of a refusal is empty if it is long."""

    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


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
        is_usable = url.scheme in _SCHEMES and bool(url.host)
    except (httpx.InvalidURL, ValueError):
        is_usable = False
    if not is_usable:
        message = 'option "HttpProxy": must be [user:password@]host:port'
        raise ConfigurationError(message)
    return address


class Route:
    """The way to a peer: opens connections, and builds requests from what all have in common.

    Raises
    ------
    RemoteError
        If the address cannot be used.
    """

    def __init__(self, target: PeerTarget) -> None:
        import httpx  # noqa: PLC0415 - see the package

        try:
            self._url = _parse_url(target.url)
            self._headers = _build_headers(self._url, target)
            self._pool = _build_pool(target)
        except (httpx.InvalidURL, ValueError) as error:
            raise RemoteError(f"the address of the peer cannot be used: {error}") from error
        self._timeouts = dict.fromkeys(("connect", "read", "write"), target.timeout_s)

    def open(self) -> "httpcore.AsyncConnectionInterface":
        """Get a connection that connects with its first request."""
        return self._pool.create_connection(_convert(self._url).origin)

    def build_request(self, method: str, path: str, body: Body | None) -> "httpcore.Request":
        """Build a request; the body is opened anew."""
        import httpcore  # noqa: PLC0415 - see the package

        content, headers = None, self._headers
        if body is not None:
            content = body.open()
            headers = [*headers, *_describe_body(body)]
            if isinstance(content, bytes) and len(content) > _PIECE_BYTES:
                content = _cut(content)
        return httpcore.Request(
            method,
            _convert(self._url, path),
            headers=headers,
            content=content,
            extensions={"timeout": self._timeouts},
        )


class Connection:
    """A connection that is opened when it is needed, and again when it was closed.

    It takes one call at a time.
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        self._opened: httpcore.AsyncConnectionInterface | None = None

    async def close(self) -> None:
        """Close it; the next call opens it again."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.aclose()

    async def call(self, method: str, path: str, body: Body | None) -> Answer:
        """Send a request that may arrive twice, and read what is answered.

        Raises
        ------
        RemoteError, DeadlineExceededError
            If there is no answer, or a too long one; besides what reading the body raises.
        """
        import httpcore  # noqa: PLC0415 - see the package

        try:
            return await self._call_again(method, path, body)
        except httpcore.TimeoutException as error:
            raise DeadlineExceededError("the peer does not answer in time") from error
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.ProxyError,
            UnicodeError,
        ) as error:
            reason = str(error) or type(error).__name__
            raise RemoteError(f"the peer cannot be reached: {reason}") from error

    async def _call_again(self, method: str, path: str, body: Body | None) -> Answer:
        """Call once more if a connection that was kept turns out to be closed."""
        import httpcore  # noqa: PLC0415 - see the package

        kept = self._opened
        if kept is not None and kept.is_available() and not kept.has_expired():
            try:
                return await self._call_once(kept, method, path, body)
            except (httpcore.ReadError, httpcore.WriteError, httpcore.RemoteProtocolError):
                pass
        await self.close()
        self._opened = self._route.open()
        return await self._call_once(self._opened, method, path, body)

    async def _call_once(
        self,
        opened: "httpcore.AsyncConnectionInterface",
        method: str,
        path: str,
        body: Body | None,
    ) -> Answer:
        request = self._route.build_request(method, path, body)
        response = await opened.handle_async_request(request)
        try:
            return await _read_answer(response)
        finally:
            await response.aclose()


def _parse_url(text: str) -> "httpx.URL":
    import httpx  # noqa: PLC0415 - see the package

    url = httpx.URL(text)
    if url.scheme not in _SCHEMES or not url.host:
        raise ValueError("it begins neither with http:// nor with https://")
    return url


def _build_headers(url: "httpx.URL", target: PeerTarget) -> list[tuple[bytes, bytes]]:
    """Put together what all requests begin with; the configured headers go before ours."""
    import httpx  # noqa: PLC0415 - see the package

    headers = httpx.Headers({"Host": url.netloc.decode("ascii"), "Accept": "*/*"})
    headers["User-Agent"] = f"Isocenter/{__version__}"
    headers.update(target.headers)
    headers["Accept-Encoding"] = "identity"
    if target.credentials is not None:
        # RFC 7617 §2.1: in UTF-8.
        pair = base64.b64encode(":".join(target.credentials).encode())
        headers["Authorization"] = f"Basic {pair.decode('ascii')}"
    for name in _OF_A_BODY:
        headers.pop(name, None)
    return headers.raw


def _build_pool(target: PeerTarget) -> "httpcore.AsyncConnectionPool":
    """Build what opens connections; none of them is kept in it."""
    import httpcore  # noqa: PLC0415 - see the package
    import httpx  # noqa: PLC0415 - see the package

    proxy = None
    if target.proxy:
        given = httpx.Proxy(target.proxy)
        proxy = httpcore.Proxy(_convert(given.url), auth=given.raw_auth)
    return httpcore.AsyncConnectionPool(
        # Certificates are never believed by default.
        ssl_context=target.ssl_context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        keepalive_expiry=_IDLE_S,
        proxy=proxy,
    )


def _convert(url: "httpx.URL", path: str = "") -> "httpcore.URL":
    import httpcore  # noqa: PLC0415 - see the package

    target = url.raw_path + path.encode("ascii")
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=target)


def _describe_body(body: Body) -> list[tuple[bytes, bytes]]:
    headers = [(b"Content-Type", body.media_type.encode("ascii"))]
    if body.is_exact:
        headers.append((b"Content-Length", b"%d" % body.size_bytes))
    else:
        headers.append((b"Transfer-Encoding", b"chunked"))
    if body.content_encoding:
        headers.append((b"Content-Encoding", body.content_encoding.encode("ascii")))
    return headers


async def _cut(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _PIECE_BYTES):
        yield content[start : start + _PIECE_BYTES]


async def _read_answer(response: "httpcore.Response") -> Answer:
    """Read an answer without decompressing it, which could make it endless."""
    is_success = Answer(response.status, b"").is_success
    limit = _LARGEST_ANSWER_BYTES if is_success else _LONGEST_REFUSAL_BYTES
    body = bytearray()
    async for piece in response.aiter_stream():
        body += piece
        if len(body) > limit:
            if is_success:
                raise RemoteError("the answer of the peer is too large")
            return Answer(response.status, b"")
    return Answer(response.status, bytes(body))
