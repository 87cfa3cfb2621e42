"""Summaries that are read from what differs (see also the property tests)."""

import pytest
from tests.support.dicom_files import (
    build_data_set,
    build_file,
    encode_element,
    encode_fragments,
    identifiers,
)

from isocenter.dicom.reader import FileSummary, read_summary
from isocenter.dicom.summary_memory import SummaryMemory
from isocenter.errors import BadFileFormatError

_WANTED = frozenset({0x00081030, 0x00200013, 0x00280010})
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
