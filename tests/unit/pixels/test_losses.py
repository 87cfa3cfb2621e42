"""What codings with losses may change: a little of each sample, black and white among them."""

import io
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from tests.support.pixels import LOSSY, InlineCoder, build_image

from isocenter.pixels.transcoding import TranscodeOrder, open_transcoded

_BASE = "1.2.840.10008.1.2"
_EXPLICIT = f"{_BASE}.1"
_SIDE = 128


def _transcode(data: bytes, target: str, **order: Any) -> bytes:
    with open_transcoded(data, TranscodeOrder(target, **order), InlineCoder()) as result:
        return b"".join(result.pieces)


def _read(data: bytes) -> pydicom.FileDataset:
    return pydicom.dcmread(io.BytesIO(data))


def _build_disc(bits: int, *, allocated: int, is_signed: bool) -> "np.ndarray[Any, Any]":
    """Build a white disc on black: the least and the largest value, and a ramp at the edge."""
    least = -(1 << bits - 1) if is_signed else 0
    rows, columns = np.mgrid[:_SIDE, :_SIDE] - _SIDE / 2
    distance = np.hypot(rows, columns)
    share = np.clip((_SIDE / 3 - distance) / 8, 0, 1)
    kind = f"{'i' if is_signed else 'u'}{allocated // 8}"
    samples: np.ndarray[Any, Any] = (least + np.rint(share * ((1 << bits) - 1))).astype(kind)
    return samples


def _build(samples: "np.ndarray[Any, Any]", bits: int, *, is_signed: bool) -> bytes:
    return build_image(
        samples.tobytes(),
        rows=_SIDE,
        columns=_SIDE,
        allocated=8 * samples.itemsize,
        stored=bits,
        is_signed=is_signed,
    )


_KINDS = [
    (bits, allocated, is_signed)
    for bits, allocated in ((8, 8), (10, 16), (12, 16), (16, 16))
    for is_signed in (False, True)
]
_CAPACITY = {f"{_BASE}.4.50": (8, False), f"{_BASE}.4.51": (12, False)}
_HOLDABLE = [
    (target, *kind)
    for target in LOSSY
    for kind in _KINDS
    if kind[0] <= _CAPACITY.get(target, (16, True))[0]
    and kind[2] <= _CAPACITY.get(target, (16, True))[1]
]


@pytest.mark.parametrize(("target", "bits", "allocated", "is_signed"), _HOLDABLE)
def test_no_sample_changes_much(target: str, bits: int, allocated: int, is_signed: bool) -> None:
    before = _build_disc(bits, allocated=allocated, is_signed=is_signed)
    packed = _transcode(_build(before, bits, is_signed=is_signed), target, quality=90)
    assert _read(packed).file_meta.TransferSyntaxUID == target
    pixels = _read(_transcode(packed, _EXPLICIT)).PixelData
    after = np.frombuffer(pixels, before.dtype).reshape(before.shape)
    assert after.min() >= before.min()
    assert after.max() <= before.max()
    # NEAR is 2, and samples are kept as far from the ends of their range.
    most = 4 if target.endswith(".81") else (1 << bits) // 12
    assert abs(after.astype(int) - before.astype(int)).max() <= most


@pytest.mark.parametrize("is_signed", [False, True])
def test_overshooting_of_foreign_streams_is_clipped(is_signed: bool) -> None:
    """Their bits are those that are allocated, so their decoders clip at the ends of these."""
    disc = _build_disc(12, allocated=16, is_signed=is_signed)
    stream = bytes(imagecodecs.htj2k_encode(disc, 0.05, reversible=False))
    image = build_image(
        [b"", stream + b"\0" * (len(stream) % 2)],
        rows=_SIDE,
        columns=_SIDE,
        stored=12,
        is_signed=is_signed,
        syntax=f"{_BASE}.4.203",
    )
    decoded = imagecodecs.jpeg2k_decode(stream)
    assert decoded.max() > disc.max()
    file = _read(_transcode(image, _EXPLICIT))
    after = np.frombuffer(file.PixelData, disc.dtype).reshape(disc.shape)
    assert (after == decoded.clip(disc.min(), disc.max())).all()
