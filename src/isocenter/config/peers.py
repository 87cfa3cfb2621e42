"""Peers (remote servers with this REST API) as configuration and clients write them.

Two forms are understood: the list ``["url"]`` or ``["url", "user", "password"]``, and the object
form, which can say more.

References
----------
Orthanc REST: ``OrthancPeers``, PUT /peers/{id} (behaviour manual §27)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from isocenter.config.values import (
    BooleanKind,
    CustomKind,
    IntegerKind,
    Kind,
    MapKind,
    TextKind,
    check_text,
)
from isocenter.errors import ConfigurationError

__all__ = ["Peer", "describe_peer", "format_peer", "identify_peer", "parse_peer"]

_LONGEST_TEXT = 4096
_MOST_ENTRIES = 100
_LONGEST_TIMEOUT_S = 86_400
_LIST_FORM = ("Url", "Username", "Password")
# RFC 9110 §5.6.2 (names) and §5.5 (values, here without anything but printable ASCII).
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_HEADER_VALUE = TextKind(
    re.compile(rf"[\x20-\x7e]{{0,{_LONGEST_TEXT}}}"), "text of printable ASCII"
)
# They say where a request ends, which is not for a configuration to decide.
_FRAMING = {
    "connection",
    "content-encoding",
    "content-length",
    "te",
    "transfer-encoding",
    "upgrade",
}
_TEXT = TextKind(re.compile(rf"[^\r\n]{{0,{_LONGEST_TEXT}}}"), "text of one line")
_URL = TextKind(
    re.compile(rf"https?://[^\s?#]{{1,{_LONGEST_TEXT}}}", re.IGNORECASE),
    "address starting with http or https, without ? and #",
)


def _check_headers(value: object) -> dict[str, str]:
    headers = MapKind(_HEADER_VALUE).check(value)
    for name in headers:
        if _HEADER_NAME.fullmatch(name) is None or name.lower() in _FRAMING:
            raise ConfigurationError(f"holds {name[:64]!r}, which cannot be set")
    if len(headers) > _MOST_ENTRIES:
        raise ConfigurationError(f"may hold {_MOST_ENTRIES} headers")
    return dict(headers)


_OBJECT_FORM: dict[str, tuple[str, Kind]] = {
    "Url": ("url", _URL),
    "Username": ("username", _TEXT),
    "Password": ("password", _TEXT),
    "HttpHeaders": ("http_headers", CustomKind("object of texts", _check_headers)),
    "CertificateFile": ("certificate_file", _TEXT),
    "CertificateKeyFile": ("certificate_key_file", _TEXT),
    "CertificateKeyPassword": ("certificate_key_password", _TEXT),
    "Pkcs11": ("uses_pkcs11", BooleanKind()),
    "Timeout": ("timeout_s", IntegerKind(0, _LONGEST_TIMEOUT_S)),
}
_SECRETS = ("Password", "CertificateKeyPassword")


@dataclass(frozen=True, slots=True)
class Peer:
    """A server with this REST API that we call.

    Attributes
    ----------
    url
        Ends with a slash; holds no credentials.
    username
        Empty if it asks for none.
    http_headers
        Sent with each request.
    certificate_file, certificate_key_file, certificate_key_password
        Of ours, where it asks for one; empty if not.
    uses_pkcs11
        Our certificate is on a smart card.
    timeout_s
        0 for the option ``HttpTimeout``.
    others
        Entries that only plugins understand.
    """

    url: str
    username: str = ""
    # It never appears in logs by way of repr(), nor do the others.
    password: str = field(default="", repr=False)
    http_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    certificate_file: str = ""
    certificate_key_file: str = ""
    certificate_key_password: str = field(default="", repr=False)
    uses_pkcs11: bool = False
    timeout_s: int = 0
    others: Mapping[str, str] = field(default_factory=dict)


def parse_peer(value: object) -> Peer:
    """Read a peer in its list or object form.

    Raises
    ------
    ConfigurationError
        If it is neither form, lacks its address, or an entry is wrong; ``details`` is the reason
        alone, and never holds the value.
    """
    attributes: dict[str, Any] = {}
    others: dict[str, str] = {}
    for name, entry in _list_entries(value).items():
        if name not in _OBJECT_FORM:
            others[check_text(name)] = _format_own(name, entry)
            continue
        attribute, kind = _OBJECT_FORM[name]
        try:
            attributes[attribute] = kind.check(entry)
        except ConfigurationError as error:
            raise ConfigurationError(f"{name} {error.details}") from None
    peer = _split_url(Peer(**attributes, others=others))
    if ":" in peer.username:
        # RFC 7617 §2: what follows would belong to the password.
        raise ConfigurationError("Username must not hold a colon")
    return peer


def _list_entries(value: object) -> Mapping[str, object]:
    if isinstance(value, list | tuple):
        if len(value) not in {1, 3}:
            raise ConfigurationError("must have one item or three: url, user, password")
        return dict(zip(_LIST_FORM, value, strict=False))
    if not isinstance(value, Mapping):
        raise ConfigurationError("must be a list or an object")
    if "Url" not in value:
        raise ConfigurationError("lacks Url")
    if len(value) > _MOST_ENTRIES:
        raise ConfigurationError(f"may have {_MOST_ENTRIES} entries")
    return value


def _format_own(name: str, entry: object) -> str:
    """Accept an entry of a plugin; numbers become text, as in Orthanc (measured on 1.10.1)."""
    if isinstance(entry, bool):
        return "true" if entry else "false"
    if isinstance(entry, int | float):
        return str(entry)
    try:
        return _TEXT.check(entry)
    except ConfigurationError as error:
        raise ConfigurationError(f"{name[:64]} {error.details}") from None


def _split_url(peer: Peer) -> Peer:
    """Take credentials out of the address, which everybody may read, and end it with a slash."""
    try:
        parts = urlsplit(peer.url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError("Url is no address") from None
    if not host:
        raise ConfigurationError("Url names no host")
    _, _, address = parts.netloc.rpartition("@")
    path = parts.path if parts.path.endswith("/") else f"{parts.path}/"
    url = urlunsplit((parts.scheme.lower(), address, path, "", ""))
    username = peer.username or unquote(parts.username or "")
    password = peer.password if peer.username else unquote(parts.password or "") or peer.password
    return Peer(
        url,
        username,
        password,
        peer.http_headers,
        peer.certificate_file,
        peer.certificate_key_file,
        peer.certificate_key_password,
        peer.uses_pkcs11,
        peer.timeout_s,
        peer.others,
    )


def format_peer(peer: Peer) -> dict[str, Any]:
    """Write a peer in its object form, passwords included: for the database alone."""
    form: dict[str, Any] = dict(peer.others)
    for name, (attribute, _) in _OBJECT_FORM.items():
        form[name] = getattr(peer, attribute)
    return form | {"HttpHeaders": dict(peer.http_headers)}


def describe_peer(peer: Peer) -> dict[str, Any]:
    """Write a peer as everybody may see it: names of headers, no passwords.

    References
    ----------
    Orthanc REST: GET /peers/{id}/configuration (behaviour manual §27)
    """
    form: dict[str, Any] = {
        **peer.others,
        "Url": peer.url,
        "HttpHeaders": sorted(peer.http_headers),
        "Pkcs11": peer.uses_pkcs11,
        "Timeout": peer.timeout_s,
    }
    if peer.username:
        form |= {"Username": peer.username, "Password": None}
    if peer.certificate_file:
        form |= {
            "CertificateFile": peer.certificate_file,
            "CertificateKeyFile": peer.certificate_key_file,
            "CertificateKeyPassword": None,
        }
    return form


def identify_peer(peer: Peer) -> Any:
    """Write a peer as jobs show it: the short form if that says all.

    References
    ----------
    Orthanc REST: jobs of the type ``OrthancPeerStore`` (behaviour manual §27, measured on 1.10.1)
    """
    if peer == Peer(peer.url, peer.username, peer.password):
        return [peer.url, peer.username, ""] if peer.username else [peer.url]
    form = {name: value for name, value in describe_peer(peer).items() if name not in _SECRETS}
    # An object as in Orthanc, but without the values, which may be secret.
    return form | {"HttpHeaders": dict.fromkeys(sorted(peer.http_headers), "")}
