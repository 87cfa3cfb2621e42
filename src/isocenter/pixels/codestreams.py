"""Headers of compressed frames, read before a codec allocates what they ask for.

References
----------
ISO/IEC 10918-1 §B.2.2, ISO/IEC 14495-1 §C.2.2 (frame headers), ISO/IEC 15444-1 §A.5.1 (SIZ)
"""

import itertools
import struct
from typing import NamedTuple

from isocenter.errors import TranscodingError
from isocenter.pixels.codecs import Family
from isocenter.pixels.formats import PixelFormat

__all__ = ["StreamHeader", "check_stream", "read_stream_header"]

_SOI = b"\xff\xd8"
# EOI, and EOC of JPEG 2000.
_END = b"\xff\xd9"
_SOC_SIZ = b"\xff\x4f\xff\x51"
# A JP2 file around a stream is against the standard, but there are some.
_LONGEST_BOXES = 4096
_MOST_SEGMENTS = 10_000
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
_LOSSY_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_LOSSLESS_FRAMES = frozenset({0xC3})
_LS_FRAMES = frozenset({0xF7})
_FRAMES = {
    Family.JPEG: _LOSSY_FRAMES,
    Family.JPEG_LOSSLESS: _LOSSLESS_FRAMES,
    Family.JPEG_LS: _LS_FRAMES,
}
_DAMAGED = "a compressed frame is damaged"
# RLE: a header of 16 numbers, and at most 15 segments (PS3.5 §G.5).
_RLE_HEADER = 64
_MOST_RLE_SEGMENTS = 15


class StreamHeader(NamedTuple):
    """What a compressed frame says of itself.

    Attributes
    ----------
    bits
        Of a sample.
    is_signed
        Said by JPEG 2000 only.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    is_signed: bool = False


def check_stream(data: bytes, family: Family, fmt: PixelFormat) -> StreamHeader | None:
    """Compare a compressed frame with what the file says of it.

    Returns
    -------
    StreamHeader or None
        ``None`` for RLE, which has none.

    Raises
    ------
    TranscodingError
        If it is damaged, or something else than the file says.
    """
    if family is Family.RLE:
        _check_rle(data, fmt)
        return None
    header = read_stream_header(data, family)
    # Decoders fill up what is cut, in silence.
    if data.rfind(_END) < 0:
        raise TranscodingError("a compressed frame is cut")
    expected = (fmt.rows, fmt.columns, fmt.samples)
    if (header.rows, header.columns, header.samples) != expected:
        raise TranscodingError("a compressed frame has another size than the file says")
    if not 0 < header.bits <= fmt.bits_allocated:
        raise TranscodingError("a compressed frame has more bits than the file says")
    return header


def read_stream_header(data: bytes, family: Family) -> StreamHeader:
    """Read the header of a JPEG, JPEG-LS or JPEG 2000 stream.

    Raises
    ------
    TranscodingError
        If it is none.
    """
    if family in _FRAMES:
        return _read_jpeg(data, _FRAMES[family])
    return _read_jpeg_2000(data)


def _read_jpeg(data: bytes, frames: frozenset[int]) -> StreamHeader:
    if not data.startswith(_SOI):
        raise TranscodingError(_DAMAGED)
    position = 2
    for _ in range(_MOST_SEGMENTS):
        while data[position : position + 2] == b"\xff\xff":
            position += 1
        if position + 4 > len(data) or data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker in _BARE:
            position += 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if marker in frames and length >= 8 and position + 10 <= len(data):
            bits, rows, columns, samples = struct.unpack_from(">BHHB", data, position + 4)
            return StreamHeader(rows, columns, samples, bits)
        if marker == 0xDA or length < 2:
            break
        position += 2 + length
    raise TranscodingError(_DAMAGED)


def _read_jpeg_2000(data: bytes) -> StreamHeader:
    start = data.find(_SOC_SIZ, 0, _LONGEST_BOXES)
    if start < 0 or len(data) < start + 45:
        raise TranscodingError(_DAMAGED)
    right, bottom, left, top, tile_width, tile_height = struct.unpack_from(">6I", data, start + 8)
    (samples,) = struct.unpack_from(">H", data, start + 40)
    depth, step_x, step_y = data[start + 42], data[start + 43], data[start + 44]
    if right <= left or bottom <= top or not tile_width or not tile_height:
        raise TranscodingError(_DAMAGED)
    if (step_x, step_y) != (1, 1):
        raise TranscodingError("JPEG 2000 with components of different sizes is not supported")
    return StreamHeader(bottom - top, right - left, samples, (depth & 0x7F) + 1, depth > 0x7F)


def _check_rle(data: bytes, fmt: PixelFormat) -> None:
    """Check where the segments are, which the decoder believes without a look."""
    expected = fmt.samples * fmt.bits_allocated // 8
    if len(data) < _RLE_HEADER or expected > _MOST_RLE_SEGMENTS:
        raise TranscodingError(_DAMAGED)
    count, *offsets = struct.unpack_from("<16I", data)
    if count != expected:
        raise TranscodingError("a compressed frame has another number of segments than expected")
    used = [*offsets[:count], len(data)]
    if used[0] < _RLE_HEADER or any(a >= b for a, b in itertools.pairwise(used)):
        raise TranscodingError(_DAMAGED)
