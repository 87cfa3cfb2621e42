"""The one place where time comes from, and its form in answers."""

import re
import time
from datetime import UTC, datetime
from functools import lru_cache

__all__ = ["format_precise_timestamp", "format_timestamp", "now", "now_us", "parse_timestamp"]

_TIMESTAMP = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)", re.ASCII)


def now() -> int:
    """Tell the seconds since 1970, UTC."""
    return int(time.time())


def now_us() -> int:
    """Tell the microseconds since 1970, UTC."""
    return time.time_ns() // 1000


def format_precise_timestamp(microseconds: int) -> str:
    """Write a time as ``YYYYMMDDTHHMMSS.ffffff``, UTC (Orthanc REST: dates of jobs)."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{format_timestamp(seconds)}.{rest:06}"


@lru_cache(maxsize=4096)
def format_timestamp(seconds: int) -> str:
    """Write a time as ``YYYYMMDDTHHMMSS``, UTC (Orthanc REST: dates of metadata and changes)."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))


@lru_cache(maxsize=4096)
def parse_timestamp(text: str) -> int | None:
    """Read a time of the form ``YYYYMMDDTHHMMSS``, UTC; ``None`` for anything else."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    try:
        year, month, day, hour, minute, second = map(int, match.groups())
        return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
    except ValueError:
        return None
