"""A client cannot make the server hold or wait for more than the limits allow."""

import contextlib
import socket
import struct
import threading
from pathlib import Path

import psutil
import pytest
from tests.support.server import DEADLINE_S, build_synthetic, run_server

from isocenter.http.limits import LARGEST_HEAD_BYTES


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _read_all(connection: socket.socket) -> bytes:
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def _ask(connection: socket.socket) -> bytes:
    """Ask for the time, which is answered with 15 characters, and keep the connection."""
    connection.sendall(b"GET /tools/now HTTP/1.1\r\nHost: x\r\n\r\n")
    received = b""
    while len(received.partition(b"\r\n\r\n")[2]) < 15:
        received += connection.recv(65536)
    return received


def test_head_without_end_is_answered_and_closed(tmp_path: Path) -> None:
    with run_server(tmp_path) as server, _connect(server.http_port) as connection:
        connection.sendall(b"GET /system HTTP/1.1\r\nHost: x\r\nA: ")
        try:
            for _ in range(64):
                connection.sendall(b"a" * LARGEST_HEAD_BYTES)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert _read_all(connection)[:12] in {b"HTTP/1.1 400", b""}


def test_silence_in_the_head_closes_the_connection(tmp_path: Path) -> None:
    with (
        run_server(tmp_path, {"HttpRequestTimeout": 1}) as server,
        _connect(server.http_port) as connection,
    ):
        connection.sendall(b"GET /system HTTP/1.1\r\nHost:")
        assert _read_all(connection) == b""


def test_silence_in_the_body_closes_the_connection_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        run_server(tmp_path, {"HttpRequestTimeout": 1}) as server,
        _connect(server.http_port) as connection,
    ):
        connection.sendall(
            b"POST /instances HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc"
        )
        assert _read_all(connection) == b""


def test_idle_connection_outlives_the_request_timeout(tmp_path: Path) -> None:
    with (
        run_server(tmp_path, {"HttpRequestTimeout": 1, "KeepAliveTimeout": 60}) as server,
        _connect(server.http_port) as idle,
        _connect(server.http_port) as slow,
    ):
        assert _ask(idle).startswith(b"HTTP/1.1 200")
        slow.sendall(b"GET /")
        # By the time this one is closed, the timeout has passed for the other one, too.
        assert _read_all(slow) == b""
        assert _ask(idle).startswith(b"HTTP/1.1 200")


def test_long_pipeline_is_no_long_head(tmp_path: Path) -> None:
    request = b"GET /tools/now HTTP/1.1\r\nHost: x\r\n\r\n"
    count = 6 * LARGEST_HEAD_BYTES // len(request)
    with run_server(tmp_path) as server, _connect(server.http_port) as connection:
        sender = threading.Thread(target=connection.sendall, args=(request * count,))
        sender.start()
        answers = 0
        tail = b""
        while answers < count:
            piece = connection.recv(65536)
            assert piece, f"closed after {answers} answers"
            answers += (tail + piece).count(b"HTTP/1.1 200 OK")
            tail = piece[-14:]
        sender.join()


def test_trailers_without_end_are_answered_and_closed(tmp_path: Path) -> None:
    with run_server(tmp_path) as server, _connect(server.http_port) as connection:
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        connection.sendall(
            b"POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        )
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(2000):
                connection.sendall(b"a: " + b"x" * 50_000 + b"\r\n")
        _read_all(connection)
        assert process.memory_info().rss - before < 50 * 1024 * 1024


def test_request_of_a_connection_that_is_reset_is_not_taken_for_a_local_one(
    tmp_path: Path,
) -> None:
    request = b"POST /tools/shutdown HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    host = socket.gethostbyname(socket.gethostname())
    if host.startswith("127."):
        pytest.skip("this machine has no address but the loopback ones")
    with run_server(tmp_path, {"HttpBindAddresses": ["127.0.0.1", host]}) as server:
        for _ in range(200):
            with socket.create_connection((host, server.http_port), DEADLINE_S) as connection:
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.sendall(request)
        assert server.get("/system").status == 200


def test_form_of_many_files_is_stored_whole(tmp_path: Path) -> None:
    files = [build_synthetic() for _ in range(100)]
    parts = [
        b"--b\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n" + file.content
        for file in files
    ]
    body = b"\r\n".join([*parts, b"--b--\r\n"])
    with run_server(tmp_path) as server:
        answer = server.upload(body, Content_Type="multipart/form-data; boundary=b")
        assert len(answer.json()) == 100
        assert server.get("/statistics").json()["CountInstances"] == 100


def test_page_of_another_site_changes_nothing(tmp_path: Path) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "http://example.org"}
    with run_server(tmp_path) as server:
        for method, target in (
            ("POST", "/tools/shutdown"),
            ("DELETE", "/changes"),
            ("GET", "/changes?_method=DELETE"),
        ):
            assert server.request(method, target, headers=foreign).status == 403
        assert server.request("GET", "/changes", headers=foreign).status == 200
