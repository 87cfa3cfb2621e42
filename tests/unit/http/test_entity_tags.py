from typing import cast

import pytest

from isocenter.errors import BadParameterError
from isocenter.http.entity_tags import get_expected_tag, has_entity_tag, is_unchanged
from isocenter.http.exchange import DirectRequest, DirectResponse, Request

MD5 = "900150983cd24fb0d6963f7d28e17f72"


def build_request(**headers: str) -> Request:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return cast(Request, DirectRequest("/", "", headers=named, remote_addr=""))


@pytest.mark.parametrize(
    ("header", "tag"),
    [
        (f'"0-{MD5}"', f"0-{MD5}"),
        (f"0-{MD5}", f"0-{MD5}"),
        (f'  "12-{MD5}" ', f"12-{MD5}"),
        ("0-", "0-"),
        ('"7-other"', "7-other"),
        ("7-a-b", "7-a-b"),
    ],
)
def test_expected_tag_is_read_with_or_without_quotes(header: str, tag: str) -> None:
    assert get_expected_tag(build_request(if_match=header)) == tag


@pytest.mark.parametrize(
    "header",
    [
        "",
        "*",
        '""',
        "-",
        f"-{MD5}",
        f"x-{MD5}",
        f'W/"0-{MD5}"',
        f'"0-{MD5}", "1-{MD5}"',
        f'"0-{MD5}',
        f'0-{MD5}"',
        "٣-a",
        "1" * 20 + "-a",
        "0-" + "a" * 201,
        "0-a b",
    ],
)
def test_expected_tag_of_another_form_is_an_error(header: str) -> None:
    with pytest.raises(BadParameterError):
        get_expected_tag(build_request(if_match=header))


def test_expected_tag_without_a_header_is_nothing() -> None:
    assert get_expected_tag(build_request()) is None


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, False),
        ("", False),
        ('"0-a"', True),
        ("0-a", True),
        ('W/"0-a"', True),
        ('"x", "0-a"', True),
        ("*", True),
        ('"1-a"', False),
        ('"0-a', False),
        ("garbage", False),
    ],
)
def test_entity_tag_is_found_in_lists(header: str | None, expected: bool) -> None:
    assert has_entity_tag(header, "0-a") is expected


def test_unchanged_answers_304_with_the_tag() -> None:
    resp = DirectResponse()
    assert is_unchanged(build_request(if_none_match='"0-a"'), resp, "0-a")
    assert resp.status == 304
    assert not is_unchanged(build_request(if_none_match='"0-a"'), DirectResponse(), "1-a")
