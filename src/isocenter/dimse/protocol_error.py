"""Violations of the upper layer protocol and how an A-ABORT names them.

References
----------
PS3.8 §9.3.8 (A-ABORT PDU), Table 9-26
"""

from enum import IntEnum

__all__ = ["AbortReason", "AbortSource", "ProtocolViolationError"]


class AbortSource(IntEnum):
    """Who aborted an association (PS3.8 Table 9-26)."""

    SERVICE_USER = 0
    SERVICE_PROVIDER = 2


class AbortReason(IntEnum):
    """Why the service provider aborted an association (PS3.8 Table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PDU_PARAMETER = 4
    UNEXPECTED_PDU_PARAMETER = 5
    INVALID_PDU_PARAMETER_VALUE = 6


class ProtocolViolationError(Exception):
    """The peer broke the protocol; the association must be aborted.

    It never leaves this package: ``association`` turns it into an A-ABORT.

    Parameters
    ----------
    details
        What was wrong, for the log.
    reason
        The reason that the A-ABORT gives.
    """

    def __init__(
        self, details: str, *, reason: AbortReason = AbortReason.INVALID_PDU_PARAMETER_VALUE
    ) -> None:
        super().__init__(details)
        self.reason = reason
