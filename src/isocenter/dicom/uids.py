"""Unique identifiers: our own constants and the one place that makes new ones.

References
----------
PS3.5 §9 and §B.2
"""

import hashlib
import re
import uuid

__all__ = [
    "IMPLEMENTATION_CLASS_UID",
    "IMPLEMENTATION_VERSION_NAME",
    "build_uid",
    "derive_uid",
    "is_valid_uid",
]

IMPLEMENTATION_CLASS_UID = "2.25.160468231376428731652122727558496884230"
"""Names this implementation in file meta information and association requests (PS3.7 §D.3.3.2)."""

IMPLEMENTATION_VERSION_NAME = "ISOCENTER_0"
"""At most 16 characters (PS3.7 §D.3.3.2.3)."""

_UID = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*")
_MAXIMUM_LENGTH = 64


def build_uid() -> str:
    """Make a new unique identifier from a random UUID.

    Returns
    -------
    str
        ``2.25.`` and a decimal number of at most 39 digits.

    References
    ----------
    PS3.5 §B.2
    """
    return f"2.25.{uuid.uuid4().int}"


def derive_uid(*parts: str) -> str:
    """Make the unique identifier of what was made of something else: always the same one.

    Parameters
    ----------
    parts
        What it was made of, and how.

    References
    ----------
    PS3.5 §B.2
    """
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"


def is_valid_uid(text: str) -> bool:
    """Tell whether a text obeys the encoding rules of UIDs (PS3.5 §9.1)."""
    return len(text) <= _MAXIMUM_LENGTH and _UID.fullmatch(text) is not None
