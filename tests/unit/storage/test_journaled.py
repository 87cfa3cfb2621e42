import threading
import uuid
from pathlib import Path

import pytest

from isocenter.errors import FullStorageError, MissingFileError
from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.journaled import JournaledStorage, finish_journal

JOURNAL = 1024 * 1024


def open_storage(folder: Path) -> JournaledStorage:
    return JournaledStorage(folder / "storage", journal_bytes=JOURNAL)


def crash(storage: JournaledStorage) -> None:
    """End as a power failure would: the journal is durable and not cleared."""
    storage._filing.shutdown(wait=True)
    storage._journal.close(is_complete=False)


def path_of(folder: Path, name: str) -> Path:
    return folder / "storage" / name[:2] / name[2:4] / name


def test_blob_whose_file_was_lost_is_restored(tmp_path: Path) -> None:
    storage, name = open_storage(tmp_path), str(uuid.uuid4())
    storage.write(name, b"content" * 1000)
    crash(storage)
    path_of(tmp_path, name).unlink()
    storage = open_storage(tmp_path)
    assert storage.read(name) == b"content" * 1000
    storage.close()


@pytest.mark.parametrize("left", [b"", b"con", b"CONTENT" * 1000])
def test_blob_whose_file_was_not_written_whole_is_restored(tmp_path: Path, left: bytes) -> None:
    storage, name = open_storage(tmp_path), str(uuid.uuid4())
    storage.write(name, b"content" * 1000)
    crash(storage)
    path_of(tmp_path, name).write_bytes(left)
    storage = open_storage(tmp_path)
    assert storage.read(name) == b"content" * 1000
    storage.close()


def test_empty_blob_is_restored(tmp_path: Path) -> None:
    storage, name = open_storage(tmp_path), str(uuid.uuid4())
    storage.write(name, b"")
    crash(storage)
    path_of(tmp_path, name).unlink()
    storage = open_storage(tmp_path)
    assert storage.read(name) == b""
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


def test_blob_is_read_while_its_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write = threading.Event()
    storage, name = open_storage(tmp_path), str(uuid.uuid4())
    write = FileSystemStorage.write

    def write_late(self: FileSystemStorage, name: str, content: bytes) -> None:
        may_write.wait(30)
        write(self, name, content)

    monkeypatch.setattr(FileSystemStorage, "write", write_late)
    storage.write(name, b"0123456789")
    assert not path_of(tmp_path, name).exists()
    assert storage.read(name) == b"0123456789"
    assert storage.read(name, 2, 5) == b"234"
    assert storage.read_cached(name, 0, 4) == b"0123"
    assert storage.read_cached(name, 0, 11) is None
    may_write.set()
    assert storage.size_bytes(name) == 10
    with storage.open_reader(name) as reader:
        assert reader.read_at(8, 2) == b"89"
    storage.close()


def test_shared_storage_has_the_file_at_once(tmp_path: Path) -> None:
    storage = JournaledStorage(tmp_path / "storage", journal_bytes=JOURNAL, is_shared=True)
    name = str(uuid.uuid4())
    storage.write(name, b"content")
    assert path_of(tmp_path, name).read_bytes() == b"content"
    storage.close()


def test_large_blob_goes_round_the_journal(tmp_path: Path) -> None:
    storage, name = open_storage(tmp_path), str(uuid.uuid4())
    storage.write(name, b"c" * 200_000)
    assert path_of(tmp_path, name).stat().st_size == 200_000
    crash(storage)
    path_of(tmp_path, name).unlink()
    storage = open_storage(tmp_path)
    with pytest.raises(MissingFileError):
        storage.read(name)
    storage.close()


def test_full_disk_keeps_the_blob_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    storage, name = open_storage(tmp_path), str(uuid.uuid4())
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> None:
            raise FullStorageError

        patch.setattr(FileSystemStorage, "write", refuse)
        storage.write(name, b"content")
        storage._filing.shutdown(wait=True)
        assert storage.read(name) == b"content"
        storage.close()
    assert "cannot be written yet" in caplog.text
    assert not path_of(tmp_path, name).exists()
    storage = open_storage(tmp_path)
    assert storage.read(name) == b"content"
    storage.close()


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
        path_of(tmp_path, name).unlink()
    storage = open_storage(tmp_path)
    assert {name: storage.read(name) for name in blobs} == blobs
    storage.close()


def test_journal_is_finished_before_it_is_turned_off(tmp_path: Path) -> None:
    storage, name = open_storage(tmp_path), str(uuid.uuid4())
    storage.write(name, b"content")
    crash(storage)
    path_of(tmp_path, name).unlink()
    finish_journal(tmp_path / "storage")
    assert FileSystemStorage(tmp_path / "storage").read(name) == b"content"


def test_journals_of_all_killed_servers_are_replayed(tmp_path: Path) -> None:
    first, second = open_storage(tmp_path), open_storage(tmp_path)
    names = [str(uuid.uuid4()), str(uuid.uuid4())]
    first.write(names[0], b"first")
    second.write(names[1], b"second")
    crash(first)
    crash(second)
    for name in names:
        path_of(tmp_path, name).unlink()
    storage = open_storage(tmp_path)
    assert [storage.read(name) for name in names] == [b"first", b"second"]
    storage.close()
