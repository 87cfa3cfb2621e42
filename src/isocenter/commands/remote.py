"""A running server, Isocenter or Orthanc, to which files are imported over HTTP."""

import asyncio
import base64
import http.client
import json
import ssl
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import IO, Any, TypeVar
from urllib.parse import unquote, urlsplit

from isocenter.archive.received import Content, StoreStatus
from isocenter.errors import (
    BadFileFormatError,
    BodyTooLargeError,
    ConfigurationError,
    ForbiddenError,
    FullStorageError,
    RemoteError,
    ServerError,
    UnauthorizedError,
)
from isocenter.version import __version__

__all__ = ["RemoteTarget"]

A = TypeVar("A")
R = TypeVar("R")

_THREADS = 8
_TIMEOUT_S = 300
_LARGEST_ANSWER = 1 << 20
_FATAL = {401: UnauthorizedError, 403: ForbiddenError, 507: FullStorageError}


class RemoteTarget:
    """Stores files on a server by ``POST /instances``; implements `ImportTarget`.

    Parameters
    ----------
    url
        Address of the REST API, perhaps with user and password.

    Raises
    ------
    ConfigurationError
        If it is no address of HTTP.
    RemoteError, UnauthorizedError, ForbiddenError
        If no server of this kind answers there.

    References
    ----------
    Orthanc REST: POST /instances (behaviour manual §8.1), GET /system (§36.1)
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            self._port = parts.port
        except ValueError as error:
            raise ConfigurationError(f"--url: {error}") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigurationError("--url: an address such as http://localhost:8042 is needed")
        self._is_secure = parts.scheme == "https"
        self._host = parts.hostname
        self._prefix = parts.path.rstrip("/")
        self._headers = {"User-Agent": f"Isocenter/{__version__}"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        self._local = threading.local()
        self._closing = ExitStack()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="remote")
        try:
            self._has_overwriting = self._ask_overwriting()
        except BaseException:
            self.close()
            raise

    def _ask_overwriting(self) -> bool:
        status, answer = self._request("GET", "/system")
        if status != 200 or not isinstance(answer, dict) or "DicomAet" not in answer:
            raise RemoteError(f"no server with Orthanc's REST API answers there (status {status})")
        # Of old versions nobody knows; they are sent what they have only if it must be replaced.
        return answer.get("OverwriteInstances", False) not in {False, "Never"}

    def close(self) -> None:
        """Close the connections; no call may be under way."""
        self._threads.shutdown(wait=True)
        self._closing.close()

    async def find_stored(self, public_ids: Sequence[str]) -> set[str]:
        """Ask for each instance whether it is there (see `ImportTarget.find_stored`)."""
        if self._has_overwriting:
            return set()
        answers = await asyncio.gather(*(self._call(self._is_stored, i) for i in public_ids))
        return {i for i, is_stored in zip(public_ids, answers, strict=True) if is_stored}

    async def store(self, content: Content) -> StoreStatus | ServerError:
        """Send a file (see `ImportTarget.store`)."""
        return await self._call(self._send, content)

    async def _call(self, operation: Callable[[A], R], argument: A) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, operation, argument)

    def _is_stored(self, public_id: str) -> bool:
        status, _ = self._request("GET", f"/instances/{public_id}")
        return status == 200

    def _send(self, content: Content) -> StoreStatus | ServerError:
        if isinstance(content, bytes):
            return self._judge(*self._request("POST", "/instances", content))
        with content:
            content.flush_pending()
            with content.open_file() as file:
                return self._judge(*self._request("POST", "/instances", file, content.size_bytes))

    @staticmethod
    def _judge(status: int, answer: Any) -> StoreStatus | ServerError:
        values = answer if isinstance(answer, dict) else {}
        if status == 200:
            if values.get("Status") in {StoreStatus.SUCCESS, StoreStatus.ALREADY_STORED}:
                return StoreStatus(values["Status"])
            return BadFileFormatError(f"the server answers {str(values.get('Status'))[:100]}")
        reason = str(values.get("Details") or values.get("Message") or f"status {status}")[:500]
        if status == 413:
            return BodyTooLargeError(reason)
        return BadFileFormatError(reason)

    def _request(
        self, method: str, target: str, body: bytes | IO[bytes] = b"", size: int | None = None
    ) -> tuple[int, Any]:
        """Send a request; a connection that the server has closed meanwhile is opened anew.

        Raises
        ------
        RemoteError
            If the server does not answer, or is busy.
        UnauthorizedError, ForbiddenError, FullStorageError
            If it refuses this and whatever follows.
        """
        headers = dict(self._headers)
        if size is not None:
            headers["Content-Length"] = str(size)
        for is_last in (False, True):
            connection = self._get_connection()
            try:
                if not isinstance(body, bytes):
                    body.seek(0)
                connection.request(method, self._prefix + target, body or None, headers)
                response = connection.getresponse()
                data = response.read(_LARGEST_ANSWER)
                if not response.isclosed():
                    connection.close()
                break
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if is_last:
                    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                    raise RemoteError(f"the server does not answer: {reason}") from error
        return self._check(response.status, data)

    @staticmethod
    def _check(status: int, data: bytes) -> tuple[int, Any]:
        if status in _FATAL:
            raise _FATAL[status](f"the server answers with status {status}")
        if status in {502, 503, 504}:
            raise RemoteError(f"the server is not available (status {status})")
        try:
            return status, json.loads(data)
        except ValueError:
            return status, None

    def _get_connection(self) -> http.client.HTTPConnection:
        """Give the connection of this thread."""
        found: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if found is not None:
            return found
        if self._is_secure:
            context = ssl.create_default_context()
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self._port, timeout=_TIMEOUT_S, context=context
            )
        else:
            made = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)
        self._local.connection = made
        with self._lock:
            self._closing.callback(made.close)
        return made
