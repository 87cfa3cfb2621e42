"""When a job that may not run at any time may run."""

import time
from collections.abc import Sequence

__all__ = ["get_wait_s"]

_DAY_S = 86_400


def get_wait_s(not_before: int, quiet_hours: Sequence[Sequence[int]], now: int) -> int:
    """Tell how many seconds to wait; 0 if now is a good time.

    Parameters
    ----------
    not_before
        Seconds since 1970.
    quiet_hours
        Pairs of local times of the day, in minutes; the end of one may be the next day. Where the
        end of one lies in another, the job asks again then.
    """
    if not_before > now:
        return not_before - now
    local = time.localtime(now)
    second = local.tm_hour * 3600 + local.tm_min * 60 + local.tm_sec
    for start, stop in quiet_hours:
        begin, end = start * 60, stop * 60
        is_quiet = begin <= second < end if begin < end else second >= begin or second < end
        if is_quiet:
            return (end - second) % _DAY_S
    return 0
