"""Images of the formats that clients send, decoded to samples within limits.

An image is measured by its header before it is decoded, so that a small file cannot ask for more
memory than one image may have.

References
----------
ISO/IEC 10918-1 §B.2.2 (frame header); netpbm: pam(5); Decision 0019
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isocenter.errors import BadFileFormatError
from isocenter.pixels.jpeg_streams import read_jpeg_stream
from isocenter.pixels.png import PNGHeader, PNGPass, read_png_header, rebuild_png

if TYPE_CHECKING:
    from numpy import ndarray

__all__ = [
    "LARGEST_IMAGE_BYTES",
    "Image",
    "JPEGHeader",
    "decode_jpeg",
    "decode_pam",
    "decode_png",
    "read_jpeg_header",
]

LARGEST_IMAGE_BYTES = 256 * 1024 * 1024
"""Of the samples of one image, as its header announces them."""

_PIECE_BYTES = 1 << 20
_LARGEST_SIDE = 65535
"""Rows and Columns are US (PS3.6)."""

_SOF_BASELINE = 0xC0

_PAM_START = b"P7\n"
_PAM_END = "ENDHDR"
_LONGEST_PAM_HEADER = 4096
_LARGEST_SAMPLE = 65535
_MOST_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Image:
    """Samples of an image.

    Attributes
    ----------
    samples
        Of a pixel: 1 for gray, 3 for red, green and blue; alpha is dropped.
    bits_allocated, bits_stored
        Of a sample; 8 or 16 are allocated.
    pieces
        Rows from above, pixel by pixel, in little endian; cut into pieces of about a megabyte.
    """

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    pieces: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class JPEGHeader:
    """What a JPEG image says of itself.

    Attributes
    ----------
    precision
        Bits of a sample.
    is_baseline
        True for the baseline process, the only one that transfer syntax 1.2.840.10008.1.2.4.50
        allows.
    is_subsampled
        True if the color components have fewer samples than the first one.
    has_rgb
        True if the stream says that the components are red, green and blue.
    """

    rows: int
    columns: int
    components: int
    precision: int
    is_baseline: bool
    is_subsampled: bool
    has_rgb: bool


def decode_png(data: bytes) -> Image:
    """Decode a PNG image; palettes and fewer than eight bits are expanded.

    Raises
    ------
    BadFileFormatError
        If it is no PNG image, damaged, or larger than allowed.
    """
    header = read_png_header(data)
    _check_size(header.rows, header.columns, header.decoded_pixel_bytes)
    passes = rebuild_png(data, header)
    from imagecodecs import png_decode  # noqa: PLC0415 - see the package

    decoded = [(one, _decode(png_decode, image)) for one, image in passes]
    pixels = _merge(header, decoded) if header.is_interlaced else decoded[0][1]
    return _build_image(pixels, header.rows, header.columns)


def _merge(
    header: PNGHeader, decoded: list[tuple[PNGPass, "ndarray[Any, Any]"]]
) -> "ndarray[Any, Any]":
    """Put the passes of an interlaced image together (W3C PNG §8.1)."""
    import numpy as np  # noqa: PLC0415 - see the package

    first = decoded[0][1]
    pixels = np.empty((header.rows, header.columns, *first.shape[2:]), first.dtype)
    for one, part in decoded:
        pixels[one.row :: one.row_step, one.column :: one.column_step] = part
    return pixels


def decode_jpeg(data: bytes) -> Image:
    """Decode a JPEG image of eight bits, gray or colored, to gray or RGB.

    Raises
    ------
    BadFileFormatError
        If it is no such image, damaged, or larger than allowed.
    """
    header = read_jpeg_header(data)
    if header.precision != 8 or header.components not in {1, 3}:
        raise BadFileFormatError("a JPEG image must have 8 bits and 1 or 3 components")
    _check_size(header.rows, header.columns, header.components)
    from imagecodecs import jpeg8_decode  # noqa: PLC0415 - see the package

    return _build_image(_decode(jpeg8_decode, data), header.rows, header.columns)


def _decode(decode: Callable[[bytes], "ndarray[Any, Any]"], data: bytes) -> "ndarray[Any, Any]":
    try:
        return decode(data)
    except (RuntimeError, ValueError) as error:
        raise BadFileFormatError("the image is damaged") from error


def _check_size(rows: int, columns: int, pixel_bytes: int) -> None:
    if not 0 < rows <= _LARGEST_SIDE or not 0 < columns <= _LARGEST_SIDE:
        raise BadFileFormatError(f"an image must have 1 to {_LARGEST_SIDE} rows and columns")
    if rows * columns * pixel_bytes > LARGEST_IMAGE_BYTES:
        raise BadFileFormatError(f"an image may have {LARGEST_IMAGE_BYTES} bytes of pixels at most")


def _build_image(
    pixels: "ndarray[Any, Any]", rows: int, columns: int, *, bits_stored: int | None = None
) -> Image:
    """Make an image of an array (rows, columns) or (rows, columns, samples); drop alpha."""
    if pixels.shape[:2] != (rows, columns) or pixels.dtype.itemsize > 2:
        raise BadFileFormatError("the image is not what its header announces")
    samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    if samples in {2, 4}:
        samples -= 1
        pixels = pixels[:, :, :samples]
    allocated = 8 * pixels.dtype.itemsize
    little = pixels.dtype.newbyteorder("<")
    # A copy keeps other threads waiting, so none is long.
    step = max(1, _PIECE_BYTES // (columns * samples * pixels.dtype.itemsize))
    pieces = tuple(
        pixels[row : row + step].astype(little, copy=False).tobytes()
        for row in range(0, rows, step)
    )
    return Image(rows, columns, samples, allocated, bits_stored or allocated, pieces)


def read_jpeg_header(data: bytes) -> JPEGHeader:
    """Read the headers of a JPEG image.

    Raises
    ------
    BadFileFormatError
        If it is none, or it is cut before its end.
    """
    stream = read_jpeg_stream(data)
    factors = {(one.horizontal, one.vertical) for one in stream.components}
    return JPEGHeader(
        rows=stream.rows,
        columns=stream.columns,
        components=len(stream.components),
        precision=stream.precision,
        is_baseline=stream.marker == _SOF_BASELINE and stream.precision == 8,
        is_subsampled=len(factors) > 1,
        has_rgb=stream.colors == "RGB",
    )


def decode_pam(data: bytes) -> Image:
    """Decode a Portable Arbitrary Map: gray or RGB, with or without alpha, up to 16 bits.

    Raises
    ------
    BadFileFormatError
        If it is no such map, cut, or larger than allowed.
    """
    fields, start = _read_pam_header(data)
    rows, columns = _get_number(fields, "HEIGHT"), _get_number(fields, "WIDTH")
    depth, largest = _get_number(fields, "DEPTH"), _get_number(fields, "MAXVAL")
    if not 1 <= depth <= 4 or not 1 <= largest <= _LARGEST_SAMPLE:
        raise BadFileFormatError("a PAM image must have 1 to 4 samples of up to 16 bits")
    size = 1 if largest < 256 else 2
    _check_size(rows, columns, depth * size)
    if len(data) - start < rows * columns * depth * size:
        raise BadFileFormatError("a PAM image is cut")
    import numpy as np  # noqa: PLC0415 - see the package

    samples = np.frombuffer(data, f">u{size}", rows * columns * depth, start)
    if int(samples.max()) > largest:
        raise BadFileFormatError("a PAM image has samples beyond its largest one")
    shape = (rows, columns, depth)
    return _build_image(samples.reshape(shape), rows, columns, bits_stored=largest.bit_length())


def _read_pam_header(data: bytes) -> tuple[dict[str, str], int]:
    """Read the header: its fields, and where the samples start."""
    head = data[:_LONGEST_PAM_HEADER]
    if not head.startswith(_PAM_START):
        raise BadFileFormatError("the content is no PAM image")
    fields: dict[str, str] = {}
    position = len(_PAM_START)
    while (end := head.find(b"\n", position)) >= 0:
        line = head[position:end].decode("latin-1").strip()
        position = end + 1
        if line == _PAM_END:
            return fields, position
        if line and not line.startswith("#"):
            name, _, value = line.partition(" ")
            fields[name] = value.strip()
    raise BadFileFormatError("a PAM image has no end of its header")


def _get_number(fields: dict[str, str], name: str) -> int:
    text = fields.get(name, "")
    if not text.isascii() or not text.isdecimal() or len(text) > _MOST_DIGITS:
        raise BadFileFormatError(f"a PAM image lacks a number for {name}")
    return int(text)
