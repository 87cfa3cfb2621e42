"""Finding files below folders of all kinds."""

import os
from pathlib import Path

import pytest

from isocenter.archive import walking
from isocenter.archive.walking import iter_files


def walk(*paths: Path | str) -> tuple[list[str], list[tuple[str, str]]]:
    errors: list[tuple[str, str]] = []
    found = list(iter_files(map(str, paths), on_error=lambda *told: errors.append(told)))
    return sorted(found), errors


def test_files_of_all_levels_are_found(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    names = ["one", "a/two", "a/b/three", "a/b/.hidden"]
    for name in [*names, "a/DICOMDIR", "dicomdir"]:
        (tmp_path / name).touch()
    found, errors = walk(tmp_path)
    assert found == sorted(str(tmp_path / name) for name in names)
    assert errors == []


def test_file_is_given_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "DICOMDIR").touch()
    assert walk(tmp_path / "DICOMDIR")[0] == [str(tmp_path / "DICOMDIR")]


def test_loop_of_links_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to("self")
    found, errors = walk(tmp_path)
    # Links are told as files; opening one to a folder, or to nothing, fails later with its reason.
    assert str(tmp_path / "a" / "file") in found
    assert all(len(Path(path).relative_to(tmp_path).parts) <= 2 for path in found)
    assert errors == []


def test_link_to_a_folder_is_followed_if_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").touch()
    (tmp_path / "link").symlink_to("real")
    assert walk(tmp_path / "link")[0] == [str(tmp_path / "link" / "file")]


@pytest.mark.parametrize("path", ["nowhere", "", "nul\0inside", "x" * 5000])
def test_path_that_does_not_exist_is_told(path: str) -> None:
    found, errors = walk(path)
    assert found == []
    assert [told[0] for told in errors] == [path]
    assert errors[0][1]


def test_folder_that_cannot_be_read_is_told_and_the_rest_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found, errors = walk(tmp_path)
    assert found == [str(tmp_path / "b" / "file")]
    assert errors == [(str(tmp_path / "a"), "permission denied")]


def test_deepest_folders_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "_DEEPEST", 2)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").touch()
    found, errors = walk(tmp_path)
    assert found == [str(tmp_path / "a" / "file")]
    assert errors == [(str(tmp_path / "a" / "b"), "more than 2 folders in each other")]


def test_names_that_are_no_text_are_found(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \n\x1b[31m")
    (tmp_path / name).touch()
    assert walk(tmp_path)[0] == [str(tmp_path / name)]
