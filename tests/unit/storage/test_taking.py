"""Linking and copying files of a folder that stays as it is."""

import errno
import os
import uuid
from pathlib import Path

import pytest
from tests.support.orthanc_archive import snapshot

from isocenter.errors import (
    CorruptedBlobError,
    FullStorageError,
    MissingFileError,
    StorageUnavailableError,
)
from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.taking import FileTaker, Way


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    FileSystemStorage(tmp_path / "target", sync=False)
    return tmp_path / "target"


def add(folder: Path, content: bytes = b"content") -> str:
    name = str(uuid.uuid4())
    path = folder / name[:2] / name[2:4] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return name


def path_in(folder: Path, name: str) -> Path:
    return folder / name[:2] / name[2:4] / name


@pytest.mark.parametrize("way", [Way.LINK, Way.EITHER])
def test_taken_file_is_a_second_name_of_the_first(source: Path, target: Path, way: Way) -> None:
    name = add(source)
    files = FileTaker(source, target, way)
    assert files.take(name, 7)
    files.sync()
    assert path_in(target, name).samefile(path_in(source, name))
    # Once more, as after an interruption.
    assert files.take(name, 7)
    assert FileSystemStorage(target).read(name) == b"content"


def test_copied_file_is_another_one(source: Path, target: Path) -> None:
    content = os.urandom(3_000_000)
    name = add(source, content)
    before = snapshot(source)
    files = FileTaker(source, target, Way.COPY)
    assert not files.take(name, len(content))
    assert not files.take(name, len(content))
    assert path_in(target, name).read_bytes() == content
    assert not path_in(target, name).samefile(path_in(source, name))
    assert snapshot(source) == before
    assert list((target / "tmp").iterdir()) == []


def test_rest_of_a_copy_gives_way_to_a_link(source: Path, target: Path) -> None:
    name = add(source)
    path_in(target, name).parent.mkdir(parents=True)
    path_in(target, name).write_bytes(b"con")
    assert FileTaker(source, target, Way.LINK).take(name, 7)
    assert path_in(target, name).read_bytes() == b"content"


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_file_that_cannot_be_linked_is_copied(
    source: Path, target: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    name = add(source)
    assert not FileTaker(source, target, Way.EITHER).take(name, 7)
    assert path_in(target, name).read_bytes() == b"content"
    with pytest.raises(StorageUnavailableError):
        FileTaker(source, target, Way.LINK).take(name, 7)


def test_full_disk_is_told_and_leaves_nothing(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    name = add(source)
    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(FullStorageError):
        FileTaker(source, target, Way.COPY).take(name, 7)
    monkeypatch.undo()
    assert list(target.rglob("*")) == [target / "tmp"]


@pytest.mark.parametrize("size", [6, 8])
def test_file_of_another_size_is_not_copied(source: Path, target: Path, size: int) -> None:
    name = add(source)
    with pytest.raises(CorruptedBlobError):
        FileTaker(source, target, Way.COPY).take(name, size)
    assert not path_in(target, name).exists()


@pytest.mark.parametrize("way", list(Way))
def test_file_that_vanished_is_told(source: Path, target: Path, way: Way) -> None:
    with pytest.raises(MissingFileError):
        FileTaker(source, target, way).take(str(uuid.uuid4()), 7)


def test_faults_are_found_by_looking(source: Path, target: Path) -> None:
    files = FileTaker(source, target, Way.EITHER)
    name, folder, link = add(source), add(source), add(source)
    path_in(source, folder).unlink()
    path_in(source, folder).mkdir()
    path_in(source, link).unlink()
    path_in(source, link).symlink_to("/etc/hostname")
    assert files.find_fault(name, 7) is None
    assert files.find_fault(name, 8) == "the file has 7 bytes instead of 8"
    assert files.find_fault(str(uuid.uuid4()), 1) == "the file is missing"
    assert files.find_fault(folder, 1) == "this is not a regular file"
    assert files.find_fault(link, 1) == "this is not a regular file"
    for bad in ("", "../../../etc/passwd", name.upper(), f"{name}\n", "x" * 5000):
        assert files.find_fault(bad, 7) == "the name of the file is not a UUID"


def test_room_and_ways_are_told_before_our_folder_exists(source: Path, tmp_path: Path) -> None:
    add(source)
    files = FileTaker(source, tmp_path / "not" / "yet", Way.EITHER)
    assert files.can_link()
    assert files.get_free_bytes() > 0


def test_pieces_are_the_file(source: Path, target: Path) -> None:
    content = os.urandom(2_500_000)
    files = FileTaker(source, target, Way.EITHER)
    assert b"".join(files.iter_pieces(add(source, content))) == content
    assert b"".join(files.iter_pieces(add(source, b""))) == b""
    with pytest.raises(MissingFileError):
        list(files.iter_pieces(str(uuid.uuid4())))
