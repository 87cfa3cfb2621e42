"""Finding elements by their path."""

import struct
import zlib
from collections.abc import Sequence

import pytest
from tests.support.dicom_files import (
    DEFLATED_LITTLE,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    build_data_set,
    build_file,
    encode_element,
    encode_fragments,
    encode_meta,
    encode_sequence,
)

from isocenter.dicom import element_paths
from isocenter.dicom.element_paths import Found, ItemList, TagList, Value, find_content, parse_path
from isocenter.dicom.tags import DEFAULT_DICTIONARY
from isocenter.dicom.values import reverse_words
from isocenter.errors import BadFileFormatError, UnknownTagError

PIXELS = 0x7FE00010


def find(data: bytes, *path: int, offset: int | None = None) -> Found | None:
    return find_content(data, path, DEFAULT_DICTIONARY, pixel_data_offset=offset)


def read(data: bytes, *path: int) -> bytes:
    found = find(data, *path)
    assert isinstance(found, Value)
    value = data[found.start : found.stop] if found.data is None else found.data
    return reverse_words(value, found.word_size)


def build_nested(syntax: str = EXPLICIT_LITTLE, *, is_undefined: bool = False) -> bytes:
    inner = encode_sequence(
        0x0040A168,
        [
            encode_element(0x00080100, "SH", "T1", syntax=syntax),
            encode_element(0x00080100, "SH", "T2", syntax=syntax),
        ],
        syntax=syntax,
        is_undefined=is_undefined,
    )
    sequence = encode_sequence(0x0040A730, [b"", inner], syntax=syntax, is_undefined=is_undefined)
    before = encode_element(0x00100010, "PN", "Doe^Jane ", syntax=syntax)
    return build_file(before + sequence, syntax=syntax)


@pytest.mark.parametrize(
    ("segments", "path"),
    [
        ([], ()),
        (["PatientName"], (0x00100010,)),
        (
            ["0040-a730", "0", "0040,A168", "12", "CodeValue"],
            (0x0040A730, 0, 0x0040A168, 12, 0x80100),
        ),
        (["7fe00010", "00"], (PIXELS, 0)),
    ],
)
def test_path_is_read(segments: Sequence[str], path: tuple[int, ...]) -> None:
    assert parse_path(segments, DEFAULT_DICTIONARY) == path


@pytest.mark.parametrize("index", ["-1", "x", "", "1.0", "٣", " 1", "1" * 10])
def test_path_with_an_index_that_is_none_leads_nowhere(index: str) -> None:
    assert parse_path(["0040-a730", index], DEFAULT_DICTIONARY) is None


def test_path_with_an_unknown_name_is_an_error() -> None:
    with pytest.raises(UnknownTagError):
        parse_path(["NoSuchTag"], DEFAULT_DICTIONARY)


@pytest.mark.parametrize("syntax", [IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG])
@pytest.mark.parametrize("is_undefined", [True, False])
def test_path_leads_down_into_sequences(syntax: str, is_undefined: bool) -> None:
    data = build_nested(syntax, is_undefined=is_undefined)

    assert find(data) == TagList(["0010-0010", "0040-a730"])
    assert read(data, 0x00100010) == b"Doe^Jane"
    assert find(data, 0x0040A730) == ItemList(2)
    assert find(data, 0x0040A730, 0) == TagList([])
    assert find(data, 0x0040A730, 1) == TagList(["0040-a168"])
    assert find(data, 0x0040A730, 1, 0x0040A168) == ItemList(2)
    assert read(data, 0x0040A730, 1, 0x0040A168, 1, 0x00080100) == b"T2"


@pytest.mark.parametrize(
    "path",
    [
        (0x00100020,),
        (0x00020010,),
        (0x00100010, 0),
        (0x0040A730, 2),
        (0x0040A730, 0, 0x00080100),
        (0x0040A730, 1, 0x0040A168, 1, 0x00080100, 0),
        (PIXELS,),
        (PIXELS, 0),
        (0xFFFCFFFC,),
    ],
)
def test_path_to_what_is_not_there_finds_nothing(path: tuple[int, ...]) -> None:
    assert find(build_nested(), *path) is None


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("LO", b"abc   ", b"abc"),
        ("LO", b"  lead", b"  lead"),
        ("PN", b"end\0\0\0", b"end"),
        ("UI", b"1.2\0", b"1.2"),
        ("CS", b" \0", b""),
        ("LT", b"a\r\n \0 ", b"a\r\n"),
        ("LO", b"nul\0in", b"nul\0in"),
        ("UN", b"un  ", b"un  "),
        ("OB", b"a \0 ", b"a \0 "),
        ("UT", b"x" + b" " * 9999, b"x"),
        ("UT", b" " * 10000, b""),
        ("LO", b"", b""),
    ],
)
def test_padding_of_text_alone_is_left_out(vr: str, value: bytes, expected: bytes) -> None:
    assert read(build_file(encode_element(0x00081030, vr, value)), 0x00081030) == expected


# Observed at a running server: numbers come in little endian.
@pytest.mark.parametrize(
    ("vr", "size"),
    [
        *(("US", 2), ("SS", 2), ("OW", 2), ("AT", 2), ("UL", 4), ("SL", 4), ("FL", 4), ("OF", 4)),
        *(("OL", 4), ("FD", 8), ("OD", 8), ("SV", 8), ("UV", 8), ("OV", 8), ("OB", 1), ("UN", 1)),
    ],
)
def test_words_of_big_endian_are_turned(vr: str, size: int) -> None:
    numbers = bytes(range(16))
    data = build_file(
        encode_element(0x00091001, vr, numbers, syntax=EXPLICIT_BIG), syntax=EXPLICIT_BIG
    )
    expected = b"".join(numbers[n : n + size][::-1] for n in range(0, 16, size))

    assert read(data, 0x00091001) == expected


def test_pixel_data_are_one_frame_unless_they_are_encapsulated() -> None:
    data = build_file(encode_element(PIXELS, "OW", b"abcdefgh"))

    assert find(data, PIXELS) == ItemList(1)
    assert read(data, PIXELS, 0) == b"abcdefgh"
    assert find(data, PIXELS, 1) is None
    assert find(data, PIXELS, 0, PIXELS) is None


def test_fragments_are_numbered_behind_the_offset_table() -> None:
    data = build_file(encode_fragments([b"abcd", b"ef"]))

    assert find(data, PIXELS) == ItemList(3)
    assert [read(data, PIXELS, n) for n in range(3)] == [b"", b"abcd", b"ef"]
    assert find(data, PIXELS, 3) is None


def test_pixel_data_in_an_item_are_bytes() -> None:
    data = build_file(encode_sequence(0x00880200, [encode_element(PIXELS, "OW", b"icon")]))

    assert read(data, 0x00880200, 0, PIXELS) == b"icon"
    assert find(data, 0x00880200, 0, PIXELS, 0) is None


def test_known_offset_is_where_the_search_for_pixel_data_begins() -> None:
    meta = encode_meta()
    header = encode_element(0x00100010, "PN", "AB", length=5000)
    data = (
        meta
        + header
        + encode_element(PIXELS, "OW", b"abcd")
        + encode_element(0xFFFCFFFC, "OB", b"xy")
    )

    found = find(data, PIXELS, 0, offset=len(meta + header))

    assert isinstance(found, Value)
    assert data[found.start : found.stop] == b"abcd"
    assert find(data, 0xFFFCFFFC, offset=len(meta + header)) == Value(len(data) - 2, len(data))


def test_start_of_a_file_is_enough_for_what_lies_in_it() -> None:
    header = build_file(encode_element(0x00100010, "PN", "AB"))
    data = header + encode_element(PIXELS, "OW", b"", length=5000)

    assert read(data, 0x00100010) == b"AB"
    assert find(data, 0x00100020) is None
    with pytest.raises(BadFileFormatError):
        find(data, PIXELS, 0)


def test_deflated_data_set_is_inflated() -> None:
    plain = build_data_set(
        {0x00100010: ("PN", "AB"), 0x00200013: ("IS", "1"), PIXELS: ("OW", bytes(3_000_000))}
    )
    packer = zlib.compressobj(wbits=-15)
    data = encode_meta(DEFLATED_LITTLE) + packer.compress(plain) + packer.flush()

    assert read(data, 0x00100010) == b"AB"
    assert find(data, PIXELS) == ItemList(1)
    assert read(data, PIXELS, 0) == bytes(3_000_000)
    assert find(data) == TagList(["0010-0010", "0020-0013", "7fe0-0010"])
    assert find(data, 0x00100020) is None


def test_of_equal_tags_the_first_one_counts() -> None:
    one, other = (encode_element(0x00100010, "PN", text) for text in ("AB", "CD"))
    data = build_file(one + other)

    assert read(data, 0x00100010) == b"AB"
    assert find(data) == TagList(["0010-0010"])


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (encode_element(0x00100010, "PN", "AB") + encode_element(0x00100020, "LO", "AB"), ()),
        (encode_sequence(0x00081140, [b"", b""]), (0x00081140,)),
        (encode_fragments([b"ab"]), (PIXELS,)),
    ],
)
def test_too_much_to_be_listed_is_an_error(
    content: bytes, path: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(element_paths, "MAXIMUM_LISTED", 1)
    with pytest.raises(BadFileFormatError, match="more than 1"):
        find(build_file(content), *path)


@pytest.mark.parametrize(
    "content",
    [
        encode_fragments([b"ab"], is_complete=False),
        encode_element(PIXELS, "OB", struct.pack("<HHI", 8, 8, 0), length=0xFFFFFFFF),
    ],
)
def test_damaged_fragments_are_an_error(content: bytes) -> None:
    with pytest.raises(BadFileFormatError):
        find(build_file(content), PIXELS)
