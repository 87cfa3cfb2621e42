"""Small data sets as values: identifiers of queries, entries of worklists, lists of references.

A data set is read whole, its sequences included, so it is for what fits into memory many times.

References
----------
PS3.5 §7; PS3.7 §6.3 (data sets of messages)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias, Union

from isocenter.dicom.character_sets import CharacterSet, build_character_set
from isocenter.dicom.deflate import read_inflated
from isocenter.dicom.elements import (
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_DELIMITATION,
    MAXIMUM_DEPTH,
    PIXEL_DATA,
    SEQUENCE_DELIMITATION,
    UNDEFINED_LENGTH,
    Buffer,
    Layout,
    measure_fragments,
    measure_undefined_length,
    read_element_header,
    read_item_header,
    truncated,
)
from isocenter.dicom.file_meta import choose_layout, read_file_meta
from isocenter.dicom.tags import DEFAULT_DICTIONARY, is_private, is_private_creator
from isocenter.dicom.values import NUMBER_VRS, TEXT_VRS, format_numbers, format_text, format_unknown
from isocenter.errors import BadFileFormatError

__all__ = [
    "MAXIMUM_ELEMENTS",
    "DataSet",
    "Element",
    "Value",
    "get_layout",
    "get_text",
    "read_data_set",
    "read_file_elements",
]

MAXIMUM_ELEMENTS = 100_000
"""A data set with more elements, those in its items included, is refused."""

_SPECIFIC_CHARACTER_SET = 0x00080005
_ITEM_GROUP = 0xFFFE

DataSet: TypeAlias = dict[int, "Element"]
"""The elements of a data set or of an item by their tags, in the order of the buffer."""

Value: TypeAlias = Union[str, bytes, list["DataSet"]]  # noqa: UP007 - a name that is not defined yet
r"""Text and numbers as text, their values joined with ``\``; else bytes; of sequences the items."""


class Element(NamedTuple):
    """One data element."""

    vr: str
    value: Value


def get_layout(transfer_syntax_uid: str) -> Layout:
    """Find how element headers are encoded in a transfer syntax."""
    return choose_layout(transfer_syntax_uid)


def get_text(data_set: Mapping[int, Element], tag: int) -> str:
    """Give the text of an element; empty if it is absent or no text."""
    element = data_set.get(tag)
    if element is None or not isinstance(element.value, str):
        return ""
    return element.value


def read_data_set(
    buffer: Buffer, layout: Layout, *, start: int = 0, default_encoding: str = "Latin1"
) -> DataSet:
    """Read a data set up to its end.

    Parameters
    ----------
    default_encoding
        Character set of a data set that names none.

    Raises
    ------
    BadFileFormatError
        If a length contradicts the size of the buffer, or there are too many elements, or sequences
        nest deeper than ``MAXIMUM_DEPTH``.

    References
    ----------
    PS3.5 §7
    """
    reader = _Reader(buffer, default_encoding)
    character_set = build_character_set(None, default_encoding)
    found, _ = reader.read(start, len(buffer), _Scope(layout, character_set), is_open=False)
    return found


def read_file_elements(
    buffer: Buffer, *, wanted: frozenset[int], default_encoding: str = "Latin1"
) -> DataSet:
    """Read some elements of a file, sequences with all that is in them.

    Parameters
    ----------
    buffer
        A DICOM file, or its beginning up to and including the header of the pixel data; what is
        behind these is not found.

    Raises
    ------
    BadFileFormatError
        As for `read_data_set`, of what is wanted; or if the buffer is no DICOM file.
    """
    meta = read_file_meta(buffer)

    def read(data: Buffer, start: int) -> DataSet:
        reader = _Reader(data, default_encoding, wanted | {_SPECIFIC_CHARACTER_SET})
        scope = _Scope(meta.layout, build_character_set(None, default_encoding))
        return reader.read(start, len(data), scope, is_open=False)[0]

    if meta.is_deflated:
        return read_inflated(buffer, meta.data_set_offset, lambda data: read(data, 0))
    return read(buffer, meta.data_set_offset)


@dataclass(frozen=True, slots=True)
class _Scope:
    """What holds for one data set or item."""

    layout: Layout
    character_set: CharacterSet
    depth: int = 0


class _Header(NamedTuple):
    """Where an element is.

    ``vr`` is ``None`` in implicit encoding; ``stop`` of a value of undefined length is the end of
    what is around it.
    """

    tag: int
    vr: str | None
    start: int
    stop: int


class _Reader:
    """Reads a buffer; elements are counted over all levels.

    Parameters
    ----------
    wanted
        Tags of the uppermost level to read, up to the pixel data; ``None`` for all.
    """

    def __init__(
        self, buffer: Buffer, default_encoding: str, wanted: frozenset[int] | None = None
    ) -> None:
        self._buffer = buffer
        self._default_encoding = default_encoding
        self._wanted = wanted
        self._count = 0

    def read(self, position: int, end: int, scope: _Scope, *, is_open: bool) -> tuple[DataSet, int]:
        """Read elements up to the end, or up to a delimitation item if the item is open."""
        found: DataSet = {}
        while position < end:
            tag, vr, start, length = read_element_header(self._buffer, position, end, scope.layout)
            if tag == ITEM_DELIMITATION and is_open:
                return found, start
            if tag >> 16 == _ITEM_GROUP:
                raise BadFileFormatError("An item stands where an element should")
            if self._is_at_pixels(tag, scope):
                return found, end
            is_wanted = self._is_wanted(tag, scope)
            if is_wanted:
                self._note()
            header = _Header(tag, vr, start, end if length == UNDEFINED_LENGTH else start + length)
            if header.stop > end:
                raise truncated()
            is_open_value = length == UNDEFINED_LENGTH
            if tag in found or not is_wanted:
                # Of equal tags the first one counts.
                position = self._measure(header, scope) if is_open_value else header.stop
                continue
            found[tag], position = self._read_element(header, found, scope, is_open=is_open_value)
            if tag == _SPECIFIC_CHARACTER_SET:
                scope = self._switch(scope, found[tag])
        if is_open:
            raise truncated()
        return found, position

    def _is_at_pixels(self, tag: int, scope: _Scope) -> bool:
        return tag == PIXEL_DATA and self._wanted is not None and not scope.depth

    def _is_wanted(self, tag: int, scope: _Scope) -> bool:
        return self._wanted is None or bool(scope.depth) or tag in self._wanted

    def _note(self) -> None:
        self._count += 1
        if self._count > MAXIMUM_ELEMENTS:
            raise BadFileFormatError(f"a data set has more than {MAXIMUM_ELEMENTS} elements")

    def _switch(self, scope: _Scope, element: Element) -> _Scope:
        named = element.value if isinstance(element.value, str) else ""
        if scope.depth and not named:
            return scope
        character_set = build_character_set(named, self._default_encoding)
        return _Scope(scope.layout, character_set, scope.depth)

    def _measure(self, header: _Header, scope: _Scope) -> int:
        """Find the end of a value of undefined length that is not read."""
        if header.tag == PIXEL_DATA:
            return measure_fragments(self._buffer, header.start, header.stop)
        layout = _get_inner_layout(header, scope)
        return measure_undefined_length(self._buffer, header.start, header.stop, layout)

    def _read_element(
        self, header: _Header, found: DataSet, scope: _Scope, *, is_open: bool
    ) -> tuple[Element, int]:
        """Read an element whose value may be of undefined length; tell where it ends.

        Sequences of undefined length are read where they stand: to find their ends first would
        take each level as many passes as it is deep.
        """
        tag, vr, start, stop = header
        known = _lookup_vr(tag, found) if vr is None or vr == "UN" else vr
        if "SQ" in (vr, known) or (is_open and tag != PIXEL_DATA):
            inner = _Scope(_get_inner_layout(header, scope), scope.character_set, scope.depth + 1)
            items, position = self._read_items(start, stop, inner, is_open=is_open)
            return Element("SQ", items), position if is_open else stop
        if is_open:
            stop = self._measure(header, scope)
        data = bytes(self._buffer[start:stop])
        return Element(known, _read_value(vr or known, known, data, scope)), stop

    def _read_items(
        self, position: int, end: int, scope: _Scope, *, is_open: bool
    ) -> tuple[list[DataSet], int]:
        """Read items up to the end or a delimitation item, which an open sequence has to have."""
        if scope.depth > MAXIMUM_DEPTH:
            raise BadFileFormatError("The sequences nest too deep")
        items: list[DataSet] = []
        while position < end:
            tag, length = read_item_header(self._buffer, position, end, scope.layout)
            position += 8
            if tag == SEQUENCE_DELIMITATION:
                return items, position
            if tag != ITEM:
                raise BadFileFormatError("A sequence holds something that is not an item")
            self._note()
            is_open_item = length == UNDEFINED_LENGTH
            stop = end if is_open_item else position + length
            if stop > end:
                raise truncated()
            item, position = self.read(position, stop, scope, is_open=is_open_item)
            items.append(item)
        if is_open:
            raise truncated()
        return items, position


def _get_inner_layout(header: _Header, scope: _Scope) -> Layout:
    """Tell how the items of an element are encoded (PS3.5 §6.2.2)."""
    return IMPLICIT_LITTLE if header.vr == "UN" else scope.layout


@lru_cache(maxsize=4096)
def _lookup_public_vr(tag: int) -> str:
    return DEFAULT_DICTIONARY.lookup_vr(tag)


def _lookup_vr(tag: int, found: DataSet) -> str:
    """Find the VR of an element in the dictionary; private creators stand before their blocks."""
    if not is_private(tag) or is_private_creator(tag):
        return _lookup_public_vr(tag)
    creator = get_text(found, tag & 0xFFFF0000 | tag >> 8 & 0xFF)
    return DEFAULT_DICTIONARY.lookup_vr(tag, creator or None)


def _read_value(vr: str, known: str, data: bytes, scope: _Scope) -> str | bytes:
    if vr in TEXT_VRS:
        return format_text(data, vr, scope.character_set)
    if vr in NUMBER_VRS:
        return format_numbers(data, vr, scope.layout.byte_order)
    if known in TEXT_VRS:
        return format_unknown(data, known, scope.character_set)
    if known in NUMBER_VRS:
        # Elements of VR UN are in little endian whatever the transfer syntax is (PS3.5 §6.2.2).
        return format_numbers(data, known, "<")
    return data
