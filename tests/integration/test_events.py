"""Events of real servers: of several on one database, to slow clients, to many that only listen."""

import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.events import Event, parse_events
from tests.support.server import (
    DEADLINE_S,
    Peer,
    TestServer,
    build_synthetic,
    run_server,
    wait_until,
)

LISTENERS = 1200
"""More than the connections that a server has for requests (``http/server.py``)."""


class Listener:
    """Reads events from a socket of its own."""

    def __init__(self, server: TestServer, target: str = "/events", headers: str = "") -> None:
        self.peer = Peer(server.http_port)
        self.content = b""
        self.peer.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())

    @property
    def events(self) -> list[Event]:
        """Whole events so far; chunks begin and end with events, so their sizes do no harm."""
        lines = self.content.partition(b"\r\n\r\n")[2].split(b"\r\n")
        return parse_events(b"".join(lines[1::2]))

    def read(self) -> bytes:
        data = self.peer.socket.recv(1 << 16)
        self.content += data
        return data

    def read_until_connected(self) -> None:
        while b": connected" not in self.content:
            assert self.read()

    def wait_for(self, job_id: str, state: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not any(e.data["ID"] == job_id and e.data["State"] == state for e in self.jobs):
            assert time.monotonic() < deadline
            assert self.read()

    @property
    def jobs(self) -> list[Event]:
        return [event for event in self.events if event.name == "job"]


@contextmanager
def listen(server: TestServer, *arguments: str) -> Iterator[Listener]:
    listener = Listener(server, *arguments)
    with listener.peer:
        listener.read_until_connected()
        yield listener


def submit(server: TestServer, study: str) -> str:
    answer = server.request("POST", f"/studies/{study}/media", b'{"Asynchronous": true}')
    assert answer.status == 200, answer.body
    return str(answer.json()["ID"])


def test_events_of_all_servers_of_a_database(
    tmp_path: Path, postgresql_uri: str, postgresql_schema: str
) -> None:
    database = {"EnableIndex": True, "ConnectionUri": postgresql_uri, "Schema": postgresql_schema}
    options: dict[str, Any] = {"PostgreSQL": database, "StorageDirectory": str(tmp_path / "shared")}
    with (
        run_server(tmp_path / "first", options) as first,
        run_server(tmp_path / "second", options) as second,
        listen(second) as listener,
    ):
        file = first.store(build_synthetic())
        job_id = submit(first, file.study)
        listener.wait_for(job_id, "Success")
        log = first.get("/changes").json()["Changes"]
        changes = [event.data for event in listener.events if event.name == "change"]
        assert changes == log
        # A client that has seen half of it goes on at the other server.
        middle = listener.events[1].identifier
        with listen(first, "/events", f"Last-Event-ID: {middle}\r\n") as other:
            other.wait_for(job_id, "Success")
            assert [e.data for e in other.events if e.name == "change"] == log[2:]
        assert (first.stop(), second.stop()) == (0, 0)


def test_streams_end_when_the_server_stops(tmp_path: Path) -> None:
    with run_server(tmp_path / "server") as server, listen(server) as listener:
        assert server.stop() == 0
        listener.content += listener.peer.read_all()
        assert b": the server stops" in listener.content
        assert listener.content.endswith(b"0\r\n\r\n")


def test_client_that_left_is_forgotten(tmp_path: Path) -> None:
    with run_server(tmp_path / "server") as server:
        with listen(server):
            assert count_listeners(server) == 1
        wait_until(lambda: is_left_alone(server), "the end of its stream")


def count_listeners(server: TestServer) -> int:
    metrics = server.get("/tools/metrics-prometheus").body.decode()
    (line,) = [m for m in metrics.splitlines() if m.startswith("isocenter_event_listeners ")]
    return int(float(line.split()[1]))


def is_left_alone(server: TestServer) -> bool:
    # Whether a client has left shows when something is written to it.
    server.store(build_synthetic())
    return count_listeners(server) == 0


def test_many_listeners_cost_neither_time_nor_connections(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < LISTENERS + 500:
        pytest.skip("this system allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, LISTENERS + 500), hard))
    try:
        with run_server(tmp_path / "server") as server, ExitStack() as stack:
            listeners = [stack.enter_context(listen(server)) for _ in range(LISTENERS)]
            assert count_listeners(server) == LISTENERS
            file = server.store(build_synthetic())
            for listener in listeners:
                while len(listener.events) < 4:
                    assert listener.read()
                assert listener.events[0].data["ID"] == file.instance
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
