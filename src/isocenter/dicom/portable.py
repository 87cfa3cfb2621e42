"""Elements taken out of one file to be written into others, whatever the encodings of these.

Text is decoded and numbers are little endian, so that a module of one file fits into another one
with another transfer syntax and another character set; sequences are carried with all they hold.

References
----------
PS3.5 §6.1, §7.3 (byte ordering), §7.5
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from isocenter.dicom.character_sets import CharacterSet, build_character_set, strip_padding
from isocenter.dicom.deflate import inflate_data_set
from isocenter.dicom.element_walk import Element, ElementWalk, Region
from isocenter.dicom.elements import MAXIMUM_DEPTH, Buffer
from isocenter.dicom.file_meta import read_file_meta
from isocenter.dicom.tags import DEFAULT_DICTIONARY, TagDictionary
from isocenter.errors import BadFileFormatError

__all__ = ["LOCALIZED_VRS", "PortableElement", "iter_texts", "read_elements", "swap_bytes"]

LOCALIZED_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""Value representations whose text is in the Specific Character Set (PS3.5 §6.1.2.3)."""

_SPECIFIC_CHARACTER_SET = 0x00080005
_WIDTHS = {
    **dict.fromkeys(("AT", "OW", "SS", "US"), 2),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}
_MOST_BYTES = 16 * 1024 * 1024
_DELIMITERS = 0xFFFE
_PADDING = b" \0"

Items: TypeAlias = "tuple[Mapping[int, PortableElement], ...]"


@dataclass(frozen=True, slots=True)
class PortableElement:
    """An element without the encoding that it came in.

    Attributes
    ----------
    value
        Text for the value representations of `LOCALIZED_VRS`, items for a sequence, else the
        encoded value without padding, in little endian.
    """

    vr: str
    value: "str | bytes | Items"


def read_elements(
    buffer: Buffer,
    tags: frozenset[int],
    *,
    default_encoding: str,
    dictionary: TagDictionary = DEFAULT_DICTIONARY,
) -> dict[int, PortableElement]:
    """Read some elements of a data set.

    Parameters
    ----------
    buffer
        A file, or its header.
    tags
        Those that are wanted; group lengths and pixel data cannot be.
    default_encoding
        Character set of a file that names none.

    Returns
    -------
    dict
        Those of the elements that are there.

    Raises
    ------
    BadFileFormatError
        If the file is damaged, or they have more than 16 MB.
    """
    meta = read_file_meta(buffer)
    start = meta.data_set_offset
    if meta.is_deflated:
        buffer, start = inflate_data_set(buffer, start), 0
    reader = _Reader(buffer, dictionary, default_encoding)
    return dict(reader.iter_elements(Region(start, len(buffer), meta.layout), tags))


class _Reader:
    """Reads one file."""

    def __init__(self, buffer: Buffer, dictionary: TagDictionary, default_encoding: str) -> None:
        self._buffer = buffer
        self._walk = ElementWalk(buffer, dictionary)
        self._default_encoding = default_encoding
        self._room = _MOST_BYTES

    def iter_elements(
        self, region: Region, tags: frozenset[int]
    ) -> Iterator[tuple[int, PortableElement]]:
        """Read the wanted elements of the data set."""
        character_set = build_character_set(None, self._default_encoding)
        for element in self._walk.iter_elements(region):
            if element.tag == _SPECIFIC_CHARACTER_SET:
                character_set = self._read_character_set(element)
            if element.tag in tags:
                yield element.tag, self._read(element, character_set, 0)

    def _read_character_set(self, element: Element) -> CharacterSet:
        text = strip_padding(self._read_value(element)).decode("ascii", "replace")
        return build_character_set(text or None, self._default_encoding)

    def _read(self, element: Element, character_set: CharacterSet, depth: int) -> PortableElement:
        if element.has_items:
            return PortableElement("SQ", self._read_items(element, character_set, depth))
        value = self._read_value(element)
        if element.vr in LOCALIZED_VRS:
            text = character_set.decode(value.rstrip(_PADDING), is_person_name=element.vr == "PN")
            return PortableElement(element.vr, text)
        if element.layout.byte_order == ">":
            value = swap_bytes(element.vr, value)
        return PortableElement(element.vr, value)

    def _read_items(self, element: Element, character_set: CharacterSet, depth: int) -> Items:
        if depth >= MAXIMUM_DEPTH:
            raise BadFileFormatError("The sequences nest too deep")
        return tuple(
            self._read_item(item, character_set, depth + 1)
            for item in self._walk.iter_items(element)
        )

    def _read_item(
        self, item: Region, character_set: CharacterSet, depth: int
    ) -> dict[int, PortableElement]:
        elements: dict[int, PortableElement] = {}
        for element in self._walk.iter_elements(item):
            self._take(8)
            if element.tag >> 16 == _DELIMITERS:
                raise BadFileFormatError("An item holds a delimiter where an element should be")
            if element.tag == _SPECIFIC_CHARACTER_SET:
                # Of this item only (PS3.3 §C.12.1.1.2); the text needs none any more.
                character_set = self._read_character_set(element)
            elif element.tag & 0xFFFF:
                elements[element.tag] = self._read(element, character_set, depth)
        return elements

    def _read_value(self, element: Element) -> bytes:
        stop = self._walk.finish(element)
        self._take(stop - element.start)
        return bytes(self._buffer[element.start : stop])

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise BadFileFormatError(f"the elements to copy have more than {_MOST_BYTES} bytes")


def swap_bytes(vr: str, value: bytes) -> bytes:
    """Turn numbers from one byte order into the other (PS3.5 §7.3)."""
    width = _WIDTHS.get(vr, 1)
    if width == 1 or len(value) % width:
        return value
    swapped = bytearray(len(value))
    for offset in range(width):
        swapped[offset::width] = value[width - 1 - offset :: width]
    return bytes(swapped)


def iter_texts(elements: Iterable[PortableElement]) -> Iterator[str]:
    """Iterate over all text in some elements, at every depth."""
    pending = list(elements)
    while pending:
        value = pending.pop().value
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            for item in value:
                pending.extend(item.values())
