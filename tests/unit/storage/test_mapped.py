"""Files that are kept open for reading."""

import os
from pathlib import Path

import pytest

from isocenter.storage.mapped import MappedFile, MappedFiles


def _write(folder: Path, name: str, size: int = 1000) -> str:
    path = folder / name
    path.write_bytes(bytes(size))
    return str(path)


@pytest.fixture
def files() -> MappedFiles:
    return MappedFiles(most_files=3, most_bytes=10_000)


def test_file_is_opened_once(files: MappedFiles, tmp_path: Path) -> None:
    path = _write(tmp_path, "a")
    assert files.open("a", path) is files.open("a", path)


@pytest.mark.parametrize("size", [None, 0])
def test_file_that_is_missing_or_empty_is_not_opened(
    files: MappedFiles, tmp_path: Path, size: int | None
) -> None:
    path = str(tmp_path / "missing") if size is None else _write(tmp_path, "empty", size)
    assert files.open("a", path) is None
    assert len(files) == 0


def test_file_read_longest_ago_is_closed_when_there_are_too_many(
    files: MappedFiles, tmp_path: Path
) -> None:
    paths = {name: _write(tmp_path, name) for name in "abcd"}
    first = files.open("a", paths["a"])
    for name in "bcad":
        files.open(name, paths[name])
    assert len(files) == 3
    assert files.open("a", paths["a"]) is first


def test_files_together_are_not_longer_than_allowed(files: MappedFiles, tmp_path: Path) -> None:
    for name in "abc":
        files.open(name, _write(tmp_path, name, 4000))
    assert len(files) == 2


def test_file_too_long_to_keep_can_be_read(files: MappedFiles, tmp_path: Path) -> None:
    opened = files.open("a", _write(tmp_path, "a", 20_000))
    assert opened is not None
    assert len(files) == 0
    assert len(os.pread(opened.descriptor, 20_000, 0)) == 20_000


def test_forgotten_file_is_closed_with_its_last_user(files: MappedFiles, tmp_path: Path) -> None:
    opened = files.open("a", _write(tmp_path, "a"))
    assert opened is not None
    descriptor = opened.descriptor
    files.forget("a")
    os.fstat(descriptor)
    del opened
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(descriptor)


def test_clear_closes_all(files: MappedFiles, tmp_path: Path) -> None:
    files.open("a", _write(tmp_path, "a"))
    files.clear()
    assert len(files) == 0


@pytest.mark.parametrize(
    ("start", "stop", "is_cached"),
    [(0, 1000, True), (999, 1000, True), (0, 1001, False), (5, 5, False), (-1, 5, False)],
)
def test_range_of_a_fresh_file_is_cached(
    tmp_path: Path, start: int, stop: int, *, is_cached: bool
) -> None:
    file = MappedFile(_write(tmp_path, "a"))
    assert file.is_cached(start, stop) is is_cached


def test_range_of_a_file_that_was_cut_is_not_cached(tmp_path: Path) -> None:
    path = _write(tmp_path, "a")
    file = MappedFile(path)
    os.truncate(path, 10)
    assert not file.is_cached(0, 1000)
