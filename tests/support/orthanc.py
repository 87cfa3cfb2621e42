"""A private Orthanc and a private Isocenter, started with the same options, side by side."""

import http.client
import json
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.forks import Fork, fork_command
from tests.support.ports import find_free_port
from tests.support.requirements import require_program

__all__ = ["AE_TITLE", "Answer", "Pair", "Server", "run_isocenter", "run_orthanc", "run_pair"]

AE_TITLE = "ARCHIVE"
"""Of both servers."""

_START_TIMEOUT_S = 30
_POLL_S = 0.01
_STOP_TIMEOUT_S = 20
_REQUEST_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; the names of ``headers`` are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        """The media type with its parameters, empty if there is none."""
        return self.headers.get("content-type", "")

    def json(self) -> Any:
        """Read the body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server and how to ask it."""

    name: str
    folder: Path
    http_port: int
    dicom_port: int

    @property
    def storage(self) -> Path:
        """The folder of the stored files."""
        return self.folder / "storage"

    @property
    def log(self) -> Path:
        """The file of what it has to say."""
        return self.folder / "log"

    def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request on a new connection, the target exactly as given."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.http_port, timeout=_REQUEST_TIMEOUT_S
        )
        try:
            connection.request(method, target, body, dict(headers or {}))
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()

    def upload(self, data: bytes) -> Answer:
        """Store one body by HTTP."""
        return self.request("POST", "/instances", data)


@dataclass(frozen=True, slots=True)
class Pair:
    """Both servers, in the same state."""

    isocenter: Server
    orthanc: Server

    def both(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[Answer, Answer]:
        """Send the same request to both: the answer of Isocenter, the answer of Orthanc."""
        return (
            self.isocenter.request(method, target, body, headers),
            self.orthanc.request(method, target, body, headers),
        )

    def load(self, files: list[bytes]) -> None:
        """Store the same files in the same order, one after another."""
        for data in files:
            self.both("POST", "/instances", data)


@contextmanager
def run_orthanc(
    folder: Path, options: Mapping[str, Any] | None = None, *, is_stopped: bool = False
) -> Iterator[Server]:
    """Run Orthanc without plugins on free ports; skip the test if it is not installed.

    Parameters
    ----------
    is_stopped
        Stop it at the end, which takes seconds, as what it leaves is looked at; else it is killed.
    """
    with _start_orthanc(folder, options or {}, is_stopped=is_stopped) as (server, process):
        _wait_until_ready(server, process, options or {})
        yield server


@contextmanager
def run_isocenter(folder: Path, options: Mapping[str, Any] | None = None) -> Iterator[Server]:
    """Run Isocenter on free ports."""
    server = Server("isocenter", folder, find_free_port(), find_free_port())
    arguments = ["serve", str(_write_configuration(server, options or {}))]
    with fork_command(arguments, folder, log=server.log) as process:
        _wait_until_ready(server, process, options or {})
        yield server
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(_STOP_TIMEOUT_S)


@contextmanager
def run_pair(folder: Path, options: Mapping[str, Any] | None = None) -> Iterator[Pair]:
    """Run both with the same options and empty storages."""
    with (
        _start_orthanc(folder / "orthanc", options or {}, is_stopped=False) as (orthanc, process),
        run_isocenter(folder / "isocenter", options) as isocenter,
    ):
        _wait_until_ready(orthanc, process, options or {})
        yield Pair(isocenter, orthanc)


@contextmanager
def _start_orthanc(
    folder: Path, options: Mapping[str, Any], *, is_stopped: bool
) -> Iterator[tuple[Server, "subprocess.Popen[bytes]"]]:
    program = require_program("Orthanc", "orthanc")
    server = Server("orthanc", folder, find_free_port(), find_free_port())
    configuration = _write_configuration(server, options)
    with (
        server.log.open("wb") as log,
        subprocess.Popen([program, str(configuration)], stdout=log, stderr=log) as process,
    ):
        try:
            yield server, process
            if is_stopped:
                process.terminate()
                process.wait(_STOP_TIMEOUT_S)
        finally:
            process.kill()


def _write_configuration(server: Server, options: Mapping[str, Any]) -> Path:
    server.folder.mkdir(parents=True)
    path = server.folder / "configuration.json"
    path.write_text(json.dumps({**_build_options(server), **options}))
    return path


def _build_options(server: Server) -> dict[str, Any]:
    return {
        "Name": "Compared",
        "StorageDirectory": str(server.storage),
        "IndexDirectory": str(server.storage),
        "HttpPort": server.http_port,
        "HttpBindAddresses": ["127.0.0.1"],
        "DicomPort": server.dicom_port,
        "DicomAet": AE_TITLE,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "HttpDescribeErrors": True,
        "SyncStorageArea": False,
        "StableAge": 3600,
    }


def _wait_until_ready(
    server: Server, process: "Fork | subprocess.Popen[bytes]", options: Mapping[str, Any]
) -> None:
    has_dicom = bool(options.get("DicomServerEnabled", True))
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            server.request("GET", "/system")
            if has_dicom:
                socket.create_connection(("127.0.0.1", server.dicom_port)).close()
        except OSError:
            # The process has nothing to wait on; it is asked again until the deadline.
            select.select([], [], [], _POLL_S)
            continue
        return
    log = server.log.read_text(errors="replace")
    pytest.fail(f"{server.name} does not start: {log[-2000:]}")
