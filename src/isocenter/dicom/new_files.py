"""Whole files of elements that were encoded one by one.

References
----------
PS3.10 §7.1, PS3.5 §7.1, §A.4 (fragments)
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from isocenter.dicom.elements import (
    EXPLICIT_LITTLE,
    ITEM,
    PIXEL_DATA,
    SEQUENCE_DELIMITATION,
    UNDEFINED_LENGTH,
)
from isocenter.dicom.file_meta import build_file_meta
from isocenter.dicom.new_elements import NewElement, NewItems, encode_element
from isocenter.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from isocenter.errors import BadRequestError

__all__ = ["JPEG_BASELINE", "Pixels", "build_file"]

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
"""JPEG Baseline (Process 1): 8 bits, lossy."""

_SOP_CLASS_UID = 0x00080016
_SOP_INSTANCE_UID = 0x00080018
_TAG = struct.Struct("<HHI")


@dataclass(frozen=True, slots=True)
class Pixels:
    """The value of Pixel Data.

    Attributes
    ----------
    pieces
        Samples in little endian, or one frame of another transfer syntax, in one or more pieces.
    transfer_syntax_uid
        Of the whole file; that of the frame if it is encapsulated.
    """

    pieces: tuple[bytes, ...]
    transfer_syntax_uid: str = EXPLICIT_VR_LITTLE_ENDIAN


def build_file(
    elements: Mapping[int, NewElement | NewItems], pixels: Pixels | None = None
) -> list[bytes]:
    """Build a file in explicit little endian.

    Parameters
    ----------
    elements
        Encoded for `EXPLICIT_LITTLE`, without pixel data.

    Returns
    -------
    list of bytes
        The file in pieces.

    Raises
    ------
    BadRequestError
        If a value is too long for its value representation.
    """
    before = [tag for tag in sorted(elements) if tag < PIXEL_DATA]
    after = [tag for tag in sorted(elements) if tag > PIXEL_DATA]
    syntax = EXPLICIT_VR_LITTLE_ENDIAN if pixels is None else pixels.transfer_syntax_uid
    meta = build_file_meta(
        _get_uid(elements, _SOP_CLASS_UID),
        _get_uid(elements, _SOP_INSTANCE_UID),
        transfer_syntax_uid=syntax,
    )
    pieces = [meta, *(encode_element(tag, elements[tag], EXPLICIT_LITTLE) for tag in before)]
    if pixels is not None:
        pieces.extend(_encode_pixels(pixels))
    pieces.extend(encode_element(tag, elements[tag], EXPLICIT_LITTLE) for tag in after)
    return pieces


def _get_uid(elements: Mapping[int, NewElement | NewItems], tag: int) -> str:
    element = elements.get(tag)
    value = element.value if isinstance(element, NewElement) else b""
    return value.rstrip(b" \0").decode("ascii", "replace")


def _encode_pixels(pixels: Pixels) -> list[bytes]:
    length = sum(map(len, pixels.pieces))
    size = length + length % 2
    if size >= UNDEFINED_LENGTH:
        raise BadRequestError("the pixels have too many bytes")
    padding = b"\0" * (length % 2)
    if pixels.transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN:
        return [_encode_pixel_header(b"OW", size), *pixels.pieces, padding]
    # An empty offset table, and one fragment for the one frame.
    start = _encode_pixel_header(b"OB", UNDEFINED_LENGTH) + _encode_item(ITEM, 0)
    end = padding + _encode_item(SEQUENCE_DELIMITATION, 0)
    return [start, _encode_item(ITEM, size), *pixels.pieces, end]


def _encode_pixel_header(vr: bytes, length: int) -> bytes:
    tag = struct.pack("<HH", PIXEL_DATA >> 16, PIXEL_DATA & 0xFFFF)
    return tag + vr + b"\0\0" + struct.pack("<I", length)


def _encode_item(tag: int, length: int) -> bytes:
    return _TAG.pack(tag >> 16, tag & 0xFFFF, length)
