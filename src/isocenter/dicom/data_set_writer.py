"""From data sets as values to bytes, in the character set that a receiver understands.

References
----------
PS3.5 §6.1, §7; PS3.3 §C.12.1.1.2; Orthanc: character set of C-FIND answers (quirk 27)
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from isocenter.dicom.character_sets import (
    DEFAULT_ENCODINGS,
    build_character_set,
    normalize_character_set,
)
from isocenter.dicom.data_sets import DataSet, Element, Value
from isocenter.dicom.elements import Layout
from isocenter.dicom.encoding import TextCodec
from isocenter.dicom.new_elements import NewElement, NewItems, encode_element
from isocenter.dicom.tags import DEFAULT_DICTIONARY
from isocenter.dicom.values import NUMBER_VRS
from isocenter.errors import BadParameterError, RequestError

__all__ = [
    "UTF8",
    "AnswerEncoding",
    "Codec",
    "build_codec",
    "build_element",
    "encode_data_set",
    "encode_leniently",
]

_SPECIFIC_CHARACTER_SET = 0x00080005
UTF8 = "ISO_IR 192"
"""The character set that has all letters."""

_JIS_X_0201 = "shift_jis"
_LOCALIZED_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
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


class Codec(Protocol):
    """A character set."""

    def encode(self, text: str) -> bytes:
        """Encode a text; raises UnicodeEncodeError if a letter is missing."""


@dataclass(frozen=True, slots=True)
class _PlainCodec:
    """A character set without code extensions."""

    codec: str

    def encode(self, text: str) -> bytes:
        """Encode a text."""
        data = text.encode(self.codec)
        if self.codec == _JIS_X_0201 and len(data) != len(text):
            # The codec goes on into JIS X 0208, which this character set lacks.
            raise UnicodeEncodeError(self.codec, text, 0, len(text), "no such letter")
        return data


class _ExtendedCodec:
    """A character set with code extensions; what it writes can be read with its terms alone."""

    def __init__(self, term: str) -> None:
        self._codec = TextCodec(term)
        self._character_set = build_character_set(term)

    def encode(self, text: str) -> bytes:
        """Encode a text."""
        data = self._codec.encode(text)
        if self._character_set.decode(data, is_person_name=True) != text:
            raise UnicodeEncodeError("extended", text, 0, len(text), "no such letter")
        return data


@lru_cache(maxsize=64)
def build_codec(term: str) -> Codec:
    """Choose the encoder of a Specific Character Set, all of whose terms are known."""
    character_set = build_character_set(term)
    if character_set.has_code_extensions:
        return _ExtendedCodec(term)
    return _PlainCodec(character_set.codec)


@dataclass(frozen=True, slots=True)
class AnswerEncoding:
    """How answers to one question are encoded.

    Attributes
    ----------
    layout
        Of the presentation context.
    term
        Character set of the question, or the default one if it names none.
    """

    layout: Layout
    term: str

    @classmethod
    def choose(cls, layout: Layout, asked: str, default_encoding: str) -> "AnswerEncoding":
        """Choose the character set: that of the question, else the default one.

        Parameters
        ----------
        asked
            Value of (0008,0005) of the question, empty if it has none; an unknown one counts as
            UTF-8.
        default_encoding
            Value of the option ``DefaultEncoding``.
        """
        if asked.strip(" "):
            return cls(layout, normalize_character_set(asked) or UTF8)
        return cls(layout, DEFAULT_ENCODINGS.get(default_encoding, "") or UTF8)

    @property
    def is_slow(self) -> bool:
        """True if encoding may take long: code extensions need tables that are loaded first."""
        return build_character_set(self.term).has_code_extensions

    def encode(self, answer: Mapping[int, Element]) -> bytes:
        """Encode an answer; if its character set lacks a letter, in UTF-8 instead.

        The Specific Character Set is set, and the elements are put into their order.
        """
        try:
            return self._encode(answer, self.term)
        except UnicodeEncodeError:
            return self._encode(answer, UTF8)

    def _encode(self, answer: Mapping[int, Element], term: str) -> bytes:
        named = {**answer, _SPECIFIC_CHARACTER_SET: Element("CS", term)}
        codec = build_codec(term)
        return b"".join(
            encode_leniently(tag, named[tag], self.layout, codec) for tag in sorted(named)
        )


def encode_leniently(tag: int, element: Element, layout: Layout, codec: Codec) -> bytes:
    """Encode an element; one that does not fit its value representation is sent empty.

    Files hold all kinds of values, and one of them must not withhold the other answers.

    Raises
    ------
    UnicodeEncodeError
        If a letter is missing in the character set.
    """
    try:
        return _encode(tag, element, layout, codec)
    except RequestError:
        empty: Value = [] if isinstance(element.value, list) else ""
        return _encode(tag, Element(element.vr, empty), layout, codec)


def encode_data_set(
    data_set: Mapping[int, Element], layout: Layout, codec: Codec | None = None
) -> bytes:
    """Encode a data set in ascending order of the tags.

    Parameters
    ----------
    codec
        For localized text; ``None`` if there is ASCII only.

    Raises
    ------
    UnicodeEncodeError
        If a letter is missing in the character set.
    BadParameterError
        If a value is not what its value representation says.
    """
    codec = codec or _PlainCodec("ascii")
    return b"".join(
        _encode(tag, data_set[tag], layout, codec)
        for tag in sorted(data_set)
        if tag & 0xFFFF  # Group lengths are retired (PS3.5 §7.2).
    )


def _encode(tag: int, element: Element, layout: Layout, codec: Codec) -> bytes:
    vr, value = element
    if isinstance(value, list):
        items = tuple(encode_data_set(item, layout, codec) for item in value)
        return encode_element(tag, NewItems(items), layout)
    if isinstance(value, bytes):
        return encode_element(tag, NewElement(vr, value), layout)
    if vr == "SQ":
        return encode_element(tag, NewItems(()), layout)
    return encode_element(tag, NewElement(vr, _encode_text(vr, value, layout, codec)), layout)


def _encode_text(vr: str, text: str, layout: Layout, codec: Codec) -> bytes:
    if vr in NUMBER_VRS:
        return _encode_numbers(vr, text, layout.byte_order)
    if text.isascii():
        return text.encode("ascii")
    if vr in _LOCALIZED_VRS:
        return codec.encode(text)
    return text.encode("ascii", "replace")


def _encode_numbers(vr: str, text: str, byte_order: str) -> bytes:
    parts = [part.strip() for part in text.split("\\")] if text.strip() else []
    try:
        if vr == "AT":
            tags = [int(part.replace(",", ""), 16) for part in parts]
            halves = [half for tag in tags for half in (tag >> 16, tag & 0xFFFF)]
            return struct.pack(f"{byte_order}{len(halves)}H", *halves)
        code = _NUMBERS[vr]
        convert = float if code in "fd" else int
        return struct.pack(f"{byte_order}{len(parts)}{code}", *map(convert, parts))
    except (ValueError, struct.error, OverflowError) as error:
        raise BadParameterError(f"a value is no number of the kind {vr}") from error


def build_element(tag: int, value: Any, vr: str | None = None) -> Element:
    """Build an element of a value of human JSON: text, ``None``, or a list of items.

    Parameters
    ----------
    vr
        ``None`` to take it from the dictionary. An unknown one becomes text.

    Notes
    -----
    Elements of items that no dictionary knows by their names are left out.
    """
    known = DEFAULT_DICTIONARY.lookup_vr(tag)
    if known == "UN":
        known = vr or known
    if isinstance(value, list):
        return Element("SQ", [_build_item(item) for item in value if isinstance(item, Mapping)])
    if known == "SQ":
        return Element("SQ", [])
    if value is None:
        return Element(known, "")
    return Element(known, value if isinstance(value, str) else "")


def _build_item(item: Mapping[str, Any]) -> DataSet:
    tags = ((DEFAULT_DICTIONARY.lookup_tag(name), value) for name, value in item.items())
    return {tag: build_element(tag, value) for tag, value in tags if tag is not None}
