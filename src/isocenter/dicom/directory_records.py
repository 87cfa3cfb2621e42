"""Directory records built from the header of a file, in the encoding of a DICOMDIR.

Text is copied with the character set of the file, so that it stays as its writer made it.

References
----------
PS3.3 §F.3.2.2 (Directory Information Module), §F.5; PS3.10 §8.6
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from isocenter.dicom.character_sets import DEFAULT_ENCODINGS, strip_padding
from isocenter.dicom.directory_keys import (
    LEAVES,
    PATIENT,
    SERIES,
    STUDY,
    Key,
    RecordType,
    Stand,
    choose_leaf,
)
from isocenter.dicom.element_walk import Element, ElementWalk, Region
from isocenter.dicom.elements import EXPLICIT_LITTLE, IMPLICIT_LITTLE, MAXIMUM_DEPTH, Buffer, Layout
from isocenter.dicom.file_meta import FileMeta
from isocenter.dicom.new_elements import NewElement, NewItems, encode_element
from isocenter.dicom.reader import Hit, read_located
from isocenter.dicom.tags import DEFAULT_DICTIONARY
from isocenter.dicom.values import get_word_size, reverse_words
from isocenter.errors import BadFileFormatError

__all__ = ["FilePlace", "FileRecords", "build_records"]

_RECORD_TYPE = 0x00041430
_FILE_ID = 0x00041500
_SOP_CLASS_IN_FILE = 0x00041510
_SOP_INSTANCE_IN_FILE = 0x00041511
_TRANSFER_SYNTAX_IN_FILE = 0x00041512
_META_SOP_CLASS = 0x00020002
_META_SOP_INSTANCE = 0x00020003
_SPECIFIC_CHARACTER_SET = 0x00080005
_SOP_CLASS = 0x00080016
_SOP_INSTANCE = 0x00080018
_CONTENT_SEQUENCE = 0x0040A730
_RELATIONSHIP = 0x0040A010
_VERIFIED_AT = 0x0040A030
_OBSERVERS = 0x0040A073
_MODIFIER = b"HAS CONCEPT MOD"
# A record is to be short: a longer sequence is left out, as is a value of more than 64 kB.
_LONGEST_SEQUENCE = 64 * 1024
_ITEM_BYTES = 8
_LONGEST_SHORT = 0xFFFE
# PS3.5 §9.1; what a damaged file has instead is cut, so that its record can be written.
_LONGEST_UID = 64
_PADDING = b" \0"
_MIDNIGHT = b"000000"
_NUMBERS = frozenset({"US", "UL"})

# Dates and their times, from what comes next to when a study or a content was made.
_MOMENTS = (
    (0x00080020, 0x00080030),
    (0x00080021, 0x00080031),
    (0x00080022, 0x00080032),
    (0x00080023, 0x00080033),
    (0x00080012, 0x00080013),
)

_Elements = dict[int, NewElement | NewItems]


class FilePlace(NamedTuple):
    """Where a file lies on the medium, and what its records say if the file does not.

    Attributes
    ----------
    file_id
        Path with slashes.
    numbers
        Places of study, series and instance among their siblings, from 1.
    received
        Date and time of the reception, as DA and TM.
    """

    file_id: str
    numbers: tuple[int, int, int]
    received: tuple[str, str]


class FileRecords(NamedTuple):
    """The records of a file and of what is above it: all of each but the links to others."""

    patient: bytes
    study: bytes
    series: bytes
    leaf: bytes


def _list_tags() -> frozenset[int]:
    """List all elements that any record may need, so that a file is read once."""
    records = (PATIENT, STUDY, SERIES, *LEAVES)
    keys = {key.tag for record in records for key in record.keys + record.extras}
    moments = {tag for moment in _MOMENTS for tag in moment}
    return frozenset({_SPECIFIC_CHARACTER_SET, _SOP_CLASS, _OBSERVERS} | keys | moments)


_WANTED = _list_tags()


def build_records(
    buffer: Buffer, place: FilePlace, *, is_extended: bool, default_encoding: str = "Latin1"
) -> FileRecords:
    """Build the records of a file.

    Parameters
    ----------
    buffer
        A DICOM file, or its beginning up to and including the header of the pixel data.
    is_extended
        With optional attributes.
    default_encoding
        Character set of a file that names none.

    Raises
    ------
    BadFileFormatError
        If the buffer is no DICOM file.

    References
    ----------
    PS3.3 §F.5; Orthanc REST: media (behaviour manual §22.3)
    """

    def build(data: Buffer, meta: FileMeta, hits: Sequence[Hit]) -> FileRecords:
        header = _Header(data, meta, hits, default_encoding)
        leaf = choose_leaf(header.read_uid(_SOP_CLASS, _META_SOP_CLASS))
        study, series, instance = place.numbers
        encode = partial(header.encode, place=place, is_extended=is_extended)
        return FileRecords(
            encode(PATIENT, 1),
            encode(STUDY, study),
            encode(SERIES, series),
            encode(leaf, instance, is_leaf=True),
        )

    return read_located(buffer, build, wanted=_WANTED)


class _Header:
    """The elements of a file that records are made of."""

    def __init__(
        self, data: Buffer, meta: FileMeta, hits: Sequence[Hit], default_encoding: str
    ) -> None:
        self._data = data
        self._meta = meta
        self._hits: dict[int, Hit] = {}
        for hit in hits:
            # Of equal tags the first one counts.
            self._hits.setdefault(hit[0], hit)
        self._default_encoding = default_encoding

    def read_uid(self, tag: int, meta_tag: int) -> str:
        """Read an identifier, from the file meta information if the data set lacks it."""
        value = self._read(tag) or self._meta.elements.get(meta_tag, ("UI", b""))[1]
        return strip_padding(value).decode("ascii", "replace").strip()

    def encode(
        self,
        record: RecordType,
        number: int,
        *,
        place: FilePlace,
        is_extended: bool,
        is_leaf: bool = False,
    ) -> bytes:
        """Encode a record, its elements in the order of their tags."""
        elements: _Elements = {}
        for key in record.keys + record.extras if is_extended else record.keys:
            element = self._build(key, place, number)
            if element is not None:
                elements[key.tag] = element
        character_set = self._choose_character_set(elements.values())
        if character_set:
            elements[_SPECIFIC_CHARACTER_SET] = NewElement("CS", character_set)
        if is_leaf:
            elements.update(self._refer(place.file_id))
        elements[_RECORD_TYPE] = NewElement("CS", record.name.encode())
        return b"".join(
            encode_element(tag, elements[tag], EXPLICIT_LITTLE) for tag in sorted(elements)
        )

    def _refer(self, file_id: str) -> dict[int, NewElement]:
        """Say which file a record is about (PS3.3 Table F.3-3)."""
        uids = {
            _SOP_CLASS_IN_FILE: self.read_uid(_SOP_CLASS, _META_SOP_CLASS),
            _SOP_INSTANCE_IN_FILE: self.read_uid(_SOP_INSTANCE, _META_SOP_INSTANCE),
            _TRANSFER_SYNTAX_IN_FILE: self._meta.transfer_syntax_uid,
        }
        path = file_id.replace("/", "\\").encode()
        named = {
            tag: NewElement("UI", uid[:_LONGEST_UID].encode("ascii", "replace"))
            for tag, uid in uids.items()
        }
        return {_FILE_ID: NewElement("CS", path), **named}

    def _build(self, key: Key, place: FilePlace, number: int) -> NewElement | NewItems | None:
        if key.vr == "SQ":
            return self._build_items(key)
        value = self._read_verification() if key.tag == _VERIFIED_AT else self._read(key.tag)
        if value.strip(_PADDING):
            return NewElement(key.vr, reverse_words(value, self._get_swap(key.vr)))
        if key.default is None:
            return None
        return NewElement(key.vr, self._substitute(key, place, number))

    def _substitute(self, key: Key, place: FilePlace, number: int) -> bytes:
        """Give what stands in the place of a value that the file lacks."""
        if key.default is Stand.NUMBER:
            return str(number).encode()
        if isinstance(key.default, Stand):
            moment = self._find_moment(place)
            return moment[0 if key.default is Stand.DATE else 1]
        text = key.default or ""
        if key.vr in _NUMBERS and text:
            return int(text).to_bytes(get_word_size(key.vr), "little")
        return text.encode()

    def _find_moment(self, place: FilePlace) -> tuple[bytes, bytes]:
        for date, time in _MOMENTS:
            value = self._read(date)
            if value.strip(_PADDING):
                return value, self._read(time).strip(_PADDING) or _MIDNIGHT
        return place.received[0].encode(), place.received[1].encode()

    def _get_swap(self, vr: str) -> int:
        return get_word_size(vr) if self._meta.layout.byte_order == ">" else 1

    def _read(self, tag: int) -> bytes:
        """Read a value; one that is too long for a record counts as absent."""
        _, _, start, stop = self._hits.get(tag, (tag, None, 0, 0))
        return bytes(self._data[start:stop]) if stop - start <= _LONGEST_SHORT else b""

    def _choose_character_set(self, elements: Iterable[NewElement | NewItems]) -> bytes:
        """Choose the character set of a record: that of the file, if it says so."""
        value = self._read(_SPECIFIC_CHARACTER_SET).rstrip(_PADDING)
        if value:
            return value
        is_plain = all(isinstance(e, NewItems) or e.value.isascii() for e in elements)
        return b"" if is_plain else DEFAULT_ENCODINGS.get(self._default_encoding, "").encode()

    def _build_items(self, key: Key) -> NewItems | None:
        """Copy a sequence, as far as a record has room for it."""
        items = _Items(self._data, self._meta.layout)
        hit = self._hits.get(key.tag)
        relationship = _MODIFIER if key.tag == _CONTENT_SEQUENCE else None
        try:
            copied = [] if hit is None else items.copy(hit, relationship)
        except BadFileFormatError:
            # The file is worth its record without a sequence that nobody can read.
            copied = []
        return None if not copied and key.default is None else NewItems(tuple(copied))

    def _read_verification(self) -> bytes:
        """Find when a document was last verified, which its observers tell."""
        hit = self._hits.get(_OBSERVERS)
        if hit is None:
            return b""
        try:
            found = _Items(self._data, self._meta.layout).read_each(hit, _VERIFIED_AT)
        except BadFileFormatError:
            return b""
        return max(found, default=b"")


class _Items:
    """The items of sequences, copied in the encoding of a DICOMDIR."""

    def __init__(self, data: Buffer, layout: Layout) -> None:
        self._data = data
        self._layout = layout
        self._walk = ElementWalk(data, DEFAULT_DICTIONARY)

    def copy(self, hit: Hit, relationship: bytes | None) -> list[bytes]:
        """Copy the items of a sequence, only those with a relationship if one is given."""
        copied: list[bytes] = []
        size = 0
        for item in self._iter_items(hit):
            elements = self._copy_item(item, 1, relationship)
            if elements is None:
                continue
            copied.append(elements)
            size += _ITEM_BYTES + len(elements)
            if size > _LONGEST_SEQUENCE:
                return []
        return copied

    def read_each(self, hit: Hit, tag: int) -> list[bytes]:
        """Read an element of each item that has it."""
        return [
            bytes(self._data[element.start : element.stop])
            for item in self._iter_items(hit)
            for element in self._walk.iter_elements(item)
            if element.tag == tag and element.stop is not None
        ]

    def _iter_items(self, hit: Hit) -> Iterator[Region]:
        tag, vr, start, stop = hit
        layout = IMPLICIT_LITTLE if vr == "UN" else self._layout
        whole = Element(tag, "SQ", start, stop, stop, layout, None, None, is_undefined=False)
        return self._walk.iter_items(whole)

    def _copy_item(self, item: Region, depth: int, relationship: bytes | None) -> bytes | None:
        if depth > MAXIMUM_DEPTH:
            raise BadFileFormatError("The sequences nest too deep")
        pieces: list[bytes] = []
        size = 0
        for element in self._walk.iter_elements(item):
            encoded = self._copy_element(element, depth)
            if relationship is not None and element.tag == _RELATIONSHIP:
                value = bytes(self._data[element.start : element.stop])
                if value.strip(_PADDING) != relationship:
                    return None
                relationship = None
            size += len(encoded)
            if size <= _LONGEST_SEQUENCE:
                pieces.append(encoded)
        return b"".join(pieces) if relationship is None else None

    def _copy_element(self, element: Element, depth: int) -> bytes:
        if element.has_items:
            items = [
                self._copy_item(item, depth + 1, None) or b""
                for item in self._walk.iter_items(element)
            ]
            return encode_element(element.tag, NewItems(tuple(items)), EXPLICIT_LITTLE)
        stop = self._walk.finish(element)
        if element.is_encapsulated or stop - element.start > _LONGEST_SHORT:
            return b""
        value = bytes(self._data[element.start : stop])
        if self._layout.byte_order == ">":
            value = reverse_words(value, get_word_size(element.vr))
        return encode_element(element.tag, NewElement(element.vr, value), EXPLICIT_LITTLE)
