"""Who may call a running server: users, HTTPS, client certificates, protocol versions."""

import base64
import ssl
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import argon2
import psutil
import pytest
from tests.support.requirements import require_program
from tests.support.server import Peer, TestServer, build_synthetic, read_answer, run_server

PASSWORD = "correct horse"


def build_basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    """Give a server with a user of each kind."""
    hashed = argon2.PasswordHasher(time_cost=1, memory_cost=1024).hash(PASSWORD)
    options = {
        "AuthenticationEnabled": True,
        "RegisteredUsers": {"clear": PASSWORD, "hashed": hashed, "Ümlaut": "pä:ss"},
    }
    with run_server(tmp_path_factory.mktemp("protected"), options) as server:
        yield server


@pytest.mark.parametrize(
    ("username", "password"), [("clear", PASSWORD), ("hashed", PASSWORD), ("Ümlaut", "pä:ss")]
)
def test_registered_user_is_let_in(protected: TestServer, username: str, password: str) -> None:
    credentials = build_basic(username, password)
    # The first request verifies, the others find the credentials verified.
    for _ in range(3):
        assert protected.get("/system", Authorization=credentials).status == 200
    answer = protected.upload(build_synthetic().content, Authorization=credentials)
    assert answer.json()["Status"] == "Success"


@pytest.mark.parametrize(
    "credentials", [build_basic("clear", "wrong"), build_basic("nobody", PASSWORD), "Bearer x"]
)
def test_others_get_401_without_body(protected: TestServer, credentials: str) -> None:
    answer = protected.get("/system", Authorization=credentials)
    assert (answer.status, answer.body) == (401, b"")
    assert answer.headers["www-authenticate"].startswith('Basic realm="')


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PURGE"])
@pytest.mark.parametrize("target", ["/system", "/nowhere", "/", "/tools", "/api.html"])
def test_nothing_is_answered_without_credentials(
    protected: TestServer, method: str, target: str
) -> None:
    answer = protected.request(method, target)
    assert (answer.status, answer.body) == (401, b"")
    assert "www-authenticate" in answer.headers


def test_stranger_is_refused_before_the_upload(protected: TestServer) -> None:
    with Peer(protected.http_port) as peer:
        head = "POST /instances HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
        peer.send(f"{head}Expect: 100-continue\r\nConnection: close\r\n\r\n".encode())
        assert read_answer(peer.read_all()).status == 401


def test_passwords_are_never_logged(protected: TestServer) -> None:
    protected.get("/system", Authorization=build_basic("clear", "secret-attempt"))
    assert "secret-attempt" not in protected.log
    assert PASSWORD not in protected.log


def test_stranger_cannot_restart_or_stop(protected: TestServer) -> None:
    for name in ("reset", "shutdown"):
        assert protected.request("POST", f"/tools/{name}", b"").status == 401
    assert protected.process.poll() is None


# HTTPS.


def make_certificate(folder: Path, name: str) -> Path:
    """Make a self-signed certificate for this machine; one PEM with key and certificate."""
    openssl = require_program("openssl", "openssl")
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    path = folder / f"{name}.pem"
    path.write_bytes(key.read_bytes() + certificate.read_bytes())
    return path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("certificates")
    return {name: make_certificate(folder, name) for name in ("server", "client", "stranger")}


def build_context(certificates: dict[str, Path], *, client: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates["server"]))
    if client is not None:
        context.load_cert_chain(certificates[client])
    return context


@pytest.fixture(scope="module")
def secure(
    tmp_path_factory: pytest.TempPathFactory, certificates: dict[str, Path]
) -> Iterator[TestServer]:
    """Give a server that asks for the client's certificate."""
    options = {
        "SslEnabled": True,
        "SslCertificate": str(certificates["server"]),
        "SslVerifyPeers": True,
        "SslTrustedClientCertificates": str(certificates["client"]),
    }
    with run_server(tmp_path_factory.mktemp("secure"), options) as server:
        yield server


def test_https_serves_a_client_with_a_trusted_certificate(
    secure: TestServer, certificates: dict[str, Path]
) -> None:
    secure.tls = build_context(certificates, client="client")
    file = secure.store(build_synthetic())
    assert secure.get(f"/instances/{file.instance}/file").body == file.content


def test_https_takes_a_body_of_many_pieces(
    secure: TestServer, certificates: dict[str, Path]
) -> None:
    secure.tls = build_context(certificates, client="client")
    file = secure.store(build_synthetic(study="2.25.77", series="2.25.78"))
    path, value = f"/instances/{file.instance}/metadata/1024", bytes(range(32, 96)) * 10_000
    assert secure.request("PUT", path, value).status == 200
    assert secure.get(path).body == value


@pytest.mark.parametrize("client", [None, "stranger"])
def test_https_refuses_other_clients(
    secure: TestServer, certificates: dict[str, Path], client: str | None
) -> None:
    secure.tls = build_context(certificates, client=client)
    # With TLS 1.3 the client learns of it when it reads.
    with pytest.raises((ssl.SSLError, ConnectionError)):
        secure.get("/system")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_https_refuses_old_protocols(
    secure: TestServer, certificates: dict[str, Path], version: ssl.TLSVersion
) -> None:
    context = build_context(certificates, client="client")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    secure.tls = context
    with pytest.raises((ssl.SSLError, ConnectionError)):
        secure.get("/system")


def test_https_minimum_version_is_configurable(
    tmp_path: Path, certificates: dict[str, Path]
) -> None:
    options = {
        "SslEnabled": True,
        "SslCertificate": str(certificates["server"]),
        "SslMinimumProtocolVersion": 5,
    }
    with run_server(tmp_path, options) as server:
        server.tls = build_context(certificates)
        assert server.get("/system").status == 200
        server.tls.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            server.get("/system")


def test_plain_http_to_https_is_no_harm(secure: TestServer, certificates: dict[str, Path]) -> None:
    with Peer(secure.http_port) as peer:
        peer.send(b"GET /system HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"ApiVersion" not in peer.read_all()
    secure.tls = build_context(certificates, client="client")
    assert secure.get("/system").status == 200


def test_only_loopback_is_bound_by_default(tmp_path: Path) -> None:
    with run_server(tmp_path, {"HttpBindAddresses": []}) as server:
        listening = {
            connection.laddr.ip
            for connection in psutil.Process(server.process.pid).net_connections("tcp")
            if connection.laddr.port == server.http_port and connection.status == "LISTEN"
        }
        assert listening <= {"127.0.0.1", "::1"}
        assert "127.0.0.1" in listening
