"""When a job that depends on a remote system tries again."""

from dataclasses import dataclass

from isocenter.config.configuration import Configuration
from isocenter.errors import (
    AssociationRejectedError,
    DatabaseUnavailableError,
    DeadlineExceededError,
    FullStorageError,
    NoPresentationContextError,
    PeerRefusalError,
    RemoteError,
    SerializationFailureError,
    ServerError,
    StorageUnavailableError,
)
from isocenter.scu.failures import lookup_status

__all__ = ["RetryPolicy", "build_retry_policy", "is_transient"]

_OUT_OF_RESOURCES = range(0xA700, 0xA800)
_TRANSIENT = (
    DeadlineExceededError,
    DatabaseUnavailableError,
    SerializationFailureError,
    FullStorageError,
    StorageUnavailableError,
)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and when to try again.

    Attributes
    ----------
    count
        Most attempts after the first one, since something was achieved.
    first_delay_s, longest_delay_s
        Each wait is twice as long as the one before, up to the longest.
    """

    count: int
    first_delay_s: float
    longest_delay_s: float

    def get_delay_s(self, attempts: int) -> float:
        """Tell how long to wait after a number of failed attempts, from 1."""
        # A float overflows only beyond a thousand doublings.
        return min(self.first_delay_s * 2.0 ** min(attempts - 1, 64), self.longest_delay_s)


def build_retry_policy(configuration: Configuration) -> RetryPolicy:
    """Read the policy from the configuration."""
    return RetryPolicy(
        configuration.integer("Isocenter.TransferRetries"),
        configuration.number("Isocenter.TransferRetryDelay"),
        configuration.number("Isocenter.TransferRetryLongestDelay"),
    )


def is_transient(error: ServerError) -> bool:
    """Tell whether a remote system, our database or our disk may do later what it did not do now.

    Refused presentation contexts and permanent rejections stay, and so do statuses other than "out
    of resources".

    References
    ----------
    PS3.8 Table 9-21, PS3.4 Table B.2-1
    """
    if isinstance(error, _TRANSIENT):
        return True
    if not isinstance(error, RemoteError) or isinstance(error, NoPresentationContextError):
        return False
    if isinstance(error, AssociationRejectedError | PeerRefusalError):
        return not error.is_permanent
    status = lookup_status(error)
    return status is None or status in _OUT_OF_RESOURCES
