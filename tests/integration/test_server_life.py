"""How a server starts, restarts and ends."""

import json
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.integration.test_crash_ingest import Sent, check_stored, loading
from tests.support.dicom_files import encode_element
from tests.support.scripted_peer import build_request
from tests.support.server import (
    DEADLINE_S,
    Peer,
    TestServer,
    build_synthetic,
    read_answer,
    run_command,
    run_server,
    wait_until,
)

from isocenter.dimse.pdu import encode_pdu

STOP_DEADLINE_S = 10
TERMINATED = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


def rewrite(server: TestServer, **changes: object) -> None:
    """Change options in the configuration file of a running server."""
    path = server.folder / "configuration.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@TERMINATED
def test_signal_ends_the_server_with_status_0_and_frees_the_ports(
    tmp_path: Path, number: signal.Signals
) -> None:
    with run_server(tmp_path) as server:
        server.store(build_synthetic())
        with Peer(server.http_port), Peer(server.dicom_port):
            server.send_signal(number)
            assert server.wait_for_end() == 0
        for port in (server.http_port, server.dicom_port):
            with pytest.raises(ConnectionError):
                Peer(port)
        assert "Traceback" not in server.log


def test_server_under_load_ends_in_time_and_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    """Peers that never finish must not hold it up: 10 s, and 5 s more on a busy machine."""
    sent = Sent()
    with run_server(tmp_path / "server") as server:
        with (
            Peer(server.http_port) as upload,
            Peer(server.http_port) as head,
            Peer(server.dicom_port) as association,
            Peer(server.dicom_port) as nothing,
        ):
            upload.send(b"POST /instances HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nstart")
            head.send(b"GET /system HTTP/1.1\r\n")
            association.send(encode_pdu(build_request()) + b"\4\0\0\0\2\0 a fragment")
            nothing.send(b"\1\0")
            with loading(server, tmp_path, "stop", sent):
                assert sent.first.wait(DEADLINE_S), server.log[-3000:]
                server.send_signal(signal.SIGTERM)
                assert server.process.wait(STOP_DEADLINE_S + 5) == 0
        assert "Traceback" not in server.log
    with run_server(tmp_path / "server") as again:
        assert not sent.acknowledged - check_stored(again, sent)


def test_upload_that_is_under_way_ends_before_the_server_does(tmp_path: Path) -> None:
    file = build_synthetic(tail=encode_element(0x7FE00010, "OW", bytes(9_000_000)))
    with run_server(tmp_path) as server:
        with Peer(server.http_port) as peer:
            head = "POST /instances HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            peer.send(f"{head}Content-Length: {len(file.content)}\r\n\r\n".encode())
            peer.send(file.content[:-1000])
            wait_until(server.list_temporary_files, "the upload has begun")
            server.send_signal(signal.SIGTERM)
            wait_until(lambda: not is_open(server.http_port), "nobody listens any more")
            peer.send(file.content[-1000:])
            assert read_answer(peer.read_all()).json()["Status"] == "Success"
        assert server.wait_for_end() == 0
    with run_server(tmp_path) as again:
        assert again.get(f"/instances/{file.instance}/file").body == file.content


def is_open(port: int) -> bool:
    try:
        Peer(port).socket.close()
    except ConnectionError:
        return False
    return True


def test_restart_keeps_everything(tmp_path: Path) -> None:
    files = [build_synthetic() for _ in range(5)]
    targets = [f"/instances/{file.instance}/file" for file in files]
    targets += ["/studies?expand", "/series?expand", "/changes", "/statistics", "/instances"]
    with run_server(tmp_path) as server:
        for file in files:
            server.store(file)
        before = [server.get(target).body for target in targets]
    with run_server(tmp_path) as server:
        assert [server.get(target).body for target in targets] == before
        assert server.upload(files[0].content).json()["Status"] == "AlreadyStored"
        server.store(build_synthetic())
        assert len(server.get("/changes").json()["Changes"]) == 24


@pytest.mark.parametrize("way", ["signal", "request"])
def test_restart_in_place_reads_the_configuration_again(tmp_path: Path, way: str) -> None:
    with run_server(tmp_path, {"Name": "before"}) as server:
        file = server.store(build_synthetic())
        assert server.get("/system").json()["Name"] == "before"
        rewrite(server, Name="after")
        if way == "signal":
            server.send_signal(signal.SIGHUP)
        else:
            answer = server.request("POST", "/tools/reset", b"")
            assert (answer.status, answer.json()) == (200, {})
        server.wait_until_ready()
        assert server.get("/system").json()["Name"] == "after"
        assert server.get(f"/instances/{file.instance}/file").body == file.content
        assert "Traceback" not in server.log


def test_restart_can_be_asked_many_times_at_once(tmp_path: Path) -> None:
    with run_server(tmp_path) as server:
        for _ in range(20):
            server.send_signal(signal.SIGHUP)
        server.wait_until_ready()
        assert server.get("/system").status == 200
        assert server.process.poll() is None


@pytest.mark.parametrize("numbers", [(signal.SIGTERM,), (signal.SIGHUP, signal.SIGINT)])
def test_end_that_is_asked_during_a_restart_ends_the_server(
    tmp_path: Path, numbers: tuple[signal.Signals, ...]
) -> None:
    with run_server(tmp_path) as server:
        # The open request keeps the restart waiting.
        with Peer(server.http_port) as peer:
            peer.send(b"POST /tools/lookup HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
            server.get("/system")
            server.send_signal(signal.SIGHUP)
            wait_until(lambda: not is_open(server.http_port), "the restart has begun")
            for number in numbers:
                server.send_signal(number)
            peer.send(b"none")
            peer.read_all()
        assert server.wait_for_end() == 0


def test_restart_with_a_wrong_configuration_keeps_the_old_one(tmp_path: Path) -> None:
    with run_server(tmp_path, {"Name": "Old"}) as server:
        rewrite(server, Name="New", StableAge="many")
        server.send_signal(signal.SIGHUP)
        server.wait_until_ready()
        assert server.get("/system").json()["Name"] == "Old"
        assert "StableAge" in server.log


def test_shutdown_by_request_answers_and_ends(tmp_path: Path) -> None:
    with run_server(tmp_path) as server:
        answer = server.request("POST", "/tools/shutdown", b"")
        assert (answer.status, answer.json()) == (200, {})
        assert server.wait_for_end() == 0


@pytest.mark.parametrize("option", ["HttpPort", "DicomPort"])
def test_port_that_is_taken_ends_with_status_2_and_a_sentence_that_helps(
    tmp_path: Path, option: str
) -> None:
    with socket.create_server(("", 0)) as listener:
        port = listener.getsockname()[1]
        ended = run_command(tmp_path, "serve", options={option: port})
    assert ended.returncode == 2
    assert str(port) in ended.stderr
    assert f"Set {option} to another port" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("option", ["StorageDirectory", "IndexDirectory"])
def test_folder_that_cannot_be_used_ends_with_its_name(tmp_path: Path, option: str) -> None:
    (tmp_path / "file").write_text("in the way")
    ended = run_command(tmp_path, "serve", options={option: "file/below"})
    assert ended.returncode in {2, 3}
    assert "file/below" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_second_server_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with run_server(tmp_path) as server:
        ended = run_command(tmp_path, "serve", options={})
        assert ended.returncode in {2, 3}
        assert "Traceback" not in ended.stderr
        assert server.get("/system").status == 200


def test_server_without_doors_still_ends(tmp_path: Path) -> None:
    options = {"HttpServerEnabled": False, "DicomServerEnabled": False}
    with run_server(tmp_path, options) as server:
        assert (server.http_port, server.dicom_port) == (0, 0)
        assert server.stop() == 0


def test_killed_server_finds_what_it_acknowledged(tmp_path: Path) -> None:
    files = [build_synthetic() for _ in range(20)]
    with run_server(tmp_path) as server:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(server.store, files))
        server.send_signal(signal.SIGKILL)
        server.wait_for_end()
    with run_server(tmp_path) as server:
        for file in files:
            assert server.get(f"/instances/{file.instance}/file").body == file.content
    ended = run_command(tmp_path, "check", "--content", options={})
    assert "0 instances damaged" in ended.stdout


def test_logs_at_the_default_level_hold_no_patient_data(tmp_path: Path) -> None:
    name = "SECRET^PERSON"
    file = build_synthetic({0x00100010: ("PN", name)}, patient_id="SECRETID")
    with run_server(tmp_path) as server:
        server.store(file)
        server.upload(file.content)
        server.upload(file.content[:-10])
        server.request("POST", "/tools/lookup", b"SECRETID")
        for path in file.paths.values():
            server.get(path)
        server.get(f"/instances/{file.instance}/tags?ignore-length=SECRETTAG")
        server.request("DELETE", file.paths["patients"])
        assert server.stop() == 0
        assert "SECRET" not in server.log
