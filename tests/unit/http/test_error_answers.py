"""From errors to HTTP answers."""

import logging
from http import HTTPStatus
from typing import Any

import falcon
import pytest
from falcon.testing import ASGIConductor, Result

from isocenter.errors import (
    ForbiddenError,
    InternalError,
    ReadOnlyError,
    ServerError,
    UnauthorizedError,
    UnknownResourceError,
    leaves,
)
from isocenter.http.application import build_application
from isocenter.http.error_answers import ErrorAnswers, NotFound
from isocenter.http.routes import Route

EMPTY = {401, 403}


async def fail(error: Exception, has_bodies: bool = True, method: str = "GET") -> Result:
    """Answer a request whose responder raises an error."""

    async def respond(*_: Any, **__: str) -> None:
        raise error

    route = Route(method, "/a/{name}", respond, "Fail", "tests")
    application = build_application(
        [route], None, middleware=[], errors=ErrorAnswers(has_bodies=has_bodies)
    )
    async with ASGIConductor(application) as conductor:
        result = await conductor.simulate_request(method, "/a/b", query_string="secret=1")
    assert isinstance(result, Result)
    return result


@pytest.mark.parametrize("error", leaves(), ids=lambda error: error.__name__)
async def test_every_error_is_answered_with_its_status_and_code(error: type[ServerError]) -> None:
    result = await fail(error("a reason"))
    assert result.status_code == error.http_status
    if error.http_status in EMPTY:
        assert result.content == b""
        return
    assert result.json == {
        "Method": "GET",
        "Uri": "/a/b",
        "HttpStatus": error.http_status,
        "HttpError": HTTPStatus(error.http_status).phrase,
        "OrthancStatus": error.code,
        "OrthancError": error.message,
        "Message": error.message,
        "Details": "a reason",
    }
    assert result.headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("error", leaves(), ids=lambda error: error.__name__)
async def test_errors_are_not_described_if_that_is_off(error: type[ServerError]) -> None:
    result = await fail(error("a reason"), has_bodies=False)
    assert (result.status_code, result.content) == (error.http_status, b"")


async def test_error_without_reason_has_no_details() -> None:
    assert "Details" not in (await fail(UnknownResourceError())).json


async def test_payload_is_handed_on() -> None:
    payload = {"Type": "Dimse", "Content": {"DimseErrorStatus": 42752}}
    assert (await fail(ServerError(payload=payload))).json["ErrorPayload"] == payload


async def test_unauthorized_asks_for_basic_credentials() -> None:
    result = await fail(UnauthorizedError())
    assert result.headers["www-authenticate"] == 'Basic realm="Isocenter"'
    assert result.content == b""


@pytest.mark.parametrize("error", [ForbiddenError, ReadOnlyError])
async def test_forbidden_is_empty_and_asks_for_nothing(error: type[ServerError]) -> None:
    result = await fail(error("a reason"))
    assert (result.status_code, result.content) == (403, b"")
    assert "www-authenticate" not in result.headers


async def test_bug_is_answered_without_its_text_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    result = await fail(RuntimeError("DOE^JANE"))
    assert result.status_code == 500
    assert result.json["OrthancStatus"] == -1
    assert "DOE^JANE" not in result.text
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.__dict__["route"] == "/a/{name}"


async def test_internal_error_is_logged_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    await fail(InternalError("broken"))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR


async def test_error_of_the_client_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    await fail(UnknownResourceError())
    assert caplog.records == []


async def test_nothing_found_is_an_empty_404() -> None:
    result = await fail(NotFound())
    assert (result.status_code, result.content) == (404, b"")
    assert result.headers["content-type"] == "text/plain"


async def test_error_of_falcon_is_empty_with_its_headers() -> None:
    result = await fail(falcon.HTTPMethodNotAllowed(["GET", "PUT"]))
    assert (result.status_code, result.content) == (405, b"")
    assert result.headers["allow"] == "GET, PUT"
    result = await fail(falcon.HTTPBadRequest(title="t", description="d"))
    assert (result.status_code, result.content) == (400, b"")
