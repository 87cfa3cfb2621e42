"""Metadata, attachments and labels on running servers, on both databases."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.server import (
    Peer,
    SyntheticFile,
    TestServer,
    build_synthetic,
    exchange,
    read_answer,
    run_server,
    wait_until,
)

MIB = 1024 * 1024
LARGE = 48 * MIB
VARIANTS: dict[str, dict[str, Any]] = {"sqlite": {}, "postgresql": {"StorageCompression": True}}


@pytest.fixture(scope="module", params=VARIANTS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestServer]:
    """Give the server that the tests of a variant share."""
    options = dict(VARIANTS[request.param])
    if request.param == "postgresql":
        uri = request.getfixturevalue("postgresql_uri")
        options["PostgreSQL"] = {"EnableIndex": True, "ConnectionUri": uri, "Schema": "annotated"}
    with run_server(tmp_path_factory.mktemp("server"), options) as opened:
        yield opened


@pytest.fixture
def study(server: TestServer) -> Iterator[str]:
    """Give the address of a new study; all files must be gone when it is deleted."""
    file: SyntheticFile = server.store(build_synthetic())
    yield file.paths["studies"]
    assert server.request("DELETE", file.paths["studies"]).status == 200
    wait_until(lambda: not server.list_temporary_files(), "no temporary files")
    wait_until(lambda: not server.list_stored_files(), "no stored files")


def count_attachments(server: TestServer, study: str) -> int:
    return len(server.get(f"{study}/attachments").json())


def test_change_is_seen_by_the_next_read(server: TestServer, study: str) -> None:
    for value in (b"a", b"b", b""):
        written = server.request("PUT", f"{study}/metadata/1024", value)
        for _ in range(3):
            read = server.get(f"{study}/metadata/1024")
            assert (read.body, read.headers["etag"]) == (value, written.headers["etag"])
        server.request("PUT", f"{study}/attachments/1024", value)
        assert server.get(f"{study}/attachments/1024/data").body == value
    server.request("PUT", f"{study}/labels/a")
    assert server.get(f"{study}/labels").json() == server.get(study).json()["Labels"] == ["a"]
    server.request("DELETE", f"{study}/labels/a")
    assert server.get(f"{study}/labels").json() == server.get(study).json()["Labels"] == []


@pytest.mark.parametrize("name", ["metadata/1024", "attachments/1024"])
def test_one_of_many_writers_with_the_same_tag_wins(
    server: TestServer, study: str, name: str
) -> None:
    target = f"{study}/{name}"
    tag = server.request("PUT", target, b"first").headers["etag"]

    def write(number: int) -> int:
        return server.request("PUT", target, b"%d" % number, {"If-Match": tag}).status

    with ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(write, range(32)))

    assert sorted(statuses) == [200] + [409] * 31
    end = "/data" if "attachments" in name else ""
    assert server.get(target + end).body == b"%d" % statuses.index(200)


def test_large_attachment_takes_little_memory(server: TestServer, study: str) -> None:
    target = f"{study}/attachments/1024"
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    piece = bytes(range(256)) * 4096
    digest = hashlib.md5(usedforsecurity=False)
    for _ in range(LARGE // len(piece)):
        digest.update(piece)

    pieces = (piece for _ in range(LARGE // len(piece)))
    written = server.request("PUT", target, pieces, {"Content-Length": str(LARGE)})

    assert (written.status, written.headers["etag"]) == (200, f'"0-{digest.hexdigest()}"')
    for action in ("compress", "verify-md5", "uncompress", "verify-md5"):
        assert server.request("POST", f"{target}/{action}", b"").status == 200
    assert server.get(f"{target}/data").body == piece * (LARGE // len(piece))
    assert process.memory_info().rss - before < 32 * MIB


def test_attachment_cut_short_leaves_nothing(server: TestServer, study: str) -> None:
    stored = server.list_stored_files()
    with Peer(server.http_port) as peer:
        peer.send(f"PUT {study}/attachments/1024 HTTP/1.1\r\nHost: h\r\n".encode())
        peer.send(b"Content-Length: 20000000\r\n\r\n" + bytes(9 * MIB))
        wait_until(server.list_temporary_files, "a temporary file")
        peer.reset()

    wait_until(lambda: not server.list_temporary_files(), "no temporary files")
    assert server.list_stored_files() == stored
    assert count_attachments(server, study) == 0


def test_attachment_that_will_be_refused_is_refused_at_once(server: TestServer, study: str) -> None:
    server.request("PUT", f"{study}/attachments/1024", b"a")
    for target, header, status in (
        (f"{study}/attachments/dicom", "", 403),
        ("/studies/nobody/attachments/1024", "", 404),
        (f"{study}/attachments/nobody", "", 404),
        (f"{study}/attachments/1024", "If-Match: 7-x\r\n", 409),
        (f"{study}/attachments/1024", "If-Match: x\r\n", 400),
    ):
        head = f"PUT {target} HTTP/1.1\r\nHost: h\r\n{header}Expect: 100-continue\r\n"
        length = "Content-Length: 1000000000\r\nConnection: close\r\n\r\n"
        answer = read_answer(exchange(server.http_port, (head + length).encode()), method="PUT")
        assert answer.status == status


@pytest.mark.parametrize("public_id", ["%00", "a%00b", "%FF", "%F0%9F%98%80"])
def test_hostile_identifiers_are_unknown(server: TestServer, public_id: str) -> None:
    for name in ("metadata/1024", "attachments/1024", "labels/a"):
        for method in ("GET", "PUT", "DELETE"):
            answer = server.request(method, f"/studies/{public_id}/{name}", b"x")
            assert answer.status == 404
        folder = name.split("/")[0]
        assert server.get(f"/studies/{public_id}/{folder}").status == 404


@pytest.mark.parametrize("name", ["%00", "%FF", "a%00", "%F0%9F%98%80", "%2e%2e", "1%00"])
def test_hostile_names_are_no_server_error(server: TestServer, study: str, name: str) -> None:
    for folder in ("metadata", "attachments", "labels"):
        for method in ("GET", "PUT", "DELETE"):
            answer = server.request(method, f"{study}/{folder}/{name}", b"x")
            assert answer.status in {400, 404}


def test_annotations_survive_a_kill(tmp_path: Path) -> None:
    file = build_synthetic()
    study = file.paths["studies"]
    with run_server(tmp_path, {}) as server:
        server.store(file)
        server.request("PUT", f"{study}/metadata/1024", b"kept")
        server.request("PUT", f"{study}/attachments/1024", b"kept too")
        server.request("PUT", f"{study}/labels/kept")
        server.process.kill()
        server.process.wait()
    with run_server(tmp_path, {}) as server:
        assert server.get(f"{study}/metadata/1024").body == b"kept"
        assert server.get(f"{study}/attachments/1024/data").body == b"kept too"
        assert server.get(f"{study}/labels").json() == ["kept"]
