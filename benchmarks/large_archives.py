"""Memory while 20 GB are archived: ``python -m benchmarks.large_archives``.

The files are small ones whose pixel data were stretched by holes, in the storage area and in the
index, so that they take almost no room. Each form of archive is measured with a server of its own.
"""

import argparse
import json
import shutil
import sqlite3
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.failures import BenchmarkError
from benchmarks.processes import sampled_peak
from benchmarks.report import format_table
from benchmarks.servers import HOST, Launch, Server, find_isocenter, run_server
from benchmarks.stage import WORK, Stage
from benchmarks.studies import study_keys
from benchmarks.uploads import upload

_LIMIT_MB = 300
_POLL_S = 0.2
_DEADLINE_S = 1800
_GIGABYTE = 1_000_000_000


def prepare(stage: Stage, launch: Launch, *, count: int, size_bytes: int) -> str:
    """Store a study of large files; give its public identifier."""
    keys = study_keys(stage.take_study(), 2, count // 2)
    with run_server(launch, stage.folder / "server") as server:
        upload(server.http_port, stage.templates["MR"], keys)
    storage = stage.folder / "server" / "storage"
    for path in storage.glob("??/??/*"):
        with path.open("r+b") as file:
            file.truncate(size_bytes)
    with sqlite3.connect(storage / "index") as index:
        index.execute(
            "UPDATE attachments SET compressed_size = ?, uncompressed_size = ?",
            (size_bytes, size_bytes),
        )
    index.close()
    return keys[0].public_study_id


def download(server: Server, study: str, name: str) -> int:
    """Read a streamed archive and throw it away; give its size."""
    return _read(f"http://{HOST}:{server.http_port}/studies/{study}/{name}")


def build_and_download(server: Server, study: str, name: str) -> int:
    """Let a job build an archive, then download it."""
    body = json.dumps({"Asynchronous": True}).encode()
    path = json.loads(server.request("POST", f"/studies/{study}/{name}", body))["Path"]
    deadline = time.monotonic() + _DEADLINE_S
    while (job := server.get_json(path))["State"] not in {"Success", "Failure"}:
        if time.monotonic() > deadline:
            raise BenchmarkError(f"the job is at {job['Progress']} % after {_DEADLINE_S} s")
        time.sleep(_POLL_S)
    if job["State"] == "Failure" or job["Content"]["FailedInstancesCount"]:
        raise BenchmarkError(f"the job failed: {job}")
    size = _read(f"http://{HOST}:{server.http_port}{path}/archive")
    server.request("DELETE", path)
    return size


def _read(url: str) -> int:
    size = 0
    with urllib.request.urlopen(url, timeout=_DEADLINE_S) as answer:
        while piece := answer.read(1 << 20):
            size += len(piece)
    return size


_FORMS: tuple[tuple[str, Callable[[Server, str, str], int], str], ...] = (
    ("ZIP archive, streamed", download, "archive"),
    ("ZIP archive, by a job", build_and_download, "archive"),
    ("Medium, streamed", download, "media"),
    ("Medium, by a job", build_and_download, "media"),
)


def measure(stage: Stage, launch: Launch, study: str) -> list[tuple[str, ...]]:
    """Make each form of archive once; give the cells of the table."""
    rows: list[tuple[str, ...]] = []
    for name, make, kind in _FORMS:
        with run_server(launch, stage.folder / "server") as server:
            start = time.perf_counter()
            with sampled_peak(server.pid) as peak:
                size = make(server, study, kind)
            duration_s = time.perf_counter() - start
        verdict = "yes" if peak.rss_mb <= _LIMIT_MB else "NO"
        cells = (f"{size / 1e6:.0f}", f"{duration_s:.0f}", f"{peak.rss_mb:.0f}", verdict)
        rows.append((name, *cells))
    return rows


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_archives")
    parser.add_argument("--total", type=float, default=20.0, help="gigabytes (default: 20)")
    parser.add_argument("--count", type=int, default=100, help="files (default: 100)")
    options = parser.parse_args(arguments)
    size_bytes = int(options.total * _GIGABYTE) // options.count
    try:
        stage = Stage(WORK / "large_archives", effort=1.0, duration_s=1)
        launch = find_isocenter(None, {})
        study = prepare(stage, launch, count=options.count, size_bytes=size_bytes)
        rows = measure(stage, launch, study)
    except BenchmarkError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    print(f"\n{options.count} files of {size_bytes / 1e6:.1f} MB\n")
    header = ("Form", "ZIP, MB", "Seconds", "Peak of resident memory, MB", f"≤ {_LIMIT_MB}?")
    print(format_table(header, rows))
    shutil.rmtree(Path(stage.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
