"""States of a job and what may be done in each of them, as one table.

References
----------
Orthanc REST: states and actions of jobs (behaviour manual §16.3)
"""

from collections.abc import Mapping
from enum import Enum, IntEnum
from types import MappingProxyType

__all__ = ["FINISHED", "TRANSITIONS", "Action", "JobState"]


class JobState(IntEnum):
    """Where a job is in its life; the numbers are those of the database."""

    PENDING = 0
    RUNNING = 1
    SUCCESS = 2
    FAILURE = 3
    PAUSED = 4
    RETRY = 5

    @property
    def title(self) -> str:
        """The name in answers, for example ``Pending``."""
        return self.name.title()


class Action(Enum):
    """What a client may ask of a job; the values are the names in addresses."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RESUBMIT = "resubmit"


FINISHED = frozenset({JobState.SUCCESS, JobState.FAILURE})
"""States that only a new submission leaves."""

TRANSITIONS: Mapping[tuple[JobState, Action], JobState] = MappingProxyType(
    {
        (JobState.PENDING, Action.PAUSE): JobState.PAUSED,
        (JobState.RETRY, Action.PAUSE): JobState.PAUSED,
        (JobState.RUNNING, Action.PAUSE): JobState.PAUSED,
        (JobState.PAUSED, Action.RESUME): JobState.PENDING,
        (JobState.PENDING, Action.CANCEL): JobState.FAILURE,
        (JobState.RETRY, Action.CANCEL): JobState.FAILURE,
        (JobState.PAUSED, Action.CANCEL): JobState.FAILURE,
        (JobState.RUNNING, Action.CANCEL): JobState.FAILURE,
        (JobState.FAILURE, Action.RESUBMIT): JobState.PENDING,
    }
)
"""The state that an action leads to; a running job gets there at the end of its step."""
