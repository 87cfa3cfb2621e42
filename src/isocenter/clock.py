"""The one place where time comes from, and its form in answers."""

import time
from functools import lru_cache

__all__ = ["format_timestamp", "now", "now_ms"]


def now() -> int:
    """Tell the seconds since 1970, UTC."""
    return int(time.time())


def now_ms() -> int:
    """Tell the milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


@lru_cache(maxsize=4096)
def format_timestamp(seconds: int) -> str:
    """Write a time as ``YYYYMMDDTHHMMSS``, UTC (Orthanc REST: dates of metadata and changes)."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
