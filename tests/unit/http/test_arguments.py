"""Query arguments and small bodies."""

import pytest
from falcon.testing import create_asgi_req

from isocenter.errors import BadParameterError, BodyTooLargeError, ParameterTypeError
from isocenter.http.arguments import get_flag, get_natural, read_body
from isocenter.http.exchange import DirectRequest, Request


def build_request(query: str) -> Request:
    return DirectRequest("/", query, headers={}, remote_addr="127.0.0.1")


FLAGS = {
    "": None,
    "y=1": None,
    "X=1": None,
    "x": True,
    "x=": True,
    "x=1": True,
    "x=true": True,
    "x=0": False,
    "x=false": False,
}
NO_NUMBERS = ["-", "--1", "+1", "1.0", "1e3", "0x10", "%20", "1%20", "%C2%B2", "%D9%A3", "1&x=2"]


@pytest.mark.parametrize(("query", "expected"), FLAGS.items())
def test_flag_is_true_when_present(query: str, expected: bool | None) -> None:
    for default in (True, False):
        flag = get_flag(build_request(query), "x", default=default)
        assert flag == (default if expected is None else expected)


@pytest.mark.parametrize("value", ["True", "yes", "2", "01", "%20", "x&x=1"])
def test_flag_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(BadParameterError, match="'x'"):
        get_flag(build_request(f"x={value}"), "x")


@pytest.mark.parametrize(
    ("value", "expected"), [("0", 0), ("007", 7), ("9223372036854775807", 2**63 - 1)]
)
def test_natural_is_read(value: str, expected: int) -> None:
    assert get_natural(build_request(f"x={value}"), "x") == expected


def test_natural_that_is_absent_is_none() -> None:
    assert get_natural(build_request("y=1"), "x") is None


@pytest.mark.parametrize("value", ["", "9" * 19, "9" * 5000, *NO_NUMBERS])
def test_natural_that_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(ParameterTypeError):
        get_natural(build_request(f"x={value}"), "x")


@pytest.mark.parametrize("value", ["-0", "-1", "-9223372036854775807"])
def test_natural_below_zero_is_refused(value: str) -> None:
    with pytest.raises(BadParameterError):
        get_natural(build_request(f"x={value}"), "x")


async def test_body_up_to_the_limit_is_read() -> None:
    assert await read_body(create_asgi_req(body=b"12345"), limit=5) == b"12345"
    assert await read_body(create_asgi_req(body=b""), limit=5) == b""


async def test_body_over_the_limit_is_refused_announced_or_not() -> None:
    announced = create_asgi_req(body=b"", headers={"Content-Length": "6"})
    silent = create_asgi_req(body=b"123456", headers={"Transfer-Encoding": "chunked"})
    for request in (announced, silent):
        with pytest.raises(BodyTooLargeError):
            await read_body(request, limit=5)
