"""The one translation from errors to HTTP answers."""

import logging
from http import HTTPStatus
from typing import Any

import falcon
from falcon.asgi import Request, Response

from isocenter.errors import (
    DeadlineExceededError,
    InternalError,
    RemoteError,
    ServerError,
    UnauthorizedError,
    UnknownResourceError,
)
from isocenter.http.answers import JSON, format_json

__all__ = ["ErrorAnswers", "NotFound"]

_log = logging.getLogger(__name__)

REALM = "Isocenter"
# Set before the reading of a file failed, and wrong for the error that is answered instead.
_HEADERS_OF_FILES = ("ETag", "Accept-Ranges", "Content-Disposition")


class NotFound(Exception):  # noqa: N818 - an answer, not a failure
    """A handler found nothing: 404 without a body, 400 on POST (behaviour manual §2.1)."""


class ErrorAnswers:
    """Writes error answers.

    Parameters
    ----------
    has_bodies
        Describe errors as JSON (option ``HttpDescribeErrors``).

    References
    ----------
    Orthanc REST: error answers (behaviour manual §2.3)
    """

    def __init__(self, *, has_bodies: bool) -> None:
        self._has_bodies = has_bodies

    async def answer(self, req: Any, resp: Any, error: Exception) -> None:
        """Answer any error, as Falcon would by the class for which each handler is registered."""
        handler: Any = self.answer_bug
        if isinstance(error, ServerError):
            handler = self.answer_server_error
        elif isinstance(error, NotFound):
            handler = self.answer_not_found
        elif isinstance(error, falcon.HTTPError):
            handler = self.answer_http_error
        await handler(req, resp, error, {})

    async def answer_server_error(
        self, req: Request, resp: Response, error: ServerError, _: dict[str, Any]
    ) -> None:
        """Answer an error of our own tree."""
        if not error.is_logged:
            _log_error(req, error)
        self._write(req, resp, error)

    async def answer_not_found(
        self, req: Request, resp: Response, _: NotFound, __: dict[str, Any]
    ) -> None:
        """Answer that there is nothing."""
        resp.status = falcon.HTTP_400 if req.method == "POST" else falcon.HTTP_404
        _write_nothing(resp)

    async def answer_http_error(
        self, req: Request, resp: Response, error: falcon.HTTPError, _: dict[str, Any]
    ) -> None:
        """Answer what Falcon found wrong: unknown path or method, malformed requests."""
        if isinstance(error, falcon.HTTPNotFound):
            self._write(req, resp, UnknownResourceError())
            return
        resp.status = error.status
        if error.headers:
            resp.set_headers(error.headers)
        _write_nothing(resp)

    async def answer_bug(
        self, req: Request, resp: Response, error: Exception, _: dict[str, Any]
    ) -> None:
        """Answer an unexpected error; its text stays in the log."""
        _log.error("unexpected error", exc_info=error, extra={"route": req.uri_template})
        self._write(req, resp, InternalError())

    def _write(self, req: Request, resp: Response, error: ServerError) -> None:
        resp.status = error.http_status
        for name in _HEADERS_OF_FILES:
            resp.delete_header(name)
        if isinstance(error, UnauthorizedError):
            resp.set_header("WWW-Authenticate", f'Basic realm="{REALM}"')
        if not self._has_bodies or error.http_status in {401, 403}:
            _write_nothing(resp)
            return
        resp.content_type = JSON
        resp.data = format_json(_describe(req, error))


def _log_error(req: Request, error: ServerError) -> None:
    """Tell of bugs, and of remote systems that fail: nobody else knows what they were asked for."""
    if isinstance(error, InternalError):
        _log.error("internal error", exc_info=error, extra={"route": req.uri_template})
    elif isinstance(error, RemoteError) or type(error) is DeadlineExceededError:
        _log.warning(
            "a request has failed",
            extra={
                "route": req.uri_template,
                "code": error.code,
                "reason": error.details or error.message,
            },
        )


def _write_nothing(resp: Response) -> None:
    resp.content_type = "text/plain"
    resp.data = b""
    resp.text = None
    resp.media = None


def _describe(req: Request, error: ServerError) -> dict[str, Any]:
    description: dict[str, Any] = {
        "Method": req.method,
        "Uri": req.path,
        "HttpStatus": error.http_status,
        "HttpError": HTTPStatus(error.http_status).phrase,
        "OrthancStatus": error.code,
        "OrthancError": error.message,
        "Message": error.message,
    }
    if error.details:
        description["Details"] = error.details
    if error.payload is not None:
        description["ErrorPayload"] = error.payload
    return description
