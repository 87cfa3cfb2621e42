"""What the operating system says of a server's processes: memory and processor time."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

_MEGABYTE = 1_000_000
_SAMPLE_INTERVAL_S = 0.02
_IDLE_WINDOW_S = 0.3
_IDLE_SHARE = 0.1
_IDLE_DEADLINE_S = 15.0


def iter_tree(pid: int) -> Iterator[psutil.Process]:
    """Yield a process and its descendants that are still alive."""
    try:
        root = psutil.Process(pid)
        yield root
        yield from root.children(recursive=True)
    except psutil.NoSuchProcess:
        return


def measure_rss_mb(pid: int) -> float:
    """Resident memory of a process and its descendants, in megabytes (10^6 bytes)."""
    total = 0
    for process in iter_tree(pid):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / _MEGABYTE


def measure_cpu_s(pid: int) -> float:
    """Processor time that a process and its living descendants have used, in seconds."""
    total = 0.0
    for process in iter_tree(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def wait_idle(pids: list[int]) -> None:
    """Wait until the processes use less than 10 % of a core together, for 15 s at most.

    A server that still tidies up after the last measurement would slow the next one down, its own
    or its rival's.
    """
    deadline = time.monotonic() + _IDLE_DEADLINE_S
    before = sum(map(measure_cpu_s, pids))
    while time.monotonic() < deadline:
        time.sleep(_IDLE_WINDOW_S)
        now = sum(map(measure_cpu_s, pids))
        if now - before < _IDLE_SHARE * _IDLE_WINDOW_S:
            return
        before = now


@dataclass(slots=True)
class Peak:
    """Highest resident memory seen so far, in megabytes."""

    rss_mb: float = 0.0


@contextmanager
def sampled_peak(pid: int) -> Iterator[Peak]:
    """Sample the resident memory of a process tree 50 times a second until the block ends."""
    peak = Peak()
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(_SAMPLE_INTERVAL_S):
            peak.rss_mb = max(peak.rss_mb, measure_rss_mb(pid))

    thread = threading.Thread(target=sample, name="rss-sampler", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
        peak.rss_mb = max(peak.rss_mb, measure_rss_mb(pid))
