"""What is negotiated: abstract syntaxes and their transfer syntaxes."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from isocenter.archive.acceptance import Acceptance
from isocenter.dicom.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

__all__ = [
    "PLAIN_SYNTAXES",
    "SERVICE_CLASSES",
    "STORAGE_COMMITMENT",
    "VERIFICATION",
    "WORKLIST_FIND",
    "ServiceKind",
    "SupportedSyntaxes",
]

VERIFICATION = "1.2.840.10008.1.1"
"""SOP class of the verification service (PS3.4 §A.4)."""

STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
"""SOP class of the storage commitment push model (PS3.4 §J.3)."""

WORKLIST_FIND = "1.2.840.10008.5.1.4.31"
"""SOP class of the modality worklist (PS3.4 §K.5)."""

PLAIN_SYNTAXES = (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
)
"""Transfer syntaxes of all services but storage."""


class ServiceKind(Enum):
    """What the SOP classes are for."""

    VERIFICATION = "verification"
    STORAGE = "storage"
    FIND = "find"
    MOVE = "move"
    GET = "get"
    WORKLIST = "worklist"
    COMMITMENT = "commitment"


SERVICE_CLASSES: dict[str, tuple[ServiceKind, str]] = {
    VERIFICATION: (ServiceKind.VERIFICATION, "Verification"),
    "1.2.840.10008.5.1.4.1.2.1.1": (ServiceKind.FIND, "Patient Root Query/Retrieve - FIND"),
    "1.2.840.10008.5.1.4.1.2.1.2": (ServiceKind.MOVE, "Patient Root Query/Retrieve - MOVE"),
    "1.2.840.10008.5.1.4.1.2.1.3": (ServiceKind.GET, "Patient Root Query/Retrieve - GET"),
    "1.2.840.10008.5.1.4.1.2.2.1": (ServiceKind.FIND, "Study Root Query/Retrieve - FIND"),
    "1.2.840.10008.5.1.4.1.2.2.2": (ServiceKind.MOVE, "Study Root Query/Retrieve - MOVE"),
    "1.2.840.10008.5.1.4.1.2.2.3": (ServiceKind.GET, "Study Root Query/Retrieve - GET"),
    WORKLIST_FIND: (ServiceKind.WORKLIST, "Modality Worklist - FIND"),
    STORAGE_COMMITMENT: (ServiceKind.COMMITMENT, "Storage Commitment Push Model"),
}
"""The SOP classes of all services but storage: what for, and their names (PS3.4 §C.6, §J, §K)."""


@dataclass(frozen=True, slots=True)
class SupportedSyntaxes:
    """Answers which transfer syntaxes go with an abstract syntax.

    Attributes
    ----------
    acceptance
        What is stored; changes of it count from the next association on.
    kinds
        The services that are offered besides storage.
    """

    acceptance: Acceptance
    kinds: frozenset[ServiceKind]

    def lookup_kind(self, abstract_syntax: str) -> ServiceKind:
        """Tell what a SOP class is for; all that have no service of their own are stored."""
        known = SERVICE_CLASSES.get(abstract_syntax)
        return ServiceKind.STORAGE if known is None else known[0]

    def lookup(self, abstract_syntax: str) -> Collection[str] | None:
        """Give the transfer syntaxes of an abstract syntax, ``None`` if it is not supported."""
        kind = self.lookup_kind(abstract_syntax)
        if kind is not ServiceKind.STORAGE:
            return PLAIN_SYNTAXES if kind in self.kinds else None
        if not self.acceptance.is_stored(abstract_syntax):
            return None
        # With none of them every context is refused for its transfer syntaxes (PS3.8 Table 9-18).
        return self.acceptance.transfer_syntaxes
