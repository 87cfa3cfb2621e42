"""The peers that this server knows, and how to call them.

References
----------
Orthanc REST: peers (behaviour manual §27)
"""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from isocenter.archive.remote_table import RemoteForm, RemoteTable
from isocenter.archive.workers import Workers
from isocenter.config.configuration import Configuration
from isocenter.config.peers import Peer, format_peer, parse_peer
from isocenter.errors import (
    ConfigurationError,
    NotSupportedError,
    RemoteError,
    UnknownResourceError,
)
from isocenter.index.remote_systems import RemoteSystems
from isocenter.peers.client import PeerClient
from isocenter.peers.connection import PeerTarget, check_proxy
from isocenter.peers.loading import load_libraries
from isocenter.peers.trust import OwnCertificate, build_trust

__all__ = ["PeerCalling", "Peers", "build_peer_calling"]

_FORM = RemoteForm(
    RemoteSystems.PEERS, "peer", "peers", parse_peer, format_peer, UnknownResourceError
)


class Peers(RemoteTable[Peer]):
    """The known peers by their symbolic names (see `RemoteTable`).

    Parameters
    ----------
    is_kept
        Option ``OrthancPeersInDatabase``.
    """

    def __init__(
        self,
        workers: Workers,
        configured: Mapping[str, Peer],
        *,
        is_kept: bool,
        is_shared: bool,
    ) -> None:
        super().__init__(workers, _FORM, configured, is_kept=is_kept, is_shared=is_shared)


@dataclass(frozen=True, slots=True)
class PeerCalling:
    """How this server calls peers.

    Attributes
    ----------
    timeout_s
        Option ``HttpTimeout``; 0 for no limit.
    proxy
        As `PeerTarget` wants it.
    is_verified, authorities
        Options ``HttpsVerifyPeers`` and ``HttpsCACertificates``.
    folder
        Where relative paths of certificates begin.
    is_verbose
        Option ``HttpVerbose``.
    """

    workers: Workers
    timeout_s: int
    proxy: str = field(default="", repr=False)
    is_verified: bool = True
    authorities: Path | None = None
    folder: Path = Path()
    is_verbose: bool = False

    @asynccontextmanager
    async def open_client(self, peer: Peer) -> AsyncIterator[PeerClient]:
        """Get ready to call a peer.

        Raises
        ------
        NotSupportedError
            If our certificate is on a smart card.
        RemoteError
            If a certificate cannot be read, or the address cannot be used.
        """
        if peer.uses_pkcs11:
            raise NotSupportedError("certificates on smart cards (Pkcs11) are not supported")
        async with await self.workers.run(self._build_client, peer) as client:
            yield client

    def _build_client(self, peer: Peer) -> PeerClient:
        """Read certificates and, for the first client, the libraries; blocks for some 150 ms."""
        load_libraries()
        context = None
        if peer.url.startswith("https:"):
            try:
                context = self.build_trust(peer)
            except ConfigurationError as error:
                raise RemoteError(error.details) from error
        timeout_s = peer.timeout_s or self.timeout_s
        target = PeerTarget(
            peer.url,
            (peer.username, peer.password) if peer.username else None,
            peer.http_headers,
            timeout_s or None,
            self.proxy,
            context,
            self.is_verbose,
        )
        return PeerClient(target)

    def build_trust(self, peer: Peer) -> ssl.SSLContext:
        """Read the certificates for calls of a peer; blocks.

        Raises
        ------
        ConfigurationError
            If one cannot be read.
        """
        certificate = None
        if peer.certificate_file:
            key_file = (
                self.folder / peer.certificate_key_file if peer.certificate_key_file else None
            )
            certificate = OwnCertificate(
                self.folder / peer.certificate_file, key_file, peer.certificate_key_password
            )
        return build_trust(
            is_verified=self.is_verified, authorities=self.authorities, certificate=certificate
        )


def build_peer_calling(configuration: Configuration, workers: Workers) -> PeerCalling:
    """Read from the configuration how to call peers, and try the certificates of all it names.

    Raises
    ------
    ConfigurationError
        If one cannot be read, or the proxy is wrong.
    """
    proxy = configuration.text("HttpProxy")
    calling = PeerCalling(
        workers,
        configuration.integer("HttpTimeout"),
        check_proxy(proxy) if proxy else "",
        configuration.boolean("HttpsVerifyPeers"),
        configuration.lookup_path("HttpsCACertificates"),
        configuration.folder,
        configuration.boolean("HttpVerbose"),
    )
    if calling.authorities is not None:
        calling.build_trust(Peer("https://localhost/"))
    for name, peer in configuration.peers.items():
        if peer.certificate_file:
            try:
                calling.build_trust(peer)
            except ConfigurationError as error:
                message = f'option "OrthancPeers": "{name}": {error.details}'
                raise ConfigurationError(message) from error
    return calling
