"""Which instances the DICOM door takes: SOP classes and transfer syntaxes."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from isocenter.config.configuration import Configuration
from isocenter.dicom.sop_classes import STORAGE_SOP_CLASSES
from isocenter.dicom.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
    find_transfer_syntaxes,
)

__all__ = ["Acceptance", "build_acceptance"]

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
_PREFERRED = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)

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


@dataclass(slots=True)
class Acceptance:
    """What is accepted for storage from associations that begin now. For the event loop's thread.

    Attributes
    ----------
    storage_classes
        SOP classes that are stored.
    transfer_syntaxes
        Accepted for them, the preferred ones first.
    has_unknown_classes
        Store any other SOP class, too.

    References
    ----------
    Orthanc: C-STORE (behaviour manual §25.2)
    """

    storage_classes: Collection[str]
    transfer_syntaxes: Collection[str]
    has_unknown_classes: bool = False

    def is_stored(self, sop_class_uid: str) -> bool:
        """Tell whether instances of a SOP class are accepted."""
        if sop_class_uid in self.storage_classes:
            return True
        is_known = sop_class_uid in STORAGE_SOP_CLASSES
        return (
            self.has_unknown_classes and not is_known and not sop_class_uid.startswith(_NOT_STORAGE)
        )

    def accept_transfer_syntaxes(self, patterns: Iterable[str]) -> None:
        """Accept these from now on, and no others.

        Parameters
        ----------
        patterns
            UIDs; ``*`` and ``?`` stand for any characters of known ones.

        References
        ----------
        Orthanc REST: PUT /tools/accepted-transfer-syntaxes
        """
        self.transfer_syntaxes = _put_in_order(find_transfer_syntaxes(patterns))


def build_acceptance(configuration: Configuration) -> Acceptance:
    """Read what to accept from the configuration."""
    classes: Collection[str] = configuration.texts("AcceptedSopClasses") or STORAGE_SOP_CLASSES
    rejected = configuration.texts("RejectedSopClasses")
    return Acceptance(
        storage_classes=frozenset(classes).difference(rejected),
        transfer_syntaxes=_put_in_order(_list_transfer_syntaxes(configuration)),
        has_unknown_classes=configuration.boolean("UnknownSopClassAccepted"),
    )


def _put_in_order(uids: Iterable[str]) -> tuple[str, ...]:
    """Sort; of what is offered together, what everybody can read comes first.

    Explicit before implicit, because it keeps the value representations of private elements.
    """
    return tuple(sorted(uids, key=lambda uid: (uid not in _PREFERRED, uid != _PREFERRED[0], uid)))


def _list_transfer_syntaxes(configuration: Configuration) -> set[str]:
    accepted = find_transfer_syntaxes(configuration.texts("AcceptedTransferSyntaxes"))
    for option, expression in _FAMILIES.items():
        if configuration.is_set(option):
            family = {uid for uid in TRANSFER_SYNTAXES if re.fullmatch(expression, uid)}
            accepted = accepted | family if configuration.boolean(option) else accepted - family
    return accepted
