"""A data set in another of the three plain encodings: implicit or explicit VR, either byte order.

Values stay as they are, but for the order of their bytes; sequences and items get an undefined
length, so nothing has to be measured before it is written.

References
----------
PS3.5 §7.1, §7.5, §A.1 to §A.3, §6.2.2 (UN)
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from isocenter.dicom.elements import (
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_DELIMITATION,
    MAXIMUM_DEPTH,
    SEQUENCE_DELIMITATION,
    UNDEFINED_LENGTH,
    Layout,
    measure_undefined_length,
    read_element_header,
    read_item_header,
    truncated,
)
from isocenter.dicom.tags import DEFAULT_DICTIONARY, is_private, is_private_creator
from isocenter.dicom.values import get_word_size, reverse_words
from isocenter.errors import BadFileFormatError

__all__ = ["recode_data_set"]

Piece: TypeAlias = bytes | memoryview

_UNKNOWN, _SEQUENCE = "UN", "SQ"
_ITEM_GROUP = 0xFFFE
_PIXEL_REPRESENTATION = 0x00280103
_LONGEST_SHORT = 0xFFFE
_AMBIGUOUS = "US or SS"
# PS3.5 Table 7.1-1.
_LONG_VRS = frozenset(
    ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]
)


def recode_data_set(
    view: memoryview, start: int, source: Layout, target: Layout
) -> Iterator[Piece]:
    """Write a data set without encapsulated pixel data in another encoding, piece by piece.

    Parameters
    ----------
    view
        Large values are given out as views of it.
    start
        Offset of the first element.

    Notes
    -----
    Group lengths are left out, as they would be wrong (PS3.5 §7.2).

    Raises
    ------
    BadFileFormatError
        At any piece: if the data set ends inside an element, or sequences nest too deep.
    """
    yield from _Recoder(view, target).recode(start, len(view), _Scope(source))


@dataclass(frozen=True, slots=True)
class _Scope:
    """What holds for one data set or item."""

    layout: Layout
    depth: int = 0
    is_signed: bool = False
    is_open: bool = False


class _Recoder:
    def __init__(self, view: memoryview, target: Layout) -> None:
        self._view = view
        self._target = target
        order = target.byte_order
        self._item = struct.pack(f"{order}HHI", ITEM >> 16, ITEM & 0xFFFF, UNDEFINED_LENGTH)
        self._item_end = struct.pack(f"{order}HHI", 0xFFFE, ITEM_DELIMITATION & 0xFFFF, 0)
        self._end = struct.pack(f"{order}HHI", 0xFFFE, SEQUENCE_DELIMITATION & 0xFFFF, 0)
        self._position = 0

    def recode(self, position: int, end: int, scope: _Scope) -> Iterator[Piece]:
        """Write elements up to the end, or the delimitation of an open item."""
        creators: dict[int, str] = {}
        while position < end:
            tag, vr, value, length = read_element_header(self._view, position, end, scope.layout)
            if tag == ITEM_DELIMITATION and scope.is_open:
                self._position = value
                return
            if tag >> 16 == _ITEM_GROUP:
                raise BadFileFormatError("An item stands where an element should")
            is_undefined = length == UNDEFINED_LENGTH
            stop = self._measure(value, end, vr, scope) if is_undefined else value + length
            if stop > end:
                raise truncated()
            position = stop
            if not tag & 0xFFFF:
                continue
            if is_private_creator(tag):
                creators[tag] = bytes(self._view[value:stop]).decode("latin-1").strip(" \0")
            known = vr if vr and vr != _UNKNOWN else self._lookup_vr(tag, creators, scope)
            if tag == _PIXEL_REPRESENTATION:
                is_signed = self._view[value:stop].tobytes().strip(b"\0") != b""
                scope = replace(scope, is_signed=is_signed)
            yield from self._recode_element(tag, (vr, known), (value, stop), scope, is_undefined)
        if scope.is_open:
            raise truncated()
        self._position = position

    def _measure(self, value: int, end: int, vr: str | None, scope: _Scope) -> int:
        layout = IMPLICIT_LITTLE if vr == _UNKNOWN else scope.layout
        return measure_undefined_length(self._view, value, end, layout)

    def _lookup_vr(self, tag: int, creators: dict[int, str], scope: _Scope) -> str:
        creator = creators.get(tag & 0xFFFF0000 | tag >> 8 & 0xFF) if is_private(tag) else None
        definition = DEFAULT_DICTIONARY.lookup(tag, creator)
        if definition is not None and definition.vr == _AMBIGUOUS:
            return "SS" if scope.is_signed else "US"
        return DEFAULT_DICTIONARY.lookup_vr(tag, creator)

    def _recode_element(
        self,
        tag: int,
        vrs: tuple[str | None, str],
        span: tuple[int, int],
        scope: _Scope,
        is_undefined: bool,  # noqa: FBT001 - a part of what was read
    ) -> Iterator[Piece]:
        vr, known = vrs
        if known == _SEQUENCE or is_undefined:
            yield self._build_header(tag, _SEQUENCE, UNDEFINED_LENGTH)
            inner = IMPLICIT_LITTLE if vr == _UNKNOWN else scope.layout
            yield from self._recode_items(*span, replace(scope, layout=inner))
            return
        data = self._view[span[0] : span[1]]
        # What is unknown is in little endian, and not to be touched (PS3.5 §6.2.2).
        kept = vr == _UNKNOWN and known == _UNKNOWN
        if self._target.byte_order != scope.layout.byte_order and not kept:
            data = memoryview(reverse_words(bytes(data), get_word_size(known)))
        if known not in _LONG_VRS and len(data) > _LONGEST_SHORT:
            known = _UNKNOWN
        yield self._build_header(tag, known, len(data))
        yield data

    def _recode_items(self, position: int, end: int, scope: _Scope) -> Iterator[Piece]:
        if scope.depth >= MAXIMUM_DEPTH:
            raise BadFileFormatError("The sequences nest too deep")
        while position < end:
            tag, length = read_item_header(self._view, position, end, scope.layout)
            position += 8
            if tag == SEQUENCE_DELIMITATION:
                break
            if tag != ITEM:
                raise BadFileFormatError("A sequence holds something that is not an item")
            is_open = length == UNDEFINED_LENGTH
            stop = end if is_open else position + length
            if stop > end:
                raise truncated()
            yield self._item
            inner = replace(scope, depth=scope.depth + 1, is_open=is_open)
            yield from self.recode(position, stop, inner)
            position = self._position
            yield self._item_end
        yield self._end

    def _build_header(self, tag: int, vr: str, length: int) -> bytes:
        order = self._target.byte_order
        group, element = tag >> 16, tag & 0xFFFF
        if not self._target.is_explicit:
            return struct.pack(f"{order}HHI", group, element, length)
        if vr in _LONG_VRS:
            return struct.pack(f"{order}HH2s2xI", group, element, vr.encode(), length)
        return struct.pack(f"{order}HH2sH", group, element, vr.encode(), length)
