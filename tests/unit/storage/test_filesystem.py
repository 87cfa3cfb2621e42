import errno
import os
import resource
import stat
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.storage.failing_os import FailingOS, fail, write_until_full

from isocenter.errors import (
    CorruptedBlobError,
    FullStorageError,
    ServerError,
    StorageUnavailableError,
)
from isocenter.storage.filesystem import FileSystemStorage

UUID = "0123abcd-0000-4000-8000-000000000001"
NEIGHBOR = "0123abcd-0000-4000-8000-000000000002"
COUSIN = "01ffabcd-0000-4000-8000-000000000003"
CONTENT = b"0123456789" * 1000


@pytest.fixture
def storage(tmp_path: Path) -> FileSystemStorage:
    return FileSystemStorage(tmp_path / "storage")


def list_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def replace_os(monkeypatch: pytest.MonkeyPatch, module: str, **calls: Callable[..., Any]) -> None:
    monkeypatch.setattr(f"isocenter.storage.{module}.os", FailingOS(**calls))


def test_write_path_has_orthanc_layout(storage: FileSystemStorage, tmp_path: Path) -> None:
    storage.write(UUID, CONTENT)

    assert list_files(tmp_path) == [f"storage/01/23/{UUID}"]


def test_write_modes_exclude_others(storage: FileSystemStorage, tmp_path: Path) -> None:
    storage.write(UUID, CONTENT)

    made = list(tmp_path.rglob("*"))
    assert len(made) == 5
    assert not any(stat.S_IMODE(path.stat().st_mode) & stat.S_IRWXO for path in made)


def test_read_folder_of_orthanc_reads_blob(tmp_path: Path) -> None:
    path = tmp_path / "01" / "23" / UUID
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)

    storage = FileSystemStorage(tmp_path)

    assert storage.read(UUID) == CONTENT
    assert list(storage.iter_uuids()) == [UUID]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, FullStorageError),
        (errno.EDQUOT, FullStorageError),
        (errno.EROFS, StorageUnavailableError),
        (errno.EACCES, StorageUnavailableError),
        (errno.EIO, StorageUnavailableError),
    ],
)
def test_write_failing_call_leaves_nothing(
    storage: FileSystemStorage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    expected: type[ServerError],
) -> None:
    replace_os(monkeypatch, "temporary", write=write_until_full(3000, number))

    with pytest.raises(expected) as caught:
        storage.write(UUID, CONTENT)

    assert list_files(tmp_path) == []
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("call", ["open", "write", "fsync"])
def test_write_failing_step_leaves_nothing(
    storage: FileSystemStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    replace_os(monkeypatch, "temporary", **{call: fail(errno.EIO)})

    with pytest.raises(StorageUnavailableError):
        storage.write(UUID, CONTENT)

    assert list_files(tmp_path) == []


@pytest.mark.parametrize("call", ["mkdir", "rename"])
def test_write_failing_rename_leaves_nothing(
    storage: FileSystemStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    replace_os(monkeypatch, "filesystem", **{call: fail(errno.ENOSPC)})

    with pytest.raises(FullStorageError):
        storage.write(UUID, CONTENT)

    assert list_files(tmp_path) == []


def test_write_failing_folder_sync_leaves_nothing(
    storage: FileSystemStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write(NEIGHBOR, CONTENT)

    def sync_path(path: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("isocenter.storage.filesystem.sync_path", sync_path)
    with pytest.raises(StorageUnavailableError):
        storage.write(UUID, CONTENT)

    assert list_files(tmp_path) == [f"storage/01/23/{NEIGHBOR}"]


def test_write_short_system_calls_writes_all(
    storage: FileSystemStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_os(monkeypatch, "temporary", write=lambda at, content: os.write(at, content[:999]))

    storage.write(UUID, CONTENT)

    assert storage.read(UUID) == CONTENT


def test_write_file_size_limit_leaves_nothing(storage: FileSystemStorage, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 24, hard))
    try:
        with pytest.raises(StorageUnavailableError):
            storage.write(UUID, bytes((1 << 24) + 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert list_files(tmp_path) == []


def test_write_order_makes_file_then_folders_durable(
    storage: FileSystemStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(tmp_path / "storage")
    temporary = str(storage.spool_folder).removeprefix(root)
    steps: list[tuple[str, str]] = []

    def where(descriptor: int) -> str:
        return os.readlink(f"/proc/self/fd/{descriptor}").removeprefix(root)

    def fsync(descriptor: int) -> None:
        steps.append(("fsync", where(descriptor)))
        os.fsync(descriptor)

    def rename(source: str, target: str) -> None:
        os.rename(source, target)
        steps.append(("rename", target.removeprefix(root)))

    replace_os(monkeypatch, "temporary", fsync=fsync)
    replace_os(monkeypatch, "filesystem", rename=rename)

    storage.write(UUID, CONTENT)
    storage.write(NEIGHBOR, CONTENT)

    assert steps.pop(0)[1].startswith(temporary)
    assert steps.pop(4)[1].startswith(temporary)
    assert steps == [
        ("rename", f"/01/23/{UUID}"),
        ("fsync", "/01/23"),
        ("fsync", "/01"),
        ("fsync", ""),
        ("rename", f"/01/23/{NEIGHBOR}"),
        ("fsync", "/01/23"),
    ]


def test_write_folder_of_killed_process_is_made_durable_once(
    storage: FileSystemStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "storage"
    (root / "01" / "23").mkdir(parents=True)
    (root / "01" / "ff").mkdir()
    synced: list[str] = []
    monkeypatch.setattr("isocenter.storage.filesystem.sync_path", synced.append)

    for name in (UUID, NEIGHBOR, COUSIN):
        storage.write(name, CONTENT)

    assert [path.removeprefix(str(root)) for path in synced] == [
        "/01/23",
        "/01",
        "",
        "/01/23",
        "/01/ff",
    ]


def test_write_unsynced_never_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_os(monkeypatch, "temporary", fsync=fail(errno.EIO))
    storage = FileSystemStorage(tmp_path, sync=False)
    upload = storage.spool_folder / "upload"
    upload.write_bytes(CONTENT)

    storage.write(UUID, CONTENT)
    storage.adopt(NEIGHBOR, upload)
    storage.check_writable()

    assert storage.read(UUID) == storage.read(NEIGHBOR) == CONTENT


def test_write_temporary_folder_removed_makes_it_anew(
    storage: FileSystemStorage,
) -> None:
    storage.spool_folder.rmdir()

    storage.write(UUID, CONTENT)

    assert storage.read(UUID) == CONTENT


def test_write_root_removed_raises(storage: FileSystemStorage, tmp_path: Path) -> None:
    storage.spool_folder.rmdir()
    (tmp_path / "storage").rmdir()

    with pytest.raises(StorageUnavailableError):
        storage.write(UUID, CONTENT)
    with pytest.raises(StorageUnavailableError):
        list(storage.iter_uuids())
    with pytest.raises(StorageUnavailableError):
        storage.check_writable()


def test_adopt_root_removed_keeps_file(storage: FileSystemStorage, tmp_path: Path) -> None:
    storage.spool_folder.rmdir()
    (tmp_path / "storage").rmdir()
    upload = tmp_path / "upload"
    upload.write_bytes(CONTENT)

    with pytest.raises(StorageUnavailableError):
        storage.adopt(UUID, upload)

    assert upload.read_bytes() == CONTENT


def test_adopt_other_file_system_copies(
    storage: FileSystemStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(CONTENT)

    def rename(source: str, target: str) -> None:
        if source == str(upload):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        os.rename(source, target)

    replace_os(monkeypatch, "filesystem", rename=rename)
    storage.adopt(UUID, upload)

    assert list_files(tmp_path) == [f"storage/01/23/{UUID}"]
    assert storage.read(UUID) == CONTENT


def test_adopt_file_vanishing_meanwhile_raises(
    storage: FileSystemStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(CONTENT)
    monkeypatch.setattr("isocenter.storage.filesystem.sync_path", os.unlink)

    with pytest.raises(StorageUnavailableError):
        storage.adopt(UUID, upload)

    assert list_files(tmp_path) == []


def test_adopt_unreadable_file_keeps_it(
    storage: FileSystemStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(CONTENT)
    replace_os(monkeypatch, "temporary", fsync=fail(errno.EIO))

    with pytest.raises(StorageUnavailableError):
        storage.adopt(UUID, upload)

    assert list_files(tmp_path) == ["upload"]


def test_remove_last_blob_removes_folders(storage: FileSystemStorage, tmp_path: Path) -> None:
    for name in (UUID, NEIGHBOR, COUSIN):
        storage.write(name, CONTENT)

    storage.remove(UUID)
    assert (tmp_path / "storage/01/23").is_dir()
    storage.remove(NEIGHBOR)
    assert not (tmp_path / "storage/01/23").exists()
    assert (tmp_path / "storage/01").is_dir()
    storage.remove(COUSIN)
    assert not (tmp_path / "storage/01").exists()


def test_remove_folder_removed_by_other_process_writes_again(
    storage: FileSystemStorage, tmp_path: Path
) -> None:
    storage.write(UUID, CONTENT)
    FileSystemStorage(tmp_path / "storage").remove(UUID)

    storage.write(NEIGHBOR, CONTENT)

    assert storage.read(NEIGHBOR) == CONTENT


def test_write_new_folder_removed_by_other_process_tries_again(
    storage: FileSystemStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    removals = iter([True, True])

    def mkdir(path: str, mode: int) -> None:
        if not (path.endswith("/23") and next(removals, False)):
            os.mkdir(path, mode)

    replace_os(monkeypatch, "filesystem", mkdir=mkdir)
    storage.write(UUID, CONTENT)

    assert storage.read(UUID) == CONTENT


def test_remove_failing_call_raises(
    storage: FileSystemStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write(UUID, CONTENT)
    replace_os(monkeypatch, "filesystem", unlink=fail(errno.EROFS))

    with pytest.raises(StorageUnavailableError):
        storage.remove(UUID)


def test_read_failing_call_raises(
    storage: FileSystemStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write(UUID, CONTENT)
    replace_os(monkeypatch, "filesystem", open=fail(errno.EMFILE))

    with pytest.raises(StorageUnavailableError):
        storage.read(UUID)


def test_read_short_system_calls_reads_all(
    storage: FileSystemStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write(UUID, CONTENT)
    replace_os(
        monkeypatch,
        "temporary",
        pread=lambda at, length, start: os.pread(at, min(length, 999), start),
    )

    assert storage.read(UUID, 5, 9990) == CONTENT[5:9990]


def test_open_reader_file_truncated_raises(storage: FileSystemStorage, tmp_path: Path) -> None:
    storage.write(UUID, CONTENT)

    with storage.open_reader(UUID) as reader:
        os.truncate(next(tmp_path.rglob(UUID)), 100)

        with pytest.raises(CorruptedBlobError):
            reader.read_at(0, 1000)


def test_iter_uuids_foreign_files_are_skipped(storage: FileSystemStorage, tmp_path: Path) -> None:
    root = tmp_path / "storage"
    storage.write(UUID, CONTENT)
    for foreign in (
        "index",
        "index-wal",
        f"tmp/{NEIGHBOR}",
        f"{NEIGHBOR}",
        f"01/{NEIGHBOR}",
        f"01/23/{COUSIN}",
        "01/23/notes.txt",
        f"lost+found/23/{NEIGHBOR}",
        f"AB/CD/{NEIGHBOR}",
        f"01/23/{NEIGHBOR}/file",
    ):
        (root / foreign).parent.mkdir(parents=True, exist_ok=True)
        (root / foreign).write_bytes(b"")

    assert list(storage.iter_uuids()) == [UUID]


def test_remove_temporary_young_files_stay(storage: FileSystemStorage) -> None:
    old, young = storage.spool_folder / "old", storage.spool_folder / "young"
    for path in (old, young):
        path.write_bytes(b"")
    os.utime(old, (0, 0))

    assert storage.remove_temporary(3600) == 1
    assert list(storage.spool_folder.iterdir()) == [young]


def test_remove_temporary_blobs_and_folders_stay(storage: FileSystemStorage) -> None:
    storage.write(UUID, CONTENT)
    (storage.spool_folder / "folder").mkdir()

    assert storage.remove_temporary(0) == 0
    assert list(storage.iter_uuids()) == [UUID]


def test_check_writable_full_disk_raises(
    storage: FileSystemStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_os(monkeypatch, "temporary", write=write_until_full(0))

    with pytest.raises(FullStorageError):
        storage.check_writable()

    assert list_files(tmp_path) == []


def test_storage_root_is_a_file_raises(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")

    with pytest.raises(StorageUnavailableError):
        FileSystemStorage(path)


def test_write_unsynced_again_copies_no_more_than_a_piece(storage: FileSystemStorage) -> None:
    piece = bytes(1 << 20)
    storage.write_unsynced(UUID, [b"old"])
    tracemalloc.start()
    try:
        storage.write_unsynced(UUID, [piece] * 16)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert storage.size_bytes(UUID) == 16 << 20
    assert peak < 4 << 20
