"""The parts of a file that count for its pixels: where they are, and what the header says of them.

References
----------
PS3.5 §7.1, §A.4; PS3.3 §C.7.6.3 (Image Pixel), §C.7.6.6 (Multi-frame)
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from isocenter.dicom.deflate import inflate_data_set
from isocenter.dicom.elements import (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    PIXEL_DATA,
    UNDEFINED_LENGTH,
    Buffer,
    Layout,
    measure_fragments,
    measure_undefined_length,
    read_element_header,
    truncated,
)
from isocenter.dicom.file_meta import FileMeta, read_file_meta
from isocenter.dicom.recoding import recode_data_set
from isocenter.errors import BadFileFormatError, TranscodingError
from isocenter.pixels.formats import PixelFormat
from isocenter.pixels.fragments import MOST_FRAMES

__all__ = ["FileParts", "PixelElement", "open_parts"]

_CHARACTER_SET = 0x00080005
SOP_CLASS_UID = 0x00080016
SOP_INSTANCE_UID = 0x00080018
_SAMPLES = 0x00280002
_PHOTOMETRIC = 0x00280004
_PLANAR = 0x00280006
_FRAMES = 0x00280008
_ROWS = 0x00280010
_COLUMNS = 0x00280011
_ALLOCATED = 0x00280100
_STORED = 0x00280101
_HIGH_BIT = 0x00280102
_REPRESENTATION = 0x00280103
_EXTENDED_OFFSETS = 0x7FE00001
_IMAGE_TYPE = 0x00080008
_DERIVATION = 0x00082111
# Overlay planes are in groups 6000 to 60FF (PS3.3 §C.9.2).
_OVERLAY_GROUPS = 0x60
_OVERLAY_BIT_POSITION, _OVERLAY_DATA = 0x0102, 0x3000
_FLOATS = frozenset({0x7FE00008, 0x7FE00009})
_LOSSY_TAGS = (0x00282110, 0x00282112, 0x00282114)
_WANTED = frozenset(
    {
        _CHARACTER_SET,
        SOP_CLASS_UID,
        SOP_INSTANCE_UID,
        _IMAGE_TYPE,
        _DERIVATION,
        _SAMPLES,
        _PHOTOMETRIC,
        _PLANAR,
        _FRAMES,
        _ROWS,
        _COLUMNS,
        _ALLOCATED,
        _STORED,
        _HIGH_BIT,
        _REPRESENTATION,
        _EXTENDED_OFFSETS,
        *_LOSSY_TAGS,
    }
)
_LONGEST_VALUE = 1024
# 1024 characters, which may take several bytes, and escape sequences between them.
_LONGEST_TEXT = 16 * 1024
_FRAME_COUNT = re.compile(r"\+?[0-9]{1,9}")
# A data set that has to be brought into another byte order first is held in memory.
_LARGEST_IN_MEMORY = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PixelElement:
    """The element Pixel Data.

    Attributes
    ----------
    start, value, stop
        Offsets of its header, its value, and its end.
    is_encapsulated
        It holds fragments.
    """

    start: int
    value: int
    stop: int
    is_encapsulated: bool


@dataclass(frozen=True, slots=True, eq=False)
class FileParts:
    """A file, looked through once.

    Attributes
    ----------
    meta
        Its file meta information.
    view, start
        What holds the data set, which is not deflated, and where it begins there.
    layout
        Encoding of that.
    pixels
        ``None`` if there are none.
    values
        Some elements in front of the pixels, as they are encoded.
    has_floats
        The pixels are floating point numbers, which are no Pixel Data.
    """

    meta: FileMeta
    view: memoryview
    start: int
    layout: Layout
    pixels: PixelElement | None
    values: Mapping[int, bytes]
    has_floats: bool = False

    @property
    def has_embedded_overlays(self) -> bool:
        """True if bits above the pixels are overlay planes (retired; PS3.5 §8.1.2)."""
        return any(
            _is_overlay(tag, _OVERLAY_BIT_POSITION)
            and any(value)
            and (tag & ~0xFFFF) + _OVERLAY_DATA not in self.values
            for tag, value in self.values.items()
        )

    @property
    def header_end(self) -> int:
        """Where the header ends."""
        return len(self.view) if self.pixels is None else self.pixels.start

    def get_text(self, tag: int) -> str:
        """Read a value as text, without padding; empty if there is none."""
        return self.values.get(tag, b"").decode("latin-1").strip(" \0")

    def read_format(self) -> PixelFormat:
        """Read what the header says of the pixels.

        Raises
        ------
        TranscodingError
            If it does not say enough.
        """
        bits = self._get_number(_ALLOCATED)
        stored = self._get_number(_STORED, bits)
        return PixelFormat(
            rows=self._get_number(_ROWS),
            columns=self._get_number(_COLUMNS),
            samples=self._get_number(_SAMPLES, 1),
            bits_allocated=bits,
            bits_stored=stored,
            high_bit=self._get_number(_HIGH_BIT, stored - 1),
            is_signed=self._get_number(_REPRESENTATION, 0) == 1,
            planar=self._get_number(_PLANAR, 0),
            photometric=self.get_text(_PHOTOMETRIC),
        )

    def _get_number(self, tag: int, default: int | None = None) -> int:
        value = self.values.get(tag, b"")
        if len(value) >= 2:
            (number,) = struct.unpack_from(f"{self.layout.byte_order}H", value)
            return int(number)
        if default is None:
            raise TranscodingError(f"the file lacks ({tag >> 16:04x},{tag & 0xFFFF:04x})")
        return default

    def read_frames(self) -> int:
        """Read how many frames there are.

        Raises
        ------
        TranscodingError
            If that is no number, or a number beyond all reason.
        """
        text = self.get_text(_FRAMES).split("\\")[0].strip() or "1"
        if not _FRAME_COUNT.fullmatch(text) or not 0 < int(text) <= MOST_FRAMES:
            raise TranscodingError(f"a file has 1 to {MOST_FRAMES} frames")
        return int(text)

    def read_extended_offsets(self) -> tuple[int, ...]:
        """Read the Extended Offset Table; empty if there is none."""
        value = self.values.get(_EXTENDED_OFFSETS, b"")
        return struct.unpack(f"<{len(value) // 8}Q", value[: len(value) // 8 * 8])


def open_parts(buffer: Buffer) -> FileParts:
    """Look through a file up to its pixels, in an encoding in little endian.

    Parameters
    ----------
    buffer
        A whole file; views of it are given out.

    Raises
    ------
    BadFileFormatError
        If it is damaged.
    """
    meta = read_file_meta(buffer)
    view, start, layout = memoryview(buffer), meta.data_set_offset, meta.layout
    if meta.is_deflated:
        view, start = memoryview(inflate_data_set(buffer, start)), 0
    if layout.byte_order == ">":
        check_size(len(view))
        pieces = recode_data_set(view, start, layout, EXPLICIT_LITTLE)
        view, start, layout = memoryview(b"".join(pieces)), 0, EXPLICIT_LITTLE
    pixels, values = _scan(view, start, layout)
    has_floats = not values.keys().isdisjoint(_FLOATS)
    return FileParts(meta, view, start, layout, pixels, values, has_floats)


def check_size(size: int) -> None:
    """Refuse to hold a large data set in memory.

    Raises
    ------
    TranscodingError
        If it is too large.
    """
    if size > _LARGEST_IN_MEMORY:
        raise TranscodingError(
            f"deflated files and such in big endian may have {_LARGEST_IN_MEMORY} bytes at most"
        )


def _scan(
    view: memoryview, position: int, layout: Layout
) -> tuple[PixelElement | None, dict[int, bytes]]:
    values: dict[int, bytes] = {}
    end = len(view)
    while position < end:
        tag, vr, value, length = read_element_header(view, position, end, layout)
        is_undefined = length == UNDEFINED_LENGTH
        if tag == PIXEL_DATA:
            stop = measure_fragments(view, value, end) if is_undefined else value + length
            if stop > end:
                raise truncated()
            return PixelElement(position, value, stop, is_undefined), values
        if tag > PIXEL_DATA:
            break
        if is_undefined:
            position = measure_undefined_length(view, value, end, _get_inner(vr, layout))
        else:
            position = value + length
        if position > end:
            raise truncated()
        found = _read_wanted(view, tag, start=value, stop=position)
        if found is not None:
            values.setdefault(tag, found)
    return None, values


def _read_wanted(view: memoryview, tag: int, *, start: int, stop: int) -> bytes | None:
    """Read a value if it counts; of some elements only that they are there."""
    if tag in _FLOATS or _is_overlay(tag, _OVERLAY_DATA):
        return b""
    if _is_overlay(tag, _OVERLAY_BIT_POSITION):
        return bytes(view[start : min(stop, start + 2)])
    if tag == _DERIVATION:
        return bytes(view[start : min(stop, start + _LONGEST_TEXT)])
    if tag == _EXTENDED_OFFSETS and stop - start > 8 * MOST_FRAMES:
        raise BadFileFormatError("The Extended Offset Table is too long")
    if tag == _EXTENDED_OFFSETS or (tag in _WANTED and stop - start <= _LONGEST_VALUE):
        return bytes(view[start:stop])
    return None


def _get_inner(vr: str | None, layout: Layout) -> Layout:
    return IMPLICIT_LITTLE if vr == "UN" else layout


def _is_overlay(tag: int, element: int) -> bool:
    return tag >> 24 == _OVERLAY_GROUPS and tag & 0xFFFF == element
