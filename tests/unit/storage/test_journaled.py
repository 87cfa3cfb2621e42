import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from isocenter.errors import DatabaseUnavailableError, FullStorageError, MissingFileError
from isocenter.storage import backlog, journaled
from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.journaled import JournaledStorage

JOURNAL = 1024 * 1024


def open_storage(folder: Path) -> JournaledStorage:
    return JournaledStorage(folder / "storage", journal_bytes=JOURNAL)


def open_memo_storage(
    folder: Path, sync_rows: Callable[[], None] = lambda: None
) -> JournaledStorage:
    return JournaledStorage(folder / "storage", journal_bytes=JOURNAL, sync_rows=sync_rows)


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no quiet moment come."""
    monkeypatch.setattr(backlog, "_QUIET_S", 3600.0)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that another thread brings about."""
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.01)
    pytest.fail("what was waited for did not happen within 10 s")


def crash(storage: JournaledStorage) -> None:
    """End as a power failure would: the journal is durable and not cleared."""
    with storage._backlog._changed:
        storage._backlog._is_closing = True
        storage._backlog._changed.notify_all()
    if storage._backlog._thread is not None:
        storage._backlog._thread.join()
    storage._journal.close(is_complete=False)


def path_of(folder: Path, name: str) -> Path:
    return folder / "storage" / name[:2] / name[2:4] / name


def test_blob_whose_file_was_lost_is_restored(tmp_path: Path) -> None:
    storage, name = open_storage(tmp_path), str(uuid.uuid4())
    storage.write(name, b"content" * 1000)
    crash(storage)
    path_of(tmp_path, name).unlink(missing_ok=True)
    storage = open_storage(tmp_path)
    assert storage.read(name) == b"content" * 1000
    storage.close()


@pytest.mark.parametrize("left", [b"", b"con", b"CONTENT" * 1000])
def test_blob_whose_file_was_not_written_whole_is_restored(tmp_path: Path, left: bytes) -> None:
    storage, name = open_storage(tmp_path), str(uuid.uuid4())
    storage.write(name, b"content" * 1000)
    storage._backlog.finish_all()
    crash(storage)
    path_of(tmp_path, name).write_bytes(left)
    storage = open_storage(tmp_path)
    assert storage.read(name) == b"content" * 1000
    storage.close()


def test_empty_blob_is_restored(tmp_path: Path) -> None:
    storage, name = open_storage(tmp_path), str(uuid.uuid4())
    storage.write(name, b"")
    crash(storage)
    path_of(tmp_path, name).unlink(missing_ok=True)
    storage = open_storage(tmp_path)
    assert storage.read(name) == b""
    storage.close()


def test_blobs_that_were_written_again_are_named(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    lost, kept = (str(uuid.uuid4()) for _ in range(2))
    for name in (lost, kept):
        storage.write(name, b"content")
    storage._backlog.finish_all()
    crash(storage)
    path_of(tmp_path, lost).unlink()
    storage = open_storage(tmp_path)
    assert storage.list_restored() == [lost]
    storage.close()
    storage = open_storage(tmp_path)
    assert storage.list_restored() == []
    storage.close()


def test_removed_blob_does_not_come_back(tmp_path: Path) -> None:
    storage, name = open_storage(tmp_path), str(uuid.uuid4())
    storage.write(name, b"content")
    storage.remove(name)
    crash(storage)
    storage = open_storage(tmp_path)
    with pytest.raises(MissingFileError):
        storage.read(name)
    storage.close()


def test_blob_is_read_before_its_file_is_written(tmp_path: Path, calm: None) -> None:
    storage, name = open_storage(tmp_path), str(uuid.uuid4())
    storage.write(name, b"0123456789")
    assert not path_of(tmp_path, name).exists()
    assert storage.read(name) == b"0123456789"
    assert storage.read(name, 2, 5) == b"234"
    assert storage.read_cached(name, 0, 4) == b"0123"
    assert storage.read_cached(name, 0, 11) is None
    assert storage.open_cached(name, 0, 4) is None
    assert storage.size_bytes(name) == 10
    assert not path_of(tmp_path, name).exists()
    with storage.open_reader(name) as reader:
        assert reader.read_at(8, 2) == b"89"
    assert path_of(tmp_path, name).read_bytes() == b"0123456789"
    storage.close()


def test_blob_removed_before_its_file_is_written_never_gets_one(tmp_path: Path, calm: None) -> None:
    storage, name = open_storage(tmp_path), str(uuid.uuid4())
    storage.write(name, b"content")
    storage.remove(name)
    with pytest.raises(MissingFileError):
        storage.read(name)
    storage.close()
    assert not path_of(tmp_path, name).exists()


def test_shared_storage_has_the_file_at_once(tmp_path: Path) -> None:
    storage = JournaledStorage(tmp_path / "storage", journal_bytes=JOURNAL, is_shared=True)
    name = str(uuid.uuid4())
    storage.write(name, b"content")
    assert path_of(tmp_path, name).read_bytes() == b"content"
    storage.close()


def test_large_blob_goes_round_the_journal(tmp_path: Path) -> None:
    storage, name = open_storage(tmp_path), str(uuid.uuid4())
    storage.write(name, b"c" * 2_000_000)
    assert path_of(tmp_path, name).stat().st_size == 2_000_000
    crash(storage)
    path_of(tmp_path, name).unlink()
    storage = open_storage(tmp_path)
    with pytest.raises(MissingFileError):
        storage.read(name)
    storage.close()


def test_full_disk_keeps_the_blob_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> None:
            raise FullStorageError

        patch.setattr(FileSystemStorage, "write_in_place", refuse)
        storage, name = open_storage(tmp_path), str(uuid.uuid4())
        storage.write(name, b"content")
        storage._backlog.finish_all()
        assert storage.read(name) == b"content"
        storage.close()
    assert "cannot be written yet" in caplog.text
    assert not path_of(tmp_path, name).exists()
    storage = open_storage(tmp_path)
    assert storage.read(name) == b"content"
    storage.close()


def test_full_backlog_writes_the_file_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calm: None
) -> None:
    monkeypatch.setattr(journaled, "_MOST_UNFILED_BYTES", 10)
    storage = open_storage(tmp_path)
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    storage.write(first, b"0123456")
    storage.write(second, b"0123456")
    assert not path_of(tmp_path, first).exists()
    assert path_of(tmp_path, second).read_bytes() == b"0123456"
    storage.close()


def test_full_backlog_and_full_disk_refuse_the_blob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journaled, "_MOST_UNFILED_BYTES", 0)
    storage, name = open_memo_storage(tmp_path), str(uuid.uuid4())
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> None:
            raise FullStorageError

        patch.setattr(storage._unsynced, "write_in_place", refuse)
        with pytest.raises(FullStorageError):
            storage.write_many([(name, b"content")], [b"memo"])
    assert not storage._journal._active.unsettled
    storage.close()


def test_files_are_written_in_a_quiet_moment(tmp_path: Path) -> None:
    storage, name = open_storage(tmp_path), str(uuid.uuid4())
    storage.write(name, b"content")
    wait_until(lambda: storage._backlog.lookup(name) is None)
    assert path_of(tmp_path, name).read_bytes() == b"content"
    storage.close()


def test_memos_of_a_crash_are_kept_until_they_are_forgotten(tmp_path: Path) -> None:
    names = [str(uuid.uuid4()) for _ in range(3)]
    storage = open_memo_storage(tmp_path)
    settles = [storage.write_many([(name, b"content")], [name.encode()]) for name in names]
    assert all(settles)
    storage.write(str(uuid.uuid4()), b"without a memo")
    crash(storage)
    expected = [(name, name.encode()) for name in names]

    storage = open_memo_storage(tmp_path)
    assert storage.list_memos() == expected
    # Until the rows are there, nothing may take the place of the memos.
    assert storage.write_many([(str(uuid.uuid4()), b"new")], [b"memo"]) is None
    storage.close()
    storage = open_memo_storage(tmp_path)
    assert storage.list_memos() == expected
    storage.forget_memos()
    assert storage.list_memos() == []
    assert storage.write_many([(str(uuid.uuid4()), b"new")], [b"memo"]) is not None
    storage.close()
    assert open_memo_storage(tmp_path).list_memos() == []


def test_memos_are_not_kept_where_nobody_makes_rows_durable(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    assert not storage.keeps_memos
    assert storage.write_many([(str(uuid.uuid4()), b"content")], [b"memo"]) is None
    crash(storage)
    assert open_storage(tmp_path).list_memos() == []


def test_segment_is_freed_only_after_its_rows_are_committed_and_durable(tmp_path: Path) -> None:
    syncs: list[bool] = []
    storage = open_memo_storage(tmp_path, lambda: syncs.append(True))
    settles = []
    for _ in range(12):
        settle = storage.write_many([(str(uuid.uuid4()), b"c" * 50_000)], [b"memo"])
        if settle is not None:
            settles.append(settle)
    full, _ = storage._journal._segments
    assert storage._journal._active is not full
    wait_until(lambda: full.unsettled and not storage._backlog._entries)
    assert (full.is_free, syncs) == (False, [])
    for settle in settles:
        settle()
    wait_until(lambda: full.is_free)
    assert syncs
    storage.close()


def test_segment_whose_rows_cannot_be_made_durable_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise DatabaseUnavailableError

    storage = open_memo_storage(tmp_path, refuse)
    names = [str(uuid.uuid4()) for _ in range(9)]
    for name in names:
        settle = storage.write_many([(name, b"c" * 60_000)], [b"memo"])
        assert settle is not None
        settle()
    assert storage._journal._active is storage._journal._segments[1]
    wait_until(lambda: "cannot be synced" in caplog.text)
    storage.close()
    assert [name for name, _ in open_memo_storage(tmp_path).list_memos()] == names


def test_many_blobs_from_many_threads_survive_a_crash(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    blobs = {str(uuid.uuid4()): bytes([n % 256]) * (n * 211 % 30_000) for n in range(200)}

    def write(names: list[str]) -> None:
        for start in range(0, len(names), 3):
            storage.write_many([(name, blobs[name]) for name in names[start : start + 3]])

    names = list(blobs)
    threads = [threading.Thread(target=write, args=(names[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    crash(storage)
    storage = open_storage(tmp_path)
    assert {name: storage.read(name) for name in blobs} == blobs
    assert set(storage.iter_uuids()) == set(blobs)
    storage.close()


def test_journal_of_another_size_is_replayed_whole(tmp_path: Path) -> None:
    storage = JournaledStorage(tmp_path / "storage", journal_bytes=4 * JOURNAL)
    blobs = {str(uuid.uuid4()): bytes([n]) * 60_000 for n in range(25)}
    for name, content in blobs.items():
        storage.write(name, content)
    crash(storage)
    for name in blobs:
        path_of(tmp_path, name).unlink(missing_ok=True)
    storage = open_storage(tmp_path)
    assert {name: storage.read(name) for name in blobs} == blobs
    storage.close()


@pytest.mark.parametrize("sync", [True, False])
def test_journal_is_replayed_before_it_is_turned_off(tmp_path: Path, sync: bool) -> None:
    storage, name = open_memo_storage(tmp_path), str(uuid.uuid4())
    storage.write_many([(name, b"content")], [b"memo"])
    crash(storage)
    assert JournaledStorage.is_in(tmp_path / "storage")
    path_of(tmp_path, name).unlink(missing_ok=True)

    storage = JournaledStorage(tmp_path / "storage", journal_bytes=0, sync=sync)
    assert storage.list_memos() == [(name, b"memo")]
    storage.forget_memos()
    other = str(uuid.uuid4())
    storage.write(other, b"other")
    assert path_of(tmp_path, other).exists()
    storage.close()
    assert FileSystemStorage(tmp_path / "storage").read(name) == b"content"
    segments = (tmp_path / "storage" / "journal").rglob("segment-*")
    assert [segment.stat().st_size for segment in segments] == [4096, 4096]


def test_journals_of_all_killed_servers_are_replayed(tmp_path: Path) -> None:
    first, second = open_storage(tmp_path), open_storage(tmp_path)
    names = [str(uuid.uuid4()), str(uuid.uuid4())]
    first.write(names[0], b"first")
    second.write(names[1], b"second")
    crash(first)
    crash(second)
    for name in names:
        path_of(tmp_path, name).unlink(missing_ok=True)
    storage = open_storage(tmp_path)
    assert [storage.read(name) for name in names] == [b"first", b"second"]
    storage.close()
