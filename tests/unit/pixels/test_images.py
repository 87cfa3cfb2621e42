"""Images: what they become, and what is refused before it costs memory."""

import struct
import zlib
from typing import Any

import pytest
from tests.support.images import build_jpeg, build_pam, build_png

from isocenter.errors import BadFileFormatError
from isocenter.pixels import images
from isocenter.pixels.images import (
    Image,
    decode_jpeg,
    decode_pam,
    decode_png,
    read_jpeg_header,
)

PALETTE = bytes(range(9))
# Rows of the passes that a square of 3 has: the 1st, 4th, 5th, 6th and 7th.
INTERLACED = build_png(
    (3, 3), 8, 0, b"\0", b"\2", b"\6\x08", b"\1", b"\7", b"\3\4\5", interlaced=b""
)


@pytest.mark.parametrize(
    ("png", "expected"),
    [
        (build_png((3, 1), 8, 0, b"\1\2\3"), (1, 3, 1, 8, b"\1\2\3")),
        (build_png((1, 2), 16, 0, b"\1\2", b"\3\4"), (2, 1, 1, 16, b"\2\1\4\3")),
        (build_png((2, 1), 8, 2, b"\1\2\3\4\5\6"), (1, 2, 3, 8, b"\1\2\3\4\5\6")),
        (build_png((1, 1), 16, 2, b"\1\2\3\4\5\6"), (1, 1, 3, 16, b"\2\1\4\3\6\5")),
        (build_png((1, 1), 8, 6, b"\1\2\3\x80"), (1, 1, 3, 8, b"\1\2\3")),
        (build_png((1, 1), 16, 6, b"\0\1\0\2\0\3\0\4"), (1, 1, 3, 16, b"\1\0\2\0\3\0")),
        (INTERLACED, (3, 3, 1, 8, bytes(range(9)))),
        (build_png((1, 1), 8, 2, b"\1\2\3", interlaced=b""), (1, 1, 3, 8, b"\1\2\3")),
        (build_png((1, 1), 8, 0, b"\1", gAMA=b"wrong"), (1, 1, 1, 8, b"\1")),
        (build_png((2, 1), 8, 4, b"\1\xff\2\0"), (1, 2, 1, 8, b"\1\2")),
        (build_png((8, 1), 1, 0, b"\xa0"), (1, 8, 1, 8, b"\xff\0\xff\0\0\0\0\0")),
        (build_png((2, 1), 8, 3, b"\2\1", PLTE=PALETTE), (1, 2, 3, 8, b"\6\7\x08\3\4\5")),
        (
            build_png((2, 1), 8, 3, b"\2\1", PLTE=PALETTE, tRNS=b"\0\1"),
            (1, 2, 3, 8, b"\6\7\x08\3\4\5"),
        ),
    ],
)
def test_png_is_decoded(png: bytes, expected: tuple[int, int, int, int, bytes]) -> None:
    rows, columns, samples, bits, data = expected
    assert decode_png(png) == Image(rows, columns, samples, bits, bits, (data,))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        build_png((3, 1), 8, 0, b"\1\2\3")[:-20],
        build_png((3, 2), 8, 0, b"\1\2\3"),
        build_png((3, 1), 8, 0, b"\1\2\3\4"),
        build_png((3, 1), 8, 0, b"\1\2\3").replace(b"IDAT", b"IDAS"),
        build_png((1, 1), 8, 0, b"\1", ABCD=b"critical"),
        build_png((1, 1), 8, 3, b"\1"),
        build_png((1, 1), 1, 3, b"\1", PLTE=PALETTE),
        build_png((1, 1), 8, 3, b"\1", PLTE=b"1234"),
        build_png((1, 0), 8, 0, b""),
        build_png((0, 1), 8, 0),
        build_png((1, 1), 8, 5, b"\1"),
        build_png((1, 1), 7, 0, b"\1"),
        build_png((65536, 1), 8, 0, b""),
        build_png((2**31, 2**31), 16, 6, b""),
    ],
)
def test_png_that_is_wrong_is_refused(data: bytes) -> None:
    with pytest.raises(BadFileFormatError):
        decode_png(data)


def test_image_beyond_the_limit_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(images, "LARGEST_IMAGE_BYTES", 11)
    fitting = build_pam((11, 1), 1, 255, bytes(11))
    assert decode_pam(fitting).columns == 11
    for decode, data in (
        (decode_png, build_png((2, 1), 16, 2, bytes(12))),
        (decode_jpeg, build_jpeg((1, 2, 3), side=2)),
        (decode_pam, build_pam((12, 1), 1, 255, b"")),
    ):
        with pytest.raises(BadFileFormatError, match="bytes of pixels at most"):
            decode(data)


@pytest.mark.parametrize(("color", "samples"), [((200,), 1), ((200, 30, 0), 3)])
def test_jpeg_is_decoded_to_gray_or_rgb(color: tuple[int, ...], samples: int) -> None:
    image = decode_jpeg(build_jpeg(color))
    assert (image.rows, image.columns, image.samples, image.bits_stored) == (16, 16, samples, 8)
    assert all(
        abs(found - wanted) < 3 for found, wanted in zip(image.pieces[0], color, strict=False)
    )


@pytest.mark.parametrize(
    ("options", "has_rgb", "is_subsampled"),
    [
        ({"subsampling": "444"}, False, False),
        ({"subsampling": "420"}, False, True),
        ({"outcolorspace": "RGB", "colorspace": "RGB"}, True, False),
    ],
)
def test_jpeg_header_tells_how_color_is_coded(
    options: dict[str, Any], has_rgb: bool, is_subsampled: bool
) -> None:
    header = read_jpeg_header(build_jpeg((1, 2, 3), **options))
    assert (header.has_rgb, header.is_subsampled) == (has_rgb, is_subsampled)
    assert header.is_baseline
    assert header.components == 3


JPEG = build_jpeg((1, 2, 3))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xda\0\2\xff\xd9",
        b"\xff\xd8" + b"\xff\x01" * 20_000,
        b"\xff\xd8\xff\xc0\0\x03\x08\xff\xd9",
        b"\xff\xd8\xff\xe0\0\1\xff\xd9",
        JPEG[:-2],
        JPEG[: len(JPEG) // 2],
        JPEG.replace(b"\xff\xc0", b"\xff\xc3"),
        build_jpeg((1, 2, 3, 4)),
    ],
)
def test_jpeg_that_is_wrong_is_refused(data: bytes) -> None:
    with pytest.raises(BadFileFormatError):
        decode_jpeg(data)


@pytest.mark.parametrize(
    ("pam", "expected"),
    [
        (build_pam((2, 1), 1, 255, b"\1\2"), (1, 2, 1, 8, 8, b"\1\2")),
        (build_pam((1, 2), 1, 65535, b"\1\2\3\4"), (2, 1, 1, 16, 16, b"\2\1\4\3")),
        (build_pam((1, 1), 1, 4095, b"\1\2"), (1, 1, 1, 16, 12, b"\2\1")),
        (build_pam((2, 1), 1, 1, b"\0\1"), (1, 2, 1, 8, 1, b"\0\1")),
        (build_pam((1, 1), 3, 255, b"\1\2\3"), (1, 1, 3, 8, 8, b"\1\2\3")),
        (build_pam((1, 1), 4, 255, b"\1\2\3\4"), (1, 1, 3, 8, 8, b"\1\2\3")),
        (
            build_pam((1, 1), 1, 255, b"\1").replace(b"P7\n", b"P7\n# comment\n\n"),
            (1, 1, 1, 8, 8, b"\1"),
        ),
        (build_pam((1, 1), 2, 255, b"\1\2rest"), (1, 1, 1, 8, 8, b"\1")),
    ],
)
def test_pam_is_decoded(pam: bytes, expected: tuple[int, int, int, int, int, bytes]) -> None:
    assert decode_pam(pam) == Image(*expected[:-1], (expected[-1],))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"P7\n",
        b"P7\n" + b"x" * 5000,
        b"P7\nENDHDR\n",
        build_pam((2, 2), 1, 255, b"\1\2\3"),
        build_pam((2, 1), 5, 255, bytes(10)),
        build_pam((2, 1), 1, 65536, bytes(10)),
        build_pam((2, 1), 1, 0, bytes(10)),
        build_pam((2, 1), 1, 100, b"\1\xff"),
        build_pam((0, 1), 1, 255, b""),
        build_pam((1, 1), 1, 255, b"\1").replace(b"WIDTH 1", b"WIDTH -1"),
        build_pam((1, 1), 1, 255, b"\1").replace(b"WIDTH 1", b"WIDTH 1\xb2"),
        build_pam((1, 1), 1, 255, b"\1").replace(b"WIDTH 1", b"WIDTH " + b"9" * 4000),
    ],
)
def test_pam_that_is_wrong_is_refused(data: bytes) -> None:
    with pytest.raises(BadFileFormatError):
        decode_pam(data)


def test_damaged_png_never_reaches_the_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each failure of the codec would lose a reference to None.
    def fail(_: bytes) -> None:
        raise AssertionError

    monkeypatch.setattr("imagecodecs.png_decode", fail)
    sound = build_png((3, 3), 8, 2, bytes(9), bytes(9), bytes(9))
    for position in range(len(sound)):
        damaged = bytearray(sound)
        damaged[position] ^= 0xFF
        with pytest.raises(BadFileFormatError):
            decode_png(bytes(damaged))
        with pytest.raises(BadFileFormatError):
            decode_png(sound[:position])


def test_long_image_is_cut_into_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_PIECE_BYTES", 5)
    pieces = decode_pam(build_pam((2, 5), 1, 255, bytes(range(10)))).pieces
    assert pieces == (b"\0\1\2\3", b"\4\5\6\7", b"\x08\x09")


def test_filter_that_does_not_exist_is_refused() -> None:
    rows = zlib.compress(b"\5\1")
    sound = build_png((1, 1), 8, 0, b"\1")
    start = sound.index(b"IDAT")
    old = sound[start - 4 : sound.index(b"IEND") - 4]
    new = struct.pack(">I", len(rows)) + b"IDAT" + rows
    new += struct.pack(">I", zlib.crc32(b"IDAT" + rows))
    with pytest.raises(BadFileFormatError, match="filter"):
        decode_png(sound.replace(old, new))
