"""Whole GET requests that are so plain that two patterns read them, without the parser's callbacks.

References
----------
RFC 9112 §3, §5; RFC 9110 §5.6.2, §7.6.1
"""

import re

__all__ = ["parse_plain_read"]

# Whatever is written otherwise, though it may be valid, is left to the parser.
_REQUEST = re.compile(
    rb"GET (/[!-~]*) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)*)\r\n"
)
# A connection that is to end, or to become something else, is left to it as well.
_CONNECTION = b"connection"
_KEEP_ALIVE = b"keep-alive"


def parse_plain_read(data: bytes) -> tuple[bytes, dict[bytes, bytes]] | None:
    """Read one whole GET request without a body whose connection is kept.

    Returns
    -------
    tuple or None
        Target, and headers by name in small letters; ``None`` if it is anything else, or if a
        header is repeated.
    """
    match = _REQUEST.fullmatch(data)
    if match is None:
        return None
    headers = {}
    lines = match[2].split(b"\r\n")
    for line in lines[:-1]:
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip(b" \t")
    if len(headers) < len(lines) - 1:
        return None
    if headers.get(_CONNECTION, _KEEP_ALIVE).lower() != _KEEP_ALIVE:
        return None
    return match[1], headers
