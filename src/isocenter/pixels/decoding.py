"""Compressed frames to samples. Runs in worker processes, as C code meets foreign bytes.

References
----------
PS3.5 §8.2, §A.4, §G (RLE); PS3.3 §C.7.6.3.1.2 (Photometric Interpretation); Decision 0022
"""

import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from isocenter.errors import TranscodingError
from isocenter.pixels.codecs import Family, lookup_family
from isocenter.pixels.codestreams import StreamHeader, check_stream
from isocenter.pixels.formats import PixelFormat

if TYPE_CHECKING:
    from numpy import ndarray

    Samples = ndarray[Any, Any]

__all__ = ["DecodedFrame", "decode_frame"]

_RGB, _YBR_FULL, _YBR_422 = "RGB", "YBR_FULL", "YBR_FULL_422"
_YBR_RCT, _YBR_ICT = "YBR_RCT", "YBR_ICT"
# Bytes of many kinds, but no marker: whatever decoders would fill up with is something else.
_PADDING = bytes((90 + 101 * index) % 253 for index in range(64))


class DecodedFrame(NamedTuple):
    """A frame without compression.

    Attributes
    ----------
    samples
        Cells (rows, columns, samples) without signs.
    photometric
        Photometric Interpretation.
    is_lossy
        True if samples differ from the original ones.
    """

    samples: "Samples"
    photometric: str
    is_lossy: bool = False


def decode_frame(view: memoryview, source: str, fmt: PixelFormat) -> DecodedFrame:
    """Decode a frame to cells, and name what they mean.

    Parameters
    ----------
    source
        Transfer syntax UID.

    Raises
    ------
    TranscodingError
        If the frame is damaged, cut, or of a kind that cannot be read.
    """
    family = lookup_family(source)
    if family is None:
        raise TranscodingError(f"frames in the transfer syntax {source} cannot be decoded")
    if family is Family.NATIVE:
        return DecodedFrame(_from_native(view, fmt), fmt.photometric)
    data = bytes(view)
    header = check_stream(data, family, fmt)
    colors = _find_colors(family, fmt, header)
    try:
        samples = _decode_stream(data, family, fmt, colors=colors)
        if header is not None and header.ends:
            padded = _pad_coded(data, header.ends)
            _check_whole(samples, _decode_stream(padded, family, fmt, colors=colors))
    except (RuntimeError, ValueError, TypeError, MemoryError) as error:
        raise TranscodingError("a compressed frame is damaged") from error
    samples = _arrange(samples, fmt)
    is_lossy = header is not None and header.is_lossy
    if header is not None:
        samples = _widen(samples, header, fmt)
    if is_lossy:
        samples = _clip(samples, fmt)
    return DecodedFrame(samples, _name_decoded(fmt, colors), is_lossy)


def _check_whole(samples: "Samples", others: "Samples") -> None:
    """Compare what was decoded with and without other bytes behind each piece of coded data.

    Decoders of JPEG fill up what is missing, in silence. They use such bytes only if something is
    missing, and the samples are other ones then.

    Raises
    ------
    TranscodingError
        If they differ.
    """
    if (samples != others).any():
        raise TranscodingError("a compressed frame is cut")


def _from_native(data: memoryview, fmt: PixelFormat) -> "Samples":
    import numpy as np  # noqa: PLC0415 - see the package

    if fmt.photometric == _YBR_422:
        raise TranscodingError("subsampled colors without compression are not supported")
    count = fmt.rows * fmt.columns * fmt.samples
    if len(data) < fmt.frame_bytes:
        raise TranscodingError("a frame is cut")
    cells = np.frombuffer(data, f"<u{fmt.bits_allocated // 8}", count)
    if fmt.is_color and fmt.planar:
        planes = cells.reshape(fmt.samples, fmt.rows, fmt.columns)
        return np.ascontiguousarray(planes.transpose(1, 2, 0))
    return cells.reshape(fmt.rows, fmt.columns, fmt.samples)


def _find_colors(family: Family, fmt: PixelFormat, header: StreamHeader | None) -> str:
    """Find which colors a JPEG stream with losses holds; empty if it is not to be converted.

    What the stream says itself is right where the file says something else: a codec has written
    it, and viewers believe it.
    """
    if family is not Family.JPEG or not fmt.is_color:
        return ""
    if header is not None and header.colors:
        return header.colors
    return "YBR" if fmt.photometric.startswith("YBR") else ""


def _decode_stream(data: bytes, family: Family, fmt: PixelFormat, *, colors: str) -> "Samples":
    import imagecodecs  # noqa: PLC0415 - see the package

    if family is Family.RLE:
        return _decode_rle(data, fmt)
    if family is Family.JPEG_LS:
        return imagecodecs.jpegls_decode(data)
    if family in {Family.JPEG_2000, Family.HTJ2K}:
        # The decoder made for HTJ2K alone neither clips samples nor fails after damage.
        return imagecodecs.jpeg2k_decode(data, numthreads=1)
    if not fmt.is_color:
        return imagecodecs.jpeg8_decode(data)
    source = "ycbcr" if colors == "YBR" else "rgb"
    return imagecodecs.jpeg8_decode(data, colorspace=source, outcolorspace="rgb")


def _pad_coded(data: bytes, ends: Sequence[int]) -> bytes:
    """Put bytes behind each piece of coded data, where decoders skip what they do not need."""
    starts = [0, *ends]
    pieces = (data[start:stop] for start, stop in pairwise([*starts, len(data)]))
    return _PADDING.join(pieces)


def _decode_rle(data: bytes, fmt: PixelFormat) -> "Samples":
    """Decode byte by byte: of each sample the highest first (PS3.5 §G.2)."""
    import numpy as np  # noqa: PLC0415 - see the package
    from imagecodecs import packbits_decode  # noqa: PLC0415 - see the package

    size, count = fmt.bits_allocated // 8, fmt.rows * fmt.columns
    starts = [*struct.unpack_from("<15I", data, 4)[: fmt.samples * size], len(data)]
    octets = np.empty((count, fmt.samples * size), np.uint8)
    for index, (start, stop) in enumerate(pairwise(starts)):
        segment = packbits_decode(data[start:stop])
        # There may be some padding.
        if len(segment) < count:
            raise TranscodingError("a compressed frame is cut")
        octets[:, index] = np.frombuffer(segment, np.uint8, count)
    cells = octets.view(f">u{size}").astype(f"<u{size}")
    return cells.reshape(fmt.rows, fmt.columns, fmt.samples)


def _arrange(samples: "Samples", fmt: PixelFormat) -> "Samples":
    """Bring what a codec gave into the order (rows, columns, samples)."""
    import numpy as np  # noqa: PLC0415 - see the package

    shape = (fmt.rows, fmt.columns, fmt.samples)
    if samples.shape == shape:
        return samples
    if samples.shape == shape[:2] and fmt.samples == 1:
        return samples.reshape(shape)
    if samples.shape == (fmt.samples, fmt.rows, fmt.columns):
        return np.ascontiguousarray(samples.transpose(1, 2, 0))
    raise TranscodingError("a compressed frame has another size than the file says")


def _widen(samples: "Samples", header: StreamHeader, fmt: PixelFormat) -> "Samples":
    """Bring samples to the width that the file allocates, and extend their signs."""
    import numpy as np  # noqa: PLC0415 - see the package

    wide = np.dtype(f"i{fmt.bits_allocated // 8}")
    is_narrow = header.bits < fmt.bits_allocated
    if fmt.is_signed and not header.is_signed and is_narrow:
        shift = fmt.bits_allocated - header.bits
        samples = (samples.astype(wide) << shift) >> shift
    return samples.astype(wide, copy=False).view(f"u{fmt.bits_allocated // 8}")


def _clip(samples: "Samples", fmt: PixelFormat) -> "Samples":
    """Bring samples back that have left the range of the stored bits when something was lost.

    A codec knows at most the bits that its stream has, which may be more.
    """
    if fmt.bits_stored == fmt.bits_allocated or fmt.high_bit != fmt.bits_stored - 1:
        return samples
    signed = samples.view(f"i{fmt.bits_allocated // 8}") if fmt.is_signed else samples
    return signed.clip(fmt.least, fmt.most).view(samples.dtype)


def _name_decoded(fmt: PixelFormat, colors: str) -> str:
    """Say what the colors of a decoded frame are."""
    if colors or (fmt.is_color and fmt.photometric in {_YBR_RCT, _YBR_ICT}):
        return _RGB
    # What was never subsampled is full, whatever the file says.
    return _YBR_FULL if fmt.photometric == _YBR_422 else fmt.photometric
