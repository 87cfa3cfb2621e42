"""``isocenter import`` as a person calls it, into the archive and to a server."""

import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.commands import run, write_configuration
from tests.support.dicom_files import EXPLICIT_LITTLE, encode_element
from tests.support.server import TestServer, build_synthetic, run_server

from isocenter.config.loading import load_configuration
from isocenter.http.access import hash_password
from isocenter.server import open_database

Output = pytest.CaptureFixture[str]


@pytest.fixture
def config(tmp_path: Path) -> str:
    return write_configuration(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three instances, one of them in a ZIP archive, and with other files."""
    files = [build_synthetic() for _ in range(2)]
    pixels = encode_element(0x7FE00010, "OW", bytes(2_000_000), syntax=EXPLICIT_LITTLE)
    files.append(build_synthetic(tail=pixels))
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "one").write_bytes(files[0].content)
    (tmp_path / "in" / "deep" / "large").write_bytes(files[2].content)
    (tmp_path / "in" / "README").write_text("hello")
    with zipfile.ZipFile(tmp_path / "in" / "more.zip", "w") as archive:
        archive.writestr("two", files[1].content)
    return tmp_path / "in"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    users = {"RegisteredUsers": {"alice": hash_password("s:cret")}, "AuthenticationEnabled": True}
    with run_server(tmp_path_factory.mktemp("server"), users) as server:
        yield server


def test_folder_is_imported_and_found_again(folder: Path, config: str, capsys: Output) -> None:
    assert run("import", folder, "--config", config) == 0
    told = capsys.readouterr()
    assert told.out.startswith("4 files: 3 stored, 0 there already, 0 refused, 1 no DICOM, ")
    assert "README" not in told.err
    assert run("import", folder, "--config", config) == 0
    assert "0 stored, 3 there already" in capsys.readouterr().out
    assert run("check", "--content", config) == 0
    assert "3 files compared" in capsys.readouterr().out


def test_refusals_are_told_and_reported(
    folder: Path, config: str, tmp_path: Path, capsys: Output
) -> None:
    name = os.fsdecode(b"bad\n\xff")
    (folder / name).write_bytes((folder / "deep" / "large").read_bytes()[:-1])
    report = tmp_path / "report"
    assert run("import", folder, "--config", config, "--report", report) == 1
    told = capsys.readouterr()
    assert "3 stored, 0 there already, 1 refused, 1 no DICOM" in told.out
    assert "bad\\n\\udcff: " in told.err
    assert "(15)" in told.err
    values = map(json.loads, report.read_text().splitlines())
    lines = {Path(line["file"]).name: line for line in values}
    assert set(lines) == {"README", name}
    assert (lines[name]["code"], lines[name]["dicom"]) == (15, True)
    assert (lines["README"]["code"], lines["README"]["dicom"]) == (15, False)


def test_path_that_is_not_there_is_refused(config: str, capsys: Output) -> None:
    assert run("import", "nowhere", "--config", config) == 1
    assert "nowhere: no such file or directory (14)" in capsys.readouterr().err


def test_running_server_is_in_the_way_and_the_url_advised(
    folder: Path, config: str, capsys: Output
) -> None:
    database = open_database(load_configuration([Path(config)], {}))
    try:
        assert run("import", folder, "--config", config) == 3
    finally:
        database.close()
    assert "--url" in capsys.readouterr().err


def test_files_are_sent_to_a_server(folder: Path, shared: TestServer, capsys: Output) -> None:
    url = f"http://alice:s%3Acret@127.0.0.1:{shared.http_port}/"
    assert run("import", "--url", url, folder) == 0
    assert "3 stored, 0 there already, 0 refused, 1 no DICOM" in capsys.readouterr().out
    assert run("import", "--url", url, folder) == 0
    assert "0 stored, 3 there already" in capsys.readouterr().out


def test_refusal_of_a_server_is_told(folder: Path, shared: TestServer, capsys: Output) -> None:
    (folder / "bad").write_bytes((folder / "deep" / "large").read_bytes()[:-1])
    url = f"http://alice:s%3Acret@127.0.0.1:{shared.http_port}"
    assert run("import", "--url", url, folder / "bad", folder / "README") == 1
    told = capsys.readouterr()
    assert "1 refused, 1 no DICOM" in told.out
    assert "bad: " in told.err


@pytest.mark.parametrize(
    ("url", "status", "reason"),
    [
        ("ftp://localhost", 2, "--url"),
        ("localhost:8042", 2, "--url"),
        ("http://localhost:port", 2, "--url"),
        ("http://", 2, "--url"),
        ("http://127.0.0.1:1", 3, "does not answer"),
    ],
)
def test_url_that_leads_nowhere_is_told(
    folder: Path, url: str, status: int, reason: str, capsys: Output
) -> None:
    assert run("import", "--url", url, folder) == status
    assert reason in capsys.readouterr().err


def test_wrong_password_ends_at_once(folder: Path, shared: TestServer, capsys: Output) -> None:
    url = f"http://alice:wrong@127.0.0.1:{shared.http_port}"
    assert run("import", "--url", url, folder) == 3
    assert "status 401" in capsys.readouterr().err


@pytest.mark.parametrize(("typed", "status"), [("s:cret\n", 0), ("wrong", 3), ("", 3)])
def test_password_is_read_from_standard_input(
    folder: Path,
    shared: TestServer,
    typed: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    url = f"http://alice@127.0.0.1:{shared.http_port}"
    assert run("import", "--url", url, folder / "one") == status


def test_terminal_is_shown_how_many_files_there_are(
    folder: Path, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("isocenter.commands.terminal._LINE_INTERVAL_S", 0)
    times = iter(range(100_000))
    monkeypatch.setattr("isocenter.commands.terminal.now", lambda: next(times))
    assert run("import", folder, "--config", config) == 0
    assert "files" in stream.getvalue()
