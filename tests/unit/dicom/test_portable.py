"""Elements taken out of one file for another: character sets, byte order, limits."""

import pytest
from tests.support.dicom_files import (
    DEFLATED_LITTLE,
    EXPLICIT_BIG,
    IMPLICIT_LITTLE,
    build_data_set,
    build_file,
    encode_element,
    encode_sequence,
)

from isocenter.dicom import portable
from isocenter.dicom.deflate import deflate_data_set
from isocenter.dicom.portable import PortableElement, iter_texts, read_elements, swap_bytes
from isocenter.errors import BadFileFormatError

CHARACTER_SET, NAME, SEQUENCE, ROWS = 0x00080005, 0x00100010, 0x00081110, 0x00280010


def read(data_set: bytes, *tags: int, syntax: str | None = None) -> dict[int, PortableElement]:
    file = build_file(data_set) if syntax is None else build_file(data_set, syntax=syntax)
    return read_elements(file, frozenset(tags), default_encoding="Latin1")


def test_text_is_decoded_as_the_file_says_or_by_default() -> None:
    named = build_data_set({CHARACTER_SET: ("CS", "ISO_IR 144"), NAME: ("PN", b"\xb9 ")})
    assert read(named, NAME) == {NAME: PortableElement("PN", "Й")}
    assert read(build_data_set({NAME: ("PN", b"\xe9 ")}), NAME)[NAME].value == "é"


def test_item_with_a_character_set_of_its_own_is_decoded_by_that() -> None:
    own = encode_element(CHARACTER_SET, "CS", "ISO_IR 144") + encode_element(NAME, "PN", b"\xb9")
    other = encode_element(NAME, "PN", b"\xe9")
    tail = encode_sequence(SEQUENCE, [own, other], is_undefined=True)
    found = read(tail, SEQUENCE)[SEQUENCE]
    assert found.value == (
        {NAME: PortableElement("PN", "Й")},
        {NAME: PortableElement("PN", "é")},
    )
    assert sorted(iter_texts([found])) == ["é", "Й"]


@pytest.mark.parametrize("syntax", [None, IMPLICIT_LITTLE, EXPLICIT_BIG])
def test_numbers_are_little_endian(syntax: str | None) -> None:
    value = b"\1\2" if syntax == EXPLICIT_BIG else b"\2\1"
    elements: dict[int, tuple[str, bytes | str]] = {ROWS: ("US", value)}
    data_set = build_data_set(elements, syntax=syntax) if syntax else build_data_set(elements)
    assert read(data_set, ROWS, syntax=syntax) == {ROWS: PortableElement("US", b"\2\1")}


def test_deflated_file_is_read() -> None:
    data_set = deflate_data_set([build_data_set({NAME: ("PN", "A^B ")})])
    assert read(data_set, NAME, syntax=DEFLATED_LITTLE)[NAME].value == "A^B"


def test_elements_beyond_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable, "_MOST_BYTES", 4)
    assert read(build_data_set({NAME: ("PN", "ABCD")}), NAME)
    with pytest.raises(BadFileFormatError, match="4 bytes"):
        read(build_data_set({NAME: ("PN", "ABCDEF")}), NAME)


def test_deep_nesting_is_refused() -> None:
    tail = b""
    for _ in range(80):
        tail = encode_sequence(SEQUENCE, [tail])
    with pytest.raises(BadFileFormatError, match="too deep"):
        read(tail, SEQUENCE)


def test_values_of_a_wrong_length_are_not_swapped() -> None:
    assert swap_bytes("US", b"\1\2\3\4") == b"\2\1\4\3"
    assert swap_bytes("FD", bytes(range(8))) == bytes(range(7, -1, -1))
    assert swap_bytes("US", b"\1\2\3") == b"\1\2\3"
    assert swap_bytes("LO", b"ab") == b"ab"
