"""Requests that offer another protocol, of which we speak none."""

from collections.abc import Iterable, Iterator

__all__ = ["format_without_upgrade"]

_CONNECTION = b"connection"
_OFFERING = frozenset({b"upgrade", b"http2-settings"})


def format_without_upgrade(
    method: bytes, target: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]
) -> bytes:
    """Write the head of a request, the offer left out.

    Parameters
    ----------
    headers
        As parsed, names in small letters.

    References
    ----------
    RFC 9110 §7.8; RFC 7540 §3.2, by which the HTTP client of Java offers HTTP/2 with its first
    request on each connection
    """
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode())]
    lines += [b"%b: %b" % header for header in _iter_kept(headers)]
    return b"\r\n".join([*lines, b"", b""])


def _iter_kept(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers:
        if name == _CONNECTION:
            options = [option.strip() for option in value.split(b",")]
            kept = [option for option in options if option.lower() not in _OFFERING]
            if kept:
                yield name, b", ".join(kept)
        elif name not in _OFFERING:
            yield name, value
