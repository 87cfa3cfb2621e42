"""Hot reads are answered without Falcon, and nobody can tell by the answer.

A request with ``Connection: close`` always takes the normal way, one that keeps its connection the
short one.
"""

import gzip
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import psutil
import pytest
from tests.support.server import DEADLINE_S, Answer, TestServer, build_synthetic, run_server

_UNKNOWN = "-".join(["11111111"] * 5)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    with run_server(tmp_path_factory.mktemp("direct")) as server:
        for number in range(3):
            server.store(build_synthetic(patient_id="P", study="2.25.1", series=f"2.25.{number}"))
        yield server


def _targets(server: TestServer) -> list[str]:
    targets = ["/statistics", "/system", "/changes", "/changes?limit=2", "/changes?last"]
    for level in ("patients", "studies", "series", "instances"):
        public_id = server.get(f"/{level}").json()[0]
        targets += [f"/{level}", f"/{level}?expand", f"/{level}?since=0&limit=1"]
        targets += [f"/{level}/{public_id}", f"/{level}/{public_id}?short", f"/{level}/{_UNKNOWN}"]
        targets += [f"/{level}/{public_id}/", f"/{level}/{public_id}?full=7", f"/{level}?expand=x"]
    return [
        *targets,
        f"/instances/{public_id}/file",
        f"/instances/{public_id}/file?filename=a%22b",
        f"/instances/{public_id}/tags",
        f"/instances/{public_id}/tags?simplify",
        f"/instances/{public_id}/simplified-tags?ignore-length=PatientName",
        f"/instances/{_UNKNOWN}/file",
        f"/instances/{_UNKNOWN}/tags",
        "/changes?type=Nonsense",
        "/studies/%2e%2e",
        "/nothing",
    ]


def _without_connection(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value for name, value in answer.headers.items() if name != "connection"}
    return answer.status, headers, answer.body


def test_both_ways_give_the_same_answer(server: TestServer) -> None:
    for target in _targets(server):
        short, normal = server.get(target), server.get(target, Connection="close")
        assert _without_connection(short) == _without_connection(normal), target


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-9"},
        {"Range": "bytes=-4"},
        {"Range": "bytes=9999999-"},
        {"If_None_Match": "*"},
        {"X_HTTP_Method_Override": "NONSENSE"},
    ],
)
def test_special_headers_count_on_both_ways(server: TestServer, headers: dict[str, str]) -> None:
    target = f"/instances/{server.get('/instances').json()[0]}/file"
    short = server.get(target, **headers)
    normal = server.get(target, Connection="close", **headers)
    assert short.status != 200
    assert _without_connection(short) == _without_connection(normal)


def test_lasting_answers_follow_every_change(server: TestServer) -> None:
    request = b"GET /statistics HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.http_port), DEADLINE_S) as connection:

        def count() -> int:
            counts = []
            with connection.makefile("rb") as received:
                for _ in range(3):
                    connection.sendall(request)
                    counts.append(json.loads(_read_body(received))["CountInstances"])
            assert len(set(counts)) == 1
            return int(counts[0])

        before = count()
        file = server.store(build_synthetic())
        assert count() == before + 1
        server.request("DELETE", f"/instances/{file.instance}")
        assert count() == before


def test_lasting_tags_follow_the_default_encoding(server: TestServer) -> None:
    name = {0x00100010: ("PN", "\xd2".encode("latin-1"))}
    file = server.store(build_synthetic(name))
    request = f"GET {file.paths['instances']}/simplified-tags HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.http_port), DEADLINE_S) as connection:
        stream = connection.makefile("rb")
        for encoding, expected in (("Latin1", "Ò"), ("Cyrillic", "в")):
            assert server.request("PUT", "/tools/default-encoding", encoding.encode()).status == 200
            for _ in range(2):
                connection.sendall(request)
                assert json.loads(_read_body(stream))["PatientName"] == expected
    server.request("PUT", "/tools/default-encoding", b"Latin1")


def test_pipelined_requests_are_answered_in_order(server: TestServer) -> None:
    public_id = server.get("/instances").json()[0]
    targets = ["/statistics", "/tools/now", f"/instances/{public_id}", "/nothing", "/system"] * 8
    pipeline = b"".join(f"GET {t} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for t in targets)
    expected = [server.get(target).status for target in targets]
    with socket.create_connection(("127.0.0.1", server.http_port), DEADLINE_S) as connection:
        connection.sendall(pipeline + b"GET /end HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b""
        while piece := connection.recv(65536):
            received += piece
    statuses = [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [*expected, 404]
    bodies = received.split(b"HTTP/1.1 ")[1:]
    assert [b"CountPatients" in body for body in bodies[:5]] == [True, False, False, False, False]


def test_head_that_arrives_byte_by_byte_is_answered(server: TestServer) -> None:
    with socket.create_connection(("127.0.0.1", server.http_port), DEADLINE_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /statistics HTTP/1.1\r\nHost: x\r\n\r\n":
            connection.sendall(bytes([byte]))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_client_that_does_not_read_keeps_no_other_from_answers(server: TestServer) -> None:
    target = f"/instances/{server.get('/instances').json()[0]}/file"
    with socket.create_connection(("127.0.0.1", server.http_port), DEADLINE_S) as connection:
        connection.settimeout(0.5)
        request = f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        try:
            for _ in range(20_000):
                connection.sendall(request)
        except TimeoutError:
            pass
        assert server.get("/statistics").status == 200


def test_large_file_is_sent_whole(server: TestServer) -> None:
    pixels = bytes(range(256)) * 4096
    file = build_synthetic(tail=b"\xe0\x7f\x10\x00OW\x00\x00\x00\x00\x10\x00" + pixels)
    target = f"/instances/{server.upload(file.content).json()['ID']}/file"
    for headers in ({}, {"Connection": "close"}, {"Range": "bytes=100-900000"}):
        expected = file.content[100:900001] if "Range" in headers else file.content
        assert server.get(target, **headers).body == expected
    with socket.create_connection(("127.0.0.1", server.http_port), DEADLINE_S) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 3)
        received = b""
        while len(received) < 3 * len(file.content):
            piece = connection.recv(65536)
            assert piece
            received += piece
        assert received.count(pixels) == 3


def test_client_that_does_not_read_does_not_fill_the_memory(tmp_path: Path) -> None:
    count, size = 100, 3_000_000
    with run_server(tmp_path) as server:
        file = server.store(build_synthetic(tail=bytes(size)))
        target = f"/instances/{file.instance}/file"
        request = f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        before = _read_resident_bytes(server)
        with socket.create_connection(("127.0.0.1", server.http_port), DEADLINE_S) as connection:
            connection.sendall(request * count)
            # Other answers come between: the server has taken in the pipeline by then.
            assert [server.get(target).body == file.content for _ in range(3)] == [True] * 3
            assert _read_resident_bytes(server) - before < count * size // 4
            with connection.makefile("rb") as received:
                assert all(_read_body(received) == file.content for _ in range(count))


def _read_resident_bytes(server: TestServer) -> int:
    return int(psutil.Process(server.process.pid).memory_info().rss)


def _read_body(received: BinaryIO) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += received.readline()
    return received.read(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))


def test_users_count_on_both_ways(tmp_path: Path) -> None:
    options = {"AuthenticationEnabled": True, "RegisteredUsers": {"u": "p"}}
    with run_server(tmp_path, options) as server:
        for header in ("Basic dTpw", "Basic dTpx", "Bearer x", ""):
            short = server.get("/statistics", Authorization=header)
            normal = server.get("/statistics", Authorization=header, Connection="close")
            assert _without_connection(short) == _without_connection(normal)
            assert short.status == (200 if header == "Basic dTpw" else 401)


def _changes(server: TestServer) -> list[tuple[str, str, bytes]]:
    one = server.get("/instances").json()[0]
    new = build_synthetic(patient_id="N", study="2.25.7", series="2.25.8").content
    return [
        ("POST", "/instances", new),
        ("POST", "/instances", b"no DICOM"),
        ("POST", "/instances", b""),
        ("PUT", f"/instances/{one}/metadata/1024", b"value"),
        ("PUT", f"/instances/{one}/metadata/1024", b"\xff"),
        ("PUT", f"/instances/{one}/metadata/1024", b"a\0b"),
        ("PUT", f"/instances/{one}/metadata/Nonsense", b"value"),
        ("PUT", f"/instances/{one}/metadata/RemoteIP", b"value"),
        ("PUT", f"/instances/{_UNKNOWN}/metadata/1024", b"value"),
        ("PUT", f"/instances/{one}/metadata/1024", bytes(1024 * 1024)),
        ("PUT", f"/instances/{one}/labels/mine", b""),
        ("PUT", f"/instances/{one}/labels/not+mine", b""),
        ("DELETE", f"/instances/{one}/labels/mine", b""),
        ("DELETE", f"/instances/{_UNKNOWN}/metadata/1024", b""),
    ]


def _lasting(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """Leave out the entity tag as well, which counts the changes."""
    status, headers, body = _without_connection(answer)
    return status, {name: value for name, value in headers.items() if name != "etag"}, body


def test_both_ways_change_the_same_and_say_the_same(server: TestServer) -> None:
    for method, target, body in _changes(server):
        # What is there already once is so twice, and a metadata gets its revision and hash.
        first = server.request(method, target, body)
        short = server.request(method, target, body)
        normal = server.request(method, target, body, {"Connection": "close"})
        assert first.status == short.status, target
        assert ("etag" in short.headers) == ("etag" in normal.headers)
        assert _lasting(short) == _lasting(normal), target
    for one in server.get("/studies").json():
        if server.get(f"/studies/{one}").json()["MainDicomTags"]["StudyInstanceUID"] == "2.25.7":
            server.request("DELETE", f"/studies/{one}")


def test_compressed_body_is_unpacked_on_both_ways(server: TestServer) -> None:
    packed = gzip.compress(
        build_synthetic(patient_id="Z", study="2.25.9", series="2.25.10").content
    )
    headers = {"Content-Encoding": "gzip"}
    short = server.request("POST", "/instances", packed, headers)
    normal = server.request("POST", "/instances", packed, {**headers, "Connection": "close"})
    assert (short.json()["Status"], normal.json()["Status"]) == ("Success", "AlreadyStored")
    server.request("DELETE", f"/studies/{short.json()['ParentStudy']}")
