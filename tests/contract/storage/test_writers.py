from pathlib import Path

import pytest

from isocenter.errors import BadSequenceError, MissingFileError
from isocenter.storage.port import Storage

UUID = "0123abcd-0000-4000-8000-000000000001"


class Interruption(BaseException):
    """Stands for what no handler of errors catches."""


def test_open_writer_committed_reads_back(storage: Storage) -> None:
    with storage.open_writer(UUID) as writer:
        writer.write(b"01234")
        writer.write(b"")
        writer.write(bytearray(b"56789"))
        writer.commit()

        assert storage.read(UUID) == b"0123456789"


def test_open_writer_nothing_written_makes_empty_blob(storage: Storage) -> None:
    with storage.open_writer(UUID) as writer:
        writer.commit()

    assert storage.read(UUID) == b""


def test_open_writer_not_committed_is_invisible(storage: Storage) -> None:
    with storage.open_writer(UUID) as writer:
        writer.write(b"01234")

        assert list(storage.iter_uuids()) == []
        with pytest.raises(MissingFileError):
            storage.read(UUID)


def test_open_writer_abandoned_leaves_nothing(storage: Storage) -> None:
    with storage.open_writer(UUID) as writer:
        writer.write(b"01234")

    assert list(storage.iter_uuids()) == []
    assert storage.remove_temporary(0) == 0


@pytest.mark.parametrize("error", [ValueError, Interruption])
def test_open_writer_left_by_error_leaves_nothing(
    storage: Storage, error: type[BaseException]
) -> None:
    def write_and_fail() -> None:
        with storage.open_writer(UUID) as writer:
            writer.write(b"01234")
            raise error

    with pytest.raises(error):
        write_and_fail()

    assert list(storage.iter_uuids()) == []
    assert storage.remove_temporary(0) == 0


def test_open_writer_abandoned_keeps_old_blob(storage: Storage) -> None:
    storage.write(UUID, b"old")

    with storage.open_writer(UUID) as writer:
        writer.write(b"new")

    assert storage.read(UUID) == b"old"


def test_open_writer_error_after_commit_keeps_blob(storage: Storage) -> None:
    def commit_and_fail() -> None:
        with storage.open_writer(UUID) as writer:
            writer.write(b"01234")
            writer.commit()
            raise ValueError("later")

    with pytest.raises(ValueError, match="later"):
        commit_and_fail()

    assert storage.read(UUID) == b"01234"


def test_open_writer_use_after_commit_raises(storage: Storage) -> None:
    with storage.open_writer(UUID) as writer:
        writer.commit()

        with pytest.raises(BadSequenceError):
            writer.write(b"more")
        with pytest.raises(BadSequenceError):
            writer.commit()


def test_adopt_file_becomes_blob(storage: Storage, tmp_path: Path) -> None:
    path = (storage.spool_folder or tmp_path) / "upload"
    path.write_bytes(b"0123456789")

    storage.adopt(UUID, path)

    assert storage.read(UUID) == b"0123456789"
    assert not path.exists()
    assert storage.remove_temporary(0) == 0


def test_adopt_missing_file_raises(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        storage.adopt(UUID, tmp_path / "nothing")

    assert list(storage.iter_uuids()) == []


def test_adopt_existing_name_replaces_blob(storage: Storage, tmp_path: Path) -> None:
    storage.write(UUID, b"old")
    path = tmp_path / "upload"
    path.write_bytes(b"new")

    storage.adopt(UUID, path)

    assert storage.read(UUID) == b"new"
