"""Servers that are killed while jobs edit a study: all of it is edited in the end, or nothing is.

``ISOCENTER_TEST_CRASHES`` is the number of kills (3; ``make crash``: 50).
"""

import json
import os
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

KILLS = int(os.environ.get("ISOCENTER_TEST_CRASHES", "3"))
# Several steps, of a tenth of a second each.
FILES = 260
FILE_BYTES = 20_000
# Longer than a job takes, so that some kills come after its end.
LONGEST_S = 0.7

OPTIONS: dict[str, Any] = {"JobsHistorySize": 1000, "StableAge": 3600}


def build_files() -> list[bytes]:
    """Build a study whose pixels tell the instances apart, whatever their identifiers are."""
    generator = random.Random(3)
    return [
        build_instance(
            {0x00081030: ("LO", "round -1")},
            study="1.2",
            series=f"1.2.{number % 3}",
            instance=f"1.2.9.{number}",
            tail=encode_element(
                0x7FE00010, "OW", generator.randbytes(FILE_BYTES), syntax=EXPLICIT_LITTLE
            ),
        )
        for number in range(FILES)
    ]


def read_pixels(server: TestServer) -> list[bytes]:
    """Read the end of every file."""
    names = server.get("/instances").json()
    assert len(names) == FILES
    return sorted(server.get(f"/instances/{name}/file").body[-FILE_BYTES:] for name in names)


def submit(server: TestServer, study: str, number: int) -> str:
    action = "anonymize" if number % 2 else "modify"
    body = {
        "Asynchronous": True,
        "KeepSource": False,
        "Replace": {"StudyDescription": f"round {number}"},
    }
    answer = server.request("POST", f"/studies/{study}/{action}", json.dumps(body).encode())
    assert answer.status == 200, answer.body
    return str(answer.json()["ID"])


def get_state(server: TestServer, job_id: str) -> str:
    return str(server.get(f"/jobs/{job_id}").json()["State"])


def check_is_whole(server: TestServer, number: int) -> str:
    """Make sure that there is one study, of the last round or the one before; give its name."""
    [study] = server.get("/studies?expand").json()
    assert len(server.get(f"/studies/{study['ID']}/instances").json()) == FILES
    assert server.get("/statistics").json()["CountInstances"] == FILES
    assert study["MainDicomTags"]["StudyDescription"] in {
        f"round {n}" for n in (number, number - 1)
    }
    return str(study["ID"])


def count_files(server: TestServer) -> int:
    return len(server.list_stored_files())


def kill(server: TestServer) -> None:
    server.process.kill()
    server.wait_for_end()


@pytest.mark.timeout(120 + 10 * KILLS)
def test_edits_of_a_killed_server_end_whole(tmp_path: Path) -> None:
    assert_edits_survive(tmp_path / "server", OPTIONS, lambda: None)


@pytest.mark.timeout(120 + 20 * KILLS)
def test_edits_of_a_killed_server_on_postgresql_end_whole(
    tmp_path: Path, postgresql_uri: str, postgresql_schema: str
) -> None:
    database = {
        "EnableIndex": True,
        "ConnectionUri": name_connections(postgresql_uri, postgresql_schema),
        "Schema": postgresql_schema,
    }
    after_kill = partial(let_time_pass, postgresql_uri, postgresql_schema, postgresql_schema)
    assert_edits_survive(tmp_path / "server", {**OPTIONS, "PostgreSQL": database}, after_kill)


@pytest.mark.timeout(120)
def test_edit_that_is_forgotten_at_the_start_leaves_no_files(tmp_path: Path) -> None:
    options = {**OPTIONS, "SaveJobs": False}
    with run_server(tmp_path, options) as server:
        for data in build_files():
            assert server.upload(data).status == 200
        submit(server, check_is_whole(server, -1), 0)
        wait_until(lambda: count_files(server) > FILES, "start of the job")
        kill(server)
    with run_server(tmp_path, options) as server:
        assert server.get("/jobs").json() == []
        # Sooner than by the regular look for files to remove.
        wait_until(lambda: count_files(server) == FILES, "removal of files")
        check_is_whole(server, 0)
        assert server.stop() == 0


def assert_edits_survive(
    folder: Path, options: dict[str, Any], after_kill: Callable[[], None]
) -> None:
    """Edit a study again and again while the server is killed, and look at what is there then."""
    generator = random.Random(11)
    files = build_files()
    with run_server(folder, options) as server:
        for data in files:
            assert server.upload(data).status == 200
        pixels = read_pixels(server)
    for number in range(KILLS):
        is_given_up = number % 3 == 2
        with run_server(folder, options) as server:
            job_id = submit(server, check_is_whole(server, number - 1), number)
            # A job that nobody has begun may belong to any server of a database.
            wait_until(lambda: get_state(server, job_id) != "Pending", "start of the job")  # noqa: B023
            # Not a wait for something to happen: the moment of the kill is what varies.
            select.select([], [], [], generator.uniform(0, LONGEST_S))
            kill(server)
        after_kill()
        with run_server(folder, options, arguments=["--no-jobs"] * is_given_up) as server:
            check_is_whole(server, number)
            if is_given_up and get_state(server, job_id) != "Success":
                assert server.request("POST", f"/jobs/{job_id}/cancel").status == 200
                expected = "Failure"
            else:
                expected = "Success"

            def has_ended(job_id: str = job_id, expected: str = expected) -> bool:
                return get_state(server, job_id) == expected

            wait_until(has_ended, "end of the job")
            check_is_whole(server, number - (expected == "Failure"))
            # Neither sources that went, nor what a killed step or a given up job has written.
            wait_until(lambda: count_files(server) == FILES, "removal of files")
            assert read_pixels(server) == pixels
            if expected == "Failure":
                # The next round finds the study as the one before has left it.
                submitted = submit(server, check_is_whole(server, number - 1), number)
                wait_until(lambda: get_state(server, submitted) == "Success", "end of the job")  # noqa: B023
            assert server.stop() == 0
    found = run_command(folder, "check", "--content", options=options)
    assert found.returncode == 0, found.stdout + found.stderr
