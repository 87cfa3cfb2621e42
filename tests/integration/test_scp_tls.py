"""DICOM over TLS, with DCMTK as the caller."""

import subprocess
from pathlib import Path

import pytest
from tests.support.requirements import require_program
from tests.support.server import run_command, run_server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("certificates")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *(require_program("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return key, certificate


def _echo(port: int, *options: str) -> int:
    echoscu = require_program("echoscu", "dcmtk")
    command = [echoscu, *options, "-to", "10", "127.0.0.1", str(port)]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode


def test_caller_needs_a_trusted_certificate(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    key, public = map(str, certificate)
    options = {
        "DicomTlsEnabled": True,
        "DicomTlsPrivateKey": key,
        "DicomTlsCertificate": public,
        "DicomTlsTrustedCertificates": public,
        "DicomScpTimeout": 5,
    }
    with run_server(tmp_path, options) as server:
        assert _echo(server.dicom_port, "+tls", key, public, "+cf", public) == 0
        assert _echo(server.dicom_port, "+tla", "+cf", public) != 0
        assert _echo(server.dicom_port, "-to", "3") != 0


def test_caller_needs_no_certificate_if_none_is_required(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    key, public = map(str, certificate)
    options = {
        "DicomTlsEnabled": True,
        "DicomTlsPrivateKey": key,
        "DicomTlsCertificate": public,
        "DicomTlsRemoteCertificateRequired": False,
    }
    with run_server(tmp_path, options) as server:
        assert _echo(server.dicom_port, "+tla", "+cf", public) == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "DicomTlsCertificate"),
        ({"DicomTlsCertificate": "none.pem"}, "DicomTlsPrivateKey"),
        (
            {"DicomTlsCertificate": "none.pem", "DicomTlsPrivateKey": "none.pem"},
            "DicomTlsTrustedCertificates",
        ),
    ],
)
def test_half_configured_tls_stops_the_start(
    tmp_path: Path, options: dict[str, str], named: str
) -> None:
    ended = run_command(
        tmp_path, "serve", options={"DicomTlsEnabled": True, "HttpPort": 0, **options}
    )
    assert ended.returncode == 2
    assert named in ended.stderr
