"""The DICOM JSON model, written as a stream.

References
----------
PS3.18 §F.2; Orthanc REST: GET /instances/{id}/file (behaviour manual §8.2.1)
"""

import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from isocenter.dicom.elements import Buffer
from isocenter.dicom.native_model import (
    Attribute,
    Item,
    ModelWalk,
    NativeValue,
    gather,
    open_model,
)
from isocenter.dicom.tags import TagDictionary

__all__ = ["iter_dicom_json"]

_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
# Beyond this a number that JavaScript reads is another one (RFC 8259 §6).
_LARGEST_INTEGER = 2**53 - 1
_CHARACTER_SET = b'"00080005":{"Value":["ISO_IR 192"],"vr":"CS"}'

_encode = msgspec.json.encode


def iter_dicom_json(
    buffer: Buffer, *, default_encoding: str, dictionary: TagDictionary
) -> Iterator[bytes]:
    """Write the data set of a file as one object of the DICOM JSON model, binary values inline.

    Parameters
    ----------
    buffer
        The whole file; it must stay open until the end of the iteration.
    default_encoding, dictionary
        As for `open_model`.

    Yields
    ------
    bytes
        The document, in pieces.

    Raises
    ------
    BadFileFormatError
        If the file cannot be read, at any piece.
    """
    model = open_model(buffer, default_encoding=default_encoding, dictionary=dictionary)
    first = _CHARACTER_SET if model.lacks_character_set else b""
    yield from gather(_iter_object(model.walk, model.data_set, first))


def _iter_object(walk: ModelWalk, item: Item, first: bytes = b"") -> Iterator[bytes]:
    yield b"{" + first
    separator = b"," if first else b""
    for attribute in walk.iter_attributes(item):
        yield b'%s"%08X":{' % (separator, attribute.element.tag)
        yield from _iter_value(walk, attribute, item)
        yield b'"vr":"%s"}' % attribute.element.vr.encode()
        separator = b","
    yield b"}"


def _iter_value(walk: ModelWalk, attribute: Attribute, item: Item) -> Iterator[bytes]:
    """Write the member that holds the value and a comma; nothing for an empty one."""
    if attribute.has_items:
        start, end = b'"Value":[', b""
        for inner in walk.iter_items(attribute, item):
            yield start
            yield from _iter_object(walk, inner)
            start, end = b",", b"],"
        yield end
    elif attribute.is_binary:
        yield b'"InlineBinary":"'
        yield from walk.iter_base64(attribute)
        yield b'",'
    elif attribute.values:
        vr = attribute.element.vr
        yield b'"Value":%s,' % _encode([_convert(value, vr) for value in attribute.values])


def _convert(value: NativeValue, vr: str) -> Any:
    """Turn a value into what stands for it in JSON (PS3.18 §F.2.3)."""
    if vr == "PN" and isinstance(value, str):
        groups = zip(_GROUPS, value.split("="), strict=False)
        return {name: text for name, text in groups if text}
    if vr == "IS" and isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if vr == "DS" and isinstance(value, str) and _DECIMAL.fullmatch(value):
        number = float(value)
        return number if math.isfinite(number) else value
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value
