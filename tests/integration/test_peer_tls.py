"""Calls of peers over TLS: whom we believe, and what we show."""

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest
from tests.support.certificates import build_server_context, make_certificate
from tests.support.http_peer import HTTPPeer, run_http_peer
from tests.support.requirements import require_program

from isocenter.errors import ConfigurationError, RemoteError
from isocenter.peers.client import PeerClient
from isocenter.peers.connection import PeerTarget
from isocenter.peers.trust import OwnCertificate, build_trust


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificate and key of 127.0.0.1, the key also locked with a password."""
    folder = tmp_path_factory.mktemp("certificates")
    make_certificate(folder)
    locking = ("rsa", "-aes256", "-passout", "pass:word", "-in", "key.pem", "-out", "locked.pem")
    openssl = require_program("openssl", "openssl")
    subprocess.run([openssl, *locking], check=True, capture_output=True, cwd=folder)
    return folder


def build_server(folder: Path, *, asks: bool = False) -> ssl.SSLContext:
    context = build_server_context(folder)
    if asks:
        context.load_verify_locations(folder / "certificate.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def call(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    async with (
        run_http_peer(HTTPPeer(), server) as url,
        PeerClient(PeerTarget(url, ssl_context=client)) as caller,
    ):
        await caller.get("system")


async def test_only_trusted_certificates_are_believed(folder: Path) -> None:
    authorities, server = folder / "certificate.pem", build_server(folder)
    await call(server, build_trust(is_verified=True, authorities=authorities, certificate=None))
    with pytest.raises(RemoteError, match="CERTIFICATE_VERIFY_FAILED"):
        await call(server, build_trust(is_verified=True, authorities=None, certificate=None))
    await call(server, build_trust(is_verified=False, authorities=None, certificate=None))


@pytest.mark.parametrize(("key", "password"), [("key.pem", ""), ("locked.pem", "word")])
async def test_our_certificate_is_shown(folder: Path, key: str, password: str) -> None:
    authorities, server = folder / "certificate.pem", build_server(folder, asks=True)
    certificate = OwnCertificate(folder / "certificate.pem", folder / key, password)
    shown = build_trust(is_verified=True, authorities=authorities, certificate=certificate)
    await call(server, shown)
    hidden = build_trust(is_verified=True, authorities=authorities, certificate=None)
    with pytest.raises(RemoteError):
        await call(server, hidden)


@pytest.mark.parametrize("password", ["", "wrong"])
def test_wrong_password_of_a_key_is_an_error(folder: Path, password: str) -> None:
    certificate = OwnCertificate(folder / "certificate.pem", folder / "locked.pem", password)
    with pytest.raises(ConfigurationError, match="CertificateFile"):
        build_trust(is_verified=True, authorities=None, certificate=certificate)


def test_authorities_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_bytes(b"")
    for name in ("empty.pem", "absent.pem"):
        with pytest.raises(ConfigurationError, match="HttpsCACertificates"):
            build_trust(is_verified=True, authorities=tmp_path / name, certificate=None)


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
    except ConnectionError:
        pass
    finally:
        writer.close()


class Tunnel:
    """A proxy that connects to whatever it is told, and remembers what it was told."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        host, _, port = head.split(" ")[1].rpartition(":")
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        back = asyncio.create_task(pipe(there_reader, writer))
        self.tasks.add(back)
        await pipe(reader, there_writer)
        await back


async def test_peer_is_called_through_a_tunnel_that_is_kept(folder: Path) -> None:
    peer, tunnel = HTTPPeer(), Tunnel()
    trust = build_trust(is_verified=True, authorities=folder / "certificate.pem", certificate=None)
    server = await asyncio.start_server(tunnel.serve, "127.0.0.1", 0)
    proxy = f"http://user:word@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, run_http_peer(peer, build_server(folder)) as url:
        async with PeerClient(PeerTarget(url, proxy=proxy, ssl_context=trust)) as client:
            for _ in range(3):
                await client.get("system")
        await asyncio.gather(*tunnel.tasks)
    assert [asked.path for asked in peer.asked] == ["/system"] * 3
    assert "proxy-authorization" not in peer.asked[0].headers
    (head,) = tunnel.heads
    assert head.startswith(f"CONNECT {url.removeprefix('https://').rstrip('/')} ")
    assert "Proxy-Authorization: Basic dXNlcjp3b3Jk" in head
