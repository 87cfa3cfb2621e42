"""Peers: our answers compared with Orthanc's, and files sent in both directions, with passwords."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.interop.accepted import PEERS
from tests.interop.comparing import Difference, compare, find_unexpected, find_unmet
from tests.support.dicom_files import build_instance
from tests.support.orthanc import Server, run_isocenter, run_orthanc
from tests.support.server import compute_public_id, wait_until

_STUDY = compute_public_id("P1", "8.1")
_COUNT = 3
_ENDS = {"Success", "Failure"}
_USERS = {
    "RemoteAccessAllowed": False,
    "AuthenticationEnabled": True,
    "RegisteredUsers": {"user": "word"},
}


def _build_files() -> list[bytes]:
    return [
        build_instance(
            {0x00200013: ("IS", str(number)), 0x7FE00010: ("OW", bytes(20_000))},
            patient_id="P1",
            study="8.1",
            series="8.1.1",
            instance=f"8.1.1.{number}",
        )
        for number in range(_COUNT)
    ]


def _build_peers(port: int) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}"
    return {
        "short": [f"{url}/", "user", "word"],
        "long": {"Url": url, "Username": "user", "Password": "word", "Timeout": 9, "Own": 5},
        "stranger": [f"{url}/"],
        "dead": ["http://127.0.0.1:1/"],
    }


@dataclass
class Callers:
    """Our server and Orthanc, asked the same; both know the same third server."""

    ours: Server
    theirs: Server
    differences: list[Difference] = field(default_factory=list)

    def ask(self, method: str, target: str, body: Any = None) -> None:
        """Send a request to both and note what differs."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        ours, theirs = (server.request(method, target, data) for server in (self.ours, self.theirs))
        case = f"{method} {target} {'' if data is None else data[:200].decode('latin-1')}"
        self.differences += compare(case, ours, theirs)


@pytest.fixture(scope="module", params=["orthanc", "isocenter"])
def receiver(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that asks for a password."""
    run = run_orthanc if request.param == "orthanc" else run_isocenter
    with run(tmp_path_factory.mktemp("receiver") / "server", _USERS) as server:
        yield server


@pytest.fixture(scope="module")
def callers(receiver: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callers]:
    folder: Path = tmp_path_factory.mktemp("callers")
    options = {"OrthancPeers": _build_peers(receiver.http_port)}
    with (
        run_isocenter(folder / "ours", options) as ours,
        run_orthanc(folder / "theirs", options) as theirs,
    ):
        for data in _build_files():
            ours.upload(data)
            theirs.upload(data)
        yield Callers(ours, theirs)


def _ask_all(callers: Callers) -> None:
    for target in ("/peers", "/peers?expand", "/peers/short", "/peers/none"):
        callers.ask("GET", target)
    for name in ("short", "long", "stranger", "dead", "none"):
        callers.ask("GET", f"/peers/{name}/configuration")
        callers.ask("GET", f"/peers/{name}/system")
        callers.ask("POST", f"/peers/{name}/store", _STUDY.encode())
    for body in (
        *({"Resources": [_STUDY], "Compress": value} for value in (False, True, 5)),
        *([_STUDY], [], {}, {"Resources": "x"}, "xx", b"", b"{"),
        {"Resources": [_STUDY], "Transcode": "1.2"},
    ):
        callers.ask("POST", "/peers/short/store", body)
    callers.ask("POST", "/peers/dead/store", {"Resources": [_STUDY], "Permissive": True})
    for body in (_build_files()[0], b"garbage"):
        callers.ask("POST", "/peers/short/store-straight", body)
    peers: tuple[Any, ...] = (
        *(["http://h/"], ["http://h/", "u", "p"], ["http://h/", "u"], [], {}, 5, b"x"),
        *({"Url": "http://h", "HttpHeaders": {"A": "b"}}, {"Url": "http://h", "Timeout": "4"}),
        {"Url": "http://h", "Username": "u"},
    )
    for peer in peers:
        callers.ask("PUT", "/peers/new", peer)
        callers.ask("GET", "/peers?expand")
    callers.ask("PUT", "/peers/a.b", ["http://h/"])
    callers.ask("DELETE", "/peers/new")
    callers.ask("DELETE", "/peers/new")


def test_answers_are_those_of_orthanc(callers: Callers, receiver: Server) -> None:
    callers.differences.clear()
    _ask_all(callers)
    assert find_unexpected(callers.differences, PEERS) == []
    assert find_unmet(callers.differences, PEERS) == []


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("sender", ["ours", "theirs"])
def test_files_arrive_as_they_were(
    callers: Callers, receiver: Server, sender: str, is_compressed: bool
) -> None:
    headers = {"Authorization": "Basic dXNlcjp3b3Jk"}
    for patient in receiver.request("GET", "/patients", headers=headers).json():
        receiver.request("DELETE", f"/patients/{patient}", headers=headers)
    server: Server = getattr(callers, sender)
    body = {"Resources": [_STUDY], "Compress": is_compressed, "Asynchronous": True}
    job = server.request("POST", "/peers/short/store", json.dumps(body).encode()).json()["Path"]
    wait_until(lambda: server.request("GET", job).json()["State"] in _ENDS, "the end of the job")
    assert server.request("GET", job).json()["State"] == "Success"
    stored = [
        receiver.request("GET", f"/instances/{public_id}/file", headers=headers).body
        for public_id in receiver.request("GET", "/instances", headers=headers).json()
    ]
    assert sorted(stored) == sorted(_build_files())
