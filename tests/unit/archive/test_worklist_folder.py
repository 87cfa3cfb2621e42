"""The folder of worklist files."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from tests.support.dicom_files import build_data_set, build_file

from isocenter.archive import worklist_folder
from isocenter.archive.worklist_folder import LARGEST_ENTRY_BYTES, WorklistFolder
from isocenter.dicom.data_sets import get_text
from isocenter.errors import StorageUnavailableError

PATIENT_ID = 0x00100020


def build(patient_id: str) -> bytes:
    return build_file(build_data_set({PATIENT_ID: ("LO", patient_id)}))


def read(folder: WorklistFolder) -> dict[str, str]:
    return {name: get_text(entry, PATIENT_ID) for name, entry in folder.read("Latin1").items()}


def test_files_are_read_and_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "b.wl").write_bytes(build("P2"))
    (tmp_path / "a.WL").write_bytes(build("P1"))
    # A bare data set is an entry as well.
    (tmp_path / "c.wl").write_bytes(build_data_set({PATIENT_ID: ("LO", "P3")}))
    (tmp_path / "lockfile").touch()
    (tmp_path / "other.dcm").write_bytes(build("P4"))
    (tmp_path / "folder.wl").mkdir()
    assert read(WorklistFolder(tmp_path)) == {"a": "P1", "b": "P2", "c": "P3"}


def test_changes_of_the_folder_are_seen(tmp_path: Path) -> None:
    folder = WorklistFolder(tmp_path)
    assert read(folder) == {}
    path = tmp_path / "a.wl"
    path.write_bytes(build("P1"))
    assert read(folder) == {"a": "P1"}
    path.write_bytes(build("P22"))
    assert read(folder) == {"a": "P22"}
    path.unlink()
    assert read(folder) == {}


def test_file_that_has_not_changed_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.wl").write_bytes(build("P1"))
    folder = WorklistFolder(tmp_path)
    assert read(folder) == {"a": "P1"}
    monkeypatch.setattr(worklist_folder, "read_data_set", None)
    assert read(folder) == {"a": "P1"}


def test_damaged_file_is_left_out_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.wl"
    path.write_bytes(b"garbage")
    (tmp_path / "b.wl").write_bytes(build("P2"))
    with (tmp_path / "c.wl").open("wb") as file:
        os.truncate(file.fileno(), LARGEST_ENTRY_BYTES + 1)
    folder = WorklistFolder(tmp_path)
    assert read(folder) == read(folder) == {"b": "P2"}
    assert caplog.text.count("cannot be read") == 2
    path.write_bytes(build("P1"))
    assert read(folder) == {"a": "P1", "b": "P2"}


def test_missing_folder_has_no_entries(tmp_path: Path) -> None:
    assert read(WorklistFolder(tmp_path / "none")) == {}


def test_number_of_files_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worklist_folder, "_MOST_FILES", 2)
    for number in range(4):
        (tmp_path / f"{number}.wl").write_bytes(build(str(number)))
    assert len(read(WorklistFolder(tmp_path))) == 2


class Vanishing:
    """A folder in which each second file is deleted while it is listed."""

    def __init__(self, folder: Path) -> None:
        self._entries = sorted(_scandir(folder), key=lambda entry: entry.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def __iter__(self) -> Iterator["os.DirEntry[str]"]:
        for index, entry in enumerate(self._entries):
            if index % 2:
                Path(entry.path).unlink()
            yield entry


_scandir = os.scandir


def test_file_that_vanishes_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (tmp_path / f"{number}.wl").write_bytes(build(str(number)))
    monkeypatch.setattr("isocenter.archive.worklist_folder.os.scandir", Vanishing)
    assert list(read(WorklistFolder(tmp_path))) == ["0", "2", "4"]


def test_folder_that_cannot_be_read_is_no_empty_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnavailableError):
        WorklistFolder(tmp_path / "file").read("Latin1")
