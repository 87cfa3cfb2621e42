"""From text and JSON to the bytes of values.

References
----------
PS3.5 §6.2 (value representations), §6.1 (character sets); Orthanc REST: `Replace` (behaviour
manual §18.2)
"""

import base64
import binascii
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

from isocenter.dicom.elements import MAXIMUM_DEPTH, Layout
from isocenter.dicom.new_elements import NewElement, NewItems, encode_element
from isocenter.dicom.portable import LOCALIZED_VRS, PortableElement, swap_bytes
from isocenter.dicom.portable import iter_texts as iter_portable_texts
from isocenter.dicom.tags import TagDictionary
from isocenter.errors import BadParameterError, BadRequestError, ParameterTypeError

__all__ = ["DataURIs", "Encoder", "TextCodec", "iter_texts"]

_DATA_URI = "data:"
_BASE64 = ";base64,"
_UNKNOWN = "UN"
_SEQUENCE = "SQ"
_TEXT = "LO"
# Of items and delimiters, which are no elements (PS3.5 §7.5).
_DELIMITERS = 0xFFFE
_BINARY_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", _UNKNOWN})
_NUMBERS = {
    "US": "H",
    "SS": "h",
    "UL": "I",
    "SL": "i",
    "SV": "q",
    "UV": "Q",
    "FL": "f",
    "FD": "d",
}
_UTF8 = "ISO_IR 192"
# What is known without asking pydicom.
_USUAL_ENCODINGS = {_UTF8: "utf_8", "ISO_IR 100": "latin_1"}


class TextCodec:
    """Encodes text in the character set of a data set.

    Parameters
    ----------
    specific_character_set
        Value of (0008,0005), its values joined with a backslash; empty for none.
    """

    def __init__(self, specific_character_set: str) -> None:
        self.specific_character_set = specific_character_set

    @cached_property
    def _encodings(self) -> list[str]:
        """Names of Python's codecs; one unless the data set has code extensions."""
        terms = [term.strip(" ") for term in self.specific_character_set.split("\\")]
        if len(terms) == 1 and terms[0] in _USUAL_ENCODINGS:
            return [_USUAL_ENCODINGS[terms[0]]]
        # Here, since most servers never need it: it takes 0.15 s, which a job would wait, and room.
        from pydicom import charset  # noqa: PLC0415

        return charset.convert_encodings(terms if len(terms) > 1 else terms[0])

    @staticmethod
    def is_supported(specific_character_set: str) -> bool:
        """Tell whether text can be encoded in a character set, spelled as in the standard."""
        from pydicom import charset  # noqa: PLC0415 - as above

        first, *more = specific_character_set.split("\\")
        terms = more if more and not first else [first, *more]
        return all(term and term in charset.python_encoding for term in terms)

    def can_encode(self, text: str) -> bool:
        """Tell whether a text survives."""
        if text.isascii():
            return True
        try:
            self.encode(text)
        except UnicodeEncodeError:
            return False
        return True

    def encode(self, text: str) -> bytes:
        """Encode a text; components of names and values are encoded one by one.

        Raises
        ------
        UnicodeEncodeError
            If the character set lacks a letter.
        """
        if text.isascii():
            return text.encode("ascii")
        if len(self._encodings) == 1:
            return text.encode(self._encodings[0])
        # An escape sequence ends at each of these (PS3.5 §6.1.2.5.3).
        for delimiter in ("\\", "=", "^"):
            if delimiter in text:
                return delimiter.encode().join(map(self.encode, text.split(delimiter)))
        # pydicom would write a question mark and warn.
        if not all(self._has_letter(letter) for letter in set(text)):
            raise UnicodeEncodeError(self._encodings[0], text, 0, len(text), "no such letter")
        from pydicom import charset  # noqa: PLC0415 - as above

        return charset.encode_string(text, self._encodings)

    def _has_letter(self, letter: str) -> bool:
        for encoding in self._encodings:
            try:
                letter.encode(encoding)
            except UnicodeEncodeError:
                continue
            return True
        return False


class DataURIs(Enum):
    """Which data URIs are decoded; others are text."""

    ALL = "all"
    BINARY = "binary"
    """Those of elements whose value is no text."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes what clients give as values.

    Attributes
    ----------
    private_creator
        Who has defined the private tags among them.
    data_uris
        Which are decoded.
    """

    layout: Layout
    codec: TextCodec
    dictionary: TagDictionary
    private_creator: str | None = None
    data_uris: DataURIs = DataURIs.ALL

    def encode(self, tag: int, value: Any, *, depth: int = 0) -> NewElement | NewItems:
        """Encode a value of JSON: text, a data URI, or a list of objects for a sequence.

        An element of another file is encoded, too.

        Raises
        ------
        ParameterTypeError
            If it is neither text nor a list.
        BadRequestError, BadParameterError
            If the text does not fit the tag.
        """
        if isinstance(value, PortableElement):
            return self.encode_portable(value)
        if tag >> 16 == _DELIMITERS:
            raise BadParameterError("a tag was named that cannot stand in a data set")
        vr = self.dictionary.lookup_vr(tag, self.private_creator)
        if isinstance(value, list):
            if vr not in {_SEQUENCE, _UNKNOWN}:
                raise ParameterTypeError("only a sequence can have a list as its value")
            return self._encode_items(value, depth)
        if not isinstance(value, str):
            raise ParameterTypeError("the value of a tag must be text or a list of objects")
        if vr == _SEQUENCE:
            if value:
                raise BadParameterError("the value of a sequence must be a list of objects")
            return NewItems(())
        if value.startswith(_DATA_URI) and self._decodes(vr):
            data = _decode_data_uri(value)
            return NewElement(_TEXT if vr == _UNKNOWN and not tag & 0x10000 else vr, data)
        return self._encode_text(vr, value)

    def _decodes(self, vr: str) -> bool:
        if self.data_uris is DataURIs.BINARY:
            return vr in _BINARY_VRS
        return self.data_uris is DataURIs.ALL

    def encode_portable(self, element: PortableElement) -> NewElement | NewItems:
        """Encode an element of another file.

        Raises
        ------
        BadParameterError
            If the character set cannot hold its text.
        """
        value = element.value
        if isinstance(value, tuple):
            return NewItems(tuple(map(self._encode_portable_item, value)))
        if isinstance(value, str):
            return self._encode_localized(element.vr, value)
        if self.layout.byte_order == ">":
            value = swap_bytes(element.vr, value)
        return NewElement(element.vr, value)

    def _encode_portable_item(self, item: Mapping[int, PortableElement]) -> bytes:
        return b"".join(
            encode_element(tag, self.encode_portable(item[tag]), self.layout)
            for tag in sorted(item)
        )

    def _encode_items(self, items: list[Any], depth: int) -> NewItems:
        if depth >= MAXIMUM_DEPTH:
            raise BadParameterError("the sequences nest too deep")
        return NewItems(tuple(self._encode_item(item, depth + 1) for item in items))

    def _encode_item(self, item: Any, depth: int) -> bytes:
        if not isinstance(item, Mapping):
            raise ParameterTypeError("the items of a sequence must be objects")
        elements = {
            self.dictionary.parse_tag(name): self.encode(
                self.dictionary.parse_tag(name), value, depth=depth
            )
            for name, value in item.items()
        }
        return b"".join(encode_element(tag, elements[tag], self.layout) for tag in sorted(elements))

    def _encode_text(self, vr: str, text: str) -> NewElement:
        if vr in _NUMBERS:
            return NewElement(vr, self._encode_numbers(vr, text))
        if vr == "AT":
            return NewElement(vr, self._encode_tags(text))
        if vr == _UNKNOWN:
            vr = _TEXT
        if vr in _BINARY_VRS:
            return NewElement(vr, text.encode())
        if vr not in LOCALIZED_VRS:
            return NewElement(vr, text.encode("ascii", "replace"))
        return self._encode_localized(vr, text)

    def _encode_localized(self, vr: str, text: str) -> NewElement:
        try:
            return NewElement(vr, self.codec.encode(text))
        except UnicodeEncodeError as error:
            raise BadParameterError(
                "the character set of a file cannot hold a new value; replace its "
                f"SpecificCharacterSet, too, by {_UTF8}"
            ) from error

    def _encode_numbers(self, vr: str, text: str) -> bytes:
        code = _NUMBERS[vr]
        convert = float if code in "fd" else int
        parts = [part.strip() for part in text.split("\\")] if text.strip() else []
        try:
            numbers = [convert(part) for part in parts]
            return struct.pack(f"{self.layout.byte_order}{len(numbers)}{code}", *numbers)
        except (ValueError, struct.error, OverflowError) as error:
            raise BadParameterError(f"the value is no number of the kind {vr}") from error

    def _encode_tags(self, text: str) -> bytes:
        tags = [self.dictionary.parse_tag(part) for part in text.split("\\") if part.strip()]
        halves = [half for tag in tags for half in (tag >> 16, tag & 0xFFFF)]
        return struct.pack(f"{self.layout.byte_order}{len(halves)}H", *halves)


def iter_texts(value: Any) -> Iterator[str]:
    """Iterate over all text in a value of JSON, or in an element of another file."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, PortableElement):
            yield from iter_portable_texts([item])


def _decode_data_uri(text: str) -> bytes:
    _, found, data = text.partition(_BASE64)
    if not found:
        raise BadRequestError("a data URI must be of the form data:TYPE;base64,DATA")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequestError("a data URI is not in base64") from error
