"""Contexts of TLS for calls of remote modalities."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.certificates import make_certificate
from tests.support.scripted_peer import PATIENT, RecordingHandler

from isocenter.config.configuration import Configuration
from isocenter.dimse.acceptor import AcceptorOptions, AssociationAcceptor
from isocenter.dimse.requestor import AssociationTarget
from isocenter.dimse.transport import Timeouts
from isocenter.errors import ConfigurationError, RemoteError
from isocenter.scu.echo import send_echo
from isocenter.tls import build_calling_tls

Folders = dict[str, Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Give a folder with a certificate for each side, and one that nobody trusts."""
    made = {name: tmp_path_factory.mktemp(name) for name in ("ours", "theirs", "strange")}
    for folder in made.values():
        make_certificate(folder)
    return made


def build_configuration(folders: Folders, **options: Any) -> Configuration:
    ours = folders["ours"]
    named = {
        "DicomTlsCertificate": str(ours / "certificate.pem"),
        "DicomTlsPrivateKey": str(ours / "key.pem"),
        "DicomTlsTrustedCertificates": str(folders["theirs"] / "certificate.pem"),
    }
    chosen = {name: value for name, value in (named | options).items() if value is not None}
    return Configuration.defaults().with_values(chosen)


def build_server(folders: Folders, shown: str = "theirs", **limits: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folders[shown] / "certificate.pem", folders[shown] / "key.pem")
    context.load_verify_locations(folders["ours"] / "certificate.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    ciphers = limits.pop("ciphers", None)
    for name, value in limits.items():
        setattr(context, name, value)
    if ciphers is not None:
        context.set_ciphers(ciphers)
    return context


@asynccontextmanager
async def run_acceptor(context: ssl.SSLContext | None) -> AsyncIterator[int]:
    timeouts = Timeouts(artim_s=0.5) if context is None else PATIENT
    acceptor = AssociationAcceptor(RecordingHandler(), AcceptorOptions(10, 16384, timeouts))
    await acceptor.start("127.0.0.1", 0, ssl_context=context)
    try:
        yield acceptor.port
    finally:
        await acceptor.stop(deadline_s=0.5)


async def echo(configuration: Configuration, port: int) -> int:
    context = build_calling_tls(configuration)
    assert context is not None
    target = AssociationTarget("127.0.0.1", port, "REMOTE", "LOCAL", 20, ssl_context=context)
    return await send_echo(target)


async def test_both_sides_show_a_certificate_that_the_other_trusts(folders: Folders) -> None:
    async with run_acceptor(build_server(folders)) as port:
        assert await echo(build_configuration(folders), port) == 0


_TLS_1_2 = {"maximum_version": ssl.TLSVersion.TLSv1_2}


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({"DicomTlsCertificate": None, "DicomTlsPrivateKey": None}, {}),
        ({"DicomTlsCertificate": None, "DicomTlsPrivateKey": None}, _TLS_1_2),
        ({}, {"shown": "strange"}),
        ({"DicomTlsMinimumProtocolVersion": 5}, _TLS_1_2),
        (
            {"DicomTlsCiphersAccepted": ["ECDHE-RSA-AES256-GCM-SHA384"]},
            {**_TLS_1_2, "ciphers": "ECDHE-RSA-AES128-GCM-SHA256"},
        ),
    ],
    ids=["no certificate", "none, TLS 1.2", "not trusted", "too old", "no common cipher"],
)
async def test_call_that_cannot_be_secured_fails(
    folders: Folders, options: dict[str, Any], limits: dict[str, Any]
) -> None:
    async with run_acceptor(build_server(folders, **limits)) as port:
        with pytest.raises(RemoteError) as caught:
            await echo(build_configuration(folders, **options), port)
    assert caught.value.code == 9
    assert f"REMOTE at 127.0.0.1:{port}" in caught.value.details


async def test_call_of_a_modality_in_the_clear_fails(folders: Folders) -> None:
    async with run_acceptor(None) as port:
        with pytest.raises(RemoteError, match="REMOTE at"):
            await echo(build_configuration(folders), port)


def test_nobody_is_called_over_tls_without_trust(folders: Folders) -> None:
    configuration = build_configuration(folders, DicomTlsTrustedCertificates=None)
    assert build_calling_tls(configuration) is None


@pytest.mark.parametrize("name", ["DicomTlsTrustedCertificates", "DicomTlsPrivateKey"])
def test_file_that_is_not_there_is_named(folders: Folders, name: str) -> None:
    configuration = build_configuration(folders, **{name: "/none/of.pem"})
    with pytest.raises(ConfigurationError, match="DicomTlsTrustedCertificates"):
        build_calling_tls(configuration)
