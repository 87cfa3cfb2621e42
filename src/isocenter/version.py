"""The version of this software, kept in one place, and those of the libraries that it stands on."""

import platform
import ssl
from importlib import metadata

__all__ = ["__version__", "read_library_versions"]

__version__ = "0.1.0"

_LIBRARIES = (
    "apsw",
    "falcon",
    "httptools",
    "isal",
    "msgspec",
    "psycopg",
    "pydicom",
    "uvicorn",
    "uvloop",
)


def read_library_versions() -> dict[str, str]:
    """Tell the versions of Python, OpenSSL and the main libraries, by name. Reads files."""
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    return {
        **versions,
        "openssl": ssl.OPENSSL_VERSION.split()[1],
        "python": platform.python_version(),
    }
