"""Servers that are killed while they receive, then started again on the same data.

``ISOCENTER_TEST_CRASHES`` is the number of times that the servers on SQLite and on PostgreSQL are
killed (2; ``make crash``: 50); those with other options are killed half as often.
"""

import hashlib
import http.client
import json
import os
import random
import select
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.dicom_files import EXPLICIT_LITTLE, build_instance, encode_element
from tests.support.postgresql import new_schema
from tests.support.requirements import is_required
from tests.support.server import DEADLINE_S, TestServer, run_command, run_server

CRASHES = int(os.environ.get("ISOCENTER_TEST_CRASHES", "2"))
HTTP_CLIENTS = 4
DICOM_CLIENTS = 2
FILES_A_CLIENT = 250
# Kills come this long after the first acknowledgement of a round.
LONGEST_LIFE_S = 0.5

CHILDREN = {"patients": "Studies", "studies": "Series", "series": "Instances"}


@dataclass
class Sent:
    """What clients sent, by SOP Instance UID, and what was acknowledged. Thread-safe.

    What came by HTTP must be there byte for byte. The file meta information of what came by DICOM
    is the server's own (PS3.10 §7.1); its data set is the sender's.
    """

    whole: dict[str, str] = field(default_factory=dict)
    data_sets: dict[str, str] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    first: threading.Event = field(default_factory=threading.Event)

    def is_as_sent(self, uid: str, data: bytes) -> bool:
        if uid in self.whole:
            return compute_md5(data) == self.whole[uid]
        return compute_md5(get_data_set(data)) == self.data_sets[uid]

    def acknowledge(self, uid: str) -> None:
        self.acknowledged.add(uid)
        self.first.set()


def build_files(label: str) -> dict[str, bytes]:
    """Build new instances of several studies; a few are too large for a journal or a batch."""
    generator = random.Random(label)
    files = {}
    for number in range(FILES_A_CLIENT):
        uid = f"2.25.{generator.getrandbits(100)}"
        size = 300_000 if number % 25 == 24 else generator.randrange(500, 20_000) * 2
        pixels = encode_element(0x7FE00010, "OW", generator.randbytes(size), syntax=EXPLICIT_LITTLE)
        study = f"1.2.3.{number % 5}"
        files[uid] = build_instance(
            study=study, series=f"{study}.{number % 3}", instance=uid, tail=pixels
        )
    return files


def get_data_set(data: bytes) -> bytes:
    """Cut the preamble and the file meta information off; its length comes first (PS3.10 §7.1)."""
    return data[144 + int.from_bytes(data[140:144], "little") :]


def compute_md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def post_all(port: int, files: dict[str, bytes], sent: Sent) -> None:
    """Send files over one connection until the server is gone."""
    sent.whole.update((uid, compute_md5(data)) for uid, data in files.items())
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    try:
        for uid, data in files.items():
            connection.request("POST", "/instances", data)
            answer = connection.getresponse()
            document = json.loads(answer.read())
            assert (answer.status, document["Status"]) == (200, "Success")
            sent.acknowledge(uid)
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()


def send_all(port: int, folder: Path, files: dict[str, bytes], sent: Sent) -> None:
    """Send files over one association until the server is gone."""
    names = {}
    for number, (uid, data) in enumerate(files.items()):
        path = folder / f"{number:04}"
        path.write_bytes(data)
        names[str(path)] = uid
        sent.data_sets[uid] = compute_md5(get_data_set(data))
    command = ["storescu", "-v", "-nh", "127.0.0.1", str(port), *names]
    environment = {**os.environ, "TCP_NODELAY": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        current = ""
        for line in process.stdout:
            _, is_sending, name = line.partition("Sending file: ")
            if is_sending:
                current = names[name.strip()]
            elif "Received Store Response (Success)" in line:
                sent.acknowledge(current)


@contextmanager
def loading(server: TestServer, folder: Path, label: str, sent: Sent) -> Iterator[None]:
    """Let clients of both kinds send until the end of the context, where the server is gone."""
    calls: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
        (post_all, (server.http_port, build_files(f"{label} http {n}"), sent))
        for n in range(HTTP_CLIENTS)
    ]
    if shutil.which("storescu") or is_required("dcmtk"):
        for number in range(DICOM_CLIENTS):
            own = folder / f"{label}-{number}"
            own.mkdir()
            files = build_files(f"{label} dicom {number}")
            calls.append((send_all, (server.dicom_port, own, files, sent)))
    threads = [threading.Thread(target=call, args=arguments) for call, arguments in calls]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def kill_while_receiving(folder: Path, options: dict[str, Any], label: str, sent: Sent) -> None:
    generator = random.Random(label)
    with run_server(folder / "server", options) as server:
        sent.first.clear()
        with loading(server, folder, label, sent):
            assert sent.first.wait(DEADLINE_S), server.log[-3000:]
            # Not a wait for something to happen: the moment of the kill is what varies.
            select.select([], [], [], generator.uniform(0, LONGEST_LIFE_S))
            server.process.kill()
            server.wait_for_end()


def check_stored(server: TestServer, sent: Sent) -> set[str]:
    """Read every file that the server shows, and list their SOP Instance UIDs."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=DEADLINE_S)

    def get(target: str) -> bytes:
        connection.request("GET", target)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (target, answer.status)
        return body

    try:
        stored = set()
        for instance in json.loads(get("/instances?expand")):
            uid = instance["MainDicomTags"]["SOPInstanceUID"]
            assert sent.is_as_sent(uid, get(f"/instances/{instance['ID']}/file"))
            stored.add(uid)
        statistics = json.loads(get("/statistics"))
        assert statistics["CountInstances"] == len(stored)
        assert int(statistics["TotalUncompressedSize"]) > 0
        for level, children in CHILDREN.items():
            assert all(resource[children] for resource in json.loads(get(f"/{level}?expand")))
        return stored
    finally:
        connection.close()


def check_storage(folder: Path, options: dict[str, Any]) -> None:
    """Compare storage and index: a killed server may leave files without a row, nothing else."""
    found = run_command(folder / "server", "check", "--content", options=options)
    assert "\n0 instances damaged" in found.stdout, found.stdout + found.stderr
    mended = run_command(folder / "server", "check", "--repair", options=options)
    assert mended.returncode == 0, mended.stdout + mended.stderr
    again = run_command(folder / "server", "check", "--content", options=options)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "\n0 files without an instance" in again.stdout


def assert_survives(folder: Path, options: dict[str, Any], crashes: int) -> None:
    sent = Sent()
    for number in range(crashes):
        kill_while_receiving(folder, options, f"round {number}", sent)

        with run_server(folder / "server", options) as server:
            stored = check_stored(server, sent)
        assert not sent.acknowledged - stored
    assert sent.acknowledged
    check_storage(folder, options)
    with run_server(folder / "server", options) as server:
        assert check_stored(server, sent) == stored


@pytest.mark.timeout(60 + 30 * CRASHES)
def test_killed_server_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    assert_survives(tmp_path, {}, CRASHES)


@pytest.mark.timeout(60 + 30 * CRASHES)
@pytest.mark.parametrize(
    "options",
    [{"Isocenter.JournalSizeMB": 0}, {"StorageCompression": True}],
    ids=["no-journal", "compressed"],
)
def test_killed_server_with_option_keeps_what_it_acknowledged(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    assert_survives(tmp_path, options, CRASHES // 2)


@pytest.mark.timeout(60 + 30 * CRASHES)
def test_killed_server_on_postgresql_keeps_what_it_acknowledged(
    tmp_path: Path, postgresql_uri: str
) -> None:
    with new_schema(postgresql_uri) as schema:
        database = {"EnableIndex": True, "ConnectionUri": postgresql_uri, "Schema": schema}
        assert_survives(tmp_path, {"PostgreSQL": database}, CRASHES)
