"""Calls of remote modalities, compared with Orthanc's: both call the same third server."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.interop.accepted import DICOM_USER
from tests.interop.comparing import Difference, compare, find_unexpected, find_unmet
from tests.support.dicom_files import build_instance
from tests.support.orthanc import Answer, Server, run_isocenter, run_orthanc
from tests.support.server import compute_public_id, wait_until

_OURS, _THEIRS, _PEER = "OURS", "ORTH", "PEER"
_STUDY = compute_public_id("P1", "7.1")
_SERIES = compute_public_id("P1", "7.1", "7.1.1")
_INSTANCE = compute_public_id("P1", "7.1", "7.1.1", "7.1.1.0")


def _build_files() -> list[bytes]:
    """Build two patients; the first one has two studies, and three instances in one series."""
    places = [("P1", "7.1", n) for n in range(3)] + [("P1", "7.2", 0), ("P2", "7.3", 0)]
    return [
        build_instance(
            {
                0x00080020: ("DA", "20200102"),
                0x00080050: ("SH", f"ACC{study}"),
                0x00080060: ("CS", "CT"),
                0x00081030: ("LO", "head"),
                0x00100010: ("PN", "DOE^JANE"),
                0x00200013: ("IS", str(number)),
            },
            patient_id=patient,
            study=study,
            series=f"{study}.1",
            instance=f"{study}.1.{number}",
        )
        for patient, study, number in places
    ]


@dataclass
class Both:
    """Our server and Orthanc, asked the same; ``{q}`` in a target stands for the last handle."""

    ours: Server
    theirs: Server
    handles: dict[str, str] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)

    def ask(self, method: str, target: str, body: Any = None) -> tuple[Answer, Answer]:
        """Send a request to both and note what differs."""
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answers = [self._ask(server, method, target, data) for server in (self.ours, self.theirs)]
        case = f"{method} {target} {'' if data is None else data[:200].decode('latin-1')}"
        self.differences += compare(case, answers[0], answers[1])
        return answers[0], answers[1]

    def _ask(self, server: Server, method: str, target: str, data: bytes | None) -> Answer:
        handle = self.handles.get(server.name, "")
        answer = server.request(method, target.replace("{q}", handle), data)
        body = answer.body.replace(f'"{_THEIRS}"'.encode(), f'"{_OURS}"'.encode())
        if answer.status == 200 and b'"/queries/' in body:
            self.handles[server.name] = json.loads(body)["ID"]
            body = b"{}"
        return replace(answer, body=body.replace(handle.encode() or b"\0", b"{q}"))

    def empty(self) -> None:
        """Delete all that both have stored."""
        for server in (self.ours, self.theirs):
            for patient in server.request("GET", "/patients").json():
                server.request("DELETE", f"/patients/{patient}")


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = {
        "DicomAet": _PEER,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowMove": True,
        "DicomAlwaysAllowGet": True,
    }
    with run_orthanc(tmp_path_factory.mktemp("peer") / "peer", options) as server:
        for data in _build_files():
            server.upload(data)
        yield server


@pytest.fixture(scope="module")
def both(peer: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder: Path = tmp_path_factory.mktemp("both")
    options = {
        "DicomModalities": {
            "peer": [_PEER, "127.0.0.1", peer.dicom_port],
            "dead": ["DEAD", "127.0.0.1", 1],
        },
        "LogExportedResources": True,
        "DicomScuTimeout": 20,
    }
    with (
        run_isocenter(folder / "ours", options | {"DicomAet": _OURS}) as ours,
        run_orthanc(folder / "theirs", options | {"DicomAet": _THEIRS}) as theirs,
    ):
        for title, server in ((_OURS, ours), (_THEIRS, theirs)):
            form = json.dumps([title, "127.0.0.1", server.dicom_port]).encode()
            peer.request("PUT", f"/modalities/{title}", form)
        yield Both(ours, theirs)


def _configure(both: Both) -> None:
    for target in ("", "?expand", "/peer", "/nope", "/peer/configuration", "/nope/configuration"):
        both.ask("GET", f"/modalities{target}")
    modalities: list[tuple[str, Any]] = [
        ("new", ["A", "h", 1]),
        ("x.y", ["A", "h", 1]),
        ("z", b"garbage"),
        ("z", {"AET": "A"}),
        ("new", {"AET": "A", "Host": "h", "Port": "12"}),
        ("z", ["A", "h", 1, "Nobody"]),
    ]
    for name, body in modalities:
        both.ask("PUT", f"/modalities/{name}", body)
    both.ask("GET", "/modalities/new/configuration")
    both.ask("DELETE", "/modalities/new")
    both.ask("DELETE", "/modalities/new")


def _echo(both: Both) -> None:
    bodies: list[Any] = [
        {},
        b"",
        b"garbage",
        {"CheckFind": True},
        {"Timeout": 2},
        [],
        {"CheckFind": "x"},
    ]
    for body in bodies:
        both.ask("POST", "/modalities/peer/echo", body)
    both.ask("POST", "/modalities/dead/echo", {})
    both.ask("POST", "/modalities/nope/echo", {})
    both.ask("POST", "/tools/dicom-echo", {})


def _store(both: Both) -> None:
    for data in _build_files():
        both.ours.upload(data)
        both.theirs.upload(data)
    unknown = compute_public_id("nobody")
    bodies: list[Any] = [
        _INSTANCE.encode(),
        _STUDY,
        [_STUDY],
        [_STUDY, compute_public_id("P1", "7.2")],
        {"Resources": [_STUDY], "LocalAet": "OTHER"},
        {"Resources": [_STUDY], "MoveOriginatorAet": "MOVER", "MoveOriginatorID": 5},
        {"Resources": _STUDY},
        [_STUDY, _SERIES],
        {},
        b"",
        [],
        b"nope",
        [1],
        ["nope"],
        unknown.encode(),
        {"Resources": [_STUDY], "Permissive": "x"},
        {"Resources": [_STUDY], "Timeout": "x"},
        {"Resources": [_STUDY], "LocalAet": 5},
    ]
    for body in bodies:
        both.ask("POST", "/modalities/peer/store", body)
    both.ask("POST", "/modalities/dead/store", [_STUDY])
    both.ask("POST", "/modalities/dead/store", {"Resources": [_STUDY], "Permissive": True})
    both.ask("POST", "/modalities/nope/store", [_STUDY])
    both.ask("GET", "/exports?limit=3")
    for data in (_build_files()[0], b"garbage", b""):
        both.ask("POST", "/modalities/peer/store-straight", data)
    both.empty()


def _query(both: Both) -> None:
    questions: list[Any] = [
        {"Level": "Patient", "Query": {"PatientName": "DOE*", "PatientBirthDate": ""}},
        {"Level": "Series", "Query": {"StudyInstanceUID": "7.1", "Modality": ""}},
        {"Level": "Instance", "Query": {"StudyInstanceUID": "7.1", "InstanceNumber": ""}},
        {"Level": "Study", "Query": {"PatientID": "nobody"}},
        {
            "Level": "Study",
            "Query": {"PatientID": "P1", "StudyDescription": "", "ModalitiesInStudy": ""},
        },
    ]
    for body in questions:
        both.ask("POST", "/modalities/peer/query", body)
        for target in (
            *("", "/answers", "/answers?expand", "/answers?expand&simplify"),
            *("/answers?expand&short", "/answers/0", "/answers/0/content?short", "/level"),
            *("/modality", "/query", "/query?simplify", "/query?short", "/answers/9"),
            *("/answers/x", "/answers/9/content"),
        ):
            both.ask("GET", f"/queries/{{q}}{target}")
    wrong: list[Any] = [
        *({}, {"Level": "x"}, {"Level": 5}, {"Level": "Study", "Query": 5}, [], b""),
        *({"Level": "Study", "Query": {"nope": ""}}, {"Level": "Study", "Query": {"PatientID": 5}}),
    ]
    for body in wrong:
        both.ask("POST", "/modalities/peer/query", body)
    both.ask("POST", "/modalities/dead/query", {"Level": "Study"})
    both.ask("POST", "/modalities/nope/query", {"Level": "Study"})
    for target in ("/queries/nope", "/queries/nope/answers", "/queries/nope/answers/0/content"):
        both.ask("GET", target)


def _go_down(both: Both) -> None:
    study = {"Level": "Study", "Query": {"StudyInstanceUID": "7.1"}}
    for operation in ("query-series", "query-instances", "query-studies"):
        both.ask("POST", "/modalities/peer/query", study)
        below: list[Any] = [b"", [], {"Query": 5}, {"Query": {"Modality": ""}}]
        for body in below:
            both.ask("POST", f"/queries/{{q}}/answers/0/{operation}", body)
        both.ask("GET", "/queries/{q}/answers?expand")
        both.ask("GET", "/queries/{q}/answers/0")
    both.ask("POST", "/queries/{q}/answers/99/query-series", {})


def _retrieve(both: Both) -> None:
    study = {"Level": "Study", "Query": {"PatientID": "P1"}}
    both.ask("POST", "/modalities/peer/query", study)
    bodies: list[Any] = [b"", {"TargetAet": _PEER}, b"NOWHERE", {"TargetAet": 5}]
    for body in bodies:
        both.ask("POST", "/queries/{q}/answers/0/retrieve", body)
    both.ask("POST", "/queries/{q}/retrieve", {"Synchronous": True})
    both.ask("POST", "/queries/{q}/answers/9/retrieve", b"")
    both.ask("GET", "/instances")
    both.empty()
    one = {"StudyInstanceUID": "7.1"}
    moves: list[Any] = [
        {"Level": "Study", "Resources": [one]},
        {"Level": "Series", "Resources": [one | {"SeriesInstanceUID": "7.1.1"}]},
        {"Level": "Patient", "Resources": [{"PatientID": "P2"}]},
        {"Level": "Study", "Resources": []},
        {"Level": "Study", "Resources": [{}]},
        {"Level": "Study", "Resources": [5]},
        {"Level": "Study", "Resources": {}},
        {"Level": "Study"},
        {},
    ]
    for body in moves:
        both.ask("POST", "/modalities/peer/move", body)
    both.ask("GET", "/instances")
    both.ask("POST", "/modalities/dead/move", {"Level": "Study", "Resources": [one]})
    both.empty()


def test_calls_of_remote_modalities_differ_only_as_accepted(both: Both) -> None:
    for part in (_configure, _echo, _store, _query, _go_down, _retrieve):
        part(both)
    unexpected = find_unexpected(both.differences, DICOM_USER)
    assert not unexpected, "\n".join(map(str, unexpected))
    assert not find_unmet(both.differences, DICOM_USER)


@pytest.mark.parametrize("level", ["Patient", "Study", "Series", "Instance"])
def test_retrieve_by_get_brings_all_instances(both: Both, level: str) -> None:
    keys = {"PatientID": "P1", "StudyInstanceUID": "7.1"}
    keys |= {"SeriesInstanceUID": "7.1.1", "SOPInstanceUID": "7.1.1.0"}
    body = json.dumps({"Level": level, "Resources": [keys]}).encode()
    answer = both.ours.request("POST", "/modalities/peer/get", body)
    assert answer.status == 200, answer.body
    (detail,) = answer.json()["Details"]
    assert detail["DimseErrorStatus"] == 0
    count = {"Patient": 4, "Study": 3, "Series": 3, "Instance": 1}[level]
    assert len(detail["ReceivedInstancesIds"]) == count
    assert set(both.ours.request("GET", "/instances").json()) == set(detail["ReceivedInstancesIds"])
    both.empty()


def test_retrieve_by_move_tells_what_arrived(both: Both) -> None:
    body = json.dumps({"Level": "Study", "Query": {"StudyInstanceUID": "7.1"}}).encode()
    path = both.ours.request("POST", "/modalities/peer/query", body).json()["Path"]
    content = both.ours.request("POST", f"{path}/retrieve", b"").json()
    query = {"0008,0050": "ACC7.1", "0008,0052": "STUDY", "0010,0020": "P1", "0020,000d": "7.1"}
    assert content["Query"] == [query]
    (detail,) = content["Details"]
    assert sorted(detail["ReceivedInstancesIds"]) == sorted(
        both.ours.request("GET", "/instances").json()
    )
    both.empty()


def _is_reported(server: Server, path: str) -> bool:
    return bool(server.request("GET", path).json()["Status"] != "Pending")


def test_peer_reports_what_it_keeps(both: Both, peer: Server) -> None:
    for data in _build_files():
        both.ours.upload(data)
    form = {"Resources": [_STUDY], "DicomInstances": [["1.2.840.10008.5.1.4.1.1.2", "7.9"]]}
    states = []
    for body in (form, {"Resources": [_STUDY]}):
        answer = both.ours.request(
            "POST", "/modalities/peer/storage-commitment", json.dumps(body).encode()
        )
        assert answer.status == 200, answer.body
        path = answer.json()["Path"]
        wait_until(partial(_is_reported, both.ours, path), "a report")
        states.append(both.ours.request("GET", path).json())
    assert [state["Status"] for state in states] == ["Failure", "Success"]
    assert states[0]["Failures"][0]["FailureReason"] == 0x0112
    assert len(states[0]["Success"]) == len(states[1]["Success"]) == 3
    both.ours.request("POST", f"{path}/remove", b"")
    assert len(both.ours.request("GET", "/instances").json()) == 2
    both.empty()
