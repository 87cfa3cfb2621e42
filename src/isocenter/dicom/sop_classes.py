"""The storage SOP classes of the standard, retired ones included.

References
----------
PS3.4 §B.5, §GG.3; PS3.6 Table A-1
"""

from isocenter.dicom._storage_classes import STORAGE_CLASSES

__all__ = [
    "COMMON_STORAGE_SOP_CLASSES",
    "STORAGE_SOP_CLASSES",
    "is_storage_sop_class",
    "lookup_sop_class_name",
]

STORAGE_SOP_CLASSES: dict[str, str] = {uid: name for uid, name, _ in STORAGE_CLASSES}
"""UID to name, in ascending order of the UIDs."""

_ROOT = "1.2.840.10008.5.1.4.1.1"
# Waveforms, refraction, security, materials, surface scans, protocols, most RT records: archives
# hold few of them.
_RARE = tuple(
    f"{_ROOT}.{branch}."
    for branch in ("9", "78", "79", "80", "81", "82", "501", "601", "68", "200", "90", "91")
)

COMMON_STORAGE_SOP_CLASSES: tuple[str, ...] = tuple(
    uid
    for uid, _, is_retired in STORAGE_CLASSES
    if not is_retired and uid.startswith(_ROOT) and not uid.startswith(_RARE)
)
"""Those that are in use; what cannot be proposed all at once is proposed in this order."""


def is_storage_sop_class(uid: str) -> bool:
    """Tell whether instances of a SOP class can be stored (PS3.4 §B.5)."""
    return uid in STORAGE_SOP_CLASSES


def lookup_sop_class_name(uid: str) -> str | None:
    """Find the name of a storage SOP class, or ``None``."""
    return STORAGE_SOP_CLASSES.get(uid)
