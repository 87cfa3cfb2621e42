"""One frame from one coding into another. Runs in worker processes, as C code meets foreign bytes.

References
----------
PS3.5 §8.2, §A.4, §G (RLE); PS3.3 §C.7.6.3.1.2 (Photometric Interpretation); Decision 0022
"""

import struct
from math import log2, sqrt
from typing import TYPE_CHECKING, Any

import msgspec

from isocenter.errors import TranscodingError
from isocenter.pixels.codecs import Family, check_format, check_target, get_encoder, lookup_family
from isocenter.pixels.decoding import decode_frame
from isocenter.pixels.formats import PixelFormat

if TYPE_CHECKING:
    from numpy import ndarray

    Samples = ndarray[Any, Any]

__all__ = ["FrameResult", "FrameTask", "recode_frame"]

_HTJ2K_RPCL = "1.2.840.10008.1.2.4.202"
_RGB, _YBR_422 = "RGB", "YBR_FULL_422"
_YBR_RCT, _YBR_ICT = "YBR_RCT", "YBR_ICT"
_RLE_HEADER_NUMBERS = 16
_RLE_HEADER_BYTES = 64
_MOST_RESOLUTIONS = 6
# PS3.5 §A.4.9: the smallest resolution of an RPCL stream has 64 rows and columns at most.
_SMALLEST_SIDE = 64


class FrameTask(msgspec.Struct, frozen=True, array_like=True):
    """A frame that is to be coded anew.

    Attributes
    ----------
    source, target
        Transfer syntax UIDs; all native ones stand for little endian.
    format
        What the file says of its pixels.
    quality
        1 to 100; counts for codings with losses.
    data
        The frame.
    """

    source: str
    target: str
    format: PixelFormat
    quality: int
    data: memoryview


class FrameResult(msgspec.Struct, frozen=True, array_like=True):
    """A frame in its new coding, or why there is none.

    Attributes
    ----------
    photometric
        Photometric Interpretation of the result.
    error
        Empty if all went well.
    is_lossy
        True if the samples of the source differed from the original ones.
    """

    data: bytes
    photometric: str = ""
    error: str = ""
    is_lossy: bool = False


def recode_frame(task: FrameTask) -> FrameResult:
    """Decode a frame and encode it in another transfer syntax.

    Raises
    ------
    TranscodingError
        If the frame is damaged, or the target cannot hold it.
    """
    check_format(task.format)
    samples, photometric, is_lossy = decode_frame(task.data, task.source, task.format)
    source = msgspec.structs.replace(task.format, photometric=photometric, planar=0)
    if lookup_family(task.target) is Family.NATIVE:
        return FrameResult(_to_native(samples), photometric, is_lossy=is_lossy)
    check_target(get_encoder(task.target), source)
    try:
        result = _encode(samples, source, task)
    except (RuntimeError, ValueError, TypeError) as error:
        raise TranscodingError("the frame cannot be encoded") from error
    return msgspec.structs.replace(result, is_lossy=is_lossy)


def _to_native(samples: "Samples") -> bytes:
    return bytes(samples.astype(samples.dtype.newbyteorder("<"), copy=False).tobytes())


def _encode(samples: "Samples", fmt: PixelFormat, task: FrameTask) -> FrameResult:
    codec = get_encoder(task.target)
    if codec.is_lossy:
        samples = _clean(samples, fmt)
    if codec.family is Family.RLE:
        return FrameResult(_encode_rle(samples), fmt.photometric)
    if codec.family is Family.JPEG:
        return _encode_jpeg(samples, fmt, task.quality)
    if codec.family is Family.JPEG_LOSSLESS:
        return FrameResult(_encode_jpeg_lossless(samples, fmt), fmt.photometric)
    if codec.family is Family.JPEG_LS:
        near = _choose_near(task.quality) if codec.is_lossy else 0
        return FrameResult(_encode_jpeg_ls(samples, fmt, near), fmt.photometric)
    if codec.family is Family.JPEG_2000:
        return _encode_jpeg_2000(samples, fmt, task.quality if codec.is_lossy else None)
    return _encode_htj2k(samples, fmt, task, is_lossy=codec.is_lossy)


def _squeeze(samples: "Samples") -> "Samples":
    return samples[:, :, 0] if samples.shape[2] == 1 else samples


def _clean(samples: "Samples", fmt: PixelFormat) -> "Samples":
    """Drop what stands above the stored bits, as it would not survive anyway."""
    shift = fmt.bits_allocated - fmt.bits_stored
    if not shift:
        return samples
    if fmt.is_signed:
        signed = samples.view(f"i{fmt.bits_allocated // 8}")
        return ((signed << shift) >> shift).view(samples.dtype)
    return samples & ((1 << fmt.bits_stored) - 1)


def _encode_rle(samples: "Samples") -> bytes:
    """Encode byte by byte: of each sample the highest first, row by row (PS3.5 §G.2)."""
    import numpy as np  # noqa: PLC0415 - see the package
    from imagecodecs import packbits_encode  # noqa: PLC0415 - see the package

    rows, columns, count = samples.shape
    size = samples.dtype.itemsize
    cells = samples.astype(samples.dtype.newbyteorder(">"), copy=False)
    octets = np.ascontiguousarray(cells).view(np.uint8).reshape(rows, columns, count * size)
    segments = [
        bytes(packbits_encode(np.ascontiguousarray(octets[:, :, index])))
        for index in range(count * size)
    ]
    padded = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    offsets, position = [], _RLE_HEADER_BYTES
    for segment in padded:
        offsets.append(position)
        position += len(segment)
    offsets += [0] * (_RLE_HEADER_NUMBERS - 1 - len(offsets))
    return struct.pack("<16I", len(padded), *offsets) + b"".join(padded)


def _encode_jpeg(samples: "Samples", fmt: PixelFormat, quality: int) -> FrameResult:
    from imagecodecs import jpeg8_encode  # noqa: PLC0415 - see the package

    if not fmt.is_color:
        bits = 8 if fmt.bits_stored <= 8 else 12
        cells = _squeeze(samples).astype("u1" if bits == 8 else "u2", copy=False)
        return FrameResult(bytes(jpeg8_encode(cells, quality, bitspersample=bits)), fmt.photometric)
    source = "rgb" if fmt.photometric == _RGB else "ycbcr"
    data = jpeg8_encode(
        samples, quality, colorspace=source, outcolorspace="ycbcr", subsampling="422"
    )
    return FrameResult(bytes(data), _YBR_422)


def _encode_jpeg_lossless(samples: "Samples", fmt: PixelFormat) -> bytes:
    """Encode whole cells, with the first predictor, which both transfer syntaxes allow."""
    from imagecodecs import jpeg8_encode  # noqa: PLC0415 - see the package

    colors = "rgb" if fmt.is_color else None
    return bytes(
        jpeg8_encode(
            _squeeze(samples),
            lossless=True,
            predictor=1,
            bitspersample=fmt.bits_allocated,
            colorspace=colors,
            outcolorspace=colors,
        )
    )


def _choose_near(quality: int) -> int:
    """Choose by how much a sample may change: 2, as Orthanc does, for a quality of 90."""
    return max(1, round((100 - quality) / 5))


def _encode_jpeg_ls(samples: "Samples", fmt: PixelFormat, near: int) -> bytes:
    from imagecodecs import jpegls_encode  # noqa: PLC0415 - see the package

    if near and (fmt.is_signed or fmt.bits_stored < fmt.bits_allocated):
        # The codec knows neither signs nor stored bits: keep samples so far from the ends of
        # their range that none leaves it. Beyond the largest one there is the least one.
        signed = samples.view(f"i{fmt.bits_allocated // 8}") if fmt.is_signed else samples
        margin = min(near, (fmt.most - fmt.least) // 2)
        samples = signed.clip(fmt.least + margin * fmt.is_signed, fmt.most - margin).view(
            samples.dtype
        )
    return bytes(jpegls_encode(_squeeze(samples), level=near))


def _choose_precision(samples: "Samples", fmt: PixelFormat) -> int:
    """Find how many bits hold all samples: the stored ones, unless there is more in the cells."""
    if fmt.bits_stored == fmt.bits_allocated or fmt.high_bit != fmt.bits_stored - 1:
        return fmt.bits_allocated
    signed = samples.view(f"i{fmt.bits_allocated // 8}") if fmt.is_signed else samples
    fits = fmt.least <= int(signed.min()) and int(signed.max()) <= fmt.most
    return fmt.bits_stored if fits else fmt.bits_allocated


def _choose_noise_ratio(quality: int, bits: int) -> float:
    """Choose the ratio of signal and noise in dB for a quality, about that of JPEG."""
    return 25 + quality / 5 + 4 * (bits - 8)


def _encode_jpeg_2000(samples: "Samples", fmt: PixelFormat, quality: int | None) -> FrameResult:
    from imagecodecs import jpeg2k_encode  # noqa: PLC0415 - see the package

    is_rgb = fmt.photometric == _RGB
    bits = _choose_precision(samples, fmt)
    cells = samples.view(f"i{fmt.bits_allocated // 8}") if fmt.is_signed else samples
    level = 0 if quality is None else round(_choose_noise_ratio(quality, bits))
    data = jpeg2k_encode(
        _squeeze(cells),
        level=level,
        codecformat="j2k",
        bitspersample=bits,
        resolutions=_choose_resolutions(fmt),
        reversible=quality is None,
        mct=is_rgb,
        numthreads=1,
    )
    return FrameResult(bytes(data), _name_transformed(fmt, is_lossy=quality is not None))


def _choose_resolutions(fmt: PixelFormat) -> int:
    return max(1, min(_MOST_RESOLUTIONS, int(log2(min(fmt.rows, fmt.columns))) + 1))


def _name_transformed(fmt: PixelFormat, *, is_lossy: bool) -> str:
    if fmt.photometric != _RGB:
        return fmt.photometric
    return _YBR_ICT if is_lossy else _YBR_RCT


def _encode_htj2k(
    samples: "Samples", fmt: PixelFormat, task: FrameTask, *, is_lossy: bool
) -> FrameResult:
    from imagecodecs import htj2k_encode  # noqa: PLC0415 - see the package

    cells = samples.view(f"i{fmt.bits_allocated // 8}") if fmt.is_signed else samples
    is_rpcl = task.target == _HTJ2K_RPCL
    levels = 5
    while max(fmt.rows, fmt.columns) >> levels > _SMALLEST_SIDE:
        levels += 1
    step = None
    if is_lossy:
        # Errors are spread evenly within a step, which the codec counts in allocated ranges.
        ratio = 10 ** (-_choose_noise_ratio(task.quality, fmt.bits_stored) / 20)
        step = sqrt(12) * ratio * 2 ** (fmt.bits_stored - fmt.bits_allocated)
    data = htj2k_encode(
        _squeeze(cells),
        step,
        reversible=not is_lossy,
        resolutions=levels,
        tlm=is_rpcl,
        tilepart=1 if is_rpcl else 0,
    )
    return FrameResult(bytes(data), _name_transformed(fmt, is_lossy=is_lossy))
