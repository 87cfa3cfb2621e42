"""The command line, in process."""

import io
import json
import logging
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import argon2
import pytest
from tests.support.server import SyntheticFile, build_synthetic

from isocenter.archive.archive import build_archive
from isocenter.archive.received import Origin, OriginKind
from isocenter.cli import main
from isocenter.config.loading import load_configuration
from isocenter.server import open_database, open_storage
from isocenter.version import __version__

COMMANDS = ["serve", "check", "import", "adopt-orthanc", "config", "hash-password"]


@pytest.fixture(autouse=True)
def _restored_logs() -> Iterator[None]:
    """Take back what a command does to the logs of the whole process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the options of the environment from the commands, and every default folder too."""
    for name in [name for name in os.environ if name.startswith("ORTHANC")]:
        monkeypatch.delenv(name)


def write_configuration(folder: Path, **options: object) -> str:
    path = folder / "configuration.json"
    values = {
        "StorageDirectory": "storage",
        "IndexDirectory": "storage",
        "HttpPort": 0,
        "DicomPort": 0,
    }
    path.write_text(json.dumps(values | options))
    return str(path)


def store(path: str, count: int = 3, **options: object) -> list[SyntheticFile]:
    """Store files as a server would, and stop it."""
    configuration = load_configuration([Path(path)], {})
    database = open_database(configuration)
    storage = open_storage(configuration, database)
    archive = build_archive(configuration, database, storage)
    files = [build_synthetic() for _ in range(count)]
    for file in files:
        archive.ingest.store_blocking(file.content, Origin(OriginKind.UNKNOWN))
    archive.workers.close()
    archive.ingest.close()
    storage.close()
    database.close()
    return files


def list_files(folder: Path) -> list[Path]:
    return sorted((folder / "storage").glob("??/??/*"))


def get_exit(arguments: list[str]) -> object:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def test_help_explains_commands_examples_and_exit_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert get_exit(["--help"]) == 0
    shown = capsys.readouterr().out
    for word in [*COMMANDS, "examples:", "exit status:", "--version"]:
        assert word in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_explains_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert get_exit([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"isocenter {command}" in shown
    assert len(shown.splitlines()) > 5


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert get_exit(["--version"]) == 0
    assert capsys.readouterr().out == f"Isocenter {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["fly"], ["serve", "--fast"], ["check", "--mend"]])
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert get_exit(arguments) == 2
    assert "usage: isocenter" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "check"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"HttpPort": "many"}', ["configuration.json", "HttpPort"]),
        ('{"HttpPort": 99999}', ["configuration.json", "HttpPort"]),
        ('{"HttpPort": 1', ["configuration.json"]),
        ("[]", ["configuration.json"]),
        ('{"HttpPort": 1, "HttpPort": 2}', ["configuration.json", "HttpPort"]),
        ('{"Name": "${NOT_SET}"}', ["configuration.json", "NOT_SET"]),
    ],
)
def test_bad_configuration_is_status_2_with_file_and_reason(
    tmp_path: Path,
    command: str,
    text: str,
    expected: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "configuration.json"
    path.write_text(text)
    assert main([command, str(path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("isocenter: ")
    for word in expected:
        assert word in told
    assert "Traceback" not in told


def test_configuration_that_is_missing_is_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(tmp_path / "nowhere.json")]) == 2
    assert "nowhere.json" in capsys.readouterr().err


def test_misspelt_option_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", write_configuration(tmp_path, HttpPrt=1)]) == 0
    assert 'did you mean "HttpPort"' in capsys.readouterr().err


def test_config_writes_a_file_that_can_be_loaded_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config"]) == 0
    path = tmp_path / "default.json"
    path.write_text(capsys.readouterr().out)
    loaded, default = load_configuration([path], {}), load_configuration([], {})
    assert loaded.warnings == ()
    for name in ("HttpPort", "DicomPort", "StableAge"):
        assert loaded.integer(name) == default.integer(name)


# check


def test_check_of_an_intact_archive_is_status_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_configuration(tmp_path)
    store(path)
    for arguments in (["check", path], ["check", "--content", path]):
        assert main(arguments) == 0
        assert capsys.readouterr().out.splitlines() == [
            "3 files compared with the index",
            "0 instances damaged",
            "0 files without an instance",
        ]


@pytest.mark.parametrize("options", [{}, {"StorageCompression": True}])
def test_check_finds_what_is_missing_damaged_and_left_over_and_mends_it(
    tmp_path: Path, options: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_configuration(tmp_path, **options)
    files = store(path, 4)
    missing, shorter, changed, _ = list_files(tmp_path)
    missing.unlink()
    shorter.write_bytes(shorter.read_bytes()[:-1])
    content = changed.read_bytes()
    changed.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    name = str(uuid.uuid4())
    left_over = tmp_path / "storage" / name[:2] / name[2:4] / name
    left_over.parent.mkdir(parents=True, exist_ok=True)
    left_over.write_bytes(b"x")

    assert main(["check", path]) == 1
    told = capsys.readouterr().out
    assert "2 instances damaged" in told
    assert "1 files without an instance" in told
    assert re.search(r"/instances/\S+: the file is missing", told)
    assert main(["check", "--content", path]) == 1
    told = capsys.readouterr().out
    assert "3 instances damaged" in told
    assert "--repair" in told

    assert main(["check", "--content", "--repair", path]) == 0
    told = capsys.readouterr().out
    assert "3 instances deleted from the index" in told
    assert "1 files removed" in told
    assert main(["check", "--content", path]) == 0
    assert "1 files compared" in capsys.readouterr().out
    assert len(list_files(tmp_path)) == 1
    assert not any(file.patient_id in told for file in files)


def test_check_of_a_running_server_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_configuration(tmp_path)
    database = open_database(load_configuration([Path(path)], {}))
    try:
        assert main(["check", path]) in {2, 3}
    finally:
        database.close()
    assert capsys.readouterr().err.startswith("isocenter: ")


# hash-password


def test_password_from_standard_input_is_hashed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("pä ss\nignored\n"))
    assert main(["hash-password"]) == 0
    hashed = capsys.readouterr().out.strip()
    assert argon2.PasswordHasher().verify(hashed, "pä ss")


@pytest.mark.parametrize("typed", ["", "\n"])
def test_empty_password_is_refused(
    typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert main(["hash-password"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("second", "status"), [("secret", 0), ("secert", 2)])
def test_password_of_a_person_is_asked_twice(
    second: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    answers = iter(["secret", second])
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda _: next(answers))
    assert main(["hash-password"]) == status
    assert ("$argon2id$" in capsys.readouterr().out) == (status == 0)
