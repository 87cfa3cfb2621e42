"""Finding one element of a data set by its path: tags and numbers of items in turn.

References
----------
Orthanc REST: GET /instances/{id}/content/{path} (behaviour manual §6)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from isocenter.dicom.deflate import read_inflated
from isocenter.dicom.element_walk import Element, ElementWalk, Region
from isocenter.dicom.elements import (
    ITEM,
    PIXEL_DATA,
    SEQUENCE_DELIMITATION,
    Buffer,
    read_item_header,
    truncated,
)
from isocenter.dicom.file_meta import read_file_meta
from isocenter.dicom.tags import TagDictionary
from isocenter.dicom.values import TEXT_VRS, get_word_size
from isocenter.errors import BadFileFormatError

__all__ = [
    "MAXIMUM_LISTED",
    "Found",
    "ItemList",
    "Path",
    "TagList",
    "Value",
    "find_content",
    "parse_path",
]

MAXIMUM_LISTED = 1 << 20
"""The most elements, items or fragments that are listed."""

_PADDING = b" \0"
_MOST_DIGITS = 9
# PS3.5 §6.2: what is read at once of the end of a text to find its padding.
_TAIL_BYTES = 4096

Path = tuple[int, ...]
"""Tag, index of an item, tag, and so on."""


@dataclass(frozen=True, slots=True)
class TagList:
    """The tags of a data set or of an item, in the form ``gggg-eeee``."""

    tags: list[str]


@dataclass(frozen=True, slots=True)
class ItemList:
    """The number of items of a sequence, or of fragments of the pixel data."""

    count: int


@dataclass(frozen=True, slots=True)
class Value:
    """The bytes of a value.

    Attributes
    ----------
    start, stop
        Where they lie in the buffer, text without its padding.
    word_size
        Size of the words whose bytes are in the reverse order (big endian); 1 if none are.
    data
        The bytes themselves if they do not lie in the buffer, as it is deflated.
    """

    start: int
    stop: int
    word_size: int = 1
    data: bytes | None = None


Found = TagList | ItemList | Value


def parse_path(segments: Sequence[str], dictionary: TagDictionary) -> Path | None:
    """Read a path; ``None`` if something that should be the number of an item is none.

    Raises
    ------
    UnknownTagError
        If no dictionary knows the name of a tag.
    """
    path = []
    for position, segment in enumerate(segments):
        if position % 2 == 0:
            path.append(dictionary.parse_tag(segment))
        elif segment.isascii() and segment.isdecimal() and len(segment) <= _MOST_DIGITS:
            path.append(int(segment))
        else:
            return None
    return tuple(path)


def find_content(
    buffer: Buffer, path: Path, dictionary: TagDictionary, *, pixel_data_offset: int | None = None
) -> Found | None:
    """Find what a path leads to.

    Parameters
    ----------
    buffer
        A whole DICOM file, or its start up to the pixel data if the path begins with a lower tag.
    path
        Empty for the list of all tags.
    dictionary
        Tells the VR of elements in implicit encoding.
    pixel_data_offset
        Where the pixel data begin, if known: nothing before it is read then if they are asked for.

    Returns
    -------
    TagList, ItemList, Value or None
        ``None`` if there is no such element, item or fragment.

    Raises
    ------
    BadFileFormatError
        If the buffer is no DICOM file, or there is too much to be listed.
    """
    meta = read_file_meta(buffer)
    if meta.is_deflated:

        def read(data: bytes) -> Found | None:
            found = _Finder(data, dictionary).find(Region(0, len(data), meta.layout), path)
            if not isinstance(found, Value):
                return found
            if found.stop > len(data):
                raise truncated()
            return Value(0, 0, found.word_size, data[found.start : found.stop])

        return read_inflated(buffer, meta.data_set_offset, read)
    start = meta.data_set_offset
    if path and path[0] >= PIXEL_DATA and pixel_data_offset is not None:
        start = pixel_data_offset
    return _Finder(buffer, dictionary).find(Region(start, len(buffer), meta.layout), path)


class _Finder:
    """Follows a path in one buffer."""

    def __init__(self, buffer: Buffer, dictionary: TagDictionary) -> None:
        self._buffer = buffer
        self._walk = ElementWalk(buffer, dictionary)

    def find(self, data_set: Region, path: Path) -> Found | None:
        """Follow a path from the outermost data set."""
        if not path:
            return self._list_tags(data_set)
        element = self._find_element(data_set, path[0])
        if element is None:
            return None
        if element.tag == PIXEL_DATA:
            return self._find_frame(element, path[1:])
        return self._find_in_element(element, path[1:])

    def _list_tags(self, region: Region) -> TagList:
        tags: dict[int, None] = {}
        for element in self._walk.iter_elements(region):
            tags[element.tag] = None
            if len(tags) > MAXIMUM_LISTED:
                raise BadFileFormatError(f"There are more than {MAXIMUM_LISTED} elements")
        return TagList([tag.to_bytes(4, "big").hex("-", 2) for tag in sorted(tags)])

    def _find_element(self, region: Region, tag: int) -> Element | None:
        """Find the first element of a tag; the pixel data end the search for lower ones."""
        for element in self._walk.iter_elements(region):
            if element.tag == tag:
                return element
            if element.tag == PIXEL_DATA and tag < PIXEL_DATA:
                return None
        return None

    def _find_in_element(self, element: Element, path: Path) -> Found | None:
        while True:
            if not element.has_items:
                return None if path else self._build_value(element)
            if not path:
                return ItemList(self._count(element))
            item = self._find_item(element, path[0])
            if item is None:
                return None
            if len(path) == 1:
                return self._list_tags(item)
            below = self._find_element(item, path[1])
            if below is None:
                return None
            element, path = below, path[2:]

    def _count(self, element: Element) -> int:
        count = 0
        for _ in self._walk.iter_items(element):
            count += 1
            if count > MAXIMUM_LISTED:
                raise BadFileFormatError(f"There are more than {MAXIMUM_LISTED} items")
        return count

    def _find_item(self, element: Element, index: int) -> Region | None:
        for number, item in enumerate(self._walk.iter_items(element)):
            if number == index:
                return item
        return None

    def _find_frame(self, element: Element, path: Path) -> Found | None:
        """Find a fragment; pixel data that are not encapsulated count as one (measured)."""
        if len(path) > 1:
            return None
        if element.is_undefined:
            return self._find_fragment(element, path[0] if path else None)
        if not path:
            return ItemList(1)
        return self._build_value(element) if path[0] == 0 else None

    def _find_fragment(self, element: Element, index: int | None) -> Found | None:
        """Find a fragment, the offset table being number 0, or count them all."""
        position, count = element.start, 0
        while position < element.limit:
            tag, length = read_item_header(self._buffer, position, element.limit, element.layout)
            position += 8
            if tag == SEQUENCE_DELIMITATION:
                return ItemList(count) if index is None else None
            if tag != ITEM:
                raise BadFileFormatError("The encapsulated pixel data hold something not an item")
            if count == index:
                return Value(position, position + length)
            position += length
            count += 1
            if index is None and count > MAXIMUM_LISTED:
                raise BadFileFormatError(f"There are more than {MAXIMUM_LISTED} fragments")
        raise truncated()

    def _build_value(self, element: Element) -> Value:
        stop = self._walk.finish(element)
        if stop > element.limit:
            raise truncated()
        if element.vr in TEXT_VRS:
            return Value(element.start, self._strip(element.start, stop))
        word_size = get_word_size(element.vr) if element.layout.byte_order == ">" else 1
        return Value(element.start, stop, word_size)

    def _strip(self, start: int, stop: int) -> int:
        """Find the end of a text without its padding (PS3.5 §6.2)."""
        while start < stop:
            tail_start = max(start, stop - _TAIL_BYTES)
            tail = bytes(self._buffer[tail_start:stop]).rstrip(_PADDING)
            if tail:
                return tail_start + len(tail)
            stop = tail_start
        return start
