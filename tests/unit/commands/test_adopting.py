"""``isocenter adopt-orthanc`` as a person calls it."""

import json
from pathlib import Path

import pytest
from tests.support.commands import run, write_configuration
from tests.support.orthanc_archive import OrthancArchive, snapshot
from tests.support.server import build_synthetic

from isocenter.config.loading import load_configuration
from isocenter.server import open_database

Output = pytest.CaptureFixture[str]


@pytest.fixture
def source(tmp_path: Path) -> OrthancArchive:
    archive = OrthancArchive(tmp_path / "theirs")
    archive.add(build_synthetic(patient_id="A"), build_synthetic(patient_id="A"))
    return archive


@pytest.fixture
def config(tmp_path: Path) -> str:
    return write_configuration(tmp_path)


def test_archive_is_tried_adopted_and_verified(
    source: OrthancArchive, config: str, tmp_path: Path, capsys: Output
) -> None:
    before = snapshot(source.folder)
    assert run("adopt-orthanc", source.folder, "--config", config) == 0
    told = capsys.readouterr().out
    for line in (
        "1 patients, 2 studies, 2 series, 2 instances",
        "linked: they take no room",
        "2 files looked at, 0 of them missing or damaged",
        "adopted 1 patients, 2 studies, 2 series, 2 instances; 0 instances were there already",
        "2 files linked, 0 copied",
        "2 files compared, 0 damaged",
    ):
        assert line in told
    assert run("check", "--content", config) == 0
    assert snapshot(source.folder) == before
    assert run("adopt-orthanc", source.folder, "--config", config, "--no-verify") == 0
    assert "2 instances were there already" in capsys.readouterr().out


def test_dry_run_writes_nothing(
    source: OrthancArchive, config: str, tmp_path: Path, capsys: Output
) -> None:
    before = snapshot(tmp_path)
    assert run("adopt-orthanc", "--dry-run", source.folder, "--config", config) == 0
    assert "Nothing was written" in capsys.readouterr().out
    assert snapshot(tmp_path) == before


def test_damage_stops_before_anything_is_adopted(
    source: OrthancArchive, config: str, tmp_path: Path, capsys: Output
) -> None:
    next(source.folder.glob("??/??/*")).unlink()
    report = tmp_path / "report"
    arguments = ["adopt-orthanc", source.folder, "--config", config, "--report", report]
    assert run(*arguments) == 1
    assert "--skip-damaged" in capsys.readouterr().out
    assert not (tmp_path / "storage").exists()
    [line] = report.read_text().splitlines()
    assert json.loads(line)["reason"] == "the file is missing"

    assert run(*arguments, "--skip-damaged") == 1
    assert "adopted 1 patients, 1 studies, 1 series, 1 instances" in capsys.readouterr().out
    steps = [json.loads(line)["step"] for line in report.read_text().splitlines()]
    assert steps == ["trial", "adoption"]


def test_content_that_rotted_is_found_at_the_end(
    source: OrthancArchive, config: str, capsys: Output
) -> None:
    path = next(source.folder.glob("??/??/*"))
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)
    assert run("adopt-orthanc", source.folder, "--copy", "--config", config) == 1
    told = capsys.readouterr()
    assert "2 files compared, 1 damaged" in told.out
    assert "the content of the file has changed" in told.err


@pytest.mark.parametrize("option", ["StorageDirectory", "IndexDirectory"])
@pytest.mark.parametrize("inside", [".", "sub"])
def test_our_folders_must_not_lie_in_theirs(
    source: OrthancArchive, tmp_path: Path, option: str, inside: str, capsys: Output
) -> None:
    config = write_configuration(tmp_path, **{option: str(source.folder / inside)})
    assert run("adopt-orthanc", source.folder, "--config", config) == 2
    assert option in capsys.readouterr().err


def test_running_server_of_ours_is_in_the_way(
    source: OrthancArchive, config: str, capsys: Output
) -> None:
    database = open_database(load_configuration([Path(config)], {}))
    try:
        assert run("adopt-orthanc", source.folder, "--config", config) == 3
    finally:
        database.close()
    assert "Isocenter must be stopped" in capsys.readouterr().err


def test_index_in_another_folder_is_named(
    source: OrthancArchive, config: str, tmp_path: Path, capsys: Output
) -> None:
    (tmp_path / "index").mkdir()
    source.index.rename(tmp_path / "index" / "index")
    assert run("adopt-orthanc", source.folder, "--config", config) == 3
    assert "no index of Orthanc" in capsys.readouterr().err
    arguments = ["--index", tmp_path / "index", "--config", config]
    assert run("adopt-orthanc", source.folder, *arguments) == 0


def test_copies_need_room(
    source: OrthancArchive, config: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr("isocenter.storage.taking.FileTaker.get_free_bytes", lambda _: 1000)
    assert run("adopt-orthanc", source.folder, "--config", config, "--copy") == 3
    assert "of room are missing" in capsys.readouterr().err


def test_links_need_one_file_system(
    source: OrthancArchive, config: str, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr("isocenter.storage.taking.FileTaker.can_link", lambda _: False)
    assert run("adopt-orthanc", source.folder, "--config", config, "--link") == 2
    assert "--copy" in capsys.readouterr().err
    assert run("adopt-orthanc", source.folder, "--config", config, "--dry-run") == 0
    assert "copied" in capsys.readouterr().out


def test_server_on_their_folder_is_refused_with_advice(
    source: OrthancArchive, tmp_path: Path, capsys: Output
) -> None:
    config = write_configuration(tmp_path, IndexDirectory=str(source.folder))
    before = source.index.read_bytes()
    assert run("check", config) == 3
    assert "isocenter adopt-orthanc" in capsys.readouterr().err
    assert source.index.read_bytes() == before


def test_read_only_archive_takes_nothing(
    source: OrthancArchive, tmp_path: Path, capsys: Output
) -> None:
    config = write_configuration(tmp_path, ReadOnly=True)
    assert run("adopt-orthanc", source.folder, "--config", config) == 2
    assert "ReadOnly" in capsys.readouterr().err
    path = next(source.folder.glob("??/??/*"))
    assert run("import", path, "--config", config) == 3
