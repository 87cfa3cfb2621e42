"""Reading the index of another server, which stays as it is."""

import fcntl
import os
import sqlite3
import struct
from pathlib import Path

import pytest
from tests.support.orthanc_archive import DATE, OrthancArchive, snapshot
from tests.support.server import build_synthetic

from isocenter.clock import format_timestamp
from isocenter.dicom.levels import Level
from isocenter.errors import (
    BackendError,
    DatabaseUnavailableError,
    DatabaseVersionError,
    MissingFileError,
)
from isocenter.index.orthanc import OrthancIndex


def test_instances_are_read_with_their_ancestors_in_pages(tmp_path: Path) -> None:
    archive = OrthancArchive(tmp_path)
    files = [build_synthetic() for _ in range(3)]
    archive.add(*files)
    with OrthancIndex(tmp_path) as index:
        first, after = index.read_instances(-1, 2)
        second, last = index.read_instances(after, 2)
        third, end = index.read_instances(last, 2)
    assert [i.public_ids for i in first + second] == [
        (file.patient, file.study, file.series, file.instance) for file in files
    ]
    assert all(i.is_sound for i in first + second)
    assert (third, end) == ([], last)


@pytest.mark.parametrize("is_newer", [False, True])
def test_resources_are_read_whole(tmp_path: Path, is_newer: bool) -> None:
    archive = OrthancArchive(tmp_path, is_newer=is_newer)
    file = build_synthetic(patient_id="Nobody")
    archive.add(file, is_compressed=True)
    archive.set_metadata(file.study, {1024: b"caf\xe9", 1025: "x\0y"}, revision=3)
    archive.attach(file.study, 1030, b"pdf", revision=2)
    if is_newer:
        archive.add_label(file.study, "b")
        archive.add_label(file.study, "a")
    study, instance = archive.ids[file.study], archive.ids[file.instance]
    with OrthancIndex(tmp_path) as index:
        found = index.read_resources([study, instance])
    revision = 3 if is_newer else 0
    assert found[study].metadata == {
        7: (DATE, 0),
        1024: ("café", revision),
        1025: ("xy", revision),
    }
    assert found[study].tags[0x00100020] == "Nobody"
    assert found[study].labels == (["a", "b"] if is_newer else [])
    [attachment] = found[study].attachments
    assert (attachment.revision, attachment.is_sound) == (2 if is_newer else 0, True)
    [dicom] = found[instance].attachments
    assert dicom.attachment.compression == 1
    assert dicom.attachment.uncompressed_size == len(file.content)


def test_protected_patient_has_no_place_in_the_list(tmp_path: Path) -> None:
    archive = OrthancArchive(tmp_path)
    files = [build_synthetic(), build_synthetic()]
    archive.add(*files)
    archive.protect(files[0].patient)
    ids = [archive.ids[file.patient] for file in files]
    with OrthancIndex(tmp_path) as index:
        found = index.read_resources(ids)
    assert [found[i].recycling_order for i in ids] == [None, 2]


def test_logs_are_read_from_a_number(tmp_path: Path) -> None:
    archive = OrthancArchive(tmp_path)
    file = build_synthetic()
    archive.add(file)
    row = (3, file.series, "MODALITY", "P", "1", "2", "", "no date")
    archive.insert("INSERT INTO ExportedResources VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    with OrthancIndex(tmp_path) as index:
        changes = index.read_changes(2, 10)
        assert [(c.seq, c.change_type) for c in changes] == [(3, 4), (4, 2)]
        assert format_timestamp(changes[0].changed_at) == DATE
        [export] = index.read_exports(0, 10)
        assert (export.level, export.public_id, export.exported_at) == (2, file.series, 0)
        assert (index.get_last_numbers().change, index.get_last_numbers().export) == (4, 1)


def test_counts_are_those_of_the_tables(tmp_path: Path) -> None:
    archive = OrthancArchive(tmp_path)
    archive.add(build_synthetic(patient_id="A"), build_synthetic(patient_id="A"))
    with OrthancIndex(tmp_path) as index:
        assert index.count_resources() == {
            Level.PATIENT: 1,
            Level.STUDY: 2,
            Level.SERIES: 2,
            Level.INSTANCE: 2,
        }
        assert index.measure_attachments()[0] == 2


@pytest.mark.parametrize("has_log", [False, True])
def test_reading_leaves_no_trace_in_the_folder(tmp_path: Path, has_log: bool) -> None:
    archive = OrthancArchive(tmp_path)
    archive.execute("PRAGMA journal_mode = WAL")
    archive.add(build_synthetic())
    if has_log:
        leave_log(archive)
    before = snapshot(tmp_path)
    with OrthancIndex(tmp_path) as index:
        index.check_sound()
        assert index.count_resources()[Level.INSTANCE] == 1
        index.check_unchanged()
    assert snapshot(tmp_path) == before
    assert ("index-wal" in before) is has_log


def leave_log(
    archive: OrthancArchive, statement: str = "INSERT INTO GlobalProperties VALUES (99, 'x')"
) -> None:
    """Leave the files as a killed server does: the last transaction in the log only."""
    connection = sqlite3.connect(archive.index)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    with connection:
        connection.execute(statement)
    kept = {name: (archive.folder / name).read_bytes() for name in ("index", "index-wal")}
    connection.close()
    for name, content in kept.items():
        (archive.folder / name).write_bytes(content)
    (archive.folder / "index-shm").unlink(missing_ok=True)


def test_log_of_a_killed_server_counts(tmp_path: Path) -> None:
    archive = OrthancArchive(tmp_path)
    archive.execute("PRAGMA journal_mode = WAL")
    leave_log(archive, "INSERT INTO Resources VALUES (1, 1, 'p', NULL)")
    with OrthancIndex(tmp_path) as index:
        assert index.count_resources() == {Level.PATIENT: 1}


def test_index_in_use_is_refused_with_the_process(tmp_path: Path) -> None:
    archive = OrthancArchive(tmp_path)
    with archive.index.open("r+b") as file:
        # Only locks of another owner conflict; a descriptor with a lock of its own is one.
        lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0x40000002, 510, 0)
        fcntl.fcntl(file.fileno(), fcntl.F_OFD_SETLK, lock)
        with pytest.raises(DatabaseUnavailableError, match="stop Orthanc"):
            OrthancIndex(tmp_path)


def test_index_that_somebody_writes_to_is_noticed(tmp_path: Path) -> None:
    archive = OrthancArchive(tmp_path)
    with OrthancIndex(tmp_path) as index:
        index.check_unchanged()
        archive.add(build_synthetic())
        with pytest.raises(DatabaseUnavailableError, match="changed while"):
            index.check_unchanged()


def test_no_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no index of Orthanc"):
        OrthancIndex(tmp_path)


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"x" * 5000, b"SQLite" * 1000])
def test_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index").write_bytes(content)
    with pytest.raises(BackendError):
        OrthancIndex(tmp_path)


def test_other_database_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "index")
    connection.execute("CREATE TABLE Resources (x)")
    connection.close()
    with pytest.raises(BackendError, match="it lacks AttachedFiles"):
        OrthancIndex(tmp_path)


@pytest.mark.parametrize("version", ["5", "7", "", "six"])
def test_other_version_is_refused(tmp_path: Path, version: str) -> None:
    archive = OrthancArchive(tmp_path)
    archive.execute(f"UPDATE GlobalProperties SET value = '{version}'")  # noqa: S608
    with pytest.raises(DatabaseVersionError, match="version 6"):
        OrthancIndex(tmp_path)


def test_damaged_index_is_found(tmp_path: Path) -> None:
    archive = OrthancArchive(tmp_path)
    archive.add(*(build_synthetic() for _ in range(50)))
    content = bytearray(archive.index.read_bytes())
    content[8192:-8192] = b"\xff" * (len(content) - 16384)
    archive.index.write_bytes(content)
    with pytest.raises(BackendError), OrthancIndex(tmp_path) as index:
        index.check_sound()


def test_nonsense_in_columns_is_no_error(tmp_path: Path) -> None:
    archive = OrthancArchive(tmp_path, is_newer=True)
    file = build_synthetic()
    archive.add(file)
    archive.execute(
        "UPDATE AttachedFiles SET uuid = x'ff00', compressedSize = 'many', compressionType = 9,"
        " customData = x'01', uncompressedMD5 = NULL;"
        "UPDATE Metadata SET value = NULL; UPDATE MainDicomTags SET tagGroup = 'a', value = 1.5;"
        "UPDATE Changes SET date = 17, changeType = 'x';"
        "UPDATE Resources SET publicId = '\"];' WHERE resourceType = 4;"
    )
    with OrthancIndex(tmp_path) as index:
        [instance], _ = index.read_instances(-1, 10)
        assert not instance.is_sound
        found = index.read_resources(archive.ids.values())
        [attachment] = found[archive.ids[file.instance]].attachments
        assert (attachment.is_sound, attachment.is_elsewhere) == (False, True)
        [[(address, brief)]] = list(index.iter_attachments(10))
        assert (address, brief.is_elsewhere) == ("an unknown resource", True)
        assert [change.changed_at for change in index.read_changes(0, 10)] == [0] * 4


def test_instance_without_ancestors_is_not_sound(tmp_path: Path) -> None:
    archive = OrthancArchive(tmp_path)
    file = build_synthetic()
    archive.add(file)
    archive.execute(f"UPDATE Resources SET parentId = NULL WHERE publicId = '{file.study}'")  # noqa: S608
    with OrthancIndex(tmp_path) as index:
        [instance], _ = index.read_instances(-1, 10)
    assert not instance.is_sound
