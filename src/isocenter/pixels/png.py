"""PNG files checked before a codec sees them.

The codec loses a reference each time it fails in the middle of an image (imagecodecs 2026.3.6),
which ends the process after some thousand damaged images. So everything that could fail is checked
here: chunks and their sums, the length of the samples when they are inflated, the filters of all
rows. What the codec gets is written anew and holds nothing but the critical chunks.

References
----------
W3C PNG §5 (chunks), §8.1 (passes), §9 (filters), §10.1 (deflate), §11.2 (critical chunks)
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from isocenter.errors import BadFileFormatError

__all__ = ["PNGHeader", "PNGPass", "read_png_header", "rebuild_png"]

_START = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")
_CHUNK = struct.Struct(">I4s")
_SUM = struct.Struct(">I")
_LARGEST_CHUNK = 2**31 - 1
_MOST_CHUNKS = 100_000
_PALETTE = 3
_LARGEST_PALETTE = 3 * 256
_LAST_FILTER = 4
# Bit of the first letter of a chunk that may be passed over (§5.4).
_ANCILLARY = 0x20
_FAST = 1
# Table 11.1: color type to samples of a pixel and their possible bits.
_KINDS = {
    0: (1, frozenset({1, 2, 4, 8, 16})),
    2: (3, frozenset({8, 16})),
    _PALETTE: (1, frozenset({1, 2, 4, 8})),
    4: (2, frozenset({8, 16})),
    6: (4, frozenset({8, 16})),
}
# First column, first row, and distances of both, of the seven passes.
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


class PNGPass(NamedTuple):
    """The pixels of one of the passes of an image; all pixels, if it is not interlaced.

    Attributes
    ----------
    column, row
        Where the first one belongs in the image.
    column_step, row_step
        How far they are apart there.
    columns, rows
        How many there are.
    """

    column: int
    row: int
    column_step: int
    row_step: int
    columns: int
    rows: int


class PNGHeader(NamedTuple):
    """The header of an image; it is a possible one."""

    columns: int
    rows: int
    depth: int
    color: int
    is_interlaced: bool

    @property
    def decoded_pixel_bytes(self) -> int:
        """Bytes of a pixel when it is decoded: palettes are expanded, samples have whole bytes."""
        samples = 3 if self.color == _PALETTE else _KINDS[self.color][0]
        return samples * (2 if self.depth > 8 else 1)

    def list_passes(self) -> list[PNGPass]:
        """List the passes that are not empty."""
        grids = _PASSES if self.is_interlaced else ((0, 0, 1, 1),)
        passes = [
            PNGPass(x, y, dx, dy, -(-(self.columns - x) // dx), -(-(self.rows - y) // dy))
            for x, y, dx, dy in grids
        ]
        return [one for one in passes if one.columns > 0 and one.rows > 0]

    def measure_row(self, columns: int) -> int:
        """Count the bytes of a row of samples with the number of its filter."""
        return 1 + (columns * _KINDS[self.color][0] * self.depth + 7) // 8


def read_png_header(data: bytes) -> PNGHeader:
    """Read the header of an image.

    Raises
    ------
    BadFileFormatError
        If it is no PNG image, or its header is not a possible one.
    """
    if not data.startswith(_START):
        raise BadFileFormatError("the content is no PNG image")
    kind, content = next(_iter_chunks(data))
    if kind != b"IHDR" or len(content) != _HEADER.size:
        raise BadFileFormatError("a PNG image has no header")
    columns, rows, depth, color, compression, filtering, interlacing = _HEADER.unpack(content)
    if color not in _KINDS or depth not in _KINDS[color][1]:
        raise BadFileFormatError("a PNG image has an impossible color type")
    if compression or filtering or interlacing > 1 or not columns or not rows:
        raise BadFileFormatError("a PNG image has an impossible header")
    return PNGHeader(columns, rows, depth, color, bool(interlacing))


def _iter_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Iterate over the chunks: name and content of each."""
    position = len(_START)
    for _ in range(_MOST_CHUNKS):
        if position + _CHUNK.size > len(data):
            raise BadFileFormatError("a PNG image is cut")
        size, kind = _CHUNK.unpack_from(data, position)
        start = position + _CHUNK.size
        position = start + size + _SUM.size
        if size > _LARGEST_CHUNK or position > len(data):
            raise BadFileFormatError("a PNG image is cut")
        content = data[start : start + size]
        if _SUM.unpack_from(data, start + size)[0] != zlib.crc32(content, zlib.crc32(kind)):
            raise BadFileFormatError("a chunk of a PNG image is damaged")
        yield kind, content
    raise BadFileFormatError("a PNG image has too many chunks")


def rebuild_png(data: bytes, header: PNGHeader) -> list[tuple[PNGPass, bytes]]:
    """Check an image whose size is allowed; write what matters of it anew, each pass by itself.

    Transparency, comments and profiles are left out.

    Returns
    -------
    list
        Passes and images without interlacing that hold their pixels.

    Raises
    ------
    BadFileFormatError
        If it is damaged.
    """
    palette, compressed = _read_chunks(data)
    _check_palette(header, palette)
    samples = _inflate(compressed, header)
    before = [] if header.color != _PALETTE or palette is None else [(b"PLTE", palette)]
    rebuilt: list[tuple[PNGPass, bytes]] = []
    position = 0
    for one in header.list_passes():
        row = header.measure_row(one.columns)
        own = samples[position : position + row * one.rows]
        position += row * one.rows
        if max(own[::row]) > _LAST_FILTER:
            raise BadFileFormatError("a PNG image has an unknown filter")
        head = _HEADER.pack(one.columns, one.rows, header.depth, header.color, 0, 0, 0)
        content = zlib.compress(own, _FAST) if header.is_interlaced else compressed
        chunks = [(b"IHDR", head), *before, (b"IDAT", content), (b"IEND", b"")]
        rebuilt.append((one, _START + b"".join(map(_build_chunk, chunks))))
    return rebuilt


def _read_chunks(data: bytes) -> tuple[bytes | None, bytes]:
    """Read the palette and the compressed samples."""
    palette: bytes | None = None
    compressed: list[bytes] = []
    for kind, content in _iter_chunks(data):
        if kind == b"IEND":
            break
        if kind == b"PLTE" and palette is None and not compressed:
            palette = content
        elif kind == b"IDAT":
            compressed.append(content)
        elif kind != b"IHDR" and not kind[0] & _ANCILLARY:
            raise BadFileFormatError("a PNG image has an unknown critical chunk")
    return palette, b"".join(compressed)


def _check_palette(header: PNGHeader, palette: bytes | None) -> None:
    if header.color != _PALETTE:
        return
    most = min(_LARGEST_PALETTE, 3 << header.depth)
    if palette is None or not 0 < len(palette) <= most or len(palette) % 3:
        raise BadFileFormatError("a PNG image has no possible palette")


def _inflate(compressed: bytes, header: PNGHeader) -> bytes:
    size = sum(header.measure_row(one.columns) * one.rows for one in header.list_passes())
    inflater = zlib.decompressobj()
    try:
        samples = inflater.decompress(compressed, size + 1)
    except zlib.error as error:
        raise BadFileFormatError("the samples of a PNG image are damaged") from error
    if len(samples) != size or not inflater.eof:
        raise BadFileFormatError("a PNG image does not have the samples that its header announces")
    return samples


def _build_chunk(chunk: tuple[bytes, bytes]) -> bytes:
    kind, content = chunk
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return _CHUNK.pack(len(content), kind) + content + _SUM.pack(checksum)
