"""Imports and adoptions that are killed in the middle, and then asked to go on."""

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.support.dicom_files import EXPLICIT_LITTLE, encode_element
from tests.support.forks import build_command
from tests.support.orthanc_archive import OrthancArchive, snapshot
from tests.support.postgresql import new_schema
from tests.support.server import (
    DEADLINE_S,
    build_synthetic,
    run_command,
    run_server,
    wait_until,
)

INSTANCES = 500
PATIENTS = 7


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> OrthancArchive:
    """An archive that takes long enough to be killed in the middle."""
    archive = OrthancArchive(tmp_path_factory.mktemp("theirs"))
    pixels = encode_element(0x7FE00010, "OW", bytes(2000), syntax=EXPLICIT_LITTLE)
    with archive.at_once():
        archive.add(
            *(build_synthetic(tail=pixels, patient_id=f"P{n % PATIENTS}") for n in range(INSTANCES))
        )
    return archive


def write_configuration(folder: Path, **options: object) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "configuration.json"
    values = {"StorageDirectory": "storage", "IndexDirectory": "storage"}
    path.write_text(json.dumps(values | {"HttpPort": 0, "DicomPort": 0} | options))
    return path


def kill_when(
    arguments: Sequence[object], folder: Path, *, files: int, number: int = signal.SIGKILL
) -> int:
    """Start a command, and end it by a signal once so many files are in the storage folder."""

    def count() -> int:
        return sum(len(names) for _, _, names in os.walk(folder / "storage"))

    with subprocess.Popen(
        [*build_command(), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        wait_until(lambda: process.poll() is not None or count() >= files, "files are stored")
        process.send_signal(number)
        output, _ = process.communicate(timeout=DEADLINE_S)
    status = process.returncode
    assert status in {-number, 130, 0}, output
    return status


def check_everything(folder: Path, options: dict[str, object]) -> None:
    found = run_command(folder, "check", "--content", options=options)
    assert found.returncode == 0, found.stdout + found.stderr
    assert f"{INSTANCES} files compared" in found.stdout
    with run_server(folder, options) as server:
        statistics = server.get("/statistics").json()
        assert statistics["CountInstances"] == INSTANCES
        assert statistics["CountPatients"] == PATIENTS
        changes = server.get("/changes?limit=100000").json()["Changes"]
        new = [change for change in changes if change["ChangeType"] == "NewInstance"]
        assert len(new) == len({change["ID"] for change in new}) == INSTANCES


@pytest.mark.parametrize("way", ["--link", "--copy"])
def test_killed_adoption_goes_on(source: OrthancArchive, tmp_path: Path, way: str) -> None:
    before = snapshot(source.folder)
    config = write_configuration(tmp_path)
    arguments = ["adopt-orthanc", source.folder, way, "--config", config, "--no-verify"]
    statuses = [kill_when(arguments, tmp_path, files=files) for files in (2, 260)]
    assert -signal.SIGKILL in statuses
    assert kill_when(arguments, tmp_path, files=INSTANCES * 10) == 0
    assert snapshot(source.folder) == before
    check_everything(tmp_path, {"StorageDirectory": "storage", "IndexDirectory": "storage"})


def test_killed_adoption_into_postgresql_goes_on(
    source: OrthancArchive, tmp_path: Path, postgresql_uri: str
) -> None:
    with new_schema(postgresql_uri) as schema:
        database = {"EnableIndex": True, "ConnectionUri": postgresql_uri, "Schema": schema}
        config = write_configuration(tmp_path, PostgreSQL=database)
        arguments = ["adopt-orthanc", source.folder, "--config", config, "--no-verify"]
        assert kill_when(arguments, tmp_path, files=200) == -signal.SIGKILL
        assert kill_when(arguments, tmp_path, files=INSTANCES * 10) == 0
        check_everything(tmp_path, {"PostgreSQL": database})


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_import_that_was_ended_goes_on(
    source: OrthancArchive, tmp_path: Path, number: signal.Signals
) -> None:
    # Without a journal, which would file many of them at once, behind.
    config = write_configuration(tmp_path, **{"Isocenter.JournalSizeMB": 0})
    # The files of the other server, without its index.
    folders = [path for path in source.folder.iterdir() if path.is_dir()]
    arguments = ["import", *folders, "--config", config]
    status = kill_when(arguments, tmp_path, files=100, number=number)
    assert status == (-number if number is signal.SIGKILL else 130)
    assert kill_when(arguments, tmp_path, files=INSTANCES * 10) == 0
    # A killed server may leave files without a row, nothing else.
    mended = run_command(tmp_path, "check", "--repair", options={})
    assert mended.returncode == 0
    assert "\n0 instances" in mended.stdout
    check_everything(tmp_path, {})
