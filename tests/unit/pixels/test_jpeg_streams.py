"""JPEG streams: what their markers say, and whether they are whole."""

import re

import imagecodecs
import numpy as np
import pytest
from tests.support.jpeg_streams import (
    build_progressive,
    build_restarts,
    build_segment,
    insert_segment,
)

from isocenter.errors import BadFileFormatError
from isocenter.pixels.jpeg_streams import read_jpeg_stream

_SIDE = 64
_EOI = b"\xff\xd9"


def _build_samples(samples: int = 1) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    plane = ((rows * columns // 16 + 40 * (rows > columns)) % 200).astype(np.uint8)
    return plane if samples == 1 else np.stack([plane, 255 - plane, plane // 2], -1)


_GRAY = bytes(imagecodecs.jpeg8_encode(_build_samples(), 90))
_YBR = bytes(imagecodecs.jpeg8_encode(_build_samples(3), 90))
_RGB = bytes(imagecodecs.jpeg8_encode(_build_samples(3), 90, colorspace="rgb", outcolorspace="rgb"))
_PROGRESSIVE = build_progressive()
_LOSSLESS = bytes(
    imagecodecs.jpeg8_encode(_build_samples(), lossless=True, predictor=1, bitspersample=8)
)
_NEAR = bytes(imagecodecs.jpegls_encode(_build_samples(), level=3))
_ALL = {
    "gray": _GRAY,
    "YBR": _YBR,
    "RGB": _RGB,
    "progressive": _PROGRESSIVE,
    "lossless": _LOSSLESS,
    "restarts": build_restarts(),
}


@pytest.mark.parametrize("name", _ALL)
def test_whole_stream_is_whole(name: str) -> None:
    for rest in (b"", b"\0", b"\xff\xd8\xff"):
        assert read_jpeg_stream(_ALL[name] + rest).is_whole()


@pytest.mark.parametrize("name", ["gray", "restarts"])
def test_bytes_that_fill_up_belong_to_the_marker_behind_them(name: str) -> None:
    ends = read_jpeg_stream(_ALL[name]).scans[0].ends
    data = re.sub(rb"\xff([\xd0-\xd9])", b"\xff\xff\xff\\1", _ALL[name][2:])
    stream = read_jpeg_stream(_ALL[name][:2] + data)
    assert stream.is_whole()
    assert [end - 2 * index for index, end in enumerate(stream.scans[0].ends)] == list(ends)


def test_long_rows_of_filling_bytes_are_read_once() -> None:
    scan = read_jpeg_stream(_GRAY).scans[0].ends[0]
    data = _GRAY[:scan] + b"\xff" * 1_000_000 + b"\0" + _GRAY[scan:]
    assert read_jpeg_stream(data).scans[0].ends[0] == scan + 1_000_001


@pytest.mark.parametrize("name", [*_ALL, "JPEG-LS"])
def test_stream_without_its_end_is_refused(name: str) -> None:
    data = {**_ALL, "JPEG-LS": _NEAR}[name]
    for length in range(0, len(data) - 1, 7):
        with pytest.raises(BadFileFormatError):
            read_jpeg_stream(data[:length])


@pytest.mark.parametrize("name", _ALL)
def test_end_in_other_segments_does_not_count(name: str) -> None:
    data = insert_segment(_ALL[name], 0xE1, _EOI)
    assert read_jpeg_stream(data).is_whole()
    with pytest.raises(BadFileFormatError):
        read_jpeg_stream(data[: len(data) // 2])


def test_missing_restart_intervals_are_noticed() -> None:
    for blocks in range(1, 16):
        assert not read_jpeg_stream(build_restarts(blocks)).is_whole()
    assert not read_jpeg_stream(build_restarts(17)).is_whole()


def test_restart_in_wrong_order_is_refused() -> None:
    with pytest.raises(BadFileFormatError):
        read_jpeg_stream(build_restarts().replace(b"\xff\xd2", b"\xff\xd3"))


def test_restarts_that_were_not_announced_are_noticed() -> None:
    data = build_restarts().replace(build_segment(0xDD, b"\0\1"), b"")
    assert not read_jpeg_stream(data).is_whole()


def test_missing_scans_are_noticed() -> None:
    scans = read_jpeg_stream(_PROGRESSIVE).scans
    assert len(scans) == 2
    for scan in scans[:-1]:
        data = _PROGRESSIVE[: scan.ends[-1]] + _EOI
        assert not read_jpeg_stream(data).is_whole()


@pytest.mark.parametrize(
    ("data", "colors"),
    [
        pytest.param(_GRAY, "", id="gray"),
        pytest.param(_YBR, "YBR", id="JFIF"),
        pytest.param(_RGB, "RGB", id="Adobe"),
        pytest.param(_YBR.replace(b"JFIF", b"JFXX"), "", id="none"),
        pytest.param(
            insert_segment(_YBR.replace(b"JFIF", b"JFXX"), 0xEE, b"Adobe" + bytes(6) + b"\1"),
            "YBR",
            id="Adobe, transformed",
        ),
        pytest.param(_RGB.replace(b"Adobe", b"Adobo"), "RGB", id="identifiers"),
    ],
)
def test_colors_are_what_the_markers_say(data: bytes, colors: str) -> None:
    assert read_jpeg_stream(data).colors == colors


def test_losses_are_told() -> None:
    assert read_jpeg_stream(_NEAR).near == 3
    assert read_jpeg_stream(_LOSSLESS).near == 0
    assert not read_jpeg_stream(_LOSSLESS).is_shifted
    scan = _LOSSLESS.index(b"\xff\xda")
    shifted = bytearray(_LOSSLESS)
    shifted[scan + 9] = 1
    assert read_jpeg_stream(bytes(shifted)).is_shifted


_SCAN = _GRAY.index(b"\xff\xda")
_FRAME = _GRAY.index(b"\xff\xc0")


def _patch(position: int, value: int) -> bytes:
    return _GRAY[:position] + bytes((value,)) + _GRAY[position + 1 :]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xd8\xff\xd9", id="no frame"),
        pytest.param(b"\xff\xd8" + _GRAY, id="second beginning"),
        pytest.param(_GRAY[:_SCAN] + _EOI, id="no scan"),
        pytest.param(_GRAY[:2] + _GRAY[_SCAN:], id="scan without frame"),
        pytest.param(_GRAY[:_SCAN] + _GRAY[_FRAME:], id="two frames"),
        pytest.param(_patch(_SCAN + 4, 0), id="scan of nothing"),
        pytest.param(_patch(_SCAN + 5, 9), id="unknown component"),
        pytest.param(_patch(_SCAN + 3, 4), id="short scan header"),
        pytest.param(_patch(_SCAN + 3, 1), id="length below two"),
        pytest.param(_patch(_FRAME + 9, 9), id="components missing"),
        pytest.param(_patch(_FRAME + 11, 0), id="no sampling"),
        pytest.param(b"\xff\xd8" + b"\xff\x01" * 10_001 + _GRAY[2:], id="too many segments"),
    ],
)
def test_what_is_damaged_is_refused(data: bytes) -> None:
    with pytest.raises(BadFileFormatError):
        read_jpeg_stream(data)
