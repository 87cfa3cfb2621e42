"""``POST /instances`` over raw sockets that are kept alive.

A client of the standard library would cost more than a fast server. Here a request is a prebuilt
buffer: its identifiers are overwritten, it is sent in one call, and the answer is read up to its
Content-Length.
"""

import re
import socket
import threading
from pathlib import Path

from benchmarks.failures import BenchmarkError
from benchmarks.servers import HOST
from benchmarks.studies import InstanceKey, Template
from benchmarks.timing import Stopwatch, timed

_TIMEOUT_S = 600.0
_RECEIVE_BYTES = 65536
_MAX_ANSWER_BYTES = 1 << 20
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def _build_head(body_bytes: int) -> bytes:
    """Request line and headers of an upload."""
    return (
        "POST /instances HTTP/1.1\r\n"
        f"Host: {HOST}\r\n"
        "Content-Type: application/dicom\r\n"
        f"Content-Length: {body_bytes}\r\n\r\n"
    ).encode("ascii")


def _read_answer(connection: socket.socket) -> None:
    """Read one answer.

    Raises
    ------
    BenchmarkError
        If the status is not 200, or if the answer ends early or has no Content-Length.
    """
    received = b""
    head_end = -1
    while head_end < 0:
        received += _receive(connection)
        head_end = received.find(b"\r\n\r\n")
        if len(received) > _MAX_ANSWER_BYTES:
            raise BenchmarkError("POST /instances: endless answer")
    status = received[: received.find(b"\r\n")].decode("latin-1")
    length = _CONTENT_LENGTH.search(received, 0, head_end)
    if " 200 " not in f"{status} " or length is None:
        raise BenchmarkError(f"POST /instances answered {status!r}")
    missing = head_end + 4 + int(length[1]) - len(received)
    while missing > 0:
        missing -= len(_receive(connection))


def _receive(connection: socket.socket) -> bytes:
    """Receive some bytes."""
    received = connection.recv(_RECEIVE_BYTES)
    if not received:
        raise BenchmarkError("POST /instances: the server closed the connection")
    return received


def _open_connection(port: int) -> socket.socket:
    """Connect without Nagle's delay."""
    connection = socket.create_connection((HOST, port), timeout=_TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class _Uploader:
    """Sends instances over several connections, one thread each, until none is left."""

    def __init__(self, template: Template, keys: list[InstanceKey]) -> None:
        self._template = template
        self._keys = iter(keys)
        self._lock = threading.Lock()
        self.failures: list[Exception] = []

    def run(self, connection: socket.socket) -> None:
        """Send over one connection; a failure is kept for the caller and ends this thread."""
        head = _build_head(len(self._template.content))
        request = bytearray(head + self._template.content)
        try:
            while (key := self._take_key()) is not None:
                self._template.patch(request, key, start=len(head))
                connection.sendall(request)
                _read_answer(connection)
        except (OSError, BenchmarkError) as error:
            self.failures.append(error)

    def _take_key(self) -> InstanceKey | None:
        """Take the next instance to send."""
        with self._lock:
            return next(self._keys, None)


def upload(
    port: int, template: Template, keys: list[InstanceKey], *, connections: int = 8
) -> Stopwatch:
    """Upload instances and measure from the first byte to the last answer.

    Parameters
    ----------
    port
        HTTP port of the server.
    template, keys
        What to send.
    connections
        Number of connections that work at once.

    Returns
    -------
    Stopwatch
        The time it took; connecting is not included.

    Raises
    ------
    BenchmarkError
        If any instance is not accepted.
    """
    uploader = _Uploader(template, keys)
    opened = [_open_connection(port) for _ in range(connections)]
    try:
        threads = [threading.Thread(target=uploader.run, args=(one,)) for one in opened]
        with timed() as watch:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        for one in opened:
            one.close()
    if uploader.failures:
        raise BenchmarkError(f"upload failed: {uploader.failures[0]}")
    return watch


def upload_file(port: int, path: Path) -> None:
    """Upload one file of any size without reading it into memory."""
    with path.open("rb") as content, _open_connection(port) as connection:
        connection.sendall(_build_head(path.stat().st_size))
        connection.sendfile(content)
        _read_answer(connection)
