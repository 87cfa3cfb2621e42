"""How bytes are split into data elements."""

import struct

import pytest
from tests.support import dicom_files
from tests.support.dicom_files import encode_element, encode_fragments, encode_sequence

from isocenter.dicom import elements
from isocenter.dicom.elements import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    MAXIMUM_DEPTH,
    UNDEFINED_LENGTH,
    Layout,
    measure_fragments,
    measure_undefined_length,
    read_element_header,
)
from isocenter.errors import BadFileFormatError

LAYOUTS = {
    dicom_files.IMPLICIT_LITTLE: IMPLICIT_LITTLE,
    dicom_files.EXPLICIT_LITTLE: EXPLICIT_LITTLE,
    dicom_files.EXPLICIT_BIG: EXPLICIT_BIG,
}
HEADER_SIZES = {("LO", True): 8, ("UT", True): 12, ("LO", False): 8, ("UT", False): 8}


@pytest.mark.parametrize("syntax", LAYOUTS)
@pytest.mark.parametrize("vr", ["LO", "UT"])
def test_element_header_is_read_in_each_encoding(syntax: str, vr: str) -> None:
    data = encode_element(0x00081030, vr, "abcd", syntax=syntax)
    layout = LAYOUTS[syntax]
    value = HEADER_SIZES[vr, layout.is_explicit]
    expected_vr = vr if layout.is_explicit else None
    header = read_element_header(data, 0, len(data), layout)
    assert header == (0x00081030, expected_vr, value, 4)


@pytest.mark.parametrize("layout", LAYOUTS.values())
def test_raw_key_is_what_unpacking_reads(layout: Layout) -> None:
    data = struct.pack(f"{layout.byte_order}HH", 0x0010, 0x0020) + b"LO\0\0"
    assert layout.unpack_key(data, 0)[0] == layout.encode_key(0x00100020)


@pytest.mark.parametrize(
    ("vr", "name", "value", "length"),
    [
        (b"ZZ", "UN", 12, 0x64636261),  # A future VR: its length has 32 bits.
        (b"??", "UN", 8, 6),
        (b"\0\0", "UN", 8, 6),
        (b"un", "UN", 8, 6),
    ],
)
def test_unknown_vr_is_read_as_observed(vr: bytes, name: str, value: int, length: int) -> None:
    data = struct.pack("<HH", 0x0010, 0x0010) + vr + b"\6\0abcdef"
    assert read_element_header(data, 0, len(data), EXPLICIT_LITTLE) == (
        0x00100010,
        name,
        value,
        length,
    )


@pytest.mark.parametrize("size", range(12))
def test_truncated_header_is_a_bad_format(size: int) -> None:
    data = encode_element(0x00081030, "UT", "abcd")[:size]
    with pytest.raises(BadFileFormatError):
        read_element_header(data, 0, len(data), EXPLICIT_LITTLE)


def _nest(depth: int, syntax: str) -> bytes:
    content = encode_element(0x00400007, "LO", "ab", syntax=syntax)
    for _ in range(depth):
        content = encode_sequence(0x00400275, [content], syntax=syntax, is_undefined=True)
    return content


@pytest.mark.parametrize("syntax", LAYOUTS)
@pytest.mark.parametrize("depth", [1, 2, MAXIMUM_DEPTH])
def test_undefined_length_ends_behind_its_delimiter(syntax: str, depth: int) -> None:
    data = _nest(depth, syntax)
    layout = LAYOUTS[syntax]
    _, _, value, length = read_element_header(data, 0, len(data), layout)
    assert length == UNDEFINED_LENGTH
    assert measure_undefined_length(data + b"tail", value, len(data) + 4, layout) == len(data)


def test_undefined_length_in_unknown_vr_holds_implicit_items() -> None:
    inner = encode_element(0x00400007, "LO", "ab", syntax=dicom_files.IMPLICIT_LITTLE)
    unknown = encode_sequence(
        0x00091001, [inner], syntax=dicom_files.EXPLICIT_LITTLE, vr="UN", is_undefined=True
    )
    data = encode_sequence(0x00400275, [unknown], is_undefined=True)
    assert measure_undefined_length(data, 12, len(data), EXPLICIT_LITTLE) == len(data)


def test_sequences_nested_too_deep_are_refused() -> None:
    data = _nest(MAXIMUM_DEPTH + 1, dicom_files.EXPLICIT_LITTLE)
    with pytest.raises(BadFileFormatError, match="too deep"):
        measure_undefined_length(data, 12, len(data), EXPLICIT_LITTLE)


def test_every_truncation_of_an_undefined_length_is_refused() -> None:
    data = _nest(2, dicom_files.EXPLICIT_LITTLE)
    for size in range(12, len(data)):
        with pytest.raises(BadFileFormatError):
            measure_undefined_length(data[:size], 12, size, EXPLICIT_LITTLE)


def test_sequence_of_something_else_is_refused() -> None:
    data = encode_element(0x00400007, "LO", "abcd")
    with pytest.raises(BadFileFormatError, match="not an item"):
        measure_undefined_length(data, 0, len(data), EXPLICIT_LITTLE)


def test_fragments_end_behind_their_delimiter() -> None:
    data = encode_fragments([b"abcd", b"ef"])
    assert measure_fragments(data + b"tail", 12, len(data) + 4) == len(data)


@pytest.mark.parametrize(
    "data",
    [
        encode_fragments([b"abcd"], is_complete=False),
        encode_fragments([b"abcd"])[:-9],
        encode_fragments([])[:12] + encode_element(0x00400007, "LO", "abcd"),
    ],
)
def test_incomplete_fragments_are_refused(data: bytes) -> None:
    with pytest.raises(BadFileFormatError):
        measure_fragments(data, 12, len(data))


def test_fragments_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "MAXIMUM_FRAGMENTS", 3)
    # The empty offset table and the delimitation count as well.
    few, many = encode_fragments([b"ab"]), encode_fragments([b"ab", b"cd"])
    assert measure_fragments(few, 12, len(few)) == len(few)
    with pytest.raises(BadFileFormatError, match="fragments"):
        measure_fragments(many, 12, len(many))
