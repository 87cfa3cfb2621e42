"""A request and its answer, as responders see them.

Falcon's own objects fit `Request` and `Response`. So do `DirectRequest` and `DirectResponse`, which
are light enough to be made and thrown away for each hot read (Decision 0009).
"""

import mmap
import os
import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, Protocol

from falcon.uri import parse_query_string

__all__ = [
    "BodyRequest",
    "DirectRequest",
    "DirectResponse",
    "FileRange",
    "OpenFile",
    "Request",
    "Response",
    "WritingRequest",
]

_DEFAULT_MEDIA_TYPE = "text/plain"
_FORBIDDEN_IN_HEADERS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Request(Protocol):
    """What responders that read may ask of a request."""

    method: str
    path: str
    query_string: str
    uri_template: str | None

    @property
    def params(self) -> Mapping[str, str | list[str]]:
        """Query arguments; a list if one is repeated."""
        ...

    @property
    def accept(self) -> str:
        """The header ``Accept``, or that anything is welcome."""
        ...

    @property
    def remote_addr(self) -> str:
        """Address of the caller."""
        ...

    @property
    def context(self) -> Any:
        """Attributes that one part of the server leaves for another."""
        ...

    def get_header(self, name: str, *, default: str | None = ...) -> str | None:
        """Find a header, whatever the case of its name."""
        ...

    def get_param(self, name: str, *, default: str | None = ...) -> str | None:
        """Find a query argument; the last one if it is repeated."""
        ...


class WritingRequest(Request, Protocol):
    """What responders that take a body may ask of a request."""

    @property
    def content_type(self) -> str | None:
        """The header ``Content-Type``."""
        ...

    @property
    def content_length(self) -> int | None:
        """The announced length of the body."""
        ...

    @property
    def stream(self) -> AsyncIterable[bytes]:
        """The body as it arrives."""
        ...


class Response(Protocol):
    """What responders that read may set in an answer."""

    status: str | int | HTTPStatus
    content_type: Any
    content_length: Any
    stream: Any
    data: bytes | None

    @property
    def status_code(self) -> int:
        """The status as a number."""
        ...

    def set_header(self, name: str, value: str) -> None:
        """Set a header other than those that have an attribute."""
        ...


class DirectRequest:
    """A request without a body that was read from a connection.

    Parameters
    ----------
    path, query_string
        The two parts of the target, both ASCII; the path holds no percent sign.
    headers
        By name in small letters.

    Attributes
    ----------
    uri_template
        Path of the route, once it is known.
    """

    method = "GET"
    uri_template: str | None = None

    def __init__(
        self, path: str, query_string: str, *, headers: Mapping[bytes, bytes], remote_addr: str
    ) -> None:
        self.path = path
        self.query_string = query_string
        self.remote_addr = remote_addr
        self.context = SimpleNamespace()
        self._headers = headers

    @cached_property
    def params(self) -> Mapping[str, str | list[str]]:
        """Query arguments, parsed as for Falcon's own requests."""
        if not self.query_string:
            return {}
        return parse_query_string(self.query_string, keep_blank=True, csv=False)

    @property
    def accept(self) -> str:
        """The header ``Accept``, or that anything is welcome."""
        return self.get_header("accept") or "*/*"

    def get_header(self, name: str, *, default: str | None = None) -> str | None:
        """Find a header, whatever the case of its name."""
        value = self._headers.get(name.lower().encode())
        return default if value is None else value.decode("latin-1")

    def get_param(self, name: str, *, default: str | None = None) -> str | None:
        """Find a query argument; the last one if it is repeated."""
        value = self.params.get(name, default)
        return value[-1] if isinstance(value, list) else value


class BodyRequest(DirectRequest):
    """A request with a body that was read from a connection.

    Attributes
    ----------
    body
        All of it, once it is there.
    """

    def __init__(
        self,
        method: str,
        path: str,
        query_string: str,
        *,
        headers: Mapping[bytes, bytes],
        remote_addr: str,
    ) -> None:
        super().__init__(path, query_string, headers=headers, remote_addr=remote_addr)
        self.method = method
        self.body = b""

    @property
    def content_type(self) -> str | None:
        """The header ``Content-Type``."""
        return self.get_header("content-type")

    @property
    def content_length(self) -> int | None:
        """The announced length of the body."""
        length = self.get_header("content-length")
        return None if length is None else int(length)

    @property
    def stream(self) -> AsyncIterable[bytes]:
        """The body, in one piece."""
        return self._iter_body()

    async def _iter_body(self) -> AsyncIterator[bytes]:
        yield self.body


class OpenFile(Protocol):
    """A file that is closed when nobody refers to it any more.

    Attributes
    ----------
    descriptor
        For reading.
    pages
        The whole file, for system calls only: touching them may kill the process.
    """

    descriptor: int
    pages: mmap.mmap

    def is_cached(self, start: int, stop: int) -> bool:
        """Tell whether a range can be read without waiting for a disk."""
        ...


@dataclass(frozen=True, slots=True)
class FileRange:
    """A part of an open file, from ``start`` to before ``stop``."""

    file: OpenFile
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def read(self) -> bytes | None:
        """Read all of it, unless the file has become shorter or its disk has failed."""
        try:
            content = os.pread(self.file.descriptor, len(self), self.start)
        except OSError:
            return None
        return content if len(content) == len(self) else None


class DirectResponse:
    """An answer to be written to a connection.

    Attributes
    ----------
    file
        Sent in place of ``data``, without a copy in memory.
    """

    __slots__ = (
        "_headers",
        "content_length",
        "content_type",
        "data",
        "file",
        "media",
        "status",
        "stream",
        "text",
    )

    def __init__(self) -> None:
        self.status: str | int | HTTPStatus = 200
        self.content_type: str | None = None
        self.content_length: int | None = None
        self.data: bytes | None = None
        self.file: FileRange | None = None
        self.stream: Any = None
        self._headers: dict[str, str] = {}

    @property
    def status_code(self) -> int:
        """The status as a number."""
        return int(str(self.status)[:3]) if isinstance(self.status, str) else int(self.status)

    def set_header(self, name: str, value: str) -> None:
        """Set a header other than those that have an attribute.

        Raises
        ------
        ValueError
            If the value would end the header.
        """
        if _FORBIDDEN_IN_HEADERS.search(value):
            raise ValueError(f"the value of the header {name} holds a control character")
        self._headers[name.lower()] = value

    def set_headers(self, headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
        """Set some headers.

        Raises
        ------
        ValueError
            As for `set_header`.
        """
        for name, value in dict(headers).items():
            self.set_header(name, value)

    def delete_header(self, name: str) -> None:
        """Take back a header."""
        self._headers.pop(name.lower(), None)

    def format_answer(self, *, keep_alive: bool) -> bytes:
        """Write an answer of any status whose body is at hand.

        Raises
        ------
        ValueError
            If it has a stream or a file.
        """
        if self.stream is not None or self.file is not None:
            message = "only bodies at hand are written directly"
            raise ValueError(message)
        status, body = HTTPStatus(self.status_code), self.data or b""
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            f"content-type: {self.content_type or _DEFAULT_MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\n"
        )
        for name, value in self._headers.items():
            head += f"{name}: {value}\r\n"
        if not keep_alive:
            head += "connection: close\r\n"
        return f"{head}\r\n".encode("latin-1") + body

    def format_head(self) -> bytes:
        """Write the status line and headers of a plain success.

        Raises
        ------
        ValueError
            If this is no plain success: another status, no data, or a stream.
        UnicodeEncodeError
            If a header holds a character beyond ISO 8859-1.
        """
        body = self.data if self.file is None else self.file
        if self.status != 200 or body is None or self.stream is not None:
            message = "only plain successes are written directly"
            raise ValueError(message)
        head = (
            f"HTTP/1.1 200 OK\r\ncontent-type: {self.content_type or _DEFAULT_MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\n"
        )
        for name, value in self._headers.items():
            head += f"{name}: {value}\r\n"
        return f"{head}\r\n".encode("latin-1")
