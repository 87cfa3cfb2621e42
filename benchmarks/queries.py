"""C-FIND and C-GET: questions on a raw socket over one kept association, and DCMTK's programs.

The raw client only looks for the end of the answers, so it measures the server and not itself. It
acknowledges at once, so that a server with Nagle's algorithm does not wait for it.
"""

import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle

from benchmarks.failures import BenchmarkError, find_program
from benchmarks.servers import HOST, NO_DELAY, Server
from benchmarks.stage import Stage
from benchmarks.storescu import store_folders
from benchmarks.studies import study_keys, write_files
from benchmarks.timing import Sample, timed

_STUDY_ROOT_FIND = b"1.2.840.10008.5.1.4.1.2.2.1\0"
_APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
_EXPLICIT_LITTLE = b"1.2.840.10008.1.2.1"
_TIMEOUT_S = 60.0
# Elements of the command sets, implicit little endian (PS3.7 §E.1).
_STATUS = struct.pack("<HHI", 0, 0x0900, 2)
_SUCCESS = _STATUS + b"\0\0"
_PENDING = _STATUS + b"\0\xff"
_LONGEST_END = 512

Keys = Sequence[tuple[int, str, str]]
"""Tag, value representation and text of each key, in ascending order."""


def build_identifier(keys: Keys) -> bytes:
    """Encode an identifier in explicit little endian."""
    parts = []
    for tag, vr, text in keys:
        value = text.encode("ascii")
        value += b" " * (len(value) & 1) if vr != "UI" else b"\0" * (len(value) & 1)
        parts.append(struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)))
        parts.append(value)
    return b"".join(parts)


def _build_item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def _build_association_request() -> bytes:
    context = _build_item(0x30, _STUDY_ROOT_FIND.rstrip(b"\0"))
    context += _build_item(0x40, _EXPLICIT_LITTLE)
    information = _build_item(0x51, struct.pack(">I", 131072)) + _build_item(0x52, b"2.25.1")
    body = struct.pack(">HH", 1, 0) + b"BENCHMARK".ljust(16) + b"BENCHMARK".ljust(16) + bytes(32)
    body += _build_item(0x10, _APPLICATION_CONTEXT)
    body += _build_item(0x20, struct.pack(">BBBB", 1, 0, 0, 0) + context)
    body += _build_item(0x50, information)
    return struct.pack(">BxI", 1, len(body)) + body


def _build_value(content: bytes, *, is_command: bool) -> bytes:
    value = struct.pack(">IBB", len(content) + 2, 1, 2 | is_command) + content
    return struct.pack(">BxI", 4, len(value)) + value


def _build_question(identifier: bytes) -> bytes:
    elements = struct.pack("<HHI", 0, 2, len(_STUDY_ROOT_FIND)) + _STUDY_ROOT_FIND
    for element, number in ((0x0100, 0x0020), (0x0110, 1), (0x0700, 0), (0x0800, 1)):
        elements += struct.pack("<HHIH", 0, element, 2, number)
    command = struct.pack("<HHII", 0, 0, 4, len(elements)) + elements
    return _build_value(command, is_command=True) + _build_value(identifier, is_command=False)


class _Connection:
    """An association for questions."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(_build_association_request())
        if self._receive()[:1] != b"\2":
            raise BenchmarkError("the association is not accepted")

    def ask(self, question: bytes) -> bytes:
        """Ask, and give all bytes up to the end of the answers."""
        self._socket.sendall(question)
        received = bytearray()
        while _SUCCESS not in received[-_LONGEST_END:]:
            received += self._receive()
        return bytes(received)

    def close(self) -> None:
        """Break the association off."""
        self._socket.close()

    def _receive(self) -> bytes:
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        data = self._socket.recv(1 << 18)
        if not data:
            raise BenchmarkError("the server ended the association")
        return data


@contextmanager
def _connect(server: Server) -> Iterator[_Connection]:
    connection = _Connection(server.dicom_port)
    try:
        yield connection
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Query:
    """Questions per second over one association.

    Attributes
    ----------
    build_keys
        Builds the questions, which are asked in turn.
    expected
        Answers to the first of them.
    """

    build_keys: Callable[[Stage], Sequence[Keys]]
    expected: int
    studies: int = 0

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:  # noqa: ARG002
        """Check the first question, then ask for some seconds."""
        questions = [_build_question(build_identifier(keys)) for keys in self.build_keys(stage)]
        stage.settle()
        with _connect(server) as connection:
            found = connection.ask(questions[0]).count(_PENDING)
            if found != self.expected:
                raise BenchmarkError(f"{server.name}: {found} answers instead of {self.expected}")
            count = 0
            with timed() as watch:
                stop = time.perf_counter() + stage.duration_s
                for question in cycle(questions):
                    connection.ask(question)
                    count += 1
                    if time.perf_counter() > stop:
                        break
        return watch.build_rate(count)


@dataclass(frozen=True, slots=True)
class FindSCU:
    """Milliseconds of one ``findscu`` from start to end, of a number in a row."""

    count: int
    studies: int = 0

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:  # noqa: ARG002
        """Ask for all studies again and again."""
        keys = ("QueryRetrieveLevel=STUDY", "PatientName", "StudyDate", "StudyInstanceUID")
        command = [find_program("findscu"), "-S", HOST, str(server.dicom_port)]
        command += [part for key in keys for part in ("-k", key)]
        stage.settle()
        with timed() as watch:
            for _ in range(self.count):
                ended = subprocess.run(
                    command, capture_output=True, timeout=_TIMEOUT_S, check=False, text=True
                )
                if ended.returncode or "Find Response: 25" not in ended.stdout + ended.stderr:
                    raise BenchmarkError(f"findscu failed: {ended.stderr[-500:]}")
        sample = watch.build_duration_ms()
        return Sample(sample.value / self.count, sample.client_share)


@dataclass(frozen=True, slots=True)
class GetSCU:
    """Instances per second by ``getscu``, process start, negotiation and writing included.

    Attributes
    ----------
    modality
        ``CT`` or ``MR``.
    count
        Instances of the study, which is stored before.
    """

    modality: str
    count: int
    studies: int = 1

    def measure(self, stage: Stage, server: Server, studies: Sequence[int]) -> Sample:
        """Store a study, get it back, and delete it."""
        count = stage.scale(self.count)
        keys = study_keys(studies[0], 2, count // 2)
        shutil.rmtree(stage.outbox, ignore_errors=True)
        write_files(stage.templates[self.modality], keys, stage.outbox)
        store_folders(server.dicom_port, [stage.outbox], is_no_delay=True)
        inbox = stage.folder / "inbox"
        inbox.mkdir(exist_ok=True)
        # +xs asks for JPEG lossless, in which the MR instances are.
        preference = ["+xs"] if self.modality == "MR" else []
        command = [
            *(find_program("getscu"), "-S", *preference, "+B", "-od", str(inbox)),
            *(HOST, str(server.dicom_port)),
            *("-k", "QueryRetrieveLevel=STUDY"),
            *("-k", f"StudyInstanceUID={keys[0].study_instance_uid}"),
        ]
        stage.settle()
        with timed() as watch:
            ended = subprocess.run(
                command,
                capture_output=True,
                timeout=900,
                check=False,
                env={**os.environ, **NO_DELAY},
            )
        received = len(list(inbox.iterdir()))
        shutil.rmtree(inbox)
        shutil.rmtree(stage.outbox)
        if ended.returncode or received != count:
            raise BenchmarkError(f"{server.name}: getscu got {received} of {count} instances")
        return watch.build_rate(count)
