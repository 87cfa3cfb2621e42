"""A disk that becomes full under a running server, and has room again."""

import json
import os
import random
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_crash_ingest import get_data_set
from tests.support import server as server_module
from tests.support.dicom_files import CT_IMAGE_STORAGE, EXPLICIT_LITTLE, encode_element
from tests.support.forks import FULL_LOG_BYTES
from tests.support.requirements import miss
from tests.support.server import (
    SyntheticFile,
    TestServer,
    build_synthetic,
    wait_until,
)

from isocenter.dimse.requestor import AssociationTarget
from isocenter.scu.store import (
    InstanceToStore,
    build_storage_contexts,
    open_storage_association,
)

pytestmark = pytest.mark.timeout(300)

# As users have them: the index takes its room at the start.
run_server = partial(server_module.run_server, log_bytes=FULL_LOG_BYTES)
run_command = partial(server_module.run_command, log_bytes=FULL_LOG_BYTES)

MIB = 1 << 20
# What is left when the clients begin, less than they send.
ROOM = 1_500_000
MOST_FILES = 400

FILES_ONLY = pytest.mark.parametrize("options", [24], ids=["storage"], indirect=True)
ONE_DISK = pytest.mark.parametrize("options", [110], ids=["one-disk"], indirect=True)


@pytest.fixture(params=[24, 110], ids=["storage", "storage-and-index"])
def options(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Mount a small disk for the files, or a larger one for the index as well."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={request.param}m", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError as error:
        miss("tmpfs", f"no disk can be mounted: {error}")
    if mounted.returncode:
        miss("tmpfs", f"no disk can be mounted: {mounted.stderr.strip()}")
    try:
        yield {
            "StorageDirectory": str(disk / "storage"),
            "IndexDirectory": str(disk / "index" if request.param > 100 else tmp_path / "index"),
            "Isocenter.JournalSizeMB": 4,
        }
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


class Disk:
    """The small disk, filled by a file that nobody needs."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"
        self._folder = folder

    def fill(self, *, room: int) -> None:
        status = os.statvfs(self._folder)
        size = status.f_bavail * status.f_frsize - room
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(size, 1))

    def free(self) -> None:
        self._ballast.unlink()


def build(generator: random.Random, *, size: int) -> SyntheticFile:
    pixels = encode_element(0x7FE00010, "OW", generator.randbytes(size), syntax=EXPLICIT_LITTLE)
    return build_synthetic(tail=pixels)


def post_until_full(server: TestServer, generator: random.Random) -> list[SyntheticFile]:
    """Send small and large files by HTTP until one is refused for want of room."""
    stored = []
    for number in range(MOST_FILES):
        file = build(generator, size=300_000 if number % 10 == 9 else 40_000)
        answer = server.upload(file.content)
        if answer.status == 200:
            stored.append(file)
            continue
        assert (answer.status, answer.json()["OrthancStatus"]) == (507, 19)
        return stored
    raise AssertionError("the disk never became full")


async def send(server: TestServer, files: list[SyntheticFile]) -> list[int]:
    """Send files over one association, and list the statuses."""
    target = AssociationTarget("127.0.0.1", server.dicom_port, "ANY", "TEST")
    contexts = build_storage_contexts([(CT_IMAGE_STORAGE, EXPLICIT_LITTLE)])
    async with open_storage_association(target, contexts) as scu:
        return [
            (
                await scu.store(
                    InstanceToStore(
                        CT_IMAGE_STORAGE,
                        file.uids[2],
                        EXPLICIT_LITTLE,
                        get_data_set(file.content),
                    )
                )
            ).status
            for file in files
        ]


def assert_stored(
    server: TestServer, posted: list[SyntheticFile], sent: list[SyntheticFile]
) -> None:
    """Every acknowledged instance is there, byte for byte, and nothing else."""
    shown = set(server.get("/instances").json())
    assert shown == {file.instance for file in [*posted, *sent]}
    for file in posted:
        assert server.get(f"/instances/{file.instance}/file").body == file.content
    for file in sent:
        body = server.get(f"/instances/{file.instance}/file").body
        assert get_data_set(body) == get_data_set(file.content)


async def test_full_disk_is_told_through_both_doors_and_service_goes_on(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    generator = random.Random("full disk")
    disk = Disk(tmp_path / "disk")
    sent = [build(generator, size=size) for size in (1000, 40_000, 200_000)]
    with run_server(tmp_path / "server", options) as server:
        posted = [server.store(build(generator, size=size)) for size in (1000, 200_000)]
        assert await send(server, sent) == [0, 0, 0]
        disk.fill(room=ROOM)
        posted += post_until_full(server, generator)
        refused = [build(generator, size=size) for size in (400_000, 900_000, 1_400_000)]
        assert set(await send(server, refused)) == {0xA700}
        assert server.upload(build(generator, size=1_400_000).content).status == 507
        assert server.get("/system").status == 200
        assert_stored(server, posted, sent)

        disk.free()
        more = [build(generator, size=size) for size in (1000, 40_000, 900_000)]
        assert await send(server, more) == [0, 0, 0]
        posted += [server.store(build(generator, size=size)) for size in (1000, 300_000)]
        assert_stored(server, posted, sent + more)
        assert not server.list_temporary_files()
        assert "unexpected error" not in server.log
    found = run_command(tmp_path / "server", "check", "--content", options=options)
    assert found.returncode == 0, found.stdout + found.stderr
    assert f"{len(posted) + len(sent) + len(more)} files compared" in found.stdout
    with run_server(tmp_path / "server", options) as server:
        assert_stored(server, posted, sent + more)


@ONE_DISK
def test_start_on_a_full_disk_ends_with_a_sentence_that_helps(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    generator = random.Random("start")
    disk = Disk(tmp_path / "disk")
    with run_server(tmp_path / "server", options) as server:
        file = server.store(build(generator, size=40_000))
    disk.fill(room=0)
    ended = run_command(tmp_path / "server", "serve", options=options)
    assert ended.returncode in {2, 3}
    assert "Traceback" not in ended.stderr
    assert re.search(r"isocenter: .*(StorageDirectory|index in )", ended.stderr)
    disk.free()
    with run_server(tmp_path / "server", options) as server:
        assert_stored(server, [file], [])


@ONE_DISK
def test_first_start_without_room_for_the_index_is_told(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    Disk(tmp_path / "disk").fill(room=10_000_000)
    index = {"IndexDirectory": str(tmp_path / "disk" / "index")}
    ended = run_command(tmp_path / "server", "serve", options=options | index)
    assert ended.returncode == 3
    assert "no room is left for the index in" in ended.stderr
    assert "Traceback" not in ended.stderr


def submit(server: TestServer, target: str, **fields: Any) -> str:
    body = json.dumps({"Asynchronous": True, **fields}).encode()
    answer = server.request("POST", target, body)
    assert answer.status == 200, answer.body
    return str(answer.json()["ID"])


def has_ended(server: TestServer, job_id: str, state: str) -> bool:
    job = server.get(f"/jobs/{job_id}").json()
    assert job["State"] in {"Pending", "Running", state}, job
    return bool(job["State"] == state)


@FILES_ONLY
def test_jobs_fail_on_a_full_disk_leave_nothing_and_can_begin_anew(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    generator = random.Random(8)
    disk = Disk(tmp_path / "disk")
    options = {**options, "JobsHistorySize": 20}
    with run_server(tmp_path / "server", options) as server:
        tail = partial(encode_element, 0x7FE00010, "OW", syntax=EXPLICIT_LITTLE)
        files = [
            server.store(
                build_synthetic(
                    study="1.2",
                    series=series,
                    patient_id="P",
                    tail=tail(generator.randbytes(10**6)),
                )
            )
            for series in ("1.3", "1.3", "1.3", "1.3", "1.4", "1.4")
        ]
        other = server.store(build_synthetic(study="1.9", patient_id="Q"))
        stored = set(server.list_stored_files())
        study, series = f"/studies/{files[0].study}", files[0].series
        disk.fill(room=2_500_000)
        jobs = [
            submit(server, f"{study}/archive"),
            submit(server, f"{study}/media"),
            submit(server, f"{study}/anonymize", KeepSource=False),
            submit(server, f"{study}/modify", Permissive=True, KeepSource=False),
            submit(server, f"{study}/split", Series=[series]),
            submit(server, f"/studies/{other.study}/merge", Resources=[files[0].study]),
        ]
        for job_id in jobs:
            wait_until(partial(has_ended, server, job_id, "Failure"), "end of a job")
            assert server.get(f"/jobs/{job_id}").json()["ErrorCode"] == 19
        wait_until(lambda: set(server.list_stored_files()) == stored, "removal of what was written")
        assert_stored(server, [*files, other], [])
        assert server.request("POST", f"{study}/anonymize", b"{}").status == 507

        disk.free()
        # The archive needs most of the room that there is now.
        for job_id in (jobs[0], jobs[5]):
            assert server.request("POST", f"/jobs/{job_id}/resubmit").status == 200
            wait_until(partial(has_ended, server, job_id, "Success"), "end of a job")
        archive = server.get(f"/jobs/{jobs[0]}/archive")
        assert archive.status == 200
        assert len(archive.body) > 6 * 10**6
        assert server.get(study).status == 404
        assert len(server.get(f"/studies/{other.study}/instances").json()) == 7
        assert server.stop() == 0
