"""TLS contexts from the configuration."""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from isocenter.config.configuration import Configuration
from isocenter.errors import ConfigurationError

__all__ = ["build_calling_tls", "build_dicom_tls", "build_http_tls"]

# Numbers of the options for the lowest version; older protocols are broken and not offered.
_VERSIONS = {5: ssl.TLSVersion.TLSv1_3}


def build_http_tls(configuration: Configuration) -> ssl.SSLContext | None:
    """Build the context of the HTTPS server, or ``None`` if it is off.

    Raises
    ------
    ConfigurationError
        If a certificate cannot be read.

    References
    ----------
    Orthanc configuration: ``SslEnabled`` and its options (behaviour manual §38)
    """
    if not configuration.boolean("SslEnabled"):
        return None
    context = _build_context(configuration.integer("SslMinimumProtocolVersion"))
    with _naming_options("HTTPS", "SslCertificate"):
        context.load_cert_chain(configuration.path("SslCertificate"))
        if configuration.boolean("SslVerifyPeers"):
            context.load_verify_locations(configuration.path("SslTrustedClientCertificates"))
            context.verify_mode = ssl.CERT_REQUIRED
        _set_ciphers(context, configuration.texts("SslCiphersAccepted"))
    return context


def build_dicom_tls(configuration: Configuration) -> ssl.SSLContext | None:
    """Build the context of the DICOM server, or ``None`` if it listens in the clear.

    Raises
    ------
    ConfigurationError
        If a certificate is missing or cannot be read.

    References
    ----------
    PS3.15 Annex B; Orthanc configuration: ``DicomTlsEnabled`` and its options
    """
    if not configuration.boolean("DicomTlsEnabled"):
        return None
    context = _build_context(configuration.integer("DicomTlsMinimumProtocolVersion"))
    certificate = _get_path(configuration, "DicomTlsCertificate")
    key = _get_path(configuration, "DicomTlsPrivateKey")
    trusted = configuration.lookup_path("DicomTlsTrustedCertificates")
    is_required = configuration.boolean("DicomTlsRemoteCertificateRequired")
    if trusted is None and is_required:
        message = (
            "DicomTlsTrustedCertificates is needed to check the certificates of callers; set it, "
            "or set DicomTlsRemoteCertificateRequired to false"
        )
        raise ConfigurationError(message)
    with _naming_options("DICOM over TLS", "DicomTlsCertificate"):
        context.load_cert_chain(certificate, key)
        if trusted is not None:
            context.load_verify_locations(trusted)
            context.verify_mode = ssl.CERT_REQUIRED if is_required else ssl.CERT_OPTIONAL
        _set_ciphers(context, configuration.texts("DicomTlsCiphersAccepted"))
    return context


def build_calling_tls(configuration: Configuration) -> ssl.SSLContext | None:
    """Build the context for calling remote modalities; ``None`` if no certificates are trusted.

    As in other DICOM software the certificate of the other side is checked, not its host name.

    Raises
    ------
    ConfigurationError
        If a certificate cannot be read.

    References
    ----------
    PS3.15 Annex B; Orthanc configuration: ``UseDicomTls`` of a modality (behaviour manual §23.1)
    """
    trusted = configuration.lookup_path("DicomTlsTrustedCertificates")
    if trusted is None:
        return None
    context = _build_context(
        configuration.integer("DicomTlsMinimumProtocolVersion"), ssl.PROTOCOL_TLS_CLIENT
    )
    certificate = configuration.lookup_path("DicomTlsCertificate")
    with _naming_options("DICOM over TLS", "DicomTlsTrustedCertificates"):
        context.check_hostname = False
        context.load_verify_locations(trusted)
        if certificate is not None:
            context.load_cert_chain(certificate, configuration.lookup_path("DicomTlsPrivateKey"))
        _set_ciphers(context, configuration.texts("DicomTlsCiphersAccepted"))
    return context


def _build_context(minimum_version: int, protocol: int = ssl.PROTOCOL_TLS_SERVER) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = _VERSIONS.get(minimum_version, ssl.TLSVersion.TLSv1_2)
    return context


def _get_path(configuration: Configuration, name: str) -> Path:
    path = configuration.lookup_path(name)
    if path is None:
        raise ConfigurationError(f"{name} is needed, because DicomTlsEnabled is true")
    return path


def _set_ciphers(context: ssl.SSLContext, ciphers: Sequence[str]) -> None:
    if ciphers:
        context.set_ciphers(":".join(ciphers))


@contextmanager
def _naming_options(what: str, option: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ssl.SSLError) as error:
        message = f"cannot set up {what}: {error}; check {option} and the options beside it"
        raise ConfigurationError(message) from error
