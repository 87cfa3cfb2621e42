"""Uploads over real sockets: clients that lie, stop in the middle, or come all at once."""

import gzip
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from tests.support.dicom_files import encode_element
from tests.support.server import (
    Peer,
    TestServer,
    build_synthetic,
    exchange,
    read_answer,
    run_server,
    wait_until,
)

MIB = 1024 * 1024
# More than waits in memory, so that a part of it is in a temporary file before it is complete.
LARGE = 9 * MIB
LIMIT_MIB = 400


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    """Give the server that the tests of this module share."""
    options = {"MaximumRequestBodySizeMB": LIMIT_MIB, "SyncStorageArea": False}
    with run_server(tmp_path_factory.mktemp("server"), options) as server:
        yield server


@pytest.fixture
def server(shared: TestServer) -> Iterator[TestServer]:
    """Give the server with nothing stored, and check that no upload left a temporary file."""
    assert get_state(shared) == (0, set())
    yield shared
    for public_id in shared.get("/patients").json():
        shared.request("DELETE", f"/patients/{public_id}")
    wait_until(lambda: not shared.list_temporary_files(), "no temporary files")
    wait_until(lambda: not shared.list_stored_files(), "no stored files")


def get_state(server: TestServer) -> tuple[int, set[str]]:
    """Tell what is stored: instances and files."""
    return server.get("/statistics").json()["CountInstances"], server.list_stored_files()


def assert_untouched(server: TestServer) -> None:
    """Check that nothing was stored, now and when what is under way has ended."""
    wait_until(lambda: not server.list_temporary_files(), "no temporary files")
    assert get_state(server) == (0, set())


def build_head(length: int | None, *lines: str) -> bytes:
    """Build the head of an upload; without a length it is chunked."""
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    head = ["POST /instances HTTP/1.1", "Host: localhost", "Connection: close", size, *lines]
    return "\r\n".join([*head, "", ""]).encode()


def build_large() -> bytes:
    """Build a file that is large enough to wait on disk."""
    return build_synthetic(tail=encode_element(0x7FE00010, "OW", bytes(LARGE))).content


def test_chunked_upload_is_stored(server: TestServer) -> None:
    file = build_synthetic()
    pieces = [file.content[start : start + 7] for start in range(0, len(file.content), 7)]
    answer = server.request("POST", "/instances", pieces, {"Transfer-Encoding": "chunked"})
    assert (answer.status, answer.json()["Status"]) == (200, "Success")
    assert server.get(f"/instances/{file.instance}/file").body == file.content


@pytest.mark.parametrize("length", ["known", None])
def test_upload_that_offers_another_protocol_is_stored(
    server: TestServer, length: str | None
) -> None:
    """The HTTP client of Java offers HTTP/2 with the first request of each connection."""
    file = build_synthetic()
    content = file.content
    body = content if length else b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
    head = build_head(
        len(content) if length else None,
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    ).replace(b"Connection: close\r\n", b"")
    last = b"GET /instances HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with Peer(server.http_port) as peer:
        peer.send(head)
        peer.send(body[:100])
        peer.send(body[100:] + last)
        answers = peer.read_all()

    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert file.instance.encode() in answers.rpartition(b"HTTP/1.1 200 OK")[2]
    assert "upgrade" not in server.log


def test_expect_continue_is_honoured(server: TestServer) -> None:
    file = build_synthetic()
    with Peer(server.http_port) as peer:
        peer.send(build_head(len(file.content), "Expect: 100-continue"))
        assert peer.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        peer.send(file.content)
        assert read_answer(peer.read_all()).json()["Status"] == "Success"


def test_expect_continue_with_a_length_over_the_limit_is_refused_at_once(
    server: TestServer,
) -> None:
    with Peer(server.http_port) as peer:
        peer.send(build_head((LIMIT_MIB + 1) * MIB, "Expect: 100-continue"))
        assert peer.read_until(b"\r\n").startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("is_chunked", [False, True], ids=["with length", "chunked"])
def test_body_over_the_limit_is_413_before_it_has_arrived(
    server: TestServer, is_chunked: bool
) -> None:
    piece = bytes(MIB)
    with Peer(server.http_port) as peer:
        peer.send(build_head(None if is_chunked else (LIMIT_MIB + 1) * MIB))
        if is_chunked:
            try:
                for _ in range(LIMIT_MIB + 20):
                    peer.send(b"100000\r\n" + piece + b"\r\n")
            except ConnectionError:
                pass
        assert read_answer(peer.read_all()).status == 413
    assert_untouched(server)


@pytest.mark.parametrize("is_large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["with length", "chunked"])
@pytest.mark.parametrize("end", ["shutdown", "close", "reset"])
def test_client_that_leaves_in_the_middle_leaves_nothing(
    server: TestServer, is_large: bool, is_chunked: bool, end: str
) -> None:
    content = build_large() if is_large else build_synthetic().content
    part = content[:-100]
    with Peer(server.http_port) as peer:
        if is_chunked:
            peer.send(build_head(None) + f"{len(part):x}\r\n".encode() + part + b"\r\n")
        else:
            peer.send(build_head(len(content)) + part)
        if is_large:
            wait_until(server.list_temporary_files, "a temporary file")
        if end == "shutdown":
            peer.socket.shutdown(socket.SHUT_WR)
            peer.read_all()
        elif end == "reset":
            peer.reset()
    assert_untouched(server)
    assert server.get("/changes").json()["Changes"] == []


def test_length_beyond_the_file_waits_and_stores_nothing(server: TestServer) -> None:
    file = build_synthetic()
    data = build_head(len(file.content) + 1) + file.content
    answer = exchange(server.http_port, data, is_all=True)
    assert b"Success" not in answer
    assert_untouched(server)


def test_length_short_of_the_file_takes_only_what_was_announced(server: TestServer) -> None:
    file = build_synthetic()
    # The rest is no request of its own, or an attacker could smuggle one in.
    answer = exchange(server.http_port, build_head(len(file.content) - 40) + file.content)
    assert read_answer(answer).status in {200, 400}
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "length", ["-1", "abc", "1e3", "99999999999999999999999", "+5", "0x10", "", "5, 5"]
)
def test_length_that_is_no_number_is_refused(server: TestServer, length: str) -> None:
    head = f"POST /instances HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()
    answer = exchange(server.http_port, head + build_synthetic().content)
    assert not answer or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 "))
    assert_untouched(server)


def test_length_and_chunks_together_are_refused_or_read_as_chunks(server: TestServer) -> None:
    head = build_head(None, "Content-Length: 5")
    answer = exchange(server.http_port, head + b"0\r\n\r\nGET /system HTTP/1.1\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert b"ApiVersion" not in answer


@pytest.mark.parametrize(
    "chunks", [b"zz\r\nabc\r\n0\r\n\r\n", b"-5\r\nabc", b"5\r\nabcdefgh\r\n0\r\n\r\n", b"\r\n\r\n"]
)
def test_broken_chunks_are_refused(server: TestServer, chunks: bytes) -> None:
    answer = exchange(server.http_port, build_head(None) + chunks, is_all=True)
    assert not answer or answer.startswith(b"HTTP/1.1 400 ")
    assert_untouched(server)


def test_chunk_of_an_absurd_size_takes_no_memory(server: TestServer) -> None:
    before = get_memory(server)
    answer = exchange(
        server.http_port, build_head(None) + b"7fffffffffffffff\r\n" + bytes(1000), is_all=True
    )
    assert b"Success" not in answer
    assert get_memory(server) - before < 50 * MIB
    assert_untouched(server)


def get_memory(server: TestServer) -> int:
    """Tell the resident memory of the server, in bytes."""
    return int(psutil.Process(server.process.pid).memory_info().rss)


def test_same_instance_from_many_clients_is_stored_once(server: TestServer) -> None:
    file = build_synthetic()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: server.upload(file.content), range(100)))
    assert {answer.status for answer in answers} == {200}
    statuses = sorted(answer.json()["Status"] for answer in answers)
    assert statuses == ["AlreadyStored"] * 99 + ["Success"]
    wait_until(lambda: len(server.list_stored_files()) == 1, "one file")
    assert len(server.get("/changes").json()["Changes"]) == 4
    assert get_state(server)[0] == 1


def test_many_instances_of_one_study_from_many_clients_share_their_parents(
    server: TestServer,
) -> None:
    first = build_synthetic()
    study, series, _ = first.uids
    files = [first] + [
        build_synthetic(patient_id=first.patient_id, study=study, series=series) for _ in range(39)
    ]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda file: server.upload(file.content), files))
    assert [answer.json()["Status"] for answer in answers] == ["Success"] * 40
    statistics = server.get("/statistics").json()
    counts = [statistics[f"Count{level}"] for level in ("Patients", "Studies", "Series")]
    assert counts == [1, 1, 1]
    children = server.get(f"/series/{first.series}").json()["Instances"]
    assert children == sorted(file.instance for file in files)
    assert len(server.get("/changes").json()["Changes"]) == 43


def test_300_megabytes_pass_with_little_memory(server: TestServer) -> None:
    size = 300 * MIB
    start = build_synthetic(tail=encode_element(0x7FE00010, "OW", b"", length=size))
    before = get_memory(server)
    with Peer(server.http_port) as peer:
        peer.send(build_head(len(start.content) + size) + start.content)
        piece = bytes(MIB)
        for _ in range(300):
            peer.send(piece)
        answer = read_answer(peer.read_all())
    assert answer.json()["Status"] == "Success"
    after = get_memory(server)
    assert after - before < 150 * MIB
    with Peer(server.http_port) as peer:
        target = f"/instances/{start.instance}/file"
        peer.send(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = len(peer.read_until(b"\r\n\r\n")) * 0
        buffer = bytearray(MIB)
        while count := peer.socket.recv_into(buffer):
            received += count
    assert received == len(start.content) + size
    assert get_memory(server) - after < 150 * MIB
    tail = server.get(target, Range="bytes=-10")
    assert (tail.status, tail.body) == (206, bytes(10))
    assert server.get(f"/instances/{start.instance}/simplified-tags").status == 200


def test_gzip_of_a_large_file_passes_through_the_disk(server: TestServer) -> None:
    content = build_large()
    answer = server.upload(gzip.compress(content), Content_Encoding="gzip")
    assert answer.json()["Status"] == "Success"
    assert server.get(f"{answer.json()['Path']}/file").body == content


def test_client_that_does_not_read_its_download_does_not_fill_the_memory(
    server: TestServer,
) -> None:
    file = build_synthetic(tail=encode_element(0x7FE00010, "OW", os.urandom(30 * MIB)))
    server.store(file)
    before = get_memory(server)
    request = f"GET /instances/{file.instance}/file HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    peers = [Peer(server.http_port) for _ in range(10)]
    try:
        for peer in peers:
            peer.send(request)
            peer.read_until(b"\r\n\r\n")
        assert server.get("/system").status == 200
        assert get_memory(server) - before < 150 * MIB
    finally:
        for peer in peers:
            peer.reset()
    assert server.get("/system").status == 200
