"""The Native DICOM Model, XML, written as a stream.

References
----------
PS3.19 §A.1; Orthanc REST: GET /instances/{id}/file (behaviour manual §8.2.1)
"""

import re
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from isocenter.dicom.elements import Buffer
from isocenter.dicom.native_model import (
    Attribute,
    Item,
    ModelWalk,
    NativeValue,
    gather,
    open_model,
)
from isocenter.dicom.tags import UNKNOWN_NAME, TagDictionary, is_private

__all__ = ["iter_native_xml"]

_START = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<NativeDicomModel xml:space="preserve" '
    b'xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">'
)
_END = b"</NativeDicomModel>\n"
_CHARACTER_SET = (
    b'<DicomAttribute tag="00080005" vr="CS" keyword="SpecificCharacterSet">'
    b'<Value number="1">ISO_IR 192</Value></DicomAttribute>'
)
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_RETIRED = "RETIRED_"
# XML 1.0 §2.2 has no way to write these; a carriage return would be read as a line feed.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_ENTITIES = {"\r": "&#13;"}


def iter_native_xml(
    buffer: Buffer, *, default_encoding: str, dictionary: TagDictionary
) -> Iterator[bytes]:
    """Write the data set of a file as a document of the Native DICOM Model.

    Parameters
    ----------
    buffer
        The whole file; it must stay open until the end of the iteration.
    default_encoding, dictionary
        As for `open_model`.

    Yields
    ------
    bytes
        The document, in pieces. Characters that XML cannot hold become U+FFFD.

    Raises
    ------
    BadFileFormatError
        If the file cannot be read, at any piece.
    """
    model = open_model(buffer, default_encoding=default_encoding, dictionary=dictionary)
    first = _CHARACTER_SET if model.lacks_character_set else b""
    yield from gather(_iter_document(model.walk, model.data_set, first))


def _iter_document(walk: ModelWalk, data_set: Item, first: bytes) -> Iterator[bytes]:
    yield _START + first
    yield from _iter_attributes(walk, data_set)
    yield _END


def _iter_attributes(walk: ModelWalk, item: Item) -> Iterator[bytes]:
    for attribute in walk.iter_attributes(item):
        yield _format_start(attribute)
        yield from _iter_value(walk, attribute, item)
        yield b"</DicomAttribute>"


def _format_start(attribute: Attribute) -> bytes:
    element = attribute.element
    start = f'<DicomAttribute tag="{element.tag:08X}" vr="{element.vr}"'
    name = element.definition.name if element.definition else UNKNOWN_NAME
    if name != UNKNOWN_NAME and not is_private(element.tag):
        start += f" keyword={quoteattr(_clean(name.removeprefix(_RETIRED)))}"
    if element.creator:
        start += f" privateCreator={quoteattr(_clean(element.creator))}"
    return f"{start}>".encode()


def _iter_value(walk: ModelWalk, attribute: Attribute, item: Item) -> Iterator[bytes]:
    if attribute.has_items:
        for number, inner in enumerate(walk.iter_items(attribute, item), 1):
            yield b'<Item number="%d">' % number
            yield from _iter_attributes(walk, inner)
            yield b"</Item>"
    elif attribute.is_binary:
        yield b"<InlineBinary>"
        yield from walk.iter_base64(attribute)
        yield b"</InlineBinary>"
    else:
        for number, value in enumerate(attribute.values, 1):
            if value is not None:
                yield _format_value(value, attribute.element.vr, number).encode()


def _format_value(value: NativeValue, vr: str, number: int) -> str:
    if vr == "PN":
        return f'<PersonName number="{number}">{_format_name(str(value))}</PersonName>'
    return f'<Value number="{number}">{_escape(str(value))}</Value>'


def _format_name(name: str) -> str:
    """Write the groups and components of a person's name (PS3.5 §6.2.1)."""
    written = []
    for group, text in zip(_GROUPS, name.split("="), strict=False):
        parts = zip(_COMPONENTS, text.split("^", len(_COMPONENTS) - 1), strict=False)
        inner = "".join(f"<{tag}>{_escape(part)}</{tag}>" for tag, part in parts if part)
        if inner:
            written.append(f"<{group}>{inner}</{group}>")
    return "".join(written)


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def _escape(text: str) -> str:
    return escape(_clean(text), _ENTITIES)
