"""The three JSON shapes of a data set: full, short and human (simplified).

References
----------
Orthanc REST: JSON of DICOM tags (behaviour manual §5), compared with a running Orthanc 1.10.1
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from isocenter.dicom.character_sets import CharacterSet, build_character_set
from isocenter.dicom.deflate import read_inflated
from isocenter.dicom.dictionary import Definition
from isocenter.dicom.elements import (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_DELIMITATION,
    MAXIMUM_DEPTH,
    PIXEL_DATA,
    SEQUENCE_DELIMITATION,
    UNDEFINED_LENGTH,
    Buffer,
    Layout,
    measure_undefined_length,
    read_element_header,
    read_item_header,
    truncated,
)
from isocenter.dicom.file_meta import read_file_meta
from isocenter.dicom.tags import (
    DEFAULT_DICTIONARY,
    UNKNOWN_NAME,
    TagDictionary,
    choose_vr,
    is_private_creator,
)
from isocenter.dicom.values import (
    MAXIMUM_SHOWN_BYTES,
    NUMBER_VRS,
    TEXT_VRS,
    format_numbers,
    format_text,
    format_unknown,
)
from isocenter.errors import BadFileFormatError

__all__ = [
    "MAXIMUM_ELEMENTS",
    "MAXIMUM_TEXT_BYTES",
    "JsonWriter",
    "Scope",
    "Shape",
    "build_header_json",
    "build_items_json",
    "build_some_tags_json",
    "build_tags_json",
]

MAXIMUM_ELEMENTS = 1 << 21
"""A data set with more elements, those in its items included, is not written as JSON."""

MAXIMUM_TEXT_BYTES = 1 << 26
"""A longer value is not shown even if the caller asks for values of any length."""

_SPECIFIC_CHARACTER_SET = 0x00080005
_PIXEL_REPRESENTATION = 0x00280103
# Other elements cannot be read without these.
_NEEDED_TAGS = frozenset({_SPECIFIC_CHARACTER_SET, _PIXEL_REPRESENTATION})
_ONE = (b"\1\0", b"\0\1")
_META_GROUP_LENGTH = 0x00020000
_NO_STOP = 1 << 32
_SHOWN_VRS = TEXT_VRS | NUMBER_VRS
_SEQUENCE_VRS = frozenset({"SQ", "UN"})

# A value is decoded to know whether its text is too long to be shown, but not if it has more bytes.
_MAXIMUM_READ_BYTES = 1 << 12

# A text of so many characters fits into the limit whatever the characters are.
_CERTAINLY_SHORT = MAXIMUM_SHOWN_BYTES // 4

_Entry = tuple[str, Any]
_NULL: _Entry = ("Null", None)
_TOO_LONG: _Entry = ("TooLong", None)


class Shape(Enum):
    """How data elements are written in JSON (behaviour manual §5.1)."""

    FULL = "full"
    SHORT = "short"
    HUMAN = "human"


@dataclass(frozen=True, slots=True)
class Scope:
    """What holds for one data set or item.

    Parameters
    ----------
    depth
        Number of sequences around it.
    """

    layout: Layout
    character_set: CharacterSet
    depth: int = 0


def build_tags_json(
    buffer: Buffer,
    shape: Shape,
    *,
    ignore_length: frozenset[int] = frozenset(),
    whole: bool = False,
    default_encoding: str = "Latin1",
    dictionary: TagDictionary = DEFAULT_DICTIONARY,
) -> dict[str, Any]:
    """Write the data set of a file as JSON.

    Parameters
    ----------
    buffer
        A DICOM file, or its beginning up to and including the header of the pixel data.
    shape
        Form of the result.
    ignore_length
        Tags that are shown however long they are.
    whole
        Whether to go on after the pixel data; the buffer must then hold the whole file.
    default_encoding
        Character set of a file that names none.
    dictionary
        Names and value representations.

    Returns
    -------
    dict
        Ready for JSON, in the order of the file. Group lengths and meta information are left out.

    Raises
    ------
    BadFileFormatError
        If the buffer is no DICOM file or ends inside an element before the pixel data.

    References
    ----------
    Orthanc REST: GET /instances/{id}/tags (behaviour manual §5.1)
    """

    def write(data: Buffer, start: int, layout: Layout) -> dict[str, Any]:
        writer = JsonWriter(
            data, shape, ignore_length, dictionary, default_encoding=default_encoding
        )
        return writer.write_data_set(start, layout, whole=whole)

    return _read_data_set(buffer, write)


def build_some_tags_json(
    buffer: Buffer,
    shape: Shape,
    tags: AbstractSet[int],
    *,
    ignore_length: frozenset[int] = frozenset(),
    default_encoding: str = "Latin1",
    dictionary: TagDictionary = DEFAULT_DICTIONARY,
) -> dict[str, Any]:
    """Write some elements of a data set before the pixel data as JSON.

    Parameters
    ----------
    tags
        The elements to write, those inside of items not counting; the others are passed over.
    buffer, shape, ignore_length, default_encoding, dictionary
        As for `build_tags_json`.

    Raises
    ------
    BadFileFormatError
        As by `build_tags_json`.

    References
    ----------
    Orthanc REST: GET /{level}/{id}/module (behaviour manual §6)
    """

    def write(data: Buffer, start: int, layout: Layout) -> dict[str, Any]:
        writer = JsonWriter(
            data, shape, ignore_length, dictionary, default_encoding=default_encoding
        )
        writer.restrict_to(tags)
        return writer.write_data_set(start, layout, whole=False)

    return _read_data_set(buffer, write)


def _read_data_set(
    buffer: Buffer, write: Callable[[Buffer, int, Layout], dict[str, Any]]
) -> dict[str, Any]:
    """Find the data set of a file, inflate it if need be, and have it written."""
    meta = read_file_meta(buffer)
    if meta.is_deflated:
        return read_inflated(buffer, meta.data_set_offset, lambda data: write(data, 0, meta.layout))
    return write(buffer, meta.data_set_offset, meta.layout)


def build_header_json(buffer: Buffer, shape: Shape) -> dict[str, Any]:
    """Write the file meta information of a file as JSON, without its binary elements.

    Raises
    ------
    BadFileFormatError
        If the buffer is no DICOM file.

    References
    ----------
    Orthanc REST: GET /instances/{id}/header
    """
    meta = read_file_meta(buffer)
    writer = JsonWriter(b"", shape, frozenset(), DEFAULT_DICTIONARY)
    scope = Scope(EXPLICIT_LITTLE, build_character_set(None))
    header: dict[str, Any] = {}
    for tag, (vr, data) in meta.elements.items():
        if vr in _SHOWN_VRS:
            entry = writer.format_value(tag, vr, data, scope)
            writer.add(header, tag, entry, definition=DEFAULT_DICTIONARY.lookup(tag))
    return header


def build_items_json(
    buffer: Buffer,
    start: int,
    stop: int,
    *,
    layout: Layout,
    character_set: CharacterSet,
) -> list[dict[str, Any]]:
    """Write the items of a sequence in the human shape.

    Parameters
    ----------
    buffer, start, stop
        The value of the sequence; a sequence delimitation item at its end is passed over.
    layout, character_set
        Encoding of the data set around it.

    References
    ----------
    Orthanc REST: sequences of main DICOM tags (behaviour manual §4.2)
    """
    writer = JsonWriter(buffer, Shape.HUMAN, frozenset(), DEFAULT_DICTIONARY)
    return writer.write_items(start, stop, Scope(layout, character_set))[0]


class JsonWriter:
    """Walks over the elements of one buffer and writes them in one shape. Not thread-safe.

    Attributes
    ----------
    count
        Elements that were written, those in items included.
    """

    def __init__(
        self,
        buffer: Buffer,
        shape: Shape,
        ignore_length: frozenset[int],
        dictionary: TagDictionary,
        *,
        default_encoding: str = "Latin1",
    ) -> None:
        self._buffer = buffer
        self._shape = shape
        self._ignore_length = ignore_length
        self._dictionary = dictionary
        self._default_encoding = default_encoding
        # Whether "US or SS" means SS in implicit encoding (PS3.5 §A.1).
        self._has_signed_pixels = False
        self._tags: AbstractSet[int] | None = None
        self.count = 0

    def restrict_to(self, tags: AbstractSet[int]) -> None:
        """Leave out all other elements of the outermost data set."""
        self._tags = tags

    def write_data_set(self, position: int, layout: Layout, *, whole: bool) -> dict[str, Any]:
        """Write the elements of the outermost data set."""
        buffer, end = self._buffer, len(self._buffer)
        scope = Scope(layout, self._choose_character_set(None))
        target: dict[str, Any] = {}
        position = self.write_elements(target, position, end, scope, stop=PIXEL_DATA)
        if position + 8 > end:
            return target
        tag, _, value, length = read_element_header(buffer, position, end, scope.layout)
        if tag == PIXEL_DATA:
            if self._tags is None:
                self.add(target, PIXEL_DATA, _NULL, definition=self._dictionary.lookup(tag))
            if whole and length == UNDEFINED_LENGTH:
                position = measure_undefined_length(buffer, value, end, scope.layout)
            else:
                position = value + length
        if whole and position > end:
            raise truncated()
        if whole:
            self.write_elements(target, position, end, scope)
        return target

    def write_items(self, position: int, stop: int, scope: Scope) -> tuple[list[Any], int]:
        """Write the items up to ``stop`` or a sequence delimitation item; tell where that was."""
        items: list[Any] = []
        scope = Scope(scope.layout, scope.character_set, scope.depth + 1)
        while position < stop:
            tag, length = read_item_header(self._buffer, position, stop, scope.layout)
            position += 8
            if tag == SEQUENCE_DELIMITATION:
                break
            if tag != ITEM:
                raise BadFileFormatError("A sequence holds something that is not an item")
            # An item that claims more than its sequence has ends with the sequence.
            item_end = stop if length == UNDEFINED_LENGTH else min(position + length, stop)
            item: dict[str, Any] = {}
            position = self.write_elements(item, position, item_end, scope)
            items.append(item)
        return items, position

    def write_elements(
        self,
        target: dict[str, Any],
        position: int,
        end: int,
        scope: Scope,
        *,
        stop: int = _NO_STOP,
    ) -> int:
        """Write elements up to ``end``, the tag ``stop`` or an item delimitation item."""
        buffer, dictionary, layout = self._buffer, self._dictionary, scope.layout
        creators: dict[int, str] = {}
        wanted = None if scope.depth else self._tags
        while position < end:
            tag, vr, value, length = read_element_header(buffer, position, end, layout)
            if tag >= stop or tag == ITEM_DELIMITATION:
                return position if tag >= stop else value
            if wanted is not None and tag not in wanted and not _is_needed(tag):
                position = self._pass_over(vr, value, length, end=end, layout=layout)
                continue
            creator = creators.get(tag >> 8) if tag & 0x10000 else None
            definition = dictionary.lookup(tag, creator)
            if vr is None:
                vr = self._choose_vr(definition)
            if length == UNDEFINED_LENGTH or vr == "SQ":
                entry, position = self._read_nested(vr, value, length, end=end, scope=scope)
            else:
                position = value + length
                if position > end:
                    raise truncated()
                span = (value, position)
                entry = self._read_value(tag, vr, span, definition=definition, scope=scope)
                if tag == _SPECIFIC_CHARACTER_SET:
                    scope = replace(scope, character_set=self._choose_character_set(entry[1]))
            if wanted is None or tag in wanted:
                self.add(target, tag, entry, definition=definition, creator=creator)
            if tag & 0x10000 and entry[0] == "String" and is_private_creator(tag):
                creators[(tag >> 16) << 8 | tag & 0xFF] = entry[1].rstrip(" ")
        return position

    def _pass_over(
        self, vr: str | None, value: int, length: int, *, end: int, layout: Layout
    ) -> int:
        """Find the end of an element that nobody wants to see."""
        if length == UNDEFINED_LENGTH:
            items = IMPLICIT_LITTLE if vr == "UN" else layout
            return measure_undefined_length(self._buffer, value, end, items)
        if value + length > end:
            raise truncated()
        return value + length

    def _choose_character_set(self, specific_character_set: str | None) -> CharacterSet:
        return build_character_set(specific_character_set, self._default_encoding)

    def _read_nested(
        self, vr: str, value: int, length: int, *, end: int, scope: Scope
    ) -> tuple[_Entry, int]:
        """Read a sequence, or pass over fragments; a sequence too deep is not shown."""
        is_undefined = length == UNDEFINED_LENGTH
        stop = end if is_undefined else value + length
        if stop > end:
            raise truncated()
        if vr == "UN":
            scope = replace(scope, layout=IMPLICIT_LITTLE)
        if vr in _SEQUENCE_VRS and scope.depth < MAXIMUM_DEPTH:
            items, position = self.write_items(value, stop, scope)
            return ("Sequence", items), position if is_undefined else stop
        if is_undefined:
            stop = measure_undefined_length(self._buffer, value, end, scope.layout)
        return _NULL, stop

    def _read_value(
        self,
        tag: int,
        vr: str,
        span: tuple[int, int],
        *,
        definition: Definition | None,
        scope: Scope,
    ) -> _Entry:
        start, stop = span
        is_unknown = vr == "UN"
        if is_unknown:
            vr = choose_vr(definition)
        if vr not in (TEXT_VRS if is_unknown else _SHOWN_VRS):
            return _NULL
        if stop - start > _MAXIMUM_READ_BYTES and tag not in self._ignore_length:
            return _TOO_LONG
        if stop - start > MAXIMUM_TEXT_BYTES:
            return _TOO_LONG
        data = bytes(self._buffer[start:stop])
        if is_unknown:
            return self._limit(tag, format_unknown(data, vr, scope.character_set))
        return self.format_value(tag, vr, data, scope)

    def format_value(self, tag: int, vr: str, data: bytes, scope: Scope) -> _Entry:
        """Turn a value into the type and the text of its JSON."""
        if vr in TEXT_VRS:
            return self._limit(tag, format_text(data, vr, scope.character_set))
        if not data:
            return _NULL
        if tag == _PIXEL_REPRESENTATION:
            self._has_signed_pixels = data[:2] in _ONE
        return self._limit(tag, format_numbers(data, vr, scope.layout.byte_order))

    def _limit(self, tag: int, text: str) -> _Entry:
        """Withhold a text that is too long, unless the caller wants to see it."""
        if len(text) > _CERTAINLY_SHORT and _is_too_long(text) and tag not in self._ignore_length:
            return _TOO_LONG
        return "String", text

    def _choose_vr(self, definition: Definition | None) -> str:
        """Choose the VR of an element in implicit encoding (PS3.5 §A.1)."""
        if self._has_signed_pixels and definition is not None and definition.vr == "US or SS":
            return "SS"
        return choose_vr(definition)

    def add(
        self,
        target: dict[str, Any],
        tag: int,
        entry: _Entry,
        *,
        definition: Definition | None,
        creator: str | None = None,
    ) -> None:
        """Put an element into the JSON of its data set; of equal tags the first one counts."""
        self.count += 1
        if self.count > MAXIMUM_ELEMENTS:
            raise BadFileFormatError(f"The data set has more than {MAXIMUM_ELEMENTS} elements")
        if not tag & 0xFFFF and tag != _META_GROUP_LENGTH:
            return
        kind, value = entry
        name = UNKNOWN_NAME if definition is None else definition.name
        if self._shape is Shape.HUMAN:
            target[name] = value
            return
        key = tag.to_bytes(4, "big").hex(",", 2)  # As format_tag, which costs a call.
        if key in target:
            return
        if self._shape is Shape.SHORT:
            target[key] = value
        elif creator is None:
            target[key] = {"Name": name, "Type": kind, "Value": value}
        else:
            target[key] = {"Name": name, "PrivateCreator": creator, "Type": kind, "Value": value}


def _is_needed(tag: int) -> bool:
    """Tell whether others cannot be read without an element."""
    return tag in _NEEDED_TAGS or is_private_creator(tag)


def _is_too_long(text: str) -> bool:
    return len(text) > MAXIMUM_SHOWN_BYTES or len(text.encode()) > MAXIMUM_SHOWN_BYTES
