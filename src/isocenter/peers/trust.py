"""TLS towards peers: whose certificates are believed, and which is ours.

References
----------
Orthanc configuration: ``HttpsVerifyPeers``, ``HttpsCACertificates`` (behaviour manual §27, §38)
"""

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from isocenter.errors import ConfigurationError

__all__ = ["OwnCertificate", "build_trust"]


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """What we show to a peer that asks who we are.

    Attributes
    ----------
    key_file
        ``None`` if the certificate's file holds the key, too.
    """

    file: Path
    key_file: Path | None = None
    key_password: str = field(default="", repr=False)


def build_trust(
    *, is_verified: bool, authorities: Path | None, certificate: OwnCertificate | None
) -> ssl.SSLContext:
    """Build the context of connections; reads files, so it blocks for some 20 ms.

    Parameters
    ----------
    is_verified
        False to believe everybody.
    authorities
        PEM file of those who are believed; ``None`` for those of the system.

    Raises
    ------
    ConfigurationError
        If a file cannot be read; ``details`` names it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authorities is None:
        context.load_default_certs()
    else:
        _load_authorities(context, authorities)
    if certificate is not None:
        _load_certificate(context, certificate)
    return context


def _load_authorities(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(authorities)
    except (OSError, ssl.SSLError) as error:
        message = f"HttpsCACertificates: {authorities} cannot be read: {error}"
        raise ConfigurationError(message) from error


def _load_certificate(context: ssl.SSLContext, certificate: OwnCertificate) -> None:
    try:
        # With a function OpenSSL never asks a terminal.
        context.load_cert_chain(
            certificate.file, certificate.key_file, lambda: certificate.key_password
        )
    except (OSError, ssl.SSLError, ValueError) as error:
        message = f"CertificateFile: {certificate.file} or its key cannot be read: {error}"
        raise ConfigurationError(message) from error
