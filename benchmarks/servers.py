"""The two servers: how each is configured, started, asked and stopped."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.failures import BenchmarkError, find_program

HOST = "127.0.0.1"
ORTHANC = "Orthanc"
ISOCENTER = "Isocenter"

NO_DELAY = {"TCP_NODELAY": "1"}
"""Environment that makes DCMTK, in Orthanc and in storescu, send without Nagle's delay."""

_START_DEADLINE_S = 60.0
_STOP_DEADLINE_S = 30.0
_REQUEST_TIMEOUT_S = 120.0
_LOG_TAIL = 2000


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes
    ----------
    name
        `ORTHANC` or `ISOCENTER`.
    http_port, dicom_port
        Where it listens on `HOST`.
    pid
        The process that was started; it may have children.
    """

    name: str
    http_port: int
    dicom_port: int
    pid: int

    def get(self, path: str) -> bytes:
        """Body of the answer to GET.

        Raises
        ------
        BenchmarkError
            If the status is not 200.
        """
        return self.request("GET", path)

    def get_json(self, path: str) -> Any:
        """Answer to GET, decoded from JSON; its shape is the caller's to know."""
        return json.loads(self.get(path))

    def request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Send a request on a connection of its own and return the answer's body."""
        connection = http.client.HTTPConnection(HOST, self.http_port, timeout=_REQUEST_TIMEOUT_S)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise BenchmarkError(f"{self.name}: {method} {path} answered {answer.status}")
        return body

    def count_instances(self) -> int:
        """Number of stored instances, to check that a measurement stored what it claims."""
        return int(self.get_json("/statistics")["CountInstances"])


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a server.

    Attributes
    ----------
    name
        `ORTHANC` or `ISOCENTER`.
    command
        Program and arguments; the path of the configuration file is appended.
    overrides
        Options that replace or extend the common configuration.
    """

    name: str
    command: Sequence[str]
    overrides: Mapping[str, Any]


def build_configuration(folder: Path, http_port: int, dicom_port: int) -> dict[str, Any]:
    """Build the configuration that both servers read, tuned as the Orthanc Book advises.

    Files are synced before they are acknowledged, by both servers.
    """
    return {
        "Name": "Benchmark",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "StorageCompression": False,
        "SyncStorageArea": True,
        "MaximumStorageSize": 0,
        "MaximumPatientCount": 0,
        "Plugins": [],
        "LuaScripts": [],
        "HttpPort": http_port,
        "HttpServerEnabled": True,
        "HttpThreadsCount": 50,
        "KeepAlive": True,
        "TcpNoDelay": True,
        "HttpCompressionEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomPort": dicom_port,
        "DicomServerEnabled": True,
        "DicomAet": "BENCHMARK",
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomThreadsCount": 8,
        "OverwriteInstances": False,
        "StableAge": 60,
        "SaveJobs": False,
        "LimitFindResults": 0,
    }


def find_orthanc() -> Launch:
    """Find the Orthanc of the system."""
    return Launch(ORTHANC, [find_program("Orthanc")], {})


def find_isocenter(command: Sequence[str] | None, overrides: Mapping[str, Any]) -> Launch:
    """Find the Isocenter of this environment.

    Parameters
    ----------
    command
        Another program to put in its place; None takes the ``isocenter`` beside this Python.
    overrides
        Options that replace or extend the common configuration.

    Returns
    -------
    Launch
        How to start it.

    Raises
    ------
    BenchmarkError
        If Isocenter is not installed in this environment.
    """
    if command:
        return Launch(ISOCENTER, command, overrides)
    program = Path(sys.executable).with_name("isocenter")
    if not program.exists():
        raise BenchmarkError(f"{program} is missing: install the project into this environment")
    return Launch(ISOCENTER, [str(program), "serve"], overrides)


def read_version(server: Server) -> str:
    """Version of a server: of Isocenter its own, not the one it tells Orthanc's clients."""
    if server.name == ISOCENTER:
        return metadata.version("isocenter")
    return str(server.get_json("/system")["Version"])


def merge_options(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Lay ``overrides`` over ``base``, section by section."""
    merged = dict(base)
    for name, value in overrides.items():
        present = merged.get(name)
        if isinstance(value, Mapping) and isinstance(present, Mapping):
            merged[name] = merge_options(present, value)
        else:
            merged[name] = value
    return merged


def _reserve_ports(count: int) -> list[int]:
    """Distinct ports that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for opened in sockets:
            opened.bind((HOST, 0))
        return [opened.getsockname()[1] for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()


@contextmanager
def run_server(
    launch: Launch,
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Iterator[Server]:
    """Start a server, wait until it answers, and stop it when the block ends.

    Parameters
    ----------
    launch
        Which server.
    folder
        Its folder for configuration, data and log; created if absent. Data found there is served.
    environment
        Variables added to its environment. A TCP_NODELAY of the caller is never inherited.
    overrides
        Options laid over those of ``launch``.

    Yields
    ------
    Server
        The running server.

    Raises
    ------
    BenchmarkError
        If it ends or does not answer within a minute; the text shows the end of its log.
    """
    (folder / "storage").mkdir(parents=True, exist_ok=True)
    http_port, dicom_port = _reserve_ports(2)
    options = merge_options(build_configuration(folder, http_port, dicom_port), launch.overrides)
    configuration = folder / "configuration.json"
    configuration.write_text(json.dumps(merge_options(options, overrides or {}), indent=2))
    inherited = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}
    log_path = folder / "server.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*launch.command, str(configuration)],
            env={**inherited, **(environment or {})},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    server = Server(launch.name, http_port, dicom_port, process.pid)
    try:
        _wait_ready(server, process, log_path)
        yield server
    finally:
        _stop(process)


def _wait_ready(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until GET /system is answered and the DICOM port is open."""
    deadline = time.monotonic() + _START_DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            server.get("/system")
            with socket.create_connection((HOST, server.dicom_port), timeout=5):
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
    tail = log.read_text(errors="replace")[-_LOG_TAIL:]
    raise BenchmarkError(f"{server.name} did not start. The end of its log:\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server's process, politely at first."""
    process.terminate()
    try:
        process.wait(_STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
