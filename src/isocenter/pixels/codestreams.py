"""Headers of compressed frames, read before a codec allocates what they ask for.

References
----------
ISO/IEC 10918-1 §B.2.2, ISO/IEC 14495-1 §C.2.2 (frame headers), ISO/IEC 15444-1 §A (markers)
"""

import itertools
import struct
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from isocenter.errors import BadFileFormatError, TranscodingError
from isocenter.pixels.codecs import Family
from isocenter.pixels.formats import PixelFormat
from isocenter.pixels.jpeg_streams import read_jpeg_stream

__all__ = ["StreamHeader", "check_stream", "read_stream_header"]

_SOC_SIZ = b"\xff\x4f\xff\x51"
# A JP2 file around a stream is against the standard, but there are some.
_LONGEST_BOXES = 4096
_SOT, _SOD, _EOC = b"\xff\x90", b"\xff\x93", b"\xff\xd9"
_COD, _COC = b"\xff\x52", b"\xff\x53"
_MOST_SEGMENTS = 10_000
_MOST_TILE_PARTS = 100_000
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
    is_lossy
        True if samples differ from the original ones.
    colors
        What a JPEG stream says of them: ``RGB`` or ``YBR``; empty if nothing.
    ends
        Where the coded data of a JPEG stream are interrupted by markers; empty for JPEG-LS, whose
        decoder finds out itself what is missing.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    is_signed: bool = False
    is_lossy: bool = False
    colors: str = ""
    ends: Sequence[int] = ()


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
    expected = (fmt.rows, fmt.columns, fmt.samples)
    if (header.rows, header.columns, header.samples) != expected:
        raise TranscodingError("a compressed frame has another size than the file says")
    if not 0 < header.bits <= fmt.bits_allocated:
        raise TranscodingError("a compressed frame has more bits than the file says")
    return header


def read_stream_header(data: bytes, family: Family) -> StreamHeader:
    """Read the header of a JPEG, JPEG-LS or JPEG 2000 stream, and look for its end.

    Raises
    ------
    TranscodingError
        If it is none, or not whole.
    """
    if family in _FRAMES:
        return _read_jpeg(data, family)
    return _read_jpeg_2000(data)


def _read_jpeg(data: bytes, family: Family) -> StreamHeader:
    try:
        stream = read_jpeg_stream(data)
    except BadFileFormatError as error:
        raise TranscodingError(_DAMAGED) from error
    if stream.marker not in _FRAMES[family]:
        raise TranscodingError(_DAMAGED)
    is_ls = family is Family.JPEG_LS
    if not is_ls and not stream.is_whole():
        raise TranscodingError("a compressed frame is cut")
    return StreamHeader(
        stream.rows,
        stream.columns,
        len(stream.components),
        stream.precision,
        is_lossy=family is Family.JPEG or stream.near > 0 or stream.is_shifted,
        colors=stream.colors,
        ends=() if is_ls else [end for scan in stream.scans for end in scan.ends],
    )


def _read_jpeg_2000(data: bytes) -> StreamHeader:
    start = data.find(_SOC_SIZ, 0, _LONGEST_BOXES)
    if start < 0 or len(data) < start + 45:
        raise TranscodingError(_DAMAGED)
    right, bottom, left, top, tile_width, tile_height = struct.unpack_from(">6I", data, start + 8)
    (samples,) = struct.unpack_from(">H", data, start + 40)
    depth, step_x, step_y = data[start + 42], data[start + 43], data[start + 44]
    tile_left, tile_top = struct.unpack_from(">2I", data, start + 32)
    if right <= left or bottom <= top or not tile_width or not tile_height:
        raise TranscodingError(_DAMAGED)
    if (step_x, step_y) != (1, 1):
        raise TranscodingError("JPEG 2000 with components of different sizes is not supported")
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    return StreamHeader(
        bottom - top,
        right - left,
        samples,
        (depth & 0x7F) + 1,
        depth > 0x7F,
        is_lossy=_read_tile_parts(data, start + 2, tiles),
    )


def _read_tile_parts(data: bytes, position: int, tiles: int) -> bool:
    """Walk through all tile-parts: none may be missing; tell whether a wavelet is irreversible.

    References
    ----------
    ISO/IEC 15444-1 §A.4.2 (SOT), §A.6.1 (COD), §A.6.2 (COC)
    """
    position, is_lossy = _read_headers(data, position, _SOT)
    announced: dict[int, int] = {}
    counted: Counter[int] = Counter()
    for _ in range(_MOST_TILE_PARTS):
        if data[position : position + 2] == _EOC:
            # Some encoders announce one less than there are.
            is_whole = all(counted[tile] >= count for tile, count in announced.items())
            if not is_whole or len(counted) != tiles:
                break
            return is_lossy
        if data[position : position + 2] != _SOT or position + 12 > len(data):
            break
        tile, length, _, count = struct.unpack_from(">HIBB", data, position + 4)
        start, is_part_lossy = _read_headers(data, position, _SOD)
        is_lossy = is_lossy or is_part_lossy
        counted[tile] += 1
        if count:
            announced[tile] = count
        # The last one may not tell its length.
        position = position + length if length else data.rfind(_EOC, start)
        if position < start:
            break
    raise TranscodingError("a compressed frame is cut")


def _read_headers(data: bytes, position: int, last: bytes) -> tuple[int, bool]:
    """Read marker segments up to one; tell where it is, and whether a wavelet is irreversible."""
    is_lossy = False
    for _ in range(_MOST_SEGMENTS):
        marker = data[position : position + 2]
        if marker == last:
            return position, is_lossy
        if len(marker) < 2 or marker[0] != 0xFF or position + 4 > len(data):
            break
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == _COD and data[position + 13 : position + 14] == b"\0":
            is_lossy = True
        # The number of a component takes one byte, or two if there are more than 256.
        if marker == _COC and data[position + 10 : position + 11] == b"\0":
            is_lossy = True
        if length < 2:
            break
        position += 2 + length
    raise TranscodingError(_DAMAGED)


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
