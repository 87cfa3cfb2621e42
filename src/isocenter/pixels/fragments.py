"""Encapsulated pixel data: which fragments make which frame.

References
----------
PS3.5 §A.4 (encapsulation, Basic Offset Table), PS3.3 §C.7.6.3.1.8 (Extended Offset Table)
"""

import itertools
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from isocenter.dicom.elements import ITEM, SEQUENCE_DELIMITATION, truncated
from isocenter.errors import BadFileFormatError

__all__ = [
    "MOST_FRAMES",
    "Fragments",
    "OffsetTables",
    "build_offset_tables",
    "group_frames",
    "read_fragments",
]

MOST_FRAMES = 1_000_000
"""Of one file."""

_MOST_FRAGMENTS = 1_000_000
_LARGEST_OFFSET = 0xFFFFFFFF
_HEADER = 8
# JPEG and JPEG-LS begin with SOI, JPEG 2000 with SOC and SIZ.
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")


@dataclass(frozen=True, slots=True, eq=False)
class Fragments:
    """Where the fragments of encapsulated pixel data are.

    Attributes
    ----------
    offsets
        The Basic Offset Table: where frames begin, counted from the header of the first fragment.
    starts, lengths
        Of the content of each fragment, in the buffer.
    """

    offsets: Sequence[int]
    starts: Sequence[int]
    lengths: Sequence[int]


@dataclass(frozen=True, slots=True)
class OffsetTables:
    """What tells readers where the frames are: a basic table, or an extended one beyond 4 GB.

    Attributes
    ----------
    basic
        Content of the first item of the pixel data.
    offsets, lengths
        Values of Extended Offset Table and Extended Offset Table Lengths; empty if not needed.
    """

    basic: bytes
    offsets: bytes = b""
    lengths: bytes = b""


def read_fragments(view: memoryview, position: int) -> Fragments:
    """Find the fragments of encapsulated pixel data.

    Parameters
    ----------
    position
        Where the value begins: at the item of the Basic Offset Table.

    Raises
    ------
    BadFileFormatError
        If items are missing or cut, or there are too many.
    """
    items = _iter_items(view, position)
    first = next(items, None)
    if first is None:
        raise BadFileFormatError("The encapsulated pixel data lack the Basic Offset Table")
    start, length = first
    if length % 4 or length // 4 > MOST_FRAMES:
        raise BadFileFormatError("The Basic Offset Table is damaged")
    offsets = struct.unpack_from(f"<{length // 4}I", view, start)
    starts, lengths = array("Q"), array("Q")
    for start, length in items:
        if len(starts) >= _MOST_FRAGMENTS:
            raise BadFileFormatError(f"Pixel data have more than {_MOST_FRAGMENTS} fragments")
        starts.append(start)
        lengths.append(length)
    return Fragments(offsets, starts, lengths)


def _iter_items(view: memoryview, position: int) -> Iterator[tuple[int, int]]:
    end = len(view)
    while True:
        if position + _HEADER > end:
            raise truncated()
        group, element, length = struct.unpack_from("<HHI", view, position)
        tag = group << 16 | element
        position += _HEADER
        if tag == SEQUENCE_DELIMITATION:
            return
        if tag != ITEM:
            raise BadFileFormatError("The encapsulated pixel data hold something not an item")
        if position + length > end:
            raise truncated()
        yield position, length
        position += length


def group_frames(
    view: memoryview, fragments: Fragments, frames: int, extended: Sequence[int] = ()
) -> list[range]:
    """Tell which fragments make each frame.

    Parameters
    ----------
    frames
        How many there are.
    extended
        The Extended Offset Table, if the file has one.

    Returns
    -------
    list of range
        Indexes of fragments, one range for each frame.

    Raises
    ------
    BadFileFormatError
        If nothing tells where frames begin.
    """
    count = len(fragments.starts)
    if frames < 1 or count < frames:
        raise BadFileFormatError("The file has fewer fragments of pixel data than frames")
    if frames == 1:
        return [range(count)]
    for table in (extended, fragments.offsets):
        if len(table) == frames and (firsts := _find_firsts(fragments, table)) is not None:
            return _build_ranges(firsts, count)
    if count == frames:
        return [range(index, index + 1) for index in range(count)]
    firsts = [index for index in range(count) if _starts_stream(view, fragments, index)]
    if len(firsts) == frames and firsts[0] == 0:
        return _build_ranges(firsts, count)
    raise BadFileFormatError("Nothing tells which fragments belong to which frame")


def _find_firsts(fragments: Fragments, table: Sequence[int]) -> list[int] | None:
    """Find the first fragment of each frame; ``None`` if the table is wrong."""
    base = fragments.starts[0]
    firsts: list[int] = []
    for offset in table:
        index = bisect_left(fragments.starts, base + offset)
        if index == len(fragments.starts) or fragments.starts[index] != base + offset:
            return None
        firsts.append(index)
    is_ascending = all(first < second for first, second in itertools.pairwise(firsts))
    return firsts if is_ascending and firsts[0] == 0 else None


def _build_ranges(firsts: Sequence[int], count: int) -> list[range]:
    return [range(first, end) for first, end in zip(firsts, [*firsts[1:], count], strict=True)]


def _starts_stream(view: memoryview, fragments: Fragments, index: int) -> bool:
    start, length = fragments.starts[index], fragments.lengths[index]
    return bytes(view[start : start + min(length, 4)]).startswith(_STARTS)


def build_offset_tables(lengths: Sequence[int]) -> OffsetTables:
    """Build the tables for frames of one fragment each.

    Parameters
    ----------
    lengths
        Of the frames; odd ones are padded by a byte.

    References
    ----------
    PS3.5 §A.4: the Basic Offset Table is empty if there is an extended one
    """
    offsets: list[int] = []
    position = 0
    for length in lengths:
        offsets.append(position)
        position += _HEADER + length + length % 2
    if not offsets or offsets[-1] <= _LARGEST_OFFSET:
        return OffsetTables(struct.pack(f"<{len(offsets)}I", *offsets))
    count = len(offsets)
    return OffsetTables(
        b"", struct.pack(f"<{count}Q", *offsets), struct.pack(f"<{count}Q", *lengths)
    )
