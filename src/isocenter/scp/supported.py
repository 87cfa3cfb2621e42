"""What is negotiated: abstract syntaxes and their transfer syntaxes."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from isocenter.config.configuration import Configuration
from isocenter.dicom.sop_classes import STORAGE_SOP_CLASSES
from isocenter.dicom.transfer_syntaxes import TRANSFER_SYNTAXES

__all__ = ["VERIFICATION", "SupportedSyntaxes", "build_supported_syntaxes"]

VERIFICATION = "1.2.840.10008.1.1"
"""SOP class of the verification service (PS3.4 §A.4)."""

_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
_VERIFICATION_SYNTAXES = (_EXPLICIT_LITTLE_ENDIAN, _IMPLICIT_LITTLE_ENDIAN, "1.2.840.10008.1.2.2")

# Services that are not storage, whatever UnknownSopClassAccepted says: query and retrieve,
# worklist, storage commitment, procedure steps, print (PS3.4 Annexes C, K, J, F, H).
_NOT_STORAGE = (
    "1.2.840.10008.1.",
    "1.2.840.10008.3.1.",
    "1.2.840.10008.4.2",
    "1.2.840.10008.5.1.1.",
    "1.2.840.10008.5.1.4.1.2.",
    "1.2.840.10008.5.1.4.3",
)

# One older option for each family of transfer syntaxes (behaviour manual §38).
_FAMILIES = {
    "DeflatedTransferSyntaxAccepted": r"1\.2\.840\.10008\.1\.2\.1\.99",
    "JpegTransferSyntaxAccepted": r"1\.2\.840\.10008\.1\.2\.4\.(5\d|6[0-6])",
    "JpegLosslessTransferSyntaxAccepted": r"1\.2\.840\.10008\.1\.2\.4\.(57|70|8[01])",
    "Jpeg2000TransferSyntaxAccepted": r"1\.2\.840\.10008\.1\.2\.4\.9[0-3]",
    "JpipTransferSyntaxAccepted": r"1\.2\.840\.10008\.1\.2\.4\.9[45]",
    "Mpeg2TransferSyntaxAccepted": r"1\.2\.840\.10008\.1\.2\.4\.10[01](\.1)?",
    "Mpeg4TransferSyntaxAccepted": r"1\.2\.840\.10008\.1\.2\.4\.10[2-6](\.1)?",
    "H265TransferSyntaxAccepted": r"1\.2\.840\.10008\.1\.2\.4\.10[78]",
    "RleTransferSyntaxAccepted": r"1\.2\.840\.10008\.1\.2\.5",
}


@dataclass(frozen=True, slots=True)
class SupportedSyntaxes:
    """Answers which transfer syntaxes go with an abstract syntax.

    Attributes
    ----------
    storage_classes
        SOP classes that are stored.
    transfer_syntaxes
        Accepted for them, the preferred ones first.
    has_unknown_classes
        Store any other SOP class, too.
    """

    storage_classes: Collection[str]
    transfer_syntaxes: Collection[str]
    has_unknown_classes: bool = False

    def lookup(self, abstract_syntax: str) -> Collection[str] | None:
        """Give the transfer syntaxes of an abstract syntax, ``None`` if it is not supported."""
        if abstract_syntax == VERIFICATION:
            return _VERIFICATION_SYNTAXES
        return self.transfer_syntaxes if self.is_stored(abstract_syntax) else None

    def is_stored(self, abstract_syntax: str) -> bool:
        """Tell whether instances of a SOP class are accepted for storage."""
        if abstract_syntax in self.storage_classes:
            return True
        is_known = abstract_syntax in STORAGE_SOP_CLASSES
        return (
            self.has_unknown_classes
            and not is_known
            and not abstract_syntax.startswith(_NOT_STORAGE)
        )


def build_supported_syntaxes(configuration: Configuration) -> SupportedSyntaxes:
    """Read what to accept from the configuration.

    References
    ----------
    Orthanc: C-STORE (behaviour manual §25.2)
    """
    classes: Collection[str] = configuration.texts("AcceptedSopClasses") or STORAGE_SOP_CLASSES
    rejected = configuration.texts("RejectedSopClasses")
    return SupportedSyntaxes(
        storage_classes=frozenset(classes).difference(rejected),
        transfer_syntaxes=_list_transfer_syntaxes(configuration),
        has_unknown_classes=configuration.boolean("UnknownSopClassAccepted"),
    )


def _list_transfer_syntaxes(configuration: Configuration) -> tuple[str, ...]:
    """List what is accepted; of what is offered together, what everybody can read comes first.

    Explicit before implicit, because it keeps the value representations of private elements.
    """
    patterns = configuration.texts("AcceptedTransferSyntaxes")
    accepted = _match(patterns) | {uid for uid in patterns if not set(uid) & set("*?")}
    for option, expression in _FAMILIES.items():
        if configuration.is_set(option):
            family = {uid for uid in TRANSFER_SYNTAXES if re.fullmatch(expression, uid)}
            accepted = accepted | family if configuration.boolean(option) else accepted - family
    first = (_EXPLICIT_LITTLE_ENDIAN, _IMPLICIT_LITTLE_ENDIAN)
    return tuple(sorted(accepted, key=lambda uid: (uid not in first, uid != first[0], uid)))


def _match(patterns: Iterable[str]) -> set[str]:
    """List the known transfer syntaxes that a pattern with ``*`` and ``?`` names."""
    expressions = [
        re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."))
        for pattern in patterns
    ]
    return {
        uid
        for uid in TRANSFER_SYNTAXES
        if any(expression.fullmatch(uid) for expression in expressions)
    }
