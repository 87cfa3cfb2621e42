"""Servers that are killed while jobs run, then started again on the same data.

``ISOCENTER_TEST_CRASHES`` is the number of times that servers with jobs of all kinds are killed, on
each database (2; ``make crash``: 50).
"""

import json
import os
import random
import select
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from tests.support.dicom_files import EXPLICIT_LITTLE, build_instance, encode_element
from tests.support.directories import read_directory, walk
from tests.support.postgresql import let_time_pass, name_connections, new_schema
from tests.support.server import TestServer, run_command, run_server, wait_until

CRASHES = int(os.environ.get("ISOCENTER_TEST_CRASHES", "2"))

KILLS = 2
# Three parts of an archive, of bytes that cannot be compressed.
FILES = 44
FILE_BYTES = 2_500_000

OPTIONS: dict[str, Any] = {"JobsHistorySize": 50}


def build_files(count: int = FILES) -> list[bytes]:
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
        for number in range(count)
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


# Of the studies that are edited: small files, so that many steps are made between two kills.
EDITED = 15
# Of the study that is archived: two parts.
LARGE = 23
# Kills come this long after the start of a server.
LONGEST_LIFE_S = 1.0


def build_small_files(study: str) -> list[bytes]:
    return [
        build_instance(
            {0x00100010: ("PN", "DOE^JANE")},
            study=study,
            series=f"{study}.1",
            instance=f"{study}.1.{number}",
            tail=encode_element(0x7FE00010, "OW", bytes(20_000)),
        )
        for number in range(EDITED)
    ]


@dataclass
class Work:
    """What is submitted again and again, and how its result is checked.

    Attributes
    ----------
    target, body
        Of the request; the study of the work stands for ``{}`` in the target.
    """

    target: str
    body: dict[str, Any]
    study: str
    check: "Callable[[Work, TestServer, dict[str, Any]], None]"
    job_id: str = ""
    done: int = 0

    def submit(self, server: TestServer) -> None:
        body = json.dumps({**self.body, "Asynchronous": True}).encode()
        answer = server.request("POST", self.target.format(self.study), body)
        assert answer.status == 200, answer.body
        self.job_id = answer.json()["ID"]

    def is_over(self, server: TestServer) -> bool:
        job = get_job(server, self.job_id)
        assert job["State"] in {"Pending", "Running", "Success"}, job
        return bool(job["State"] == "Success")

    def finish(self, server: TestServer) -> None:
        self.check(self, server, get_job(server, self.job_id))
        self.done += 1


def list_instances(server: TestServer, study: str) -> list[Any]:
    answer = server.get(f"/studies/{study}/instances")
    return list(answer.json()) if answer.status == 200 else []


def check_zip(work: Work, server: TestServer, job: dict[str, Any]) -> None:
    """Check the files and the records of an archive, and remove it."""
    assert job["Content"]["FailedInstancesCount"] == 0
    answer = server.get(f"/jobs/{work.job_id}/archive")
    assert answer.status == 200
    with zipfile.ZipFile(BytesIO(answer.body)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len(names) == len(set(names))
        if "DICOMDIR" in names:
            names.remove("DICOMDIR")
            _, roots = read_directory(archive.read("DICOMDIR"))
            leaves = [node.record for depth, node in walk(roots) if depth == 3]
            assert sorted("/".join(leaf.ReferencedFileID) for leaf in leaves) == sorted(names)
            assert len({leaf.ReferencedSOPInstanceUIDInFile for leaf in leaves}) == len(names)
    assert len(names) == len(list_instances(server, work.study))
    assert server.request("DELETE", f"/jobs/{work.job_id}/archive").status == 200


def check_copy(work: Work, server: TestServer, job: dict[str, Any]) -> None:
    """Check that a copy is whole, as is its source, and delete it."""
    copy = job["Content"]["ID"]
    assert copy != work.study
    for study in (copy, work.study):
        assert len(list_instances(server, study)) == EDITED
    assert job["Content"]["FailedInstancesCount"] == 0
    assert server.request("DELETE", f"/studies/{copy}").status == 200


def check_move(work: Work, server: TestServer, job: dict[str, Any]) -> None:
    """Check that a study is another one now, whole, and the source gone; that one is the next."""
    moved = job["Content"]["ID"]
    assert len(list_instances(server, moved)) == EDITED
    assert server.get(f"/studies/{work.study}").status == 404
    work.study = moved


def store_all(server: TestServer, files: list[bytes]) -> str:
    studies = {server.upload(data).json()["ParentStudy"] for data in files}
    (study,) = studies
    return str(study)


@dataclass
class Workload:
    """Jobs of all kinds, of which some always run or wait."""

    works: list[Work] = field(default_factory=list)
    stored: int = 0

    def prepare(self, server: TestServer) -> None:
        large = store_all(server, build_files(LARGE))
        copied, moved = (store_all(server, build_small_files(f"1.{n}")) for n in (3, 4))
        self.works = [
            Work("/studies/{}/archive", {}, copied, check_zip),
            Work("/studies/{}/media", {"Extended": True}, large, check_zip),
            Work("/studies/{}/anonymize", {}, copied, check_copy),
            Work("/studies/{}/modify", {"Remove": ["PatientName"]}, copied, check_copy),
            Work("/studies/{}/modify", {"KeepSource": False}, moved, check_move),
        ]
        self.stored = LARGE + 2 * EDITED
        for work in self.works:
            work.submit(server)

    def go_on(self, server: TestServer) -> None:
        """Check what has ended, and begin it again."""
        for work in self.works:
            if work.is_over(server):
                work.finish(server)
                work.submit(server)

    def end(self, server: TestServer) -> None:
        """Wait for the jobs that are left; then nothing is there twice or missing."""
        for work in self.works:
            wait_until(partial(work.is_over, server), f"end of {work.target}")
            work.finish(server)
        assert server.get("/statistics").json()["CountInstances"] == self.stored


def assert_jobs_survive(
    folder: Path, options: dict[str, Any], kills: int, after_kill: Callable[[], None] = lambda: None
) -> None:
    generator = random.Random(kills)
    options = {**OPTIONS, "ConcurrentJobs": 3, **options}
    work = Workload()
    with run_server(folder, options) as server:
        work.prepare(server)
        server.process.kill()
        server.wait_for_end()
    for _ in range(kills - 1):
        after_kill()
        with run_server(folder, options) as server:
            work.go_on(server)
            # Not a wait for something to happen: the moment of the kill is what varies.
            select.select([], [], [], generator.uniform(0, LONGEST_LIFE_S))
            server.process.kill()
            server.wait_for_end()
    after_kill()
    with run_server(folder, options) as server:
        work.end(server)
        assert server.stop() == 0
    # Blobs that no row names may be left by a crash; nothing may be missing or damaged.
    mended = run_command(folder, "check", "--repair", options=options)
    assert mended.returncode == 0, mended.stdout + mended.stderr
    with run_server(folder, options) as server:
        assert server.get("/statistics").json()["CountInstances"] == work.stored
        wait_until(lambda: count_files(server) == work.stored, "removal of all but the instances")


@pytest.mark.timeout(120 + 20 * CRASHES)
def test_jobs_of_all_kinds_survive_kills(tmp_path: Path) -> None:
    assert_jobs_survive(tmp_path / "server", {}, CRASHES)


@pytest.mark.timeout(120 + 20 * CRASHES)
def test_jobs_of_all_kinds_survive_kills_on_postgresql(tmp_path: Path, postgresql_uri: str) -> None:
    with new_schema(postgresql_uri) as schema:
        uri = name_connections(postgresql_uri, schema)
        database = {"EnableIndex": True, "ConnectionUri": uri, "Schema": schema}
        after_kill = partial(let_time_pass, postgresql_uri, schema, schema)
        assert_jobs_survive(tmp_path / "server", {"PostgreSQL": database}, CRASHES, after_kill)


@pytest.mark.timeout(180)
def test_other_server_takes_over_the_jobs_of_a_killed_one(
    tmp_path: Path, postgresql_uri: str, postgresql_schema: str
) -> None:
    database = {"EnableIndex": True, "ConnectionUri": postgresql_uri, "Schema": postgresql_schema}
    options = {
        **OPTIONS,
        "PostgreSQL": database,
        "StorageDirectory": str(tmp_path / "shared"),
        "ConcurrentJobs": 6,
    }
    uri = name_connections(postgresql_uri, postgresql_schema)
    killed = {**options, "PostgreSQL": {**database, "ConnectionUri": uri}}
    work = Workload()
    with ExitStack() as stack:
        first = stack.enter_context(run_server(tmp_path / "first", killed))
        work.prepare(first)
        # None of them waits any more, so the second one finds nothing to do.
        wait_until(
            lambda: all(get_job(first, w.job_id)["State"] != "Pending" for w in work.works),
            "start of all jobs",
        )
        second = stack.enter_context(run_server(tmp_path / "second", options))
        first.process.kill()
        first.wait_for_end()
        let_time_pass(postgresql_uri, postgresql_schema, postgresql_schema)
        work.end(second)
        assert second.stop() == 0
    assert {w.done for w in work.works} == {1}


def submit_until_refused(server: TestServer, study: str, accepted: list[str]) -> None:
    while True:
        try:
            answer = server.request("POST", f"/studies/{study}/archive", b'{"Asynchronous": true}')
        except (OSError, HTTPException):
            return
        assert answer.status == 200, answer.body
        accepted.append(answer.json()["ID"])


@pytest.mark.timeout(120)
def test_jobs_accepted_while_a_server_stops_are_run_by_the_next_one(tmp_path: Path) -> None:
    options = {"JobsHistorySize": 100_000}
    accepted: list[str] = []
    with run_server(tmp_path, options) as server, ThreadPoolExecutor(3) as threads:
        study = store_all(server, build_small_files("1.5"))
        clients = [threads.submit(submit_until_refused, server, study, accepted) for _ in range(3)]
        wait_until(lambda: len(accepted) > 50, "submission of jobs")
        assert server.stop() == 0
        for client in clients:
            client.result(30)
    with run_server(tmp_path, options) as server:
        wait_until(lambda: not server.get("/jobs?state=Pending;Running").json(), "end of all jobs")
        assert set(accepted) <= set(server.get("/jobs?state=Success").json())
        assert server.stop() == 0
