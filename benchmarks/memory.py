"""Resident memory: while a server receives an instance of 2 GB, and the limits asked for."""

import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.failures import BenchmarkError
from benchmarks.headers import build_large_header
from benchmarks.processes import sampled_peak
from benchmarks.servers import Server
from benchmarks.stage import Stage
from benchmarks.storescu import store_folders
from benchmarks.studies import InstanceKey, encode_file, study_keys, write_files
from benchmarks.uploads import upload_file

_FRAME_BYTES = 512 * 512 * 2
_FRAMES = 4000
_CROWD = 100
_CROWD_INSTANCES = 20


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """A line about memory: its name and the most that Isocenter may use, in megabytes."""

    name: str
    limit_mb: float


IDLE = MemoryLimit("Resident memory: idle", 120)
AFTER = MemoryLimit("Resident memory: after the run", 400)


def write_large_file(path: Path, key: InstanceKey) -> None:
    """Write a multi-frame instance of 2.1 GB that takes almost no space: its frames are a hole.

    References
    ----------
    PS3.5 §7.1.2, §A.2
    """
    length = _FRAMES * _FRAME_BYTES
    # (7FE0,0010) OW, two reserved bytes, 32-bit length.
    element = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, length)
    head = encode_file(build_large_header(_FRAMES), key=key) + element
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + length)


def measure_large_c_store(stage: Stage, server: Server) -> float:
    """Peak resident memory in megabytes while ``storescu`` sends 2 GB."""
    return _measure_large(
        stage,
        server,
        lambda path: store_folders(server.dicom_port, [path.parent], is_no_delay=True),
    )


def measure_large_post(stage: Stage, server: Server) -> float:
    """Peak resident memory in megabytes while 2 GB arrive by ``POST /instances``."""
    return _measure_large(stage, server, lambda path: upload_file(server.http_port, path))


def _measure_large(stage: Stage, server: Server, send: Callable[[Path], object]) -> float:
    """Send a large instance, sample the memory meanwhile, and delete it on the server."""
    shutil.rmtree(stage.outbox, ignore_errors=True)
    stage.outbox.mkdir()
    key = InstanceKey(stage.take_study(), 0, 0)
    write_large_file(stage.outbox / "large.dcm", key)
    stage.settle()
    with sampled_peak(server.pid) as peak:
        send(stage.outbox / "large.dcm")
    size = int(server.get_json(f"/instances/{key.public_id}")["FileSize"])
    if size < _FRAMES * _FRAME_BYTES:
        raise BenchmarkError(f"{server.name} kept {size} bytes of the large instance")
    server.request("DELETE", f"/studies/{key.public_study_id}")
    shutil.rmtree(stage.outbox)
    return peak.rss_mb


def measure_crowd(stage: Stage, server: Server) -> float:
    """Peak resident memory in megabytes while a hundred ``storescu`` send at the same time.

    Raises
    ------
    BenchmarkError
        If an instance is lost.
    """
    shutil.rmtree(stage.outbox, ignore_errors=True)
    count = stage.scale(_CROWD_INSTANCES)
    folders = []
    for _ in range(_CROWD):
        study = stage.take_study()
        folders.append(stage.outbox / str(study))
        write_files(stage.templates["MR"], study_keys(study, 2, count // 2), folders[-1])
    before = server.count_instances()
    stage.settle()
    with sampled_peak(server.pid) as peak:
        store_folders(server.dicom_port, folders, is_no_delay=True)
    received = server.count_instances() - before
    shutil.rmtree(stage.outbox)
    if received != _CROWD * count:
        raise BenchmarkError(f"{server.name} got {received} of {_CROWD * count} instances")
    return peak.rss_mb


CROWD = MemoryLimit("Resident memory: receiving on 100 associations", 500)
"""None of 2,000 MR instances may be lost."""

CROWD_OPTIONS = {"DicomThreadsCount": 100}
"""What its server is started with besides."""

LARGE = (
    (MemoryLimit("Resident memory: receiving 2 GB by C-STORE", 400), measure_large_c_store),
    (MemoryLimit("Resident memory: receiving 2 GB by POST", 400), measure_large_post),
)
"""Lines that take an instance of 2 GB, with their measurement."""
