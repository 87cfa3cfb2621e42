"""Isocenter and Orthanc 1.10.1 call each other over TLS."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.certificates import make_certificate
from tests.support.orthanc import Server, run_isocenter, run_orthanc
from tests.support.server import build_synthetic, wait_until

COUNT = 3
# The form in the database of modalities, the same for both.
_FORM = {"Host": "127.0.0.1", "UseDicomTls": True, "Timeout": 20}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    folder = tmp_path_factory.mktemp("secure")
    make_certificate(folder)
    options = {
        "DicomTlsEnabled": True,
        "DicomTlsPrivateKey": str(folder / "key.pem"),
        "DicomTlsCertificate": str(folder / "certificate.pem"),
        "DicomTlsTrustedCertificates": str(folder / "certificate.pem"),
        "DicomTlsRemoteCertificateRequired": True,
        "DicomScuTimeout": 20,
    }
    with (
        run_isocenter(folder / "ours", options | {"DicomAet": "OURS"}) as ours,
        run_orthanc(folder / "theirs", options | {"DicomAet": "THEIRS"}) as theirs,
    ):
        named = {"OURS": ours, "THEIRS": theirs}
        for title, server in named.items():
            other = named["THEIRS" if title == "OURS" else "OURS"]
            form = {"AET": "THEIRS" if title == "OURS" else "OURS", "Port": other.dicom_port}
            _ask(server, "PUT", "/modalities/other", _FORM | form)
            clear = {"AET": "CLEAR", "UseDicomTls": False}
            _ask(server, "PUT", "/modalities/clear", _FORM | form | clear)
        yield named


def _ask(server: Server, method: str, target: str, body: Any = None) -> Any:
    data = b"" if body is None else json.dumps(body).encode()
    answer = server.request(method, target, data)
    assert answer.status == 200, (target, answer.body)
    return answer.json() if answer.body else None


def _is_reported(server: Server, path: str) -> bool:
    return bool(_ask(server, "GET", path)["Status"] != "Pending")


def _empty(server: Server) -> None:
    for patient in _ask(server, "GET", "/patients"):
        server.request("DELETE", f"/patients/{patient}")


@pytest.mark.parametrize(("caller", "called"), [("OURS", "THEIRS"), ("THEIRS", "OURS")])
def test_every_service_works_over_tls(
    servers: dict[str, Server], caller: str, called: str, tmp_path: Path
) -> None:
    here, there = servers[caller], servers[called]
    study = f"1.2.{len(caller)}"
    files = [
        build_synthetic(patient_id="P", study=study, series=f"{study}.1", instance=f"{study}.1.{n}")
        for n in range(COUNT)
    ]
    for file in files:
        here.upload(file.content)
    assert _ask(here, "POST", "/modalities/other/echo", {}) == {}
    # Without TLS nothing is told.
    assert here.request("POST", "/modalities/clear/echo", b'{"Timeout": 2}').status == 500

    _ask(here, "POST", "/modalities/other/store", [files[0].study])
    assert len(_ask(there, "GET", "/instances")) == COUNT
    commitment = {"Resources": [files[0].study]}
    path = _ask(here, "POST", "/modalities/other/storage-commitment", commitment)["Path"]
    wait_until(partial(_is_reported, here, path), "a report")
    assert _ask(here, "GET", path)["Status"] == "Success"

    _empty(here)
    query = {"Level": "Study", "Query": {"StudyInstanceUID": study}}
    path = _ask(here, "POST", "/modalities/other/query", query)["Path"]
    assert _ask(here, "GET", f"{path}/answers") == ["0"]
    _ask(here, "POST", f"{path}/retrieve", {"TargetAet": caller})
    assert len(_ask(here, "GET", "/instances")) == COUNT
    _empty(here)
    _empty(there)
