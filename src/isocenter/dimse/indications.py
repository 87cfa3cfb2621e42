"""What an association tells its user, one record for each indication or confirmation.

References
----------
PS3.8 §7 (services of the upper layer); PS3.7 §6 (messages)
"""

from dataclasses import dataclass

import msgspec

from isocenter.dimse.commands import Command
from isocenter.dimse.negotiation import PresentationContext
from isocenter.dimse.pdu import AssociateAccept, AssociateReject, AssociateRequest

__all__ = [
    "AssociationAborted",
    "AssociationAccepted",
    "AssociationRejected",
    "AssociationRequested",
    "CommandReceived",
    "DataReceived",
    "Indication",
    "ReleaseConfirmed",
    "ReleaseRequested",
]


@dataclass(frozen=True, slots=True)
class AssociationRequested:
    """The peer asks for an association (A-ASSOCIATE indication)."""

    request: AssociateRequest


@dataclass(frozen=True, slots=True)
class AssociationAccepted:
    """The peer accepted our request (A-ASSOCIATE confirmation)."""

    accept: AssociateAccept


@dataclass(frozen=True, slots=True)
class AssociationRejected:
    """The peer rejected our request (A-ASSOCIATE confirmation)."""

    reject: AssociateReject


class CommandReceived(msgspec.Struct, frozen=True):
    """A command set is complete; if it has a data set, `DataReceived` follow."""

    context: PresentationContext
    command: Command


class DataReceived(msgspec.Struct, frozen=True):
    """A part of the data set; the view is valid only until more bytes are received."""

    fragment: memoryview | bytes
    is_last: bool


@dataclass(frozen=True, slots=True)
class ReleaseRequested:
    """The peer asks to release the association (A-RELEASE indication)."""


@dataclass(frozen=True, slots=True)
class ReleaseConfirmed:
    """The peer confirmed our release (A-RELEASE confirmation)."""


@dataclass(frozen=True, slots=True)
class AssociationAborted:
    """The association ended without a release (A-ABORT or A-P-ABORT indication)."""

    source: int
    reason: int
    details: str


Indication = (
    AssociationRequested
    | AssociationAccepted
    | AssociationRejected
    | CommandReceived
    | DataReceived
    | ReleaseRequested
    | ReleaseConfirmed
    | AssociationAborted
)
