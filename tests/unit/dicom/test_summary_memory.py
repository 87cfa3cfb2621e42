"""Summaries that are read from what differs (see also the property tests)."""

import pytest
from tests.support.dicom_files import (
    build_data_set,
    build_file,
    encode_element,
    encode_fragments,
    identifiers,
)

from isocenter.dicom.header_patterns import LONGEST_HEADER
from isocenter.dicom.reader import FileSummary, read_summary
from isocenter.dicom.summary_memory import SummaryMemory
from isocenter.errors import BadFileFormatError

_WANTED = frozenset({0x00081030, 0x00200013, 0x00280010})
_EXPLICIT_BIG = "1.2.840.10008.1.2.2"
_JPEG = "1.2.840.10008.1.2.4.50"


def _build(number: int, pixels: bytes | None = None, syntax: str | None = None) -> bytes:
    elements = identifiers() | {
        0x00080005: ("CS", "ISO_IR 192"),
        0x00081030: ("LO", "Stra\u00dfe".encode()),
        0x00200013: ("IS", str(number)),
        0x00280010: ("US", bytes([number, 0])),
    }
    if pixels is None:
        pixels = encode_element(0x7FE00010, "OW", b"\1\2")
    data_set = build_data_set(elements) + pixels
    return build_file(data_set, syntax=syntax) if syntax else build_file(data_set)


def _read(memory: SummaryMemory, file: bytes) -> FileSummary:
    return memory.read_summary(file, wanted=_WANTED)


def test_summaries_are_those_of_the_reader() -> None:
    memory = SummaryMemory()
    for number in range(1, 5):
        file = _build(number)
        summary = _read(memory, file)
        assert summary == read_summary(file, wanted=_WANTED)
        assert summary.values[0x00200013] == str(number)
        assert summary.values[0x00280010] == str(number)


@pytest.mark.parametrize(
    ("pixels", "syntax"),
    [
        (encode_element(0x7FE00010, "OW", b"\1\2")[:-1], None),
        (encode_fragments([b"", b"\1\2"])[:-8], _JPEG),
        (encode_element(0x7FE00010, "OB", b"\1\2"), _JPEG),
    ],
    ids=["cut", "cut fragments", "not encapsulated"],
)
def test_pixel_data_are_checked_in_every_file(pixels: bytes, syntax: str | None) -> None:
    memory = SummaryMemory()
    good = encode_fragments([b"", b"\1\2"]) if syntax else None
    for number in range(1, 4):
        _read(memory, _build(number, good, syntax))
    with pytest.raises(BadFileFormatError):
        _read(memory, _build(5, pixels, syntax))


def test_other_character_set_is_another_kind() -> None:
    memory = SummaryMemory()
    _read(memory, _build(1))
    file = _build(2).replace(b"ISO_IR 192", b"ISO_IR 100")
    assert _read(memory, file) == read_summary(file, wanted=_WANTED)


def test_default_character_set_is_a_part_of_the_question() -> None:
    memory = SummaryMemory()
    file = build_file(build_data_set(identifiers() | {0x00081030: ("LO", b"\xe4")}))
    texts = [
        memory.read_summary(file, wanted=_WANTED, default_encoding=encoding).values[0x00081030]
        for encoding in ("Latin1", "Cyrillic", "Latin1")
    ]
    assert texts == ["\xe4", "\u0444", "\xe4"]


def _check(files: list[bytes], wanted: frozenset[int] = _WANTED) -> None:
    """Read files with and without a memory."""
    memory = SummaryMemory()
    for file in files:
        try:
            expected: FileSummary | str = read_summary(file, wanted=wanted)
        except BadFileFormatError as error:
            expected = error.message
        try:
            found: FileSummary | str = memory.read_summary(file, wanted=wanted)
        except BadFileFormatError as error:
            found = error.message
        assert found == expected


@pytest.mark.parametrize("room", range(6, 14))
@pytest.mark.parametrize("vr", ["OW", "UN", "SQ", "LO"])
def test_elements_at_the_end_of_what_is_remembered(room: int, vr: str) -> None:
    start = build_data_set(identifiers())
    filler = b"X" * (LONGEST_HEADER // 2 - 12)
    left = LONGEST_HEADER - room - len(start) - len(filler) - 24
    data_set = start + encode_element(0x00291001, "UT", filler)
    data_set += encode_element(0x00291002, "UT", b"X" * left)
    tag = 0x7FE00010 if vr == "OW" else 0x00291003
    _check([build_file(data_set + encode_element(tag, vr, b""))])


def test_items_among_elements_are_read_as_ever() -> None:
    files = []
    for patient_id in ("AAAA", "BBBB"):
        hidden = encode_element(0x00100020, "LO", patient_id)
        item = b"\xfe\xff\x00\xe0" + len(hidden).to_bytes(4, "little") + hidden
        elements = identifiers()
        elements.pop(0x00100020)
        files.append(build_file(build_data_set(elements) + item))
    _check(files)


def test_encoding_that_is_guessed_is_a_part_of_the_question() -> None:
    files = []
    for length in (10, 20_000):
        data_set = build_data_set(identifiers(), syntax=_EXPLICIT_BIG)
        pixels = encode_element(0x7FE00010, "OW", bytes(length), syntax=_EXPLICIT_BIG)
        files.append(build_file(data_set + pixels, syntax="1.2.3.99"))
    _check(files)


def test_meaning_of_private_elements_may_not_change() -> None:
    """Creators of blocks that nobody may reserve are believed, too."""
    files = [
        build_file(
            build_data_set(identifiers() | {0x00870001: ("LO", creator), 0x00870110: ("UN", b"AB")})
        )
        for creator in ("1.2.840.113708.794.1.1.2.0", "1.2.840.113708.794.1.1.2.X")
    ]
    _check(files, frozenset({0x00870110}))


def test_what_is_forgotten_is_learned_again() -> None:
    memory = SummaryMemory()
    for number in range(1, 4):
        _read(memory, _build(number))
    memory.forget()
    for number in range(1, 4):
        assert _read(memory, _build(number)) == read_summary(_build(number), wanted=_WANTED)


def test_nobody_sees_patients_in_a_memory() -> None:
    memory = SummaryMemory()
    _read(memory, _build(1))
    assert "Stra" not in repr(vars(memory._files))
