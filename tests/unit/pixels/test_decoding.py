"""Compressed frames of others: whole ones are read, cut ones never."""

import struct
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import pytest
from tests.support.jpeg_streams import build_progressive, build_restarts

from isocenter.errors import TranscodingError
from isocenter.pixels.decoding import DecodedFrame, decode_frame
from isocenter.pixels.formats import PixelFormat

_BASE = "1.2.840.10008.1.2"
_SIDE = 64
_EOI = b"\xff\xd9"

Samples = np.ndarray[Any, Any]


def _build_samples(samples: int, largest: int) -> Samples:
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    noise = np.random.default_rng(1).integers(0, largest // 16, (_SIDE, _SIDE))
    plane = (noise + (rows * columns) % (largest // 2)).astype(np.uint8 if largest < 256 else "<u2")
    return plane if samples == 1 else np.stack([plane, largest - plane, plane // 2], -1)


def _format(samples: int = 1, bits: int = 8, **more: Any) -> PixelFormat:
    fields = {
        "rows": _SIDE,
        "columns": _SIDE,
        "samples": samples,
        "bits_allocated": 8 if bits == 8 else 16,
        "bits_stored": bits,
        "high_bit": bits - 1,
        "is_signed": False,
        "planar": 0,
        "photometric": "MONOCHROME2" if samples == 1 else "YBR_FULL_422",
    }
    return PixelFormat(**{**fields, **more})


def _decode(data: bytes, suffix: str, fmt: PixelFormat) -> DecodedFrame:
    return decode_frame(memoryview(data), f"{_BASE}.{suffix}", fmt)


def _encode_lossless(samples: Samples) -> bytes:
    bits = 8 * samples.itemsize
    return bytes(imagecodecs.jpeg8_encode(samples, lossless=True, predictor=1, bitspersample=bits))


_STREAMS: dict[str, tuple[str, int, int, Callable[[Samples], bytes | bytearray]]] = {
    "gray": ("4.50", 1, 8, lambda a: imagecodecs.jpeg8_encode(a, 90)),
    "colors": ("4.50", 3, 8, lambda a: imagecodecs.jpeg8_encode(a, 90, subsampling="422")),
    "12 bits": ("4.51", 1, 12, lambda a: imagecodecs.jpeg8_encode(a, 90, bitspersample=12)),
    "lossless": ("4.70", 1, 16, _encode_lossless),
    "JPEG-LS": ("4.80", 1, 16, imagecodecs.jpegls_encode),
    "JPEG 2000": ("4.90", 1, 8, lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k")),
    "HTJ2K": ("4.201", 1, 8, lambda a: imagecodecs.htj2k_encode(a, reversible=True)),
    "HTJ2K, tile-parts": (
        "4.202",
        1,
        8,
        lambda a: imagecodecs.htj2k_encode(a, reversible=True, tlm=True, tilepart=1),
    ),
}


@pytest.mark.parametrize("name", _STREAMS)
def test_frame_that_is_cut_is_refused_even_with_an_end(name: str) -> None:
    suffix, samples, bits, encode = _STREAMS[name]
    data = bytes(encode(_build_samples(samples, (1 << bits) - 1)))
    fmt = _format(samples, bits)
    _decode(data, suffix, fmt)
    if data.startswith(b"\xff\xd8"):
        _decode(data[:-2] + b"\xff" + _EOI, suffix, fmt)
    for share in (*range(30, 98, 4), 98, 99):
        cut = data[: len(data) * share // 100]
        with pytest.raises(TranscodingError):
            _decode(cut + _EOI, suffix, fmt)


def test_frame_without_some_restart_intervals_is_refused() -> None:
    fmt = _format(rows=32, columns=32)
    samples = _decode(build_restarts(), "4.50", fmt).samples
    assert samples.min() == samples.max() > 128
    data = build_restarts()
    for cut in (build_restarts(15), data[:-3] + _EOI, data.replace(b"\x9e\xbf", b"\x9e", 1)):
        with pytest.raises(TranscodingError):
            _decode(cut, "4.50", fmt)


def test_frame_without_some_progressive_scan_is_refused() -> None:
    fmt = _format(rows=32, columns=32)
    data = build_progressive()
    samples = _decode(data, "4.55", fmt).samples
    assert samples.min() == samples.max() > 128
    last = data.rindex(b"\xff\xda")
    for cut in (data[:last] + _EOI, data[:-4] + _EOI, data[:last] + data[last + 8 :]):
        with pytest.raises(TranscodingError):
            _decode(cut, "4.55", fmt)


def test_frame_without_some_tile_parts_is_refused() -> None:
    """Each of them is whole."""
    encode = _STREAMS["HTJ2K, tile-parts"][3]
    data = bytes(encode(_build_samples(1, 255)))
    starts = []
    position = data.index(b"\xff\x90")
    while data[position : position + 2] == b"\xff\x90":
        starts.append(position)
        position += struct.unpack_from(">I", data, position + 6)[0]
    assert data[position:] == _EOI
    assert len(starts) > 2
    for start in starts[1:]:
        with pytest.raises(TranscodingError):
            _decode(data[:start] + _EOI, "4.202", _format())


_COLORS: dict[str, dict[str, Any]] = {
    "JFIF": {},
    "Adobe": {"colorspace": "rgb", "outcolorspace": "rgb"},
}


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("name", _COLORS)
def test_jpeg_knows_its_colors_better_than_the_file(name: str, photometric: str) -> None:
    samples = _build_smooth()
    data = bytes(imagecodecs.jpeg8_encode(samples, 95, **_COLORS[name]))
    decoded = _decode(data, "4.50", _format(3, photometric=photometric))
    assert decoded.photometric == "RGB"
    assert abs(decoded.samples.astype(int) - samples).max() < 30


def test_file_tells_the_colors_of_jpeg_that_does_not() -> None:
    data = bytes(imagecodecs.jpeg8_encode(_build_smooth(), 95)).replace(b"JFIF", b"JFXX")
    plain = _decode(data, "4.50", _format(3, photometric="RGB"))
    converted = _decode(data, "4.50", _format(3, photometric="YBR_FULL"))
    assert plain.photometric == converted.photometric == "RGB"
    assert abs(converted.samples.astype(int) - _build_smooth()).max() < 30
    assert abs(plain.samples.astype(int) - _build_smooth()).max() > 60


def _build_smooth() -> Samples:
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    return np.stack([3 * rows, 3 * columns, rows + columns], -1).astype(np.uint8)
