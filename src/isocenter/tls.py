"""TLS contexts from the configuration."""

import ssl

from isocenter.config.configuration import Configuration
from isocenter.errors import ConfigurationError

__all__ = ["build_http_tls"]

# Numbers of the option SslMinimumProtocolVersion; older protocols are broken and not offered.
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
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    version = configuration.integer("SslMinimumProtocolVersion")
    context.minimum_version = _VERSIONS.get(version, ssl.TLSVersion.TLSv1_2)
    try:
        context.load_cert_chain(configuration.path("SslCertificate"))
        if configuration.boolean("SslVerifyPeers"):
            context.load_verify_locations(configuration.path("SslTrustedClientCertificates"))
            context.verify_mode = ssl.CERT_REQUIRED
        ciphers = configuration.texts("SslCiphersAccepted")
        if ciphers:
            context.set_ciphers(":".join(ciphers))
    except (OSError, ssl.SSLError) as error:
        message = f"cannot set up HTTPS: {error}; check SslCertificate and the options beside it"
        raise ConfigurationError(message) from error
    return context
