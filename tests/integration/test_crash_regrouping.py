"""Servers that are killed while studies are split and merged: all is moved once, or nothing."""

import json
import random
import select
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.dicom_files import EXPLICIT_LITTLE, build_instance, encode_element
from tests.support.postgresql import let_time_pass, name_connections
from tests.support.server import TestServer, run_command, run_server, wait_until

KILLS = 2
# Some five steps of a job.
FILES = 40
FILE_BYTES = 800_000

OPTIONS: dict[str, Any] = {"JobsHistorySize": 50}


def build_files(study: str, count: int) -> list[bytes]:
    generator = random.Random(study)
    return [
        build_instance(
            {0x00081030: ("LO", f"STUDY {study}")},
            patient_id=f"P{study}",
            study=f"1.{study}",
            series=f"1.{study}.{number % 2 + 1}",
            instance=f"1.{study}.{number % 2 + 1}.{number + 1}",
            tail=encode_element(
                0x7FE00010, "OW", generator.randbytes(FILE_BYTES), syntax=EXPLICIT_LITTLE
            ),
        )
        for number in range(count)
    ]


def submit(server: TestServer, study: str, action: str, **fields: Any) -> str:
    body = json.dumps({"Asynchronous": True, **fields}).encode()
    answer = server.request("POST", f"/studies/{study}/{action}", body)
    assert answer.status == 200, answer.body
    return str(answer.json()["ID"])


def get_job(server: TestServer, job_id: str) -> Any:
    return server.get(f"/jobs/{job_id}").json()


def list_files(server: TestServer, study: str) -> list[bytes]:
    """Read the pixels of a study's instances, in any order but a fixed one."""
    found = server.get(f"/studies/{study}/instances").json()
    names = [child["ID"] for child in found]
    return sorted(server.get(f"/instances/{name}/file").body[-FILE_BYTES:] for name in names)


@pytest.mark.timeout(180)
def test_studies_are_moved_once_whatever_kills_the_server(tmp_path: Path) -> None:
    assert_studies_are_moved_once(tmp_path / "server", OPTIONS, kills=KILLS, count=FILES)


@pytest.mark.timeout(180)
def test_studies_on_postgresql_are_moved_once(
    tmp_path: Path, postgresql_uri: str, postgresql_schema: str
) -> None:
    database = {
        "EnableIndex": True,
        "ConnectionUri": name_connections(postgresql_uri, postgresql_schema),
        "Schema": postgresql_schema,
    }
    assert_studies_are_moved_once(
        tmp_path / "server",
        {**OPTIONS, "PostgreSQL": database},
        kills=2,
        count=FILES // 2,
        after_kill=partial(let_time_pass, postgresql_uri, postgresql_schema, postgresql_schema),
    )


def assert_studies_are_moved_once(
    folder: Path,
    options: dict[str, Any],
    *,
    kills: int,
    count: int,
    after_kill: Callable[[], None] = lambda: None,
) -> None:
    """Split and merge studies while the server is killed, and look at all there is afterwards."""
    files = build_files("1", count)
    pixels = [data[-FILE_BYTES:] for data in files]
    generator = random.Random(7)
    with run_server(folder, options) as server:
        [source] = {server.upload(data).json()["ParentStudy"] for data in files}
        target = server.upload(build_instance(patient_id="T", study="1.9")).json()["ParentStudy"]
        series = server.get(f"/studies/{source}").json()["Series"]
        jobs = [
            submit(server, source, "split", Series=series[:1], KeepSource=True, Priority=1),
            submit(server, target, "merge", Resources=[source]),
        ]
        wait_until(lambda: get_job(server, jobs[0])["Progress"], "progress of the job")
        server.process.kill()
        server.wait_for_end()
    after_kill()

    for _ in range(kills - 1):
        with run_server(folder, options) as server:
            # Not a wait for something to happen: the moment of the kill is what varies.
            select.select([], [], [], generator.uniform(0, 0.4))
            stored = server.get("/statistics").json()["CountInstances"]
            assert stored in {count + 1, count + 1 + count // 2}
            server.process.kill()
            server.wait_for_end()
        after_kill()

    with run_server(folder, options) as server:
        for job_id in jobs:
            wait_until(lambda name=job_id: get_job(server, name)["State"] == "Success", "end")  # type: ignore[misc]
        assert server.get(f"/studies/{source}").status == 404
        assert server.get("/statistics").json()["CountInstances"] == count + 1 + count // 2
        merged = list_files(server, target)
        assert [data for data in merged if data in pixels] == sorted(pixels)
        split = get_job(server, jobs[0])["Content"]["TargetStudy"]
        assert list_files(server, split) == sorted(pixels[::2])
        assert server.stop() == 0

    found = run_command(folder, "check", options=options)
    assert found.returncode == 0, found.stdout + found.stderr
    mended = run_command(folder, "check", "--repair", options=options)
    assert mended.returncode == 0, mended.stdout + mended.stderr
