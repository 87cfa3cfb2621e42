"""The light request and answer, compared with Falcon's."""

import os
from http import HTTPStatus
from pathlib import Path

import falcon.asgi
import pytest
from falcon.testing import create_asgi_req

from isocenter.http.exchange import DirectRequest, DirectResponse, FileRange
from isocenter.storage.mapped import MappedFile

_QUERIES = (
    "",
    "expand",
    "expand=",
    "limit=10&since=0",
    "a=1&a=2&a=3",
    "a=1,2,3",
    "name=J%C3%BCrgen+M",
    "a=%zz&=1&&b==",
    "%61=1",
)


def _falcon_request(query: str) -> falcon.asgi.Request:
    options = falcon.RequestOptions()
    options.keep_blank_qs_values = True
    return create_asgi_req(query_string=query, options=options)


def _request(query: str = "", headers: dict[bytes, bytes] | None = None) -> DirectRequest:
    return DirectRequest("/x", query, headers=headers or {}, remote_addr="127.0.0.1")


@pytest.mark.parametrize("query", _QUERIES)
def test_direct_request_params_equal_those_of_falcon(query: str) -> None:
    assert _request(query).params == _falcon_request(query).params


@pytest.mark.parametrize("query", _QUERIES)
def test_direct_request_get_param_equals_that_of_falcon(query: str) -> None:
    theirs = _falcon_request(query)
    for name in ("a", "limit", "name", "absent", ""):
        assert _request(query).get_param(name, default="-") == theirs.get_param(name, default="-")


def test_direct_request_get_header_ignores_case_of_name() -> None:
    request = _request(headers={b"x-thing": b"caf\xe9"})
    assert request.get_header("X-Thing") == "caf\xe9"


def test_direct_request_get_header_absent_returns_default() -> None:
    assert _request().get_header("X-Thing") is None
    assert _request().get_header("X-Thing", default="d") == "d"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({}, "*/*"), ({b"accept": b""}, "*/*"), ({b"accept": b"text/html"}, "text/html")],
)
def test_direct_request_accept_defaults_to_anything(
    headers: dict[bytes, bytes], expected: str
) -> None:
    assert _request(headers=headers).accept == expected


def test_direct_response_format_head_writes_status_and_headers() -> None:
    response = DirectResponse()
    response.data = b"12345"
    response.content_type = "application/json"
    response.set_header("ETag", '"1"')
    assert response.format_head() == (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5\r\n"
        b'etag: "1"\r\n\r\n'
    )


def test_direct_response_format_head_without_media_type_says_text() -> None:
    response = DirectResponse()
    response.data = b""
    assert b"content-type: text/plain\r\n" in response.format_head()


@pytest.mark.parametrize("status", [404, "404 Not Found", 206, HTTPStatus.NOT_MODIFIED])
def test_direct_response_format_head_with_other_status_is_refused(
    status: int | str | HTTPStatus,
) -> None:
    response = DirectResponse()
    response.data = b""
    response.status = status
    with pytest.raises(ValueError, match="plain successes"):
        response.format_head()


def test_direct_response_format_head_without_data_is_refused() -> None:
    with pytest.raises(ValueError, match="plain successes"):
        DirectResponse().format_head()


def test_direct_response_format_head_with_stream_is_refused() -> None:
    response = DirectResponse()
    response.data = b""
    response.stream = object()
    with pytest.raises(ValueError, match="plain successes"):
        response.format_head()


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\0", "\x7f"])
def test_direct_response_set_header_with_control_character_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        DirectResponse().set_header("X-Thing", value)


def test_direct_response_format_head_beyond_latin_1_is_refused() -> None:
    response = DirectResponse()
    response.data = b""
    response.set_header("X-Thing", "Ł")
    with pytest.raises(UnicodeEncodeError):
        response.format_head()


@pytest.mark.parametrize(
    ("status", "code"), [(200, 200), ("404 Not Found", 404), (HTTPStatus.CREATED, 201)]
)
def test_direct_response_status_code_is_a_number(status: int | str | HTTPStatus, code: int) -> None:
    response = DirectResponse()
    response.status = status
    assert response.status_code == code


def test_file_range_read_gives_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")

    assert FileRange(MappedFile(str(path)), 2, 5).read() == b"234"


def test_file_range_read_of_a_file_that_became_shorter_gives_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    part = FileRange(MappedFile(str(path)), 2, 5)
    os.truncate(path, 4)

    assert part.read() is None
