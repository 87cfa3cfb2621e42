"""Peers in the forms of the configuration; what everybody may see of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocenter.config.peers import Peer, describe_peer, format_peer, identify_peer, parse_peer
from isocenter.errors import ConfigurationError

FULL: dict[str, Any] = {
    "Url": "HTTPS://archive:8042/sub",
    "Username": "user",
    "Password": "secret-1",
    "HttpHeaders": {"Token": "secret-2"},
    "CertificateFile": "c.pem",
    "CertificateKeyFile": "k.pem",
    "CertificateKeyPassword": "secret-3",
    "Pkcs11": False,
    "Timeout": 3,
    "RemoteSelf": "us",
    "Number": 5,
}


def test_list_and_object_mean_the_same() -> None:
    parsed = parse_peer(["http://host:8042", "user", "word"])
    assert parsed == parse_peer(
        {"Url": "http://host:8042/", "Username": "user", "Password": "word"}
    )
    assert parsed == Peer("http://host:8042/", "user", "word")
    assert parse_peer(["http://host/"]) == Peer("http://host/")


def test_what_everybody_sees_holds_no_secret() -> None:
    peer = parse_peer(FULL)
    assert describe_peer(peer) == {
        "Url": "https://archive:8042/sub/",
        "Username": "user",
        "Password": None,
        "HttpHeaders": ["Token"],
        "CertificateFile": "c.pem",
        "CertificateKeyFile": "k.pem",
        "CertificateKeyPassword": None,
        "Pkcs11": False,
        "Timeout": 3,
        "RemoteSelf": "us",
        "Number": "5",
    }
    for shown in (repr(peer), json.dumps(identify_peer(peer)), json.dumps(describe_peer(peer))):
        assert "secret" not in shown


def test_database_keeps_all() -> None:
    peer = parse_peer(FULL)
    assert parse_peer(json.loads(json.dumps(format_peer(peer)))) == peer


def test_credentials_leave_the_address() -> None:
    peer = parse_peer(["http://us%40er:p%3Aw@host/a"])
    assert peer == Peer("http://host/a/", "us@er", "p:w")
    assert parse_peer(["http://a:b@host/", "user", "word"]) == Peer("http://host/", "user", "word")


def test_job_shows_the_short_form_if_that_is_all() -> None:
    assert identify_peer(parse_peer(["http://h/"])) == ["http://h/"]
    assert identify_peer(parse_peer(["http://h/", "u", "p"])) == ["http://h/", "u", ""]
    assert identify_peer(parse_peer({"Url": "http://h", "Timeout": 4}))["Timeout"] == 4


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (5, "must be a list or an object"),
        ([], "must have one item or three"),
        (["http://h/", "user"], "must have one item or three"),
        ({}, "lacks Url"),
        (["h:8042"], "Url must be address"),
        (["http://h/?a"], "Url must be address"),
        (["http://h:port/"], "Url is no address"),
        (["http:///a"], "Url names no host"),
        (["http://[::1/"], "Url is no address"),
        (["http://h/", "a:b", "c"], "colon"),
        (["http://h/", "a\nb", "c"], "Username"),
        ({"Url": "http://h/", "Timeout": "4"}, "Timeout must be"),
        ({"Url": "http://h/", "Password": 5}, "Password must be"),
        ({"Url": "http://h/", "HttpHeaders": {"a": 1}}, "HttpHeaders"),
        ({"Url": "http://h/", "HttpHeaders": {"a b": "c"}}, "cannot be set"),
        ({"Url": "http://h/", "HttpHeaders": {"Content-Length": "1"}}, "cannot be set"),
        ({"Url": "http://h/", "HttpHeaders": {"a": "b\r\nc: d"}}, "HttpHeaders"),
        ({"Url": "http://h/", "Own": []}, "Own must be"),
        ({"Url": "http://h/", **{str(n): "" for n in range(200)}}, "100 entries"),
    ],
)
def test_wrong_peer_is_refused_with_the_reason(value: object, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        parse_peer(value)


def test_reason_does_not_repeat_a_password() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_peer(["http://h/", "u", "secret\n"])
    assert "secret" not in str(caught.value)


TEXTS = st.text(max_size=30)
NAMES = st.sampled_from(list(FULL)) | TEXTS
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
ADDRESSES = st.builds("http{}".format, TEXTS) | st.builds("http://{}".format, TEXTS)


@given(VALUES | st.dictionaries(NAMES, VALUES | ADDRESSES) | st.lists(ADDRESSES, max_size=3))
def test_any_json_is_a_peer_that_can_be_written_or_refused(value: object) -> None:
    try:
        peer = parse_peer(value)
    except ConfigurationError:
        return
    assert parse_peer(json.loads(json.dumps(format_peer(peer)))) == peer
