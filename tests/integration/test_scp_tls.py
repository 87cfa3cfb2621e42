"""DICOM over TLS, with DCMTK as the caller."""

import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from tests.support.dicom_files import build_data_set
from tests.support.dimse_client import STUDY_ROOT, connect
from tests.support.requirements import require_program
from tests.support.server import build_synthetic, run_command, run_server


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


def _connect(port: int, **limits: object) -> str | None:
    """Try a handshake without a certificate; give the version, or ``None`` if it is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for name, value in limits.items():
        if name == "ciphers":
            context.set_ciphers(str(value))
        else:
            setattr(context, name, value)
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
            context.wrap_socket(plain) as encrypted,
        ):
            return encrypted.version()
    except ssl.SSLError:
        return None


_OLD = {"maximum_version": ssl.TLSVersion.TLSv1_2}
_WEAK = {**_OLD, "ciphers": "ECDHE-RSA-AES128-GCM-SHA256"}
_STRONG = {**_OLD, "ciphers": "ECDHE-RSA-AES256-GCM-SHA384"}


@pytest.mark.parametrize(
    ("options", "versions"),
    [
        ({"DicomTlsMinimumProtocolVersion": 5}, ["TLSv1.3", None, None, None]),
        (
            {"DicomTlsCiphersAccepted": ["ECDHE-RSA-AES256-GCM-SHA384"]},
            ["TLSv1.3", "TLSv1.2", None, "TLSv1.2"],
        ),
    ],
    ids=("newest version", "one cipher"),
)
def test_versions_and_ciphers_are_those_of_the_configuration(
    tmp_path: Path,
    certificate: tuple[Path, Path],
    options: dict[str, object],
    versions: list[str | None],
) -> None:
    key, public = map(str, certificate)
    tls = {
        "DicomTlsEnabled": True,
        "DicomTlsPrivateKey": key,
        "DicomTlsCertificate": public,
        "DicomTlsRemoteCertificateRequired": False,
    }
    with run_server(tmp_path, {**tls, **options}) as server:
        # A refused handshake harms nobody else.
        found = [_connect(server.dicom_port, **limits) for limits in ({}, _OLD, _WEAK, _STRONG)]
        assert found == versions
        assert _connect(server.dicom_port) == "TLSv1.3"


async def test_instances_are_moved_over_tls_in_both_directions(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    key, public = map(str, certificate)
    tls = {
        "DicomTlsEnabled": True,
        "DicomTlsPrivateKey": key,
        "DicomTlsCertificate": public,
        "DicomTlsTrustedCertificates": public,
    }
    with run_server(tmp_path / "to", tls) as destination:
        modality = {
            "AET": "TO",
            "Host": "127.0.0.1",
            "Port": destination.dicom_port,
            "UseDicomTls": True,
        }
        modalities = {"to": modality, "plain": {**modality, "AET": "PLAIN", "UseDicomTls": False}}
        options = {**tls, "DicomAlwaysAllowMove": True, "DicomScuTimeout": 2}
        options["DicomModalities"] = modalities
        with run_server(tmp_path / "from", options) as source:
            file = source.store(build_synthetic(study="1.2.3"))
            context = ssl.create_default_context(cafile=public)
            context.check_hostname = False
            context.load_cert_chain(public, key)
            identifier = build_data_set({0x00080052: ("CS", "STUDY"), 0x0020000D: ("UI", "1.2.3")})
            move = f"{STUDY_ROOT}.2"
            async with connect(source.dicom_port, [move], ssl_context=context) as client:
                plain = await client.retrieve(identifier, move, destination="PLAIN")
                assert plain.status == 0xA702
                retrieval = await client.retrieve(identifier, move, destination="TO")
                assert retrieval.status == 0
            assert destination.get(f"/studies/{file.study}").status == 200


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
