"""From bytes to the text of values; the expected texts were observed at a running server."""

import struct

import pytest

from isocenter.dicom.character_sets import build_character_set
from isocenter.dicom.values import format_numbers, format_text, format_unknown

LATIN = build_character_set("ISO_IR 100")


@pytest.mark.parametrize(
    ("vr", "code", "numbers", "text"),
    [
        ("US", "3H", (1, 2, 65535), "1\\2\\65535"),
        ("US", "H", (7,), "7"),
        ("SS", "3h", (-1, 2, -32768), "-1\\2\\-32768"),
        ("SS", "h", (-5,), "-5"),
        ("UL", "2I", (1, 4294967295), "1\\4294967295"),
        ("SL", "2i", (-1, 5), "-1\\5"),
        ("SV", "2q", (-1, 2**62), "-1\\4611686018427387904"),
        ("UV", "Q", (2**64 - 1,), "18446744073709551615"),
        ("FL", "3f", (0.1, 1, -2.5), "0.10000000149011612\\1\\-2.5"),
        ("FL", "2f", (1e20, 1e-7), "1.0000000200408773e+20\\1.0000000116860974e-07"),
        ("FD", "3d", (0.1, 1e20, 1e16), "0.10000000000000001\\1e+20\\10000000000000000"),
        ("FD", "2d", (5e-324, 1e-5), "4.9406564584124654e-324\\1.0000000000000001e-05"),
        ("FD", "3d", (float("nan"), float("-inf"), -0.0), "nan\\-inf\\-0"),
        ("AT", "2H", (0x0018, 0x1063), "0018,1063"),
        ("AT", "4H", (0x0018, 0x1063, 0x5400, 0xABCD), "0018,1063\\5400,abcd"),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_numbers_are_written_as_observed(
    vr: str, code: str, numbers: tuple[float, ...], text: str, order: str
) -> None:
    data = struct.pack(f"{order}{code}", *numbers)
    assert format_numbers(data, vr, order) == text


def test_incomplete_number_is_left_out() -> None:
    assert format_numbers(b"\1\0\2", "US", "<") == "1"
    assert format_numbers(b"\1", "US", "<") == ""


@pytest.mark.parametrize(
    ("vr", "data", "text"),
    [
        ("LO", b"  ab  ", "  ab"),
        ("LO", b" a \\ b \\c ", " a \\ b \\c"),
        ("LO", b"a\0b\0", "a"),
        ("LO", b"caf\xe9\0", "café"),
        ("PN", b" ab^c ", " ab^c"),
        ("DS", b" 1.20 ", " 1.20"),
        ("UI", b"1.2\0", "1.2"),
        ("UI", b" 1.2 ", "1.2"),
        ("UI", b"1.2\\1.3\0", "1.2\\1.3"),
        ("LT", b"\n a\n", "\n a\n"),
        ("LT", b"", ""),
    ],
)
def test_text_is_shown_without_padding(vr: str, data: bytes, text: str) -> None:
    assert format_text(data, vr, LATIN) == text


@pytest.mark.parametrize(
    ("vr", "data", "text"),
    [("LO", b"id1 ", "id1 "), ("LO", b"id1\0", "id1"), ("UI", b"1.2 ", "1.2")],
)
def test_text_sent_as_unknown_keeps_its_blanks(vr: str, data: bytes, text: str) -> None:
    assert format_unknown(data, vr, LATIN) == text


def test_text_with_code_extensions_is_decoded() -> None:
    japanese = build_character_set("\\ISO 2022 IR 87")
    assert format_text(b"\x1b$B;3ED\x1b(B ", "LO", japanese) == "山田"
