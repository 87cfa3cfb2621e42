"""Certificates for tests of TLS, made by OpenSSL."""

import ssl
import subprocess
from pathlib import Path

from tests.support.requirements import require_program

__all__ = ["build_server_context", "make_certificate"]


def make_certificate(folder: Path) -> None:
    """Make ``certificate.pem`` of 127.0.0.1 and its ``key.pem``; skip the test without OpenSSL."""
    subprocess.run(
        [
            *(require_program("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048"),
            *("-nodes", "-days", "2", "-subj", "/CN=here"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", "key.pem", "-out", "certificate.pem"),
        ],
        check=True,
        capture_output=True,
        cwd=folder,
    )


def build_server_context(folder: Path) -> ssl.SSLContext:
    """Build the context of a server that shows the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context
