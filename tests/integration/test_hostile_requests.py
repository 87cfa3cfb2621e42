"""Malformed HTTP requests and DICOM bytes: refused, closed, and the server is unharmed."""

import io
import random
import threading
import zipfile
from collections.abc import Iterator

import psutil
import pytest
from pynetdicom import AE
from tests.support.server import (
    Peer,
    TestServer,
    build_synthetic,
    exchange,
    read_answer,
    run_server,
)

MIB = 1024 * 1024
HOST = b"Host: x\r\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    """Give the server that the tests of this module share."""
    options = {"DicomScpTimeout": 5, "SyncStorageArea": False}
    with run_server(tmp_path_factory.mktemp("server"), options) as server:
        server.store(build_synthetic())
        yield server


@pytest.fixture
def server(shared: TestServer) -> Iterator[TestServer]:
    """Give the server, and check afterwards that it is as before."""
    before = len(shared.log)
    yield shared
    assert shared.get("/statistics").json()["CountInstances"] == 1
    logged = shared.log[before:]
    assert "Traceback" not in logged
    assert "ERROR" not in logged


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"\0" * 100,
        b"GET\r\n\r\n",
        b"GET /system\r\n\r\n",
        b"GET /system HTTP/9.9\r\n\r\n",
        b"G\0T /system HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /system HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n",
        b"GET /system HTTP/1.1\r\nHost: x\r\n: empty\r\n\r\n",
        b"GET /system HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 60,
        b"\x01\0\0\0\0\xff" + b"a" * 255,
    ],
    ids=range(12),
)
def test_malformed_request_is_refused(server: TestServer, data: bytes) -> None:
    answer = exchange(server.http_port, data, is_all=True)
    assert not answer or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 505 "))


@pytest.mark.parametrize("size", [100_000, 10 * MIB], ids=["100 kB", "10 MB"])
@pytest.mark.parametrize("place", ["target", "header", "headers"])
def test_huge_head_is_refused_or_answered_with_bounded_memory(
    server: TestServer, place: str, size: int
) -> None:
    before = psutil.Process(server.process.pid).memory_info().rss
    if place == "target":
        data = b"GET /" + b"a" * size + b" HTTP/1.1\r\n" + HOST
    elif place == "header":
        data = b"GET /system HTTP/1.1\r\n" + HOST + b"X: " + b"a" * size + b"\r\n"
    else:
        data = b"GET /system HTTP/1.1\r\n" + HOST + b"X: a\r\n" * (size // 6)
    answer = exchange(server.http_port, data + b"Connection: close\r\n\r\n", is_all=True)
    assert b" 500 " not in answer[:20]
    assert psutil.Process(server.process.pid).memory_info().rss - before < 100 * MIB


@pytest.mark.parametrize(
    "target",
    [
        b"/instances/%",
        b"/instances/%zz",
        b"/instances/%ff%fe",
        b"/%2e%2e/%2e%2e/etc/passwd",
        b"/../../etc/passwd",
        b"//etc/passwd",
        b"/studies?since=%00&limit=1",
        b"/studies?" + b"a=1&" * 5000,
        b"/studies?expand=%ff",
        b"/changes?type=%f0%9f%98%80",
        b"http://elsewhere/system",
        b"*",
        b"/studies/;DROP TABLE resources",
        b"/studies/'%20OR%20'1'='1",
        b"/\xff\xfe",
        b"/studies#x",
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"DELETE", b"POST"])
def test_odd_target_is_no_failure_of_ours(server: TestServer, method: bytes, target: bytes) -> None:
    data = method + b" " + target + b" HTTP/1.1\r\n" + HOST
    data += b"Content-Length: 0\r\nConnection: close\r\n\r\n"
    answer = exchange(server.http_port, data, is_all=target == b"/\xff\xfe")
    if answer:
        assert read_answer(answer).status < 500 or b" 501 " in answer[:20]
        assert b"root:" not in answer


def test_pipelined_requests_are_answered_in_their_order(server: TestServer) -> None:
    targets = ["/system", "/nowhere", "/statistics", "/tools/generate-uid?level=x", "/changes"] * 20
    requests = [f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n" for target in targets]
    last = "GET /tools HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = exchange(server.http_port, "".join([*requests, last]).encode())
    statuses = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"404", b"200", b"404", b"200"] * 20 + [b"200"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_client_of_http_1_0_gets_what_has_no_length_without_chunks(
    server: TestServer, method: str
) -> None:
    study = server.get("/studies").json()[0]
    for target in (f"/studies/{study}/archive", "/system", "/nowhere"):
        answer = exchange(server.http_port, f"{method} {target} HTTP/1.0\r\n\r\n".encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head
        assert bool(body) == (method == "GET")
        if method == "GET" and target.endswith("/archive"):
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                assert archive.testzip() is None


def test_request_that_comes_byte_by_byte_is_answered(server: TestServer) -> None:
    with Peer(server.http_port) as peer:
        for byte in b"GET /system HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":
            peer.send(bytes([byte]))
        assert read_answer(peer.read_all()).json()["ApiVersion"]


def test_many_idle_connections_keep_nobody_out(server: TestServer) -> None:
    peers = [Peer(server.http_port) for _ in range(300)]
    try:
        for peer in peers:
            peer.send(b"GET /sys")
        assert server.get("/system").status == 200
    finally:
        for peer in peers:
            peer.socket.close()


# DICOM.

HOSTILE_PDUS = [
    b"",
    b"\0",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x01\0\0\0\0\0",
    b"\x01\0\xff\xff\xff\xff",
    b"\x01\0\0\0\0\x44" + bytes(0x44),
    b"\x01\0\0\0\0\x44" + b"\xff" * 0x44,
    b"\x02\0\0\0\0\x44" + bytes(0x44),
    b"\x04\0\0\0\0\x06\0\0\0\x02\x01\x03",
    b"\x05\0\0\0\0\x04\0\0\0\0",
    b"\x07\0\0\0\0\x04\0\0\0\0",
    b"\x09\0\0\0\0\x04\0\0\0\0",
    b"\xff" * 5000,
    bytes(5000),
]


@pytest.mark.parametrize("data", HOSTILE_PDUS, ids=range(len(HOSTILE_PDUS)))
def test_hostile_first_pdu_closes_the_connection(server: TestServer, data: bytes) -> None:
    answer = exchange(server.dicom_port, data, is_all=True)
    # Nothing, or an A-ABORT (7) or A-ASSOCIATE-RJ (3) PDU.
    assert answer[:1] in {b"", b"\x07", b"\x03"}


def test_random_bytes_close_the_connection(server: TestServer) -> None:
    generator = random.Random(20261124)
    for _ in range(100):
        data = bytes([generator.randrange(1, 8)]) + generator.randbytes(generator.randrange(300))
        answer = exchange(server.dicom_port, data, is_all=True)
        assert answer[:1] in {b"", b"\x07", b"\x03"}


def test_many_silent_connections_keep_nobody_out(server: TestServer) -> None:
    peers = [Peer(server.dicom_port) for _ in range(50)]
    try:
        ae = AE("LATE")
        ae.add_requested_context("1.2.840.10008.1.1")
        association = ae.associate("127.0.0.1", server.dicom_port)
        assert association.is_established
        assert association.send_c_echo().Status == 0
        association.release()
    finally:
        for peer in peers:
            peer.socket.close()


def test_hostile_clients_at_once_do_not_stop_the_others(server: TestServer) -> None:
    stop = threading.Event()

    def attack() -> None:
        generator = random.Random(1)
        while not stop.is_set():
            for port in (server.http_port, server.dicom_port):
                exchange(port, generator.randbytes(50), is_all=True)

    attackers = [threading.Thread(target=attack) for _ in range(4)]
    for attacker in attackers:
        attacker.start()
    try:
        for _ in range(50):
            assert server.get("/system").status == 200
    finally:
        stop.set()
        for attacker in attackers:
            attacker.join()
