"""What is negotiated: abstract syntaxes and their transfer syntaxes."""

from collections.abc import Collection
from dataclasses import dataclass

from isocenter.archive.acceptance import Acceptance
from isocenter.dicom.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

__all__ = ["VERIFICATION", "VERIFICATION_SYNTAXES", "SupportedSyntaxes"]

VERIFICATION = "1.2.840.10008.1.1"
"""SOP class of the verification service (PS3.4 §A.4)."""

VERIFICATION_SYNTAXES = (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
)
"""Transfer syntaxes of the verification service, which sends no data set."""


@dataclass(frozen=True, slots=True)
class SupportedSyntaxes:
    """Answers which transfer syntaxes go with an abstract syntax.

    Attributes
    ----------
    acceptance
        What is stored; changes of it count from the next association on.
    """

    acceptance: Acceptance

    def lookup(self, abstract_syntax: str) -> Collection[str] | None:
        """Give the transfer syntaxes of an abstract syntax, ``None`` if it is not supported."""
        if abstract_syntax == VERIFICATION:
            return VERIFICATION_SYNTAXES
        if not self.acceptance.is_stored(abstract_syntax):
            return None
        # With none of them every context is refused for its transfer syntaxes (PS3.8 Table 9-18).
        return self.acceptance.transfer_syntaxes
