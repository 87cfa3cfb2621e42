"""A real server process on free ports with a folder of its own, and what a stranger does to it.

Nothing here sleeps: a server is ready when it has said so on its standard output, and what happens
behind an answer is waited for with `wait_until`.
"""

import hashlib
import http.client
import json
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.support.dicom_files import Elements, build_instance
from tests.support.forks import LOG_BYTES, Fork, build_command, fork_command
from tests.support.scripted_peer import ScriptedPeer

__all__ = [
    "DEADLINE_S",
    "JOURNAL_MB",
    "Answer",
    "Peer",
    "SyntheticFile",
    "TestServer",
    "build_synthetic",
    "compute_public_id",
    "connect_dicom",
    "exchange",
    "read_answer",
    "run_command",
    "run_server",
    "wait_until",
]

DEADLINE_S = 30.0
"""How long a test waits for something that must happen."""

JOURNAL_MB = 16
"""Size of the journal of a test's server: enough for all contents that a journal can take."""
_LAST_LINE = "Stop with Ctrl-C."
_LISTENING = re.compile(r"  (HTTP|DICOM) .*:(\d+)/?$")
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; the names of ``headers`` are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Read the body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class SyntheticFile:
    """A DICOM file of nobody, and the identifiers that it has in every server."""

    content: bytes
    patient_id: str
    uids: tuple[str, str, str]
    patient: str
    study: str
    series: str
    instance: str

    @property
    def paths(self) -> dict[str, str]:
        """The address of each level, by its name in the plural."""
        return {
            "patients": f"/patients/{self.patient}",
            "studies": f"/studies/{self.study}",
            "series": f"/series/{self.series}",
            "instances": f"/instances/{self.instance}",
        }


def compute_public_id(*parts: str) -> str:
    """Compute an identifier as the manual says (behaviour manual §1.2)."""
    digest = hashlib.sha1("|".join(parts).encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[start : start + 8] for start in range(0, 40, 8))


def build_synthetic(
    extra: Elements | None = None,
    *,
    patient_id: str = "",
    study: str = "",
    series: str = "",
    instance: str = "",
    tail: bytes = b"",
) -> SyntheticFile:
    """Build a file; identifiers that are not given are new, so that tests do not meet."""
    patient_id = patient_id or f"P-{uuid.uuid4().hex}"
    study, series, instance = (
        uid or f"2.25.{uuid.uuid4().int}" for uid in (study, series, instance)
    )
    content = build_instance(
        extra, patient_id=patient_id, study=study, series=series, instance=instance, tail=tail
    )
    return SyntheticFile(
        content,
        patient_id,
        (study, series, instance),
        compute_public_id(patient_id),
        compute_public_id(patient_id, study),
        compute_public_id(patient_id, study, series),
        compute_public_id(patient_id, study, series, instance),
    )


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Ask again and again until a condition holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"never happened: {what}")
        select.select([], [], [], _POLL_S)


class Peer:
    """One TCP connection over which a test sends exactly what it wants."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def read_all(self) -> bytes:
        """Read until the server closes the connection; a reset counts as the end."""
        chunks = []
        try:
            while chunk := self.socket.recv(1 << 16):
                chunks.append(chunk)
        except ConnectionError:
            pass
        return b"".join(chunks)

    def read_until(self, end: bytes) -> bytes:
        """Read up to and with some bytes."""
        received = b""
        while not received.endswith(end):
            chunk = self.socket.recv(1)
            if not chunk:
                raise AssertionError(f"the connection ended after {received!r}")
            received += chunk
        return received

    def reset(self) -> None:
        """Break the connection at once."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


def exchange(port: int, data: bytes, *, is_all: bool = False) -> bytes:
    """Send bytes and read all that comes back.

    Parameters
    ----------
    is_all
        Tell the server that nothing more will come; else it must close the connection by itself.
    """
    with Peer(port) as peer:
        try:
            peer.send(data)
            if is_all:
                peer.socket.shutdown(socket.SHUT_WR)
        except ConnectionError:
            # A server may refuse before it has read everything; its answer is still there.
            pass
        return peer.read_all()


class _Received:
    """What `http.client` needs of a socket: a file to read from."""

    def __init__(self, data: bytes) -> None:
        from io import BytesIO

        self._file = BytesIO(data)

    def makefile(self, *_: object) -> Any:
        return self._file


def read_answer(data: bytes, *, method: str = "GET") -> Answer:
    """Read the first HTTP answer in some bytes."""
    response = http.client.HTTPResponse(_Received(data), method=method)  # type: ignore[arg-type]
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


@asynccontextmanager
async def connect_dicom(port: int) -> AsyncIterator[ScriptedPeer]:
    """Connect to the DICOM door; the connection is closed in any case."""
    peer = await ScriptedPeer.connect(port)
    try:
        yield peer
    finally:
        await peer.close()


class TestServer:
    """A running server process.

    Attributes
    ----------
    folder
        Where the storage, the index, the configuration and the log are.
    http_port, dicom_port
        0 if there is none; they may change when the server restarts.
    """

    __test__ = False

    def __init__(self, folder: Path, process: Fork) -> None:
        self.folder = folder
        self.process = process
        self.http_port = 0
        self.dicom_port = 0
        self.tls: ssl.SSLContext | None = None
        self._output = b""

    @property
    def storage(self) -> Path:
        """The folder of the stored files and of the index."""
        return self.folder / "storage"

    @property
    def log(self) -> str:
        """All that was logged so far."""
        return (self.folder / "log").read_text(errors="replace")

    def wait_until_ready(self) -> None:
        """Wait until the server has said that it listens, and note where."""
        end = f"{_LAST_LINE}\n".encode()
        deadline = time.monotonic() + DEADLINE_S
        output = self.process.output.fileno()
        while end not in self._output:
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([output], [], [], left)
            chunk = os.read(output, 1 << 16) if ready else b""
            if not chunk:
                raise AssertionError(f"the server does not start: {self.log[-3000:]}")
            self._output += chunk
        greeting, _, self._output = self._output.partition(end)
        ports = {
            m[1]: int(m[2])
            for line in greeting.decode().splitlines()
            if (m := _LISTENING.match(line))
        }
        self.http_port, self.dicom_port = ports.get("HTTP", 0), ports.get("DICOM", 0)

    def request(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request on a new connection, the target exactly as given."""
        connection = self._connect()
        try:
            is_chunked = "Transfer-Encoding" in (headers or {})
            connection.request(method, target, body, dict(headers or {}), encode_chunked=is_chunked)
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if self.tls is None:
            return http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=DEADLINE_S)
        return http.client.HTTPSConnection(
            "localhost", self.http_port, timeout=DEADLINE_S, context=self.tls
        )

    def get(self, target: str, **headers: str) -> Answer:
        """Send a GET request; underscores in the names of headers stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("GET", target, headers=named)

    def upload(self, content: bytes, **headers: str) -> Answer:
        """Send a body to be stored."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", "/instances", content, named)

    def store(self, file: SyntheticFile) -> SyntheticFile:
        """Store a file that must be new."""
        answer = self.upload(file.content)
        assert (answer.status, answer.json()["Status"]) == (200, "Success"), answer
        return file

    def list_stored_files(self) -> set[str]:
        """Name the files of the storage that belong to instances."""
        # Unlike a glob, this does not mind that the server removes folders meanwhile.
        return {
            name
            for folder, _, names in os.walk(self.storage)
            for name in names
            if Path(folder, name).parent == self.storage / name[:2] / name[2:4]
        }

    def list_temporary_files(self) -> list[Path]:
        """List the files that wait to be stored or removed."""
        return list((self.storage / "tmp").glob("*")) + list((self.folder / "temporary").glob("*"))

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self.process.send_signal(number)

    def wait_for_end(self) -> int:
        """Wait for the process to end and give its exit status."""
        return self.process.wait(DEADLINE_S)

    def stop(self) -> int:
        """Ask the server to stop, and give its exit status."""
        self.send_signal(signal.SIGTERM)
        return self.wait_for_end()


def _write_configuration(folder: Path, options: Mapping[str, Any]) -> Path:
    (folder / "temporary").mkdir(exist_ok=True)
    path = folder / "configuration.json"
    path.write_text(
        json.dumps(
            {
                "HttpPort": 0,
                "HttpBindAddresses": ["127.0.0.1"],
                "DicomPort": 0,
                "StorageDirectory": "storage",
                "IndexDirectory": "storage",
                "TemporaryDirectory": "temporary",
                "Isocenter.JournalSizeMB": JOURNAL_MB,
                **options,
            }
        )
    )
    return path


@contextmanager
def run_server(
    folder: Path,
    options: Mapping[str, Any] | None = None,
    *,
    arguments: Sequence[str] = (),
    log_bytes: int = LOG_BYTES,
) -> Iterator[TestServer]:
    """Run a server until the end of the context; it must not have ended badly before.

    Parameters
    ----------
    folder
        Where everything lies; what an earlier server left there is found again.
    options
        Options besides those of the folders and ports.
    arguments
        Of ``isocenter serve``, besides the configuration.
    log_bytes
        Length of the log of its index at first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    configuration = _write_configuration(folder, options or {})
    words = ["serve", str(configuration), *arguments]
    with fork_command(words, folder, log=folder / "log", log_bytes=log_bytes) as process:
        server = TestServer(folder, process)
        server.wait_until_ready()
        yield server
        if process.poll() is None:
            assert server.stop() == 0, server.log[-3000:]


def run_command(
    folder: Path,
    *arguments: str,
    options: Mapping[str, Any] | None = None,
    typed: str = "",
    log_bytes: int = LOG_BYTES,
) -> "subprocess.CompletedProcess[str]":
    """Run the command line to its end.

    Parameters
    ----------
    options
        If given, a configuration file with them is the last argument.
    typed
        What comes in on standard input.
    log_bytes
        Length of the log of the index at first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [] if options is None else [str(_write_configuration(folder, options))]
    return subprocess.run(
        [*build_command(log_bytes), *arguments, *paths],
        check=False,
        capture_output=True,
        text=True,
        input=typed,
        cwd=folder,
        timeout=DEADLINE_S,
    )
