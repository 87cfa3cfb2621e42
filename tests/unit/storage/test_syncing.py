"""One descriptor for all syncs of a file system."""

import ctypes
import errno
import os
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

from isocenter.errors import ServerError
from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.journaled import JournaledStorage
from isocenter.storage.syncing import FileSystemSync
from isocenter.storage.taking import FileTaker, Way


def _count_descriptors(folder: Path) -> int:
    """Count what is open in a folder: other descriptors of the process come and go as they like."""
    paths = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            paths.append(Path(os.readlink(f"/proc/self/fd/{name}")))
    return sum(path.is_relative_to(folder) for path in paths)


def test_syncs_share_a_descriptor_that_is_closed_once(tmp_path: Path) -> None:
    before = _count_descriptors(tmp_path)
    sync = FileSystemSync(str(tmp_path))
    sync.run()
    sync.run()
    assert _count_descriptors(tmp_path) == before + 1
    sync.close()
    sync.close()
    assert _count_descriptors(tmp_path) == before


def test_forgotten_sync_leaves_no_descriptor(tmp_path: Path) -> None:
    before = _count_descriptors(tmp_path)
    for _ in range(3):
        FileSystemSync(str(tmp_path)).run()
    assert _count_descriptors(tmp_path) == before


def test_journal_hears_of_failures_that_were_told_to_others(tmp_path: Path) -> None:
    before = _count_descriptors(tmp_path)
    storage = JournaledStorage(tmp_path, journal_bytes=1 << 16)
    assert storage._journaled_files._descriptor != storage._file_system._descriptor
    storage.close()
    assert _count_descriptors(tmp_path) == before


def test_files_are_taken_over_with_one_descriptor(tmp_path: Path) -> None:
    source, target, name = tmp_path / "source", tmp_path / "target", str(uuid.uuid4())
    (source / name[:2] / name[2:4]).mkdir(parents=True)
    (source / name[:2] / name[2:4] / name).write_bytes(b"content")
    target.mkdir()
    before = _count_descriptors(tmp_path)
    files = FileTaker(source, target, Way.LINK)
    files.sync()
    assert _count_descriptors(tmp_path) == before
    for _ in range(2):
        files.take(name, 7)
        files.sync()
        assert _count_descriptors(tmp_path) == before + 1


def test_failed_sync_tells_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = FileSystemStorage(tmp_path)

    def fail(_: int) -> int:
        ctypes.set_errno(errno.EIO)
        return -1

    monkeypatch.setattr(storage._file_system, "_syncfs", fail)
    with pytest.raises(ServerError):
        storage.sync()
    storage.close()


def test_without_syncfs_everything_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    sync = FileSystemSync(str(tmp_path))
    monkeypatch.setattr(sync, "_syncfs", None)
    monkeypatch.setattr(os, "sync", lambda: synced.append(True))
    sync.run()
    assert synced == [True]
    sync.close()
