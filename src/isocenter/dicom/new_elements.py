"""Elements and items encoded for a data set that is written.

References
----------
PS3.5 §7.1 (elements), §7.5 (sequences)
"""

import struct
from dataclasses import dataclass

from isocenter.dicom.elements import ITEM, UNDEFINED_LENGTH, Layout
from isocenter.errors import BadFileFormatError, BadRequestError

__all__ = ["NewElement", "NewItems", "encode_element", "encode_header", "encode_item_header"]

_SEQUENCE = "SQ"
_LONGEST_SHORT = 0xFFFE
_LONG_VRS = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)
_BLANK_PADDED = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UR", "UT"}
)


@dataclass(frozen=True, slots=True)
class NewElement:
    """A new value.

    Attributes
    ----------
    vr
        Value representation; counts in explicit encodings.
    value
        Encoded, in the byte order of the data set; padded here if its length is odd.
    """

    vr: str
    value: bytes


@dataclass(frozen=True, slots=True)
class NewItems:
    """A new sequence; each item is an encoded data set."""

    items: tuple[bytes, ...]


def encode_element(tag: int, new: NewElement | NewItems, layout: Layout) -> bytes:
    """Encode an element.

    Raises
    ------
    BadRequestError
        If the value is too long for its value representation.
    """
    if isinstance(new, NewItems):
        items = b"".join(encode_item_header(len(item), layout) + item for item in new.items)
        return encode_header(tag, _SEQUENCE, len(items), layout) + items
    value = new.value
    if len(value) % 2:
        value += b" " if new.vr in _BLANK_PADDED else b"\0"
    return encode_header(tag, new.vr, len(value), layout) + value


def encode_item_header(length: int, layout: Layout) -> bytes:
    """Encode the header of an item of defined length."""
    return struct.pack(f"{layout.byte_order}HHI", ITEM >> 16, ITEM & 0xFFFF, length)


def encode_header(tag: int, vr: str, length: int, layout: Layout) -> bytes:
    """Encode the header of an element.

    Raises
    ------
    BadFileFormatError
        If only a sequence could have that length.
    BadRequestError
        If the length is too large for the value representation.
    """
    order = layout.byte_order
    if not layout.is_explicit:
        return struct.pack(f"{order}HHI", tag >> 16, tag & 0xFFFF, length)
    if vr in _LONG_VRS:
        numbers = struct.pack(f"{order}I", length)
        return struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF) + vr.encode() + b"\0\0" + numbers
    if length > _LONGEST_SHORT:
        if length == UNDEFINED_LENGTH:
            raise BadFileFormatError("an element of undefined length is no sequence")
        raise BadRequestError("a value is longer than its value representation allows")
    start = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    return start + vr.encode() + struct.pack(f"{order}H", length)
