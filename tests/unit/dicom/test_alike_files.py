"""Kinds of files that were seen before."""

from typing import NamedTuple

from tests.support.dicom_files import encode_element

from isocenter.dicom.alike_files import AlikeFiles
from isocenter.dicom.elements import EXPLICIT_LITTLE
from isocenter.dicom.header_patterns import HeaderPattern, build_pattern, list_header


class _Kind(NamedTuple):
    question: str
    pattern: HeaderPattern
    name: str

    def change_pattern(self, pattern: HeaderPattern) -> "_Kind":
        return self._replace(pattern=pattern)


def _encode(tag: int, text: str = "A") -> bytes:
    return encode_element(tag, "LO", text) + encode_element(0x7FE00010, "OW", b"\1\2")


def _build(tag: int, question: str = "?") -> _Kind:
    data = _encode(tag)
    elements = list_header(data, 0, EXPLICIT_LITTLE)
    stop = len(elements[0].content)
    pattern = build_pattern(elements, data, stop, EXPLICIT_LITTLE, fixed=(), variable=())
    assert pattern is not None
    return _Kind(question, pattern, f"{tag:08x}")


def _find(files: AlikeFiles[_Kind], tag: int, text: str = "A", question: str = "?") -> str | None:
    found = files.lookup(question, _encode(tag, text), 0)
    return None if found is None else found[0].name


def test_kinds_are_found_by_question_and_header() -> None:
    files: AlikeFiles[_Kind] = AlikeFiles()
    for tag in (0x00080060, 0x00100020):
        files.add(_build(tag))
    assert _find(files, 0x00080060) == "00080060"
    assert _find(files, 0x00100020) == "00100020"
    assert _find(files, 0x00080060, question="!") is None
    assert _find(files, 0x00080050) is None


def test_what_a_file_teaches_is_kept() -> None:
    files: AlikeFiles[_Kind] = AlikeFiles()
    files.add(_build(0x00080060))
    for text in ("B", "C"):
        assert _find(files, 0x00080060, text) == "00080060"
    found = files.lookup("?", _encode(0x00080060, "D"), 0)
    assert found is not None
    assert found[0].pattern.variable == {0}


def test_the_kind_that_was_not_seen_for_longest_is_forgotten() -> None:
    files: AlikeFiles[_Kind] = AlikeFiles()
    tags = [0x00110010 + n for n in range(9)]
    for tag in tags[:8]:
        files.add(_build(tag))
    assert _find(files, tags[0]) is not None
    files.add(_build(tags[8]))
    assert _find(files, tags[0]) is not None
    assert _find(files, tags[1]) is None


def test_where_nothing_is_alike_little_is_learned() -> None:
    files: AlikeFiles[_Kind] = AlikeFiles()
    learned = 0
    for number in range(200):
        tag = 0x00110010 + number
        assert _find(files, tag) is None
        files.note_miss()
        if files.is_learning:
            learned += 1
            files.add(_build(tag))
    assert 20 < learned < 40


def test_after_a_long_time_without_alike_files_it_soon_goes_on() -> None:
    files: AlikeFiles[_Kind] = AlikeFiles()
    for _ in range(30_000):
        files.note_miss()
    while not files.is_learning:
        files.note_miss()
    files.add(_build(0x00080060))
    for _ in range(64):
        assert _find(files, 0x00080060) is not None
    assert files.is_learning
