"""Walking over the elements and items of a data set, each byte passed at most once.

Whoever walks decides what to enter: an element or item that was not entered is passed over. For
everything that needs single elements or a stream; `json_forms` has a faster way of its own to turn
a whole header into JSON.

References
----------
PS3.5 §7.1, §7.5
"""

from collections.abc import Iterator
from dataclasses import dataclass

from isocenter.dicom.character_sets import strip_padding
from isocenter.dicom.dictionary import Definition
from isocenter.dicom.elements import (
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_DELIMITATION,
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
from isocenter.dicom.tags import TagDictionary, choose_vr, is_private_creator
from isocenter.errors import BadFileFormatError

__all__ = ["Element", "ElementWalk", "Region"]

_PIXEL_REPRESENTATION = 0x00280103
_ONE = (b"\1\0", b"\0\1")
# PS3.5 §6.2: a private creator is LO, so it has 64 characters of four bytes at most.
_LONGEST_CREATOR = 256


@dataclass(slots=True)
class Region:
    """The elements of a data set or of an item.

    Attributes
    ----------
    start
        Offset of the first element.
    limit
        Offset that no element may pass.
    layout
        Encoding of the elements.
    stop
        Offset behind them, a delimitation item included; ``None`` until they were walked over.
    """

    start: int
    limit: int
    layout: Layout
    stop: int | None = None


@dataclass(slots=True)
class Element:
    """One data element.

    Attributes
    ----------
    vr
        As encoded; in implicit encoding that of the dictionary, ``UN`` if there is none.
    start
        Offset of its value.
    stop
        Offset behind its value, a delimitation item included; ``None`` if the length is undefined
        and the value was not walked over yet. Of pixel data it may lie behind ``limit``, if the
        buffer holds only the start of a file.
    limit
        Offset that its value may not pass.
    layout
        Encoding of the items in it.
    creator
        Private creator of its block, if it is private and there is one.
    definition
        What the dictionary says.
    is_undefined
        Whether its length is undefined.
    """

    tag: int
    vr: str
    start: int
    stop: int | None
    limit: int
    layout: Layout
    creator: str | None
    definition: Definition | None
    is_undefined: bool

    @property
    def has_items(self) -> bool:
        """True for a sequence, also one that was sent as UN (PS3.5 §6.2.2)."""
        return self.vr == "SQ" or (self.is_undefined and self.vr == "UN")

    @property
    def is_encapsulated(self) -> bool:
        """True if the value consists of fragments (PS3.5 §A.4)."""
        return self.is_undefined and not self.has_items


class ElementWalk:
    """Walks over one buffer. Not thread-safe.

    Parameters
    ----------
    buffer
        Holds the data set.
    dictionary
        Tells the VR of elements in implicit encoding.
    """

    def __init__(self, buffer: Buffer, dictionary: TagDictionary) -> None:
        self._buffer = buffer
        self._dictionary = dictionary
        # Whether "US or SS" means SS in implicit encoding (PS3.5 §A.1).
        self._has_signed_pixels = False

    def iter_elements(self, region: Region) -> Iterator[Element]:
        """Walk over the elements of a region, in the order of the file.

        Raises
        ------
        BadFileFormatError
            If an element does not fit into the region.
        """
        buffer, layout, limit = self._buffer, region.layout, region.limit
        creators: dict[int, str] = {}
        position = region.start
        while position < limit:
            tag, vr, value, length = read_element_header(buffer, position, limit, layout)
            if tag == ITEM_DELIMITATION:
                position = value
                break
            creator = creators.get(tag >> 8) if tag & 0x10000 else None
            element = self._describe(tag, vr, creator, span=(value, length), region=region)
            yield element
            position = self.finish(element)
            if is_private_creator(tag):
                creators[(tag >> 16) << 8 | tag & 0xFF] = self._read_creator(element)
            elif tag == _PIXEL_REPRESENTATION:
                self._has_signed_pixels = bytes(buffer[value : value + 2]) in _ONE
        region.stop = position

    def _describe(
        self,
        tag: int,
        vr: str | None,
        creator: str | None,
        *,
        span: tuple[int, int],
        region: Region,
    ) -> Element:
        value, length = span
        definition = self._dictionary.lookup(tag, creator)
        is_undefined = length == UNDEFINED_LENGTH
        stop = None if is_undefined else value + length
        if stop is not None and stop > region.limit and tag != PIXEL_DATA:
            raise truncated()
        return Element(
            tag=tag,
            vr=self._choose_vr(definition) if vr is None else vr,
            start=value,
            stop=stop,
            limit=region.limit,
            layout=IMPLICIT_LITTLE if vr == "UN" else region.layout,
            creator=creator,
            definition=definition,
            is_undefined=is_undefined,
        )

    def _choose_vr(self, definition: Definition | None) -> str:
        if self._has_signed_pixels and definition is not None and definition.vr == "US or SS":
            return "SS"
        return choose_vr(definition)

    def _read_creator(self, element: Element) -> str:
        if element.stop is None or element.stop - element.start > _LONGEST_CREATOR:
            return ""
        data = bytes(self._buffer[element.start : element.stop])
        return strip_padding(data).decode("ascii", "ignore")

    def finish(self, element: Element) -> int:
        """Find the end of an element's value, passing over it if it was not entered.

        Raises
        ------
        BadFileFormatError
            If it has no end, or sequences nest too deep in it.
        """
        if element.stop is None and element.is_encapsulated:
            element.stop = measure_fragments(self._buffer, element.start, element.limit)
        elif element.stop is None:
            element.stop = measure_undefined_length(
                self._buffer, element.start, element.limit, element.layout
            )
        return element.stop

    def iter_items(self, element: Element) -> Iterator[Region]:
        """Walk over the items of a sequence.

        An item that claims more than its sequence has ends with the sequence.

        Raises
        ------
        BadFileFormatError
            If there is something that is not an item.
        """
        position = element.start
        end = element.limit if element.stop is None else element.stop
        while position < end:
            tag, length = read_item_header(self._buffer, position, end, element.layout)
            position += 8
            if tag == SEQUENCE_DELIMITATION:
                break
            if tag != ITEM:
                raise BadFileFormatError("A sequence holds something that is not an item")
            limit = end if length == UNDEFINED_LENGTH else min(position + length, end)
            item = Region(position, limit, element.layout)
            yield item
            position = self._leave(item) if length == UNDEFINED_LENGTH else limit
        if element.stop is None:
            element.stop = position

    def _leave(self, item: Region) -> int:
        if item.stop is None:
            for _ in self.iter_elements(item):
                pass
        assert item.stop is not None, "walking over the elements has set it"  # noqa: S101
        return item.stop
