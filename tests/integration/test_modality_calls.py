"""Whole servers that call DCMTK's and each other, with and without TLS, and through a kill."""

import asyncio
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
from tests.support.dicom_files import build_instance
from tests.support.ports import find_free_port
from tests.support.receiving import Receiver, run_receiver
from tests.support.requirements import require_program
from tests.support.server import (
    TestServer,
    compute_public_id,
    run_server,
    wait_until,
)

STUDY = compute_public_id("P", "1.2")
UIDS = [f"1.2.3.{number}" for number in range(30)]
"""Of the instances, which are sent in this order."""


def build_files() -> list[bytes]:
    return [
        build_instance(
            {0x00200013: ("IS", str(number)), 0x00080060: ("CS", "CT")},
            patient_id="P",
            study="1.2",
            series="1.2.3",
            instance=uid,
        )
        for number, uid in enumerate(UIDS)
    ]


def post(server: TestServer, target: str, value: Any) -> Any:
    answer = server.request("POST", target, json.dumps(value).encode())
    assert answer.status == 200, answer.body
    return answer.json()


def put_modality(server: TestServer, name: str, value: Any) -> None:
    answer = server.request("PUT", f"/modalities/{name}", json.dumps(value).encode())
    assert answer.status == 200, answer.body


@contextmanager
def run_dcmtk(*command: str, port: int) -> Iterator[None]:
    """Run a server of DCMTK until it listens."""
    program = require_program(command[0], "dcmtk")
    with subprocess.Popen(
        [program, *command[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_until(lambda: can_connect(port), f"{command[0]} listens")
            yield
        finally:
            process.kill()


def can_connect(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("certificates")
    key, public = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *(require_program("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-keyout", str(key), "-out", str(public)),
        ],
        check=True,
        capture_output=True,
    )
    return str(key), str(public)


def test_storescp_receives_what_is_sent(tmp_path: Path) -> None:
    port = find_free_port()
    received = tmp_path / "received"
    received.mkdir()
    with (
        run_dcmtk("storescp", "-aet", "SINK", "-od", str(received), str(port), port=port),
        run_server(tmp_path / "server", {}) as server,
    ):
        for data in build_files():
            server.upload(data)
        put_modality(server, "sink", ["SINK", "127.0.0.1", port])
        assert post(server, "/modalities/sink/store", [STUDY])["FailedInstancesCount"] == 0
        assert len(list(received.iterdir())) == len(UIDS)


def test_dcmqrscp_is_asked_and_sends(tmp_path: Path) -> None:
    port = find_free_port()
    folder = tmp_path / "db"
    folder.mkdir()
    with run_server(tmp_path / "server", {"DicomAet": "US"}) as server:
        configuration = tmp_path / "dcmqrscp.cfg"
        configuration.write_text(
            f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
            f"HostTable BEGIN\nus = (US, 127.0.0.1, {server.dicom_port})\nHostTable END\n"
            "VendorTable BEGIN\nVendorTable END\n"
            f"AETable BEGIN\nARCHIVE {folder} RW (200, 1024mb) ANY\nAETable END\n"
        )
        put_modality(server, "archive", ["ARCHIVE", "127.0.0.1", port])
        for data in build_files():
            server.upload(data)
        with run_dcmtk("dcmqrscp", "-c", str(configuration), port=port):
            post(server, "/modalities/archive/store", [STUDY])
            for method in ("C-MOVE", "C-GET"):
                server.request("DELETE", f"/studies/{STUDY}")
                query = {"Level": "Study", "Query": {"PatientID": "P"}}
                path = post(server, "/modalities/archive/query", query)["Path"]
                (answer,) = server.get(f"{path}/answers?expand&simplify").json()
                assert answer["StudyInstanceUID"] == "1.2"
                post(server, f"{path}/retrieve", {"RetrieveMethod": method})
                assert len(server.get("/instances").json()) == len(UIDS)


def test_servers_call_each_other_over_tls(tmp_path: Path, certificate: tuple[str, str]) -> None:
    key, public = certificate
    tls: dict[str, Any] = {
        "DicomTlsEnabled": True,
        "DicomTlsPrivateKey": key,
        "DicomTlsCertificate": public,
        "DicomTlsTrustedCertificates": public,
        "DicomAlwaysAllowFind": True,
        "DicomScuTimeout": 10,
    }
    with run_server(tmp_path / "server", tls) as server:
        form = {"AET": "ISOCENTER", "Host": "localhost", "Port": server.dicom_port}
        put_modality(server, "secure", form | {"UseDicomTls": True})
        put_modality(server, "clear", form | {"Timeout": 3})
        assert post(server, "/modalities/secure/echo", {"CheckFind": True}) == {}
        server.upload(build_files()[0])
        assert post(server, "/modalities/secure/store", [STUDY])["InstancesCount"] == 1
        answer = server.request("POST", "/modalities/clear/echo", b"{}")
        assert answer.status == 500
    with run_server(tmp_path / "plain", {}) as server:
        put_modality(server, "secure", form | {"UseDicomTls": True})
        answer = server.request("POST", "/modalities/secure/echo", b"{}")
        assert (answer.status, answer.json()["OrthancStatus"]) == (500, 9)


class SlowReceiver:
    """A receiver in a thread of its own that confirms one instance and then waits for the test."""

    def __init__(self) -> None:
        self.receiver = Receiver(answer=self._answer)
        self.gate = threading.Event()
        self.port = 0
        self._is_listening = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    def _answer(self, uid: str) -> int | None:
        if uid == UIDS[10] and not self.gate.wait(20):
            return None
        return 0

    async def _run(self) -> None:
        async with run_receiver(self.receiver) as port:
            self.port = port
            self._is_listening.set()
            await self._end.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_listening.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(20)
        self._loop.close()


def test_killed_server_goes_on_and_repeats_a_step_at_most(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    options: dict[str, Any] = {"Isocenter.TransferRetryDelay": 1}
    with SlowReceiver() as slow:
        options["DicomModalities"] = {"slow": ["SLOW", "127.0.0.1", slow.port]}
        with run_server(folder, options) as server:
            for data in build_files():
                server.upload(data)
            body = {"Resources": [STUDY], "Asynchronous": True}
            job_id = post(server, "/modalities/slow/store", body)["ID"]
            confirmed = slow.receiver.confirmed
            wait_until(lambda: len(confirmed) == 10, "ten confirmed instances")
            server.process.kill()
            server.wait_for_end()
        slow.gate.set()
        with run_server(folder, options) as server:
            wait_until(partial(has_succeeded, server, job_id), "the job ends")
        assert set(confirmed) == set(UIDS)
        assert confirmed[-20:] == UIDS[10:]


def has_succeeded(server: TestServer, job_id: str) -> bool:
    return bool(server.get(f"/jobs/{job_id}").json()["State"] == "Success")
