"""Servers that are killed while a job runs, then started again on the same data."""

import json
import random
import select
import zipfile
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from tests.support.dicom_files import EXPLICIT_LITTLE, build_instance, encode_element
from tests.support.server import TestServer, run_command, run_server, wait_until

KILLS = 3
# Three parts of an archive, of bytes that cannot be compressed.
FILES = 44
FILE_BYTES = 2_500_000

OPTIONS: dict[str, Any] = {"JobsHistorySize": 50}


def build_files() -> list[bytes]:
    generator = random.Random(5)
    return [
        build_instance(
            study="1.2",
            series="1.2.3",
            instance=f"1.2.3.{number}",
            tail=encode_element(
                0x7FE00010, "OW", generator.randbytes(FILE_BYTES), syntax=EXPLICIT_LITTLE
            ),
        )
        for number in range(FILES)
    ]


def get_job(server: TestServer, job_id: str) -> dict[str, Any]:
    job = server.get(f"/jobs/{job_id}").json()
    assert isinstance(job, dict)
    return job


def submit(server: TestServer, study: str, **fields: Any) -> str:
    body = json.dumps({"Asynchronous": True, **fields}).encode()
    answer = server.request("POST", f"/studies/{study}/archive", body)
    assert answer.status == 200, answer.body
    return str(answer.json()["ID"])


def wait_until_running(server: TestServer, job_id: str) -> int:
    """Wait for the first step to be saved, and tell how far the job is."""
    wait_until(lambda: get_job(server, job_id)["Progress"], "progress of the job")
    return int(get_job(server, job_id)["Progress"])


def has_succeeded(server: TestServer, job_id: str) -> bool:
    return bool(get_job(server, job_id)["State"] == "Success")


def check_archive(server: TestServer, job_id: str, files: list[bytes]) -> None:
    answer = server.get(f"/jobs/{job_id}/archive")
    assert answer.status == 200
    with zipfile.ZipFile(BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len(names) == len(set(names)) == FILES
        assert sorted(archive.read(name) for name in names) == sorted(files)


def count_files(server: TestServer) -> int:
    return len(server.list_stored_files())


@pytest.mark.timeout(180)
def test_jobs_of_a_killed_server_end_well(tmp_path: Path) -> None:
    files = build_files()
    folder = tmp_path / "server"
    generator = random.Random(7)
    with run_server(folder, OPTIONS) as server:
        answers = [server.upload(data).json() for data in files]
        study = answers[0]["ParentStudy"]
        stored = count_files(server)
        running = submit(server, study, Priority=1, UserData={"who": "x"})
        waiting = [submit(server, study) for _ in range(1)]
        progress = wait_until_running(server, running)
        server.process.kill()
        server.wait_for_end()

    for _ in range(KILLS - 1):
        with run_server(folder, OPTIONS) as server:
            # Not a wait for something to happen: the moment of the kill is what varies.
            select.select([], [], [], generator.uniform(0, 0.5))
            server.process.kill()
            server.wait_for_end()

    jobs = [running, *waiting]
    with run_server(folder, OPTIONS, arguments=["--no-jobs"]) as server:
        for job_id in jobs:
            # A fast machine may have ended some of them between two kills.
            if get_job(server, job_id)["State"] != "Success":
                assert get_job(server, job_id)["State"] == "Paused"
                assert server.request("POST", f"/jobs/{job_id}/resume").status == 200
        server.process.kill()
        server.wait_for_end()

    with run_server(folder, OPTIONS) as server:
        assert get_job(server, running)["Progress"] >= progress
        for job_id in jobs:
            wait_until(partial(has_succeeded, server, job_id), "end of a job")
            check_archive(server, job_id, files)
        assert get_job(server, running)["UserData"] == {"who": "x"}
        assert server.stop() == 0

    # Parts of archives belong to the archive: nothing is damaged, nothing too much.
    found = run_command(folder, "check", options=OPTIONS)
    assert found.returncode == 0, found.stdout + found.stderr
    mended = run_command(folder, "check", "--repair", options=OPTIONS)
    assert mended.returncode == 0, mended.stdout + mended.stderr

    with run_server(folder, OPTIONS) as server:
        for job_id in jobs:
            check_archive(server, job_id, files)
            assert server.request("DELETE", f"/jobs/{job_id}/archive").status == 200
        wait_until(lambda: count_files(server) == stored, "removal of the archives")
