"""Files that are like earlier ones: what was learned changes nothing but the time it takes."""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.dicom_files import (
    EXPLICIT_LITTLE,
    build_file,
    encode_element,
    encode_fragments,
    encode_sequence,
    identifiers,
)
from tests.support.samples import list_samples

from isocenter.archive.edit_requests import (
    build_anonymous_values,
    build_edit,
    parse_anonymization,
    parse_modification,
)
from isocenter.dicom.editing import Edit, EditMemory, edit_file
from isocenter.dicom.elements import Buffer
from isocenter.dicom.file_meta import FileMeta, read_file_meta
from isocenter.dicom.header_patterns import HeaderElement, list_header
from isocenter.dicom.main_tags import build_main_tags
from isocenter.dicom.pseudonyms import Pseudonyms
from isocenter.dicom.reader import FileSummary, read_summary
from isocenter.dicom.rewriting import Piece
from isocenter.dicom.summary_memory import SummaryMemory
from isocenter.errors import ServerError

# Of pydicom, about character sets that nobody knows.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

_IMPLICIT_LITTLE = "1.2.840.10008.1.2"
_EXPLICIT_BIG = "1.2.840.10008.1.2.2"
_ANONYMIZATIONS: list[dict[str, Any]] = [
    {},
    {"KeepPrivateTags": True, "Keep": ["StudyDescription"]},
    {"KeepPrivateTags": True, "ShiftDates": True, "CleanDescriptors": True, "CleanGraphics": True},
]
_MODIFICATIONS: list[dict[str, Any]] = [
    {"Replace": {"PatientName": "New^Name", "StudyDescription": "x"}, "RemovePrivateTags": True},
    {"Replace": {"ReferencedSeriesSequence[*].Modality": "US"}, "Remove": ["StudyTime"]},
    # Text that needs another character set, and a note about what was.
    {"Replace": {"PatientName": "\u041f\u0438"}},
    {"Replace": {"StudyID": "1"}, "OriginalAttributes": True},
]
_BASE: dict[int, tuple[str, bytes | str]] = {
    0x00080005: ("CS", "ISO_IR 100"),
    0x00080008: ("CS", "ORIGINAL\\PRIMARY"),
    0x00080020: ("DA", "20200102"),
    0x00080030: ("TM", "101112"),
    0x00080050: ("SH", "ACC"),
    0x00080060: ("CS", "CT"),
    0x00081030: ("LO", "Description"),
    0x00090010: ("LO", "ACME 1.1"),
    0x00091001: ("LO", "private"),
    0x00100010: ("PN", "Somebody^Else"),
    0x00200013: ("IS", "7"),
    0x00200032: ("DS", "1\\2\\3"),
    0x00280010: ("US", b"\1\0"),
}


def _build_edits() -> Iterator[Edit]:
    for body in _ANONYMIZATIONS:
        request = parse_anonymization(body)
        yield build_edit(request, Pseudonyms(b"k"), defaults=build_anonymous_values(request, 1))
    for body in _MODIFICATIONS:
        yield build_edit(parse_modification(body, None), Pseudonyms(b"k"))


_EDITS = list(_build_edits())


class _CountingMemory(EditMemory):
    """Counts the files that were like an earlier one."""

    hits = 0

    def repeat(
        self, buffer: Buffer, meta: FileMeta, edit: Edit, default_encoding: str
    ) -> list[Piece] | None:
        pieces = super().repeat(buffer, meta, edit, default_encoding)
        self.hits += pieces is not None
        return pieces


def _try(action: Callable[[], list[Piece]]) -> bytes | type[ServerError]:
    try:
        return b"".join(action())
    except ServerError as error:
        return type(error)


def _summarize(action: Callable[[], FileSummary]) -> FileSummary | type[ServerError]:
    try:
        return action()
    except ServerError as error:
        return type(error)


def _check_edits(files: list[bytes], edit: Edit) -> int:
    """Edit files with and without a memory; tell how many were like an earlier one."""
    memory = _CountingMemory()
    for file in files:
        alone = _try(partial(edit_file, file, edit))
        together = _try(partial(edit_file, file, edit, memory=memory))
        assert together == alone
    return memory.hits


def _check_summaries(files: list[bytes], *, is_whole: bool) -> None:
    memory = SummaryMemory()
    for wanted in (build_main_tags().wanted, frozenset({0x00081030, 0x00091001, 0x00280010})):
        for file in files:

            def read(file: bytes = file, wanted: frozenset[int] = wanted) -> FileSummary:
                return read_summary(file, wanted=wanted, is_whole=is_whole)

            def remember(file: bytes = file, wanted: frozenset[int] = wanted) -> FileSummary:
                return memory.read_summary(file, wanted=wanted, is_whole=is_whole)

            assert _summarize(remember) == _summarize(read)


def _vary(file: bytes, choice: random.Random) -> bytes:
    """Give some elements other values, of the same length, or drop or repeat them."""
    meta = read_file_meta(file)
    elements = list_header(file, meta.data_set_offset, meta.layout)
    rest = file[meta.data_set_offset + sum(len(content) for _, content in elements) :]
    for _ in range(choice.choice((0, 1, 1, 3, 8)) if elements else 0):
        index = choice.randrange(len(elements))
        tag, content = elements[index]
        kind = choice.random()
        if kind < 0.1:
            del elements[index]
        elif kind < 0.15:
            elements.insert(index, HeaderElement(tag, content))
        else:
            value = bytearray(content)
            for _ in range(choice.choice((1, 2, 20))):
                position = choice.randrange(8, len(value)) if len(value) > 8 else None
                if position is not None:
                    value[position] = choice.choice(b"0123456789.AZ\\ \0\xe9")
            elements[index] = HeaderElement(tag, bytes(value))
        if not elements:
            break
    header = b"".join(content for _, content in elements)
    return file[: meta.data_set_offset] + header + rest


def _list_files() -> list[Path]:
    return [path for path in list_samples() if path.stat().st_size < 4_000_000]


@pytest.mark.parametrize("path", _list_files(), ids=lambda path: path.name)
def test_samples_and_what_is_like_them(path: Path) -> None:
    file, choice = path.read_bytes(), random.Random(path.name)
    with suppress(ServerError):
        files = [file, *(_vary(file, choice) for _ in range(5)), file[:-2], file]
        for is_whole in (False, True):
            _check_summaries(files, is_whole=is_whole)
        for edit in _EDITS:
            _check_edits(files, edit)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([EXPLICIT_LITTLE, _IMPLICIT_LITTLE, _EXPLICIT_BIG]),
    st.sampled_from(range(len(_EDITS))),
    st.lists(
        st.dictionaries(
            st.sampled_from(sorted({*_BASE, 0x00100020, 0x00080018})),
            st.one_of(st.none(), st.text("AB1. \\", max_size=8)),
            max_size=3,
        ),
        min_size=2,
        max_size=5,
    ),
)
def test_made_files_that_are_alike(
    syntax: str, edit: int, changes: list[dict[int, str | None]]
) -> None:
    files = []
    for changed in changes:
        elements = dict(_BASE | identifiers())
        for tag, text in changed.items():
            vr = elements[tag][0]
            elements.pop(tag) if text is None else elements.update({tag: (vr, text)})
        encoded = {
            tag: encode_element(tag, vr, value, syntax=syntax)
            for tag, (vr, value) in elements.items()
        }
        if syntax == EXPLICIT_LITTLE:
            item = encode_element(0x00080060, "CS", "MR")
            encoded[0x00081115] = encode_sequence(0x00081115, [item, b""])
        encoded[0x7FE00010] = encode_element(0x7FE00010, "OW", b"\1\2", syntax=syntax)
        data_set = b"".join(value for _, value in sorted(encoded.items()))
        files.append(build_file(data_set, syntax=syntax))
    _check_edits(files, _EDITS[edit])
    for is_whole in (False, True):
        _check_summaries(files, is_whole=is_whole)


@pytest.mark.parametrize("edit", _EDITS[:5])
def test_files_of_a_series_are_alike(edit: Edit) -> None:
    """Else the tests above would prove nothing."""
    files = []
    for number in range(5):
        elements = _BASE | identifiers() | {0x00200013: ("IS", str(number))}
        elements |= {0x00080018: ("UI", f"1.2.3.{number}")}
        encoded = [encode_element(tag, vr, value) for tag, (vr, value) in sorted(elements.items())]
        pixels = encode_element(0x7FE00010, "OW", bytes([number, 0]))
        files.append(build_file(b"".join(encoded) + pixels))
    assert _check_edits(files, edit) == 4


def test_what_stands_behind_the_pixels_does_not_depend_on_what_stands_before() -> None:
    """Instances are named within one sequence, wherever the same sequence stands again."""
    series = encode_element(0x0020000E, "UI", "1.3")
    named = encode_sequence(0x00081199, [encode_element(0x00081155, "UI", "9.9")])
    before, behind = (encode_sequence(0x00081115, [item]) for item in (named + series, series))
    pixels = encode_element(0x7FE00010, "OW", b"\1\2")
    files = [
        build_file(
            encode_element(0x00080018, "UI", f"1.2.3.{n}") + before + series + pixels + behind
        )
        for n in range(3)
    ]
    edit = Edit(Pseudonyms(b"k"), references=frozenset({"8.8"}), partings=frozenset({"1.3"}))
    assert _check_edits(files, edit) == 2


def test_pixels_that_should_be_encapsulated_are_refused_in_every_file() -> None:
    header = encode_element(0x00080018, "UI", "1.2.3")
    pixels = encode_fragments([b"", b"\1\2"]), encode_element(0x7FE00010, "OB", b"\1\2")
    files = [build_file(header + each, syntax="1.2.840.10008.1.2.4.50") for each in pixels]
    _check_edits(files, Edit(Pseudonyms(b"k")))


def test_uids_that_are_renewed_are_looked_at_whatever_they_are_sent_as() -> None:
    files = [
        build_file(encode_element(0x00200052, "LO", value) + encode_element(0x7FE00010, "OW", b""))
        for value in ("", "1.2.3", "1.2.4")
    ]
    edit = Edit(Pseudonyms(b"k"), regenerate=frozenset({0x00200052}))
    assert _check_edits(files, edit) == 2
