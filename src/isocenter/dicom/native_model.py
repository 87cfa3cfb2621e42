"""A data set as the DICOM model of web services sees it: typed values, nothing binary in memory.

The two encodings, JSON and XML, walk over the same model and differ only in what they write.

References
----------
PS3.18 §F.2, PS3.19 §A.1
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass

from isocenter.dicom.character_sets import CharacterSet, build_character_set, strip_padding
from isocenter.dicom.deflate import inflate_data_set
from isocenter.dicom.element_walk import Element, ElementWalk, Region
from isocenter.dicom.elements import MAXIMUM_DEPTH, Buffer, truncated
from isocenter.dicom.file_meta import read_file_meta
from isocenter.dicom.json_forms import MAXIMUM_ELEMENTS, MAXIMUM_TEXT_BYTES
from isocenter.dicom.tags import TagDictionary
from isocenter.dicom.values import (
    NUMBER_VRS,
    TEXT_VRS,
    format_text,
    get_word_size,
    parse_numbers,
    reverse_words,
)
from isocenter.errors import BadFileFormatError

__all__ = ["Attribute", "Item", "Model", "ModelWalk", "NativeValue", "gather", "open_model"]

NativeValue = str | int | float | None
"""One value; ``None`` stands for an empty one among others."""

_SPECIFIC_CHARACTER_SET = 0x00080005
# All text is written in UTF-8.
_UTF_8 = "ISO_IR 192"
# PS3.5 §6.2: in these a backslash is a character.
_SINGLE_VALUED = frozenset({"LT", "ST", "UR", "UT"})
# Bytes that become Base64 at once: whole groups of three, and whole words.
_PIECE_BYTES = 24 * 8192
_PIECE_OUT_BYTES = 128 * 1024
_DELIMITER_BYTES = 8


@dataclass(slots=True)
class Item:
    """A data set or an item of a sequence, and how its text is encoded."""

    region: Region
    character_set: CharacterSet
    depth: int


@dataclass(frozen=True, slots=True)
class Attribute:
    """One element.

    Attributes
    ----------
    values
        Values of text and numbers; empty if the element is, or if it is of another kind.
    has_items
        Whether it is a sequence.
    is_binary
        Whether it has bytes that are to be written in Base64.
    """

    element: Element
    values: list[NativeValue]
    has_items: bool
    is_binary: bool


@dataclass(frozen=True, slots=True)
class Model:
    """A data set that is ready to be walked over.

    Attributes
    ----------
    lacks_character_set
        Whether there is text beyond ASCII and nothing that names its encoding.
    """

    walk: "ModelWalk"
    data_set: Item
    lacks_character_set: bool


def open_model(buffer: Buffer, *, default_encoding: str, dictionary: TagDictionary) -> Model:
    """Begin to walk over a DICOM file.

    Parameters
    ----------
    buffer
        The whole file.
    default_encoding
        Character set of a file that names none.
    dictionary
        Value representations in implicit encoding.

    Raises
    ------
    BadFileFormatError
        If the buffer is no DICOM file. Walking raises it, too.
    """
    meta = read_file_meta(buffer)
    start = meta.data_set_offset
    if meta.is_deflated:
        buffer, start = inflate_data_set(buffer, start), 0

    def begin() -> tuple[ModelWalk, Item]:
        walk = ModelWalk(buffer, dictionary, default_encoding=default_encoding)
        region = Region(start, len(buffer), meta.layout)
        return walk, Item(region, build_character_set(None, default_encoding), 0)

    probe, data_set = begin()
    lacks_character_set = probe.lacks_character_set(data_set)
    return Model(*begin(), lacks_character_set)


class ModelWalk:
    """Walks over the attributes of one data set. Not thread-safe."""

    def __init__(self, buffer: Buffer, dictionary: TagDictionary, *, default_encoding: str) -> None:
        self._buffer = buffer
        self._walk = ElementWalk(buffer, dictionary)
        self._default_encoding = default_encoding
        self._count = 0

    def iter_attributes(self, item: Item) -> Iterator[Attribute]:
        """Walk over the attributes of a data set or item; of equal tags the first one counts.

        Group lengths are left out, and the character set is that of the answer: UTF-8.
        """
        seen: set[int] = set()
        for element in self._walk.iter_elements(item.region):
            self._count += 1
            if self._count > MAXIMUM_ELEMENTS:
                raise BadFileFormatError(f"The data set has more than {MAXIMUM_ELEMENTS} elements")
            if element.tag == _SPECIFIC_CHARACTER_SET:
                self._enter_character_set(element, item)
            if element.tag & 0xFFFF and element.tag not in seen:
                seen.add(element.tag)
                yield self._build(element, item)

    def _enter_character_set(self, element: Element, item: Item) -> None:
        text = strip_padding(self._read(element)).decode("ascii", "ignore")
        item.character_set = build_character_set(text, self._default_encoding)

    def _read(self, element: Element) -> bytes:
        stop = self._walk.finish(element)
        if stop > element.limit:
            raise truncated()
        if stop - element.start > MAXIMUM_TEXT_BYTES:
            raise BadFileFormatError(f"A value has more than {MAXIMUM_TEXT_BYTES} bytes")
        return bytes(self._buffer[element.start : stop])

    def _build(self, element: Element, item: Item) -> Attribute:
        if element.has_items:
            return Attribute(element, [], has_items=True, is_binary=False)
        if element.vr not in TEXT_VRS and element.vr not in NUMBER_VRS:
            is_empty = element.start == self._walk.finish(element)
            return Attribute(element, [], has_items=False, is_binary=not is_empty)
        if element.tag == _SPECIFIC_CHARACTER_SET:
            values: list[NativeValue] = [_UTF_8]
        elif element.vr in NUMBER_VRS:
            byte_order = element.layout.byte_order
            values = list(parse_numbers(self._read(element), element.vr, byte_order))
        else:
            text = format_text(self._read(element), element.vr, item.character_set)
            values = _split(text, element.vr)
        return Attribute(element, values, has_items=False, is_binary=False)

    def iter_items(self, attribute: Attribute, around: Item) -> Iterator[Item]:
        """Walk over the items of a sequence; those of one that is too deep are not shown."""
        if around.depth >= MAXIMUM_DEPTH:
            return
        for region in self._walk.iter_items(attribute.element):
            yield Item(region, around.character_set, around.depth + 1)

    def iter_base64(self, attribute: Attribute) -> Iterator[bytes]:
        """Write a binary value in Base64, piece by piece; words in little endian.

        Fragments of pixel data are written with the headers of their items and without the
        delimiter at the end.
        """
        element = attribute.element
        stop = self._walk.finish(element)
        if stop > element.limit:
            raise truncated()
        if element.is_encapsulated:
            stop -= _DELIMITER_BYTES
        word_size = get_word_size(element.vr) if element.layout.byte_order == ">" else 1
        for offset in range(element.start, stop, _PIECE_BYTES):
            piece = bytes(self._buffer[offset : min(offset + _PIECE_BYTES, stop)])
            yield base64.b64encode(reverse_words(piece, word_size))

    def lacks_character_set(self, item: Item) -> bool:
        """Tell whether there is text beyond ASCII and nothing before it that names its encoding."""
        for attribute in self.iter_attributes(item):
            if attribute.element.tag == _SPECIFIC_CHARACTER_SET:
                return False
            if any(isinstance(value, str) and not value.isascii() for value in attribute.values):
                return True
            if attribute.has_items:
                # All of them, so that the walk knows where the sequence ends.
                below = [self.lacks_character_set(x) for x in self.iter_items(attribute, item)]
                if any(below):
                    return True
        return False


def _split(text: str, vr: str) -> list[NativeValue]:
    """Split text into its values, without padding; empty values become ``None``."""
    if vr in _SINGLE_VALUED:
        return [text] if text else []
    values = [part.strip(" ") if vr != "PN" else part.rstrip(" ") for part in text.split("\\")]
    return [value or None for value in values] if any(values) else []


def gather(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join small pieces into larger ones."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _PIECE_OUT_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
