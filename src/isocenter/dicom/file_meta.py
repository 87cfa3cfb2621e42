"""File meta information: the header in front of a data set in a file.

References
----------
PS3.10 §7.1
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from isocenter.dicom.character_sets import strip_padding
from isocenter.dicom.elements import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    UNDEFINED_LENGTH,
    Buffer,
    Layout,
    read_element_header,
    read_long_header,
    truncated,
)
from isocenter.dicom.tags import DEFAULT_DICTIONARY
from isocenter.dicom.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    lookup_transfer_syntax,
)
from isocenter.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from isocenter.errors import BadFileFormatError

__all__ = ["FileMeta", "build_file_meta", "guess_layout", "read_file_meta"]

_PREAMBLE_SIZE = 128
_PREFIX = b"DICM"
_META_GROUP = 0x0002
_TRANSFER_SYNTAX_UID = 0x00020010
_GROUP_0002_IN_LITTLE_ENDIAN = b"\x02\x00"


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What the file meta information says, and where the data set begins.

    Parameters
    ----------
    transfer_syntax_uid
        As declared; if nothing is declared, that of the guessed encoding.
    layout
        Encoding of the data set (of the inflated one if it is deflated).
    is_deflated
        Whether the data set must be inflated first.
    data_set_offset
        Offset of the first element of the data set in the buffer.
    has_meta_header
        Whether the buffer holds file meta information.
    elements
        Tag to (VR, raw value) of the elements of group 0002.
    """

    transfer_syntax_uid: str
    layout: Layout
    is_deflated: bool
    data_set_offset: int
    has_meta_header: bool
    elements: Mapping[int, tuple[str, bytes]]


def read_file_meta(buffer: Buffer) -> FileMeta:
    """Read the file meta information, or guess the encoding of a bare data set.

    The group length is not believed: the header ends where group 0002 ends.

    Raises
    ------
    BadFileFormatError
        If the buffer does not begin like a DICOM file or a data set.

    References
    ----------
    PS3.10 §7.1; Orthanc REST: POST /instances (bare data sets, behaviour manual §8.1)
    """
    offset = _lookup_meta_offset(buffer)
    elements: dict[int, tuple[str, bytes]] = {}
    if offset is not None:
        offset = _read_meta_elements(buffer, offset, elements)
    _, raw_uid = elements.get(_TRANSFER_SYNTAX_UID, ("UI", b""))
    uid = strip_padding(raw_uid).decode("ascii", "replace").strip()
    start = offset or 0
    syntax = lookup_transfer_syntax(uid)
    if syntax is None:
        layout = guess_layout(buffer, start, is_strict=offset is None)
        uid = uid or _GUESSED_UIDS[layout.is_explicit, layout.byte_order]
    else:
        layout = choose_layout(uid)
    return FileMeta(
        transfer_syntax_uid=uid,
        layout=layout,
        is_deflated=syntax is not None and syntax.is_deflated,
        data_set_offset=start,
        has_meta_header=offset is not None,
        elements=elements,
    )


def choose_layout(transfer_syntax_uid: str) -> Layout:
    """Find how element headers are encoded in a transfer syntax.

    An unknown one counts as explicit little endian (PS3.5 §10.1).
    """
    syntax = lookup_transfer_syntax(transfer_syntax_uid)
    if syntax is not None and syntax.is_big_endian:
        return EXPLICIT_BIG
    if syntax is not None and not syntax.is_explicit:
        return IMPLICIT_LITTLE
    return EXPLICIT_LITTLE


_GUESSED_UIDS = {
    (True, "<"): EXPLICIT_VR_LITTLE_ENDIAN,
    (True, ">"): EXPLICIT_VR_BIG_ENDIAN,
    (False, "<"): IMPLICIT_VR_LITTLE_ENDIAN,
}


def guess_layout(buffer: Buffer, start: int, *, is_strict: bool = True) -> Layout:
    """Guess how a data set is encoded from its first element.

    Parameters
    ----------
    is_strict
        Whether the first element must be one of the standard: without file meta information
        nothing else tells a data set from any other bytes.

    Raises
    ------
    BadFileFormatError
        If no encoding gives an element that fits into the buffer.
    """
    size = len(buffer)
    for layout in (EXPLICIT_LITTLE, EXPLICIT_BIG, IMPLICIT_LITTLE):
        if start + 8 > size:
            break
        tag, _, value, length = read_element_header(buffer, start, size, layout)
        fits = length == UNDEFINED_LENGTH or value + length <= size
        has_vr = not layout.is_explicit or _has_known_vr(buffer, start, layout)
        is_plausible = not is_strict or _can_start_data_set(tag)
        if fits and has_vr and is_plausible:
            return layout
    if start == size and not is_strict:
        return EXPLICIT_LITTLE
    raise BadFileFormatError("These bytes are neither a DICOM file nor a DICOM data set")


def _can_start_data_set(tag: int) -> bool:
    return tag >> 16 > _META_GROUP and DEFAULT_DICTIONARY.lookup(tag) is not None


def _has_known_vr(buffer: Buffer, start: int, layout: Layout) -> bool:
    return layout.unpack_key(buffer, start)[1] in layout.vr_names


def _lookup_meta_offset(buffer: Buffer) -> int | None:
    prefix_end = _PREAMBLE_SIZE + len(_PREFIX)
    if bytes(buffer[_PREAMBLE_SIZE:prefix_end]) == _PREFIX:
        return prefix_end
    if bytes(buffer[:2]) == _GROUP_0002_IN_LITTLE_ENDIAN:
        return 0
    return None


def _read_meta_elements(
    buffer: Buffer, position: int, elements: dict[int, tuple[str, bytes]]
) -> int:
    size = len(buffer)
    layout = EXPLICIT_LITTLE
    unpack, short_vrs, names = layout.unpack_header, layout.short_vrs, layout.vr_names
    while position + 8 <= size:
        group, element, vr, length = unpack(buffer, position)
        if group != _META_GROUP:
            return position
        if vr in short_vrs:
            name, value = names[vr], position + 8
        else:
            name, value, length = read_long_header(buffer, position, vr, layout)
        position = value + length
        if position > size:
            raise truncated()
        tag = group << 16 | element
        if tag not in elements:
            elements[tag] = (name, bytes(buffer[value:position]))
    if position != size:
        raise truncated()
    return position


def build_file_meta(
    sop_class_uid: str,
    sop_instance_uid: str,
    *,
    transfer_syntax_uid: str,
    source_ae_title: str | None = None,
) -> bytes:
    """Build the preamble and the file meta information of a data set.

    Parameters
    ----------
    sop_class_uid, sop_instance_uid, transfer_syntax_uid
        What the data set is and how it is encoded.
    source_ae_title
        Title of the application entity that sent the data set, if it was sent.

    Returns
    -------
    bytes
        What stands in a file before the data set.

    References
    ----------
    PS3.10 §7.1, Table 7.1-1
    """
    body = b"".join(
        (
            _encode(0x0001, b"OB\0\0", b"\0\1", length_format="<I"),
            _encode_uid(0x0002, sop_class_uid),
            _encode_uid(0x0003, sop_instance_uid),
            _encode_last_elements(transfer_syntax_uid, source_ae_title),
        )
    )
    length = _encode(0x0000, b"UL", struct.pack("<I", len(body)))
    return b"\0" * _PREAMBLE_SIZE + _PREFIX + length + body


@lru_cache(maxsize=256)
def _encode_last_elements(transfer_syntax_uid: str, source_ae_title: str | None) -> bytes:
    """Write what is the same for all data sets that come the same way."""
    return b"".join(
        (
            _encode_uid(0x0010, transfer_syntax_uid),
            _encode_uid(0x0012, IMPLEMENTATION_CLASS_UID),
            _encode_text(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
            _encode_text(0x0016, b"AE", source_ae_title) if source_ae_title else b"",
        )
    )


def _encode_uid(element: int, uid: str) -> bytes:
    data = uid.encode("ascii", "replace")
    return _encode(element, b"UI", data + b"\0" * (len(data) & 1))


def _encode_text(element: int, vr: bytes, text: str) -> bytes:
    data = text.encode("ascii", "replace")
    return _encode(element, vr, data + b" " * (len(data) & 1))


def _encode(element: int, vr: bytes, value: bytes, *, length_format: str = "<H") -> bytes:
    tag = struct.pack("<HH", _META_GROUP, element)
    return tag + vr + struct.pack(length_format, len(value)) + value
