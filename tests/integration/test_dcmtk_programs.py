"""DCMTK's programs that no other suite starts, and those that speak TLS, against whole servers."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_modality_calls import post, put_modality, run_dcmtk
from tests.support.certificates import make_certificate
from tests.support.dicom_files import build_data_set, build_file, encode_sequence
from tests.support.ports import find_free_port
from tests.support.requirements import require_program
from tests.support.server import TestServer, build_synthetic, run_server


def run(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [require_program(program, "dcmtk"), *arguments]
    return subprocess.run(command, capture_output=True, timeout=60, check=False, text=True)


def build_entry(number: int, modality: str) -> bytes:
    step = build_data_set({0x00080060: ("CS", modality), 0x00400001: ("AE", "ROOM1")})
    head = build_data_set(
        {
            0x00080050: ("SH", f"ACC{number}"),
            0x00100010: ("PN", f"DOE^J{number}"),
            0x00100020: ("LO", f"P{number}"),
            0x0020000D: ("UI", f"1.2.{number}"),
        }
    )
    return build_file(head + encode_sequence(0x00400100, [step]))


def test_wlmscpfs_is_asked_for_its_entries(tmp_path: Path) -> None:
    port = find_free_port()
    folder = tmp_path / "entries" / "WORK"
    folder.mkdir(parents=True)
    (folder / "lockfile").touch()
    for number, modality in enumerate(("CT", "MR", "MR")):
        (folder / f"{number}.wl").write_bytes(build_entry(number, modality))
    options = ("-dfr", "-dfp", str(folder.parent), str(port))
    with (
        run_dcmtk("wlmscpfs", *options, port=port),
        run_server(tmp_path / "server", {}) as server,
    ):
        put_modality(server, "lists", ["WORK", "127.0.0.1", port])
        step = {"Modality": "MR", "ScheduledStationAETitle": ""}
        query = {"PatientID": "", "PatientName": "", "ScheduledProcedureStepSequence": [step]}
        found = post(server, "/modalities/lists/find-worklist", query)
        assert sorted(entry["PatientID"] for entry in found) == ["P1", "P2"]
        (step,) = found[0]["ScheduledProcedureStepSequence"]
        assert step == {"Modality": "MR", "ScheduledStationAETitle": "ROOM1"}
        # Another folder than that of any title.
        put_modality(server, "nobody", ["NOBODY", "127.0.0.1", port])
        answer = server.request("POST", "/modalities/nobody/find-worklist", b"{}")
        assert (answer.status, answer.json()["OrthancStatus"]) == (500, 9)


def test_findscu_asks_for_entries_of_clients(tmp_path: Path) -> None:
    options = {"DicomAlwaysAllowFindWorklist": True, "Worklists.Enable": True}
    with run_server(tmp_path, options) as server:
        for number, modality in enumerate(("CT", "MR")):
            tags = {
                "PatientID": f"P{number}",
                "ScheduledProcedureStepSequence": [{"Modality": modality}],
            }
            post(server, "/worklists/create", {"Tags": tags})
        ended = run(
            *("findscu", "-W", "127.0.0.1", str(server.dicom_port), "-k", "PatientID"),
            *("-k", "ScheduledProcedureStepSequence[0].Modality=MR"),
        )
        output = ended.stdout + ended.stderr
        assert ended.returncode == 0, output
        assert "[P1]" in output
        assert "[P0]" not in output


def test_termscu_ends_nothing(tmp_path: Path) -> None:
    with run_server(tmp_path, {}) as server:
        port = str(server.dicom_port)
        # It proposes a class of its own by which test programs of DCMTK are shut down.
        run("termscu", "127.0.0.1", port)
        assert run("echoscu", "127.0.0.1", port).returncode == 0
        assert "Traceback" not in server.log


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificate(folder)
    return str(folder / "key.pem"), str(folder / "certificate.pem")


def _build_tls(certificate: tuple[str, str]) -> dict[str, Any]:
    key, public = certificate
    return {
        "DicomTlsEnabled": True,
        "DicomTlsPrivateKey": key,
        "DicomTlsCertificate": public,
        "DicomTlsTrustedCertificates": public,
    }


def test_programs_store_and_find_over_tls(tmp_path: Path, certificate: tuple[str, str]) -> None:
    key, public = certificate
    tls = ("+tls", key, public, "+cf", public)
    file = build_synthetic(patient_id="SECURE")
    path = tmp_path / "file.dcm"
    path.write_bytes(file.content)
    options = _build_tls(certificate) | {"DicomAlwaysAllowFind": True, "DicomScpTimeout": 5}
    with run_server(tmp_path / "server", options) as server:
        where = ("127.0.0.1", str(server.dicom_port))
        for encryption, is_served in ((tls, True), (("+tla", "+cf", public), False)):
            stored = run("storescu", *encryption, "-to", "10", *where, str(path))
            keys = ("-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=SEC*")
            found = run("findscu", *encryption, "-to", "10", "-P", *where, *keys)
            assert (stored.returncode == 0) == is_served, stored.stderr
            assert (found.returncode == 0) == is_served, found.stderr
            assert ("[SECURE]" in found.stdout + found.stderr) == is_served
        assert server.get("/instances").json() == [file.instance]


def test_storescp_receives_over_tls(tmp_path: Path, certificate: tuple[str, str]) -> None:
    key, public = certificate
    port = find_free_port()
    received = tmp_path / "received"
    received.mkdir()
    program = ("storescp", "+tls", key, public, "+cf", public, "-od", str(received), str(port))
    with (
        run_dcmtk(*program, port=port),
        run_server(tmp_path / "server", _build_tls(certificate)) as server,
    ):
        file = server.store(build_synthetic())
        form = {"AET": "SINK", "Host": "127.0.0.1", "Port": port, "Timeout": 10}
        put_modality(server, "secure", form | {"UseDicomTls": True})
        assert post(server, "/modalities/secure/store", [file.study])["FailedInstancesCount"] == 0
        assert len(list(received.iterdir())) == 1
    with run_server(tmp_path / "without", {}) as server, run_dcmtk(*program, port=port):
        # Nobody gives it a certificate to show.
        file = server.store(build_synthetic())
        put_modality(server, "secure", form | {"UseDicomTls": True})
        assert _store(server, file.study) == (500, 9)
        assert len(list(received.iterdir())) == 1


def _store(server: TestServer, study: str) -> tuple[int, int]:
    answer = server.request("POST", "/modalities/secure/store", json.dumps([study]).encode())
    return answer.status, answer.json()["OrthancStatus"]
