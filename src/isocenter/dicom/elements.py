"""How the bytes of a data set are split into data elements.

Offsets are those of the buffer, from 0. Every length is checked against the end of the data; the
nesting of undefined lengths is limited and walked without recursion.

References
----------
PS3.5 §7.1 (element structure), §7.5 (sequences), §A.4 (fragments), §6.2.2 note (UN)
"""

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from isocenter.errors import BadFileFormatError

__all__ = [
    "EXPLICIT_BIG",
    "EXPLICIT_LITTLE",
    "IMPLICIT_LITTLE",
    "ITEM",
    "ITEM_DELIMITATION",
    "MAXIMUM_DEPTH",
    "MAXIMUM_FRAGMENTS",
    "MAXIMUM_NESTED",
    "PIXEL_DATA",
    "SEQUENCE_DELIMITATION",
    "UNDEFINED_LENGTH",
    "Buffer",
    "Layout",
    "measure_fragments",
    "measure_undefined_length",
    "measure_within",
    "read_element_header",
    "read_item_header",
    "read_long_header",
    "too_many",
    "truncated",
]

Buffer: TypeAlias = bytes | bytearray | memoryview | mmap.mmap
"""What can be read from: anything with the buffer protocol whose slices have it too."""

MAXIMUM_DEPTH = 64
"""How deep sequences may nest (Orthanc REST: JSON of tags, behaviour manual §5.1)."""

MAXIMUM_NESTED = 1 << 22
"""The most items and elements in values of undefined length, which have to be walked through."""

MAXIMUM_FRAGMENTS = 1 << 23
"""The most fragments of pixel data."""

UNDEFINED_LENGTH = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
ITEM = 0xFFFEE000
ITEM_DELIMITATION = 0xFFFEE00D
SEQUENCE_DELIMITATION = 0xFFFEE0DD

_SHORT_VRS = ["AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO"]
_SHORT_VRS += ["LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US"]
_LONG_VRS = ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]
_UNKNOWN_VR = "UN"


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How element headers are encoded in one of the three families of transfer syntaxes.

    Parameters
    ----------
    byte_order
        ``<`` or ``>``, as in ``struct``.
    is_explicit
        Whether headers carry the value representation.
    unpack_key
        Reads a *raw key*, the VR as a number and a 16-bit length (explicit), or a raw key and a
        32-bit length (implicit). A raw key is the tag as one 32-bit number in the byte order.
    unpack_header
        Reads group, element, VR as a number and a 16-bit length (explicit).
    unpack_tag
        Reads group, element and a 32-bit length.
    unpack_long
        Reads a 32-bit length.
    short_vrs
        Numbers of the VRs whose length has 16 bits.
    vr_names
        VR number to name, of all known VRs.
    """

    byte_order: str
    is_explicit: bool
    unpack_key: Callable[[Any, int], tuple[int, ...]]
    unpack_header: Callable[[Any, int], tuple[int, ...]]
    unpack_tag: Callable[[Any, int], tuple[int, ...]]
    unpack_long: Callable[[Any, int], tuple[int, ...]]
    short_vrs: frozenset[int]
    vr_names: dict[int, str]

    def encode_key(self, tag: int) -> int:
        """Turn a tag into the raw key that ``unpack_key`` reads for it."""
        if self.byte_order == ">":
            return tag
        return (tag & 0xFFFF) << 16 | tag >> 16


def _number_vrs(names: list[str], byte_order: str) -> dict[int, str]:
    return {struct.unpack(f"{byte_order}H", name.encode())[0]: name for name in names}


def _build_explicit(byte_order: str) -> Layout:
    return Layout(
        byte_order=byte_order,
        is_explicit=True,
        unpack_key=struct.Struct(f"{byte_order}IHH").unpack_from,
        unpack_header=struct.Struct(f"{byte_order}HHHH").unpack_from,
        unpack_tag=struct.Struct(f"{byte_order}HHI").unpack_from,
        unpack_long=struct.Struct(f"{byte_order}I").unpack_from,
        short_vrs=frozenset(_number_vrs(_SHORT_VRS, byte_order)),
        vr_names=_number_vrs(_SHORT_VRS + _LONG_VRS, byte_order),
    )


EXPLICIT_LITTLE = _build_explicit("<")
EXPLICIT_BIG = _build_explicit(">")
IMPLICIT_LITTLE = Layout(
    byte_order="<",
    is_explicit=False,
    unpack_key=struct.Struct("<II").unpack_from,
    unpack_header=struct.Struct("<HHHH").unpack_from,
    unpack_tag=struct.Struct("<HHI").unpack_from,
    unpack_long=struct.Struct("<I").unpack_from,
    short_vrs=frozenset(),
    vr_names={},
)


def truncated() -> BadFileFormatError:
    """Build the error for data that end inside an element."""
    return BadFileFormatError("The DICOM data set is truncated or misaligned")


def too_many(most: int) -> BadFileFormatError:
    """Build the error for data that are cut into more pieces than anybody has the time to count."""
    return BadFileFormatError(
        f"The DICOM data set has more than {most} elements, items or fragments"
    )


def read_long_header(
    buffer: Buffer, position: int, vr: int, layout: Layout
) -> tuple[str, int, int]:
    """Read the rest of an explicit header whose VR is not one of the short ones.

    Parameters
    ----------
    buffer, position
        Where the element starts; 8 bytes are known to be there.
    vr
        Number of its VR.

    Returns
    -------
    tuple
        Name of the VR (``UN`` if it is none), offset of the value, length of the value.

    Notes
    -----
    Two capital letters that are no known VR are taken for a future VR, which has a 32-bit length;
    anything else for a damaged VR before a 16-bit length, as Orthanc does (measured).

    References
    ----------
    PS3.5 §7.1.2
    """
    name = layout.vr_names.get(vr)
    if name is None and not _has_capitals(buffer, position + 4):
        return _UNKNOWN_VR, position + 8, layout.unpack_key(buffer, position)[2]
    if position + 12 > len(buffer):
        raise truncated()
    return name or _UNKNOWN_VR, position + 12, layout.unpack_long(buffer, position + 8)[0]


def _has_capitals(buffer: Buffer, position: int) -> bool:
    return all(65 <= buffer[offset] <= 90 for offset in (position, position + 1))


def read_element_header(
    buffer: Buffer, position: int, end: int, layout: Layout
) -> tuple[int, str | None, int, int]:
    """Read the header of any element, delimitation items included.

    Returns
    -------
    tuple
        Tag, name of the VR (``None`` in implicit encoding), offset and length of the value; the
        length may be ``UNDEFINED_LENGTH`` and is not yet checked against ``end``.

    Raises
    ------
    BadFileFormatError
        If the header does not fit before ``end``.

    References
    ----------
    PS3.5 §7.1
    """
    if position + 8 > end:
        raise truncated()
    if layout.is_explicit:
        group, element, vr, length = layout.unpack_header(buffer, position)
        if vr in layout.short_vrs:
            return group << 16 | element, layout.vr_names[vr], position + 8, length
        if group != 0xFFFE:
            name, value, length = read_long_header(buffer, position, vr, layout)
            return group << 16 | element, name, value, length
    group, element, length = layout.unpack_tag(buffer, position)
    return group << 16 | element, None, position + 8, length


def read_item_header(buffer: Buffer, position: int, end: int, layout: Layout) -> tuple[int, int]:
    """Read the tag and the length of an item or a delimitation item (PS3.5 §7.5)."""
    if position + 8 > end:
        raise truncated()
    group, element, length = layout.unpack_tag(buffer, position)
    return group << 16 | element, length


def measure_undefined_length(buffer: Buffer, position: int, end: int, layout: Layout) -> int:
    """Find the end of a value of undefined length: the offset behind its delimitation item.

    See `measure_within`.
    """
    return measure_within(buffer, position, end, layout, MAXIMUM_NESTED)[0]


def measure_within(
    buffer: Buffer, position: int, end: int, layout: Layout, most: int
) -> tuple[int, int]:
    """Find the end of a value of undefined length, in a limited number of steps.

    Parameters
    ----------
    buffer, position
        Where the value starts: at its first item.
    end
        Where the data end.
    layout
        Encoding of the items: implicit for the content of an element whose VR is UN.
    most
        The most items, delimitation items and elements to pass over.

    Returns
    -------
    tuple
        Offset behind the sequence delimitation item, and how many more may follow elsewhere.

    Raises
    ------
    BadFileFormatError
        If the data end before it, an item is expected and not there, there are too many, or
        sequences nest deeper than ``MAXIMUM_DEPTH``.

    References
    ----------
    PS3.5 §7.5.2
    """
    # Each entry is an open sequence with its encoding and whether one of its items is open.
    levels: list[tuple[Layout, bool]] = [(layout, False)]
    for left in range(most, -1, -1):
        if not levels:
            return position, left
        layout, is_in_item = levels[-1]
        if is_in_item:
            position = _step_in_item(buffer, position, end, levels)
            continue
        tag, length = read_item_header(buffer, position, end, layout)
        position += 8
        if tag == SEQUENCE_DELIMITATION:
            levels.pop()
        elif tag != ITEM:
            raise BadFileFormatError("A sequence holds something that is not an item")
        elif length == UNDEFINED_LENGTH:
            levels[-1] = (layout, True)
        else:
            position += length
    raise too_many(MAXIMUM_NESTED)


def _step_in_item(
    buffer: Buffer, position: int, end: int, levels: list[tuple[Layout, bool]]
) -> int:
    layout, _ = levels[-1]
    tag, vr, value, length = read_element_header(buffer, position, end, layout)
    if tag == ITEM_DELIMITATION:
        levels[-1] = (layout, False)
        return value
    if length != UNDEFINED_LENGTH:
        return value + length
    if len(levels) >= MAXIMUM_DEPTH:
        raise BadFileFormatError("The sequences nest too deep")
    levels.append((IMPLICIT_LITTLE if vr == _UNKNOWN_VR else layout, False))
    return value


def measure_fragments(buffer: Buffer, position: int, end: int) -> int:
    """Find the end of encapsulated pixel data, checking that each fragment is complete.

    Raises
    ------
    BadFileFormatError
        If a fragment or the sequence delimitation item is missing or cut, or there are more than
        ``MAXIMUM_FRAGMENTS``.

    References
    ----------
    PS3.5 §A.4
    """
    unpack = EXPLICIT_LITTLE.unpack_tag
    for _ in range(MAXIMUM_FRAGMENTS):
        if position + 8 > end:
            raise truncated()
        group, element, length = unpack(buffer, position)
        position += 8
        tag = group << 16 | element
        if tag == SEQUENCE_DELIMITATION:
            return position
        if tag != ITEM:
            raise BadFileFormatError("The encapsulated pixel data hold something not an item")
        position += length
    raise too_many(MAXIMUM_FRAGMENTS)
