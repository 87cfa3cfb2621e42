"""What the clients themselves can do: ``python -m benchmarks.capacity``.

Each client works against a receiver that throws everything away. A server that comes near these
rates is measured by the client's speed, not by its own.
"""

import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread

from benchmarks.failures import BenchmarkError, find_program
from benchmarks.report import format_table, format_value
from benchmarks.servers import HOST, NO_DELAY
from benchmarks.stage import WORK, Stage
from benchmarks.storescu import store_folders
from benchmarks.studies import study_keys, write_files
from benchmarks.timing import Sample
from benchmarks.uploads import upload
from benchmarks.wrk import measure_rate

_CONTENT_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n")
_RECEIVE_BYTES = 1 << 18
_FILE_BYTES = 525_000
_READY_DEADLINE_S = 10.0


def _build_answer(body_bytes: int) -> bytes:
    """A complete answer with a body of zeros."""
    return f"HTTP/1.1 200 OK\r\nContent-Length: {body_bytes}\r\n\r\n".encode() + bytes(body_bytes)


_SMALL_ANSWER = _build_answer(300)
_FILE_ANSWER = _build_answer(_FILE_BYTES)


def _swallow(connection: socket.socket) -> None:
    """Answer every request of a connection; uploads are read and forgotten."""
    buffer = bytearray(_RECEIVE_BYTES)
    with connection, suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while received := connection.recv_into(buffer):
            head_end = buffer.find(b"\r\n\r\n", 0, received)
            length = _CONTENT_LENGTH.search(buffer, 0, head_end + 2)
            missing = int(length[1]) + head_end + 4 - received if length else 0
            while missing > 0 and (count := connection.recv_into(buffer)):
                missing -= count
            is_file = buffer.startswith(b"GET /file")
            connection.sendall(_FILE_ANSWER if is_file else _SMALL_ANSWER)


def _serve_sink(listener: socket.socket) -> None:
    """Accept connections for ever, one thread each."""
    while True:
        connection, _ = listener.accept()
        Thread(target=_swallow, args=(connection,), daemon=True).start()


@contextmanager
def _http_sink() -> Iterator[int]:
    """Run the HTTP sink in a process of its own and yield its port."""
    with socket.create_server((HOST, 0)) as listener:
        process = multiprocessing.get_context("fork").Process(
            target=_serve_sink, args=(listener,), daemon=True
        )
        process.start()
        try:
            yield listener.getsockname()[1]
        finally:
            process.terminate()
            process.join()


@contextmanager
def _dicom_sink() -> Iterator[int]:
    """Run DCMTK's ``storescp`` without storing and yield its port."""
    with socket.create_server((HOST, 0)) as free:
        port = int(free.getsockname()[1])
    command = [find_program("storescp"), "--ignore", "--fork", "+xa", str(port)]
    with subprocess.Popen(command, env={**os.environ, **NO_DELAY}) as process:
        try:
            _wait_open(port)
            yield port
        finally:
            process.terminate()


def _wait_open(port: int) -> None:
    """Wait until a port accepts connections."""
    deadline = time.monotonic() + _READY_DEADLINE_S
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection((HOST, port)):
            return
        time.sleep(0.05)
    raise BenchmarkError("storescp does not listen")


def _measure_uploads(stage: Stage, port: int, modality: str, connections: int) -> Sample:
    """Uploads per second."""
    keys = study_keys(stage.take_study(), 2, 1000)
    template = stage.templates[modality]
    return upload(port, template, keys, connections=connections).build_rate(len(keys))


def _measure_storescu(stage: Stage, port: int, modality: str, associations: int) -> Sample:
    """Instances per second by ``storescu``."""
    shutil.rmtree(stage.outbox, ignore_errors=True)
    folders = [stage.outbox / str(number) for number in range(associations)]
    for folder in folders:
        keys = study_keys(stage.take_study(), 2, 150)
        write_files(stage.templates[modality], keys, folder)
    os.sync()
    watch = store_folders(port, folders, is_no_delay=True)
    return watch.build_rate(300 * associations)


def _measure_reads(stage: Stage, port: int, path: str) -> Sample:
    """Requests per second by ``wrk``."""
    return measure_rate(port, [path], script=stage.folder / "wrk.lua", duration_s=2)


def _measure_all(stage: Stage) -> list[tuple[str, Sample]]:
    """Measure every client once."""
    samples: list[tuple[str, Sample]] = []

    def keep(name: str, measure: Callable[..., Sample], *arguments: str | int) -> None:
        samples.append((name, measure(stage, *arguments)))

    with _http_sink() as port:
        keep("POST /instances, MR, 8 connections", _measure_uploads, port, "MR", 8)
        keep("POST /instances, CT, 8 connections", _measure_uploads, port, "CT", 8)
        keep("POST /instances, CT, 1 connection", _measure_uploads, port, "CT", 1)
        keep("GET with an answer of 300 bytes", _measure_reads, port, "/small")
        keep("GET with an answer of 525 kB", _measure_reads, port, "/file")
    with _dicom_sink() as port:
        keep("C-STORE, MR, 1 association", _measure_storescu, port, "MR", 1)
        keep("C-STORE, MR, 3 associations", _measure_storescu, port, "MR", 3)
        keep("C-STORE, CT, 1 association", _measure_storescu, port, "CT", 1)
    return samples


def main() -> int:
    """Measure the clients and print their rates."""
    try:
        stage = Stage(WORK / "capacity", effort=1.0, duration_s=2)
        samples = _measure_all(stage)
    except BenchmarkError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    rows = [
        (name, format_value(sample.value), f"{sample.client_share:.0%}") for name, sample in samples
    ]
    print(format_table(("Client against a sink", "1/s", "Client"), rows))
    shutil.rmtree(stage.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
