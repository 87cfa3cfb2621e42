"""The storage SOP classes of the standard, retired ones included.

References
----------
PS3.4 §B.5, §GG.3; PS3.6 Table A-1
"""

from isocenter.dicom._storage_classes import STORAGE_CLASSES

__all__ = ["STORAGE_SOP_CLASSES", "is_storage_sop_class", "lookup_sop_class_name"]

STORAGE_SOP_CLASSES: dict[str, str] = {uid: name for uid, name, _ in STORAGE_CLASSES}
"""UID to name, in ascending order of the UIDs."""


def is_storage_sop_class(uid: str) -> bool:
    """Tell whether instances of a SOP class can be stored (PS3.4 §B.5)."""
    return uid in STORAGE_SOP_CLASSES


def lookup_sop_class_name(uid: str) -> str | None:
    """Find the name of a storage SOP class, or ``None``."""
    return STORAGE_SOP_CLASSES.get(uid)
