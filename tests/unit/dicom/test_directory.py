"""The DICOMDIR: its frame and its links, as pydicom reads them."""

import tracemalloc

import pytest
from tests.support.directories import read_directory, walk

from isocenter.dicom import directory as module
from isocenter.dicom.directory import Directory, DirectoryRecord
from isocenter.dicom.directory_records import FileRecords
from isocenter.errors import BodyTooLargeError

# PS3.3 §F.3.2.2: Directory Record Type, here with one of two lengths.
_SHORT = b"\x04\x00\x30\x14CS\x06\x00IMAGE "
_LONG = b"\x04\x00\x30\x14CS\x0c\x00PRESENTATION"
_TYPES = ("PATIENT", "STUDY", "SERIES")


def _records(leaf: bytes = _SHORT) -> FileRecords:
    upper = [
        b"\x04\x00\x30\x14CS" + len(name).to_bytes(2, "little") + name.encode()
        for name in ("PATIENT ", "STUDY ", "SERIES")
    ]
    patient, study, series = upper
    return FileRecords(patient, study, series, leaf)


def _write(directory: Directory) -> bytes:
    return b"".join(directory.write("1.2.3"))


def test_empty_directory_has_no_records() -> None:
    ds, roots = read_directory(_write(Directory()))
    assert ds.FileSetID == "ORTHANC_MEDIA"
    assert ds.FileSetConsistencyFlag == 0
    assert ds.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.1.3.10"
    assert ds.file_meta.MediaStorageSOPInstanceUID == "1.2.3"
    assert ds.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert (roots, len(ds.DirectoryRecordSequence)) == ([], 0)


@pytest.mark.parametrize(
    ("lineages", "depths"),
    [
        ([("p", "s", "e")], "0123"),
        ([("p", "s", "e"), ("p", "s", "e")], "01233"),
        ([("p", "s", "e"), ("p", "s", "f")], "0123" + "23"),
        ([("p", "s", "e"), ("p", "t", "f"), ("p", "t", "f")], "0123" + "123" + "3"),
        ([("p", "s", "e"), ("q", "t", "f"), ("q", "t", "g")], "0123" + "0123" + "23"),
        # Names that are equal below different parents are different resources.
        ([("p", "s", "e"), ("q", "s", "e")], "0123" * 2),
    ],
)
def test_files_are_linked_into_a_tree(lineages: list[tuple[str, str, str]], depths: str) -> None:
    directory = Directory()
    for number, lineage in enumerate(lineages):
        directory.add(lineage, _records(_LONG if number % 2 else _SHORT))
    _, roots = read_directory(_write(directory))
    walked = list(walk(roots))
    assert "".join(str(depth) for depth, _ in walked) == depths
    assert all(node.kind == _TYPES[depth] for depth, node in walked if depth < 3)
    leaves = [node.kind for depth, node in walked if depth == 3]
    assert leaves == ["PRESENTATION" if n % 2 else "IMAGE" for n in range(len(lineages))]


def test_directory_goes_on_where_another_stopped() -> None:
    lineages = [("p", "s", "e"), ("p", "s", "e"), ("p", "s", "f"), ("q", "t", "g")]
    whole = Directory()
    for lineage in lineages:
        whole.add(lineage, _records())
    for stop in range(len(lineages)):
        first = Directory()
        for lineage in lineages[:stop]:
            first.add(lineage, _records())
        second = Directory(first.list_from(0))
        for lineage in lineages[stop:]:
            second.add(lineage, _records())
        assert _write(second) == _write(whole)


def test_offsets_beyond_32_bits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    directory = Directory()
    directory.add(("p", "s", "e"), _records())
    size = len(_write(directory))
    monkeypatch.setattr(module, "_LARGEST_OFFSET", size - 9)
    with pytest.raises(BodyTooLargeError):
        _write(directory)


def test_large_directory_is_written_in_chunks() -> None:
    payload = bytes(150)
    records = [DirectoryRecord(depth, str(depth), payload) for depth in range(3)]
    records += [DirectoryRecord(3, "", payload)] * 50_000
    directory = Directory(records)
    tracemalloc.start()
    try:
        sizes = [len(chunk) for chunk in directory.write("1.2.3")]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) > 50_000 * 150
    assert max(sizes) < 2 * 1024 * 1024
    assert peak < 6 * 1024 * 1024
