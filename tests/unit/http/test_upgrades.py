"""Offers of other protocols are left out of a head."""

import pytest

from isocenter.http.upgrades import format_without_upgrade


@pytest.mark.parametrize(
    ("connection", "kept"),
    [
        (b"Upgrade", []),
        (b"upgrade,HTTP2-Settings", []),
        (b"close , Upgrade", [b"connection: close"]),
        (b"keep-alive, x", [b"connection: keep-alive, x"]),
    ],
)
def test_offer_is_left_out_and_all_else_stays(connection: bytes, kept: list[bytes]) -> None:
    headers = [
        (b"host", b"x"),
        (b"connection", connection),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AA"),
        (b"a", b"1"),
        (b"a", b""),
    ]
    head = format_without_upgrade(b"POST", b"/a?b", "1.1", headers)
    lines = [b"POST /a?b HTTP/1.1", b"host: x", *kept, b"a: 1", b"a: ", b"", b""]
    assert head == b"\r\n".join(lines)
