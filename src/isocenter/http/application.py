"""From a table of routes to a Falcon application."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import falcon
from falcon.asgi import Request, Response

from isocenter.errors import NotSupportedError, ServerError
from isocenter.http.answers import answer_json
from isocenter.http.bodies import Application
from isocenter.http.error_answers import ErrorAnswers, NotFound
from isocenter.http.routes import Route, list_children, list_directories

__all__ = ["build_application"]

_MOST_PARTS = 100_000
_REST = "{path}"
_SLASHES = re.compile("/+")
_OVERRIDING = {"put": "PUT", "delete": "DELETE"}


class Leniency:
    """Makes of what clients send what they mean; a Falcon middleware.

    Repeated slashes count once, and limited clients may send PUT and DELETE as GET or POST.

    References
    ----------
    Orthanc REST: method override (behaviour manual §2.1); slashes as measured
    """

    async def process_request(self, req: Request, _: Response) -> None:
        """Replace path and method before the request is routed."""
        # Falcon has taken away one slash at the end.
        if "//" in req.path or req.path.endswith("/"):
            req.path = _SLASHES.sub("/", req.path).rstrip("/") or "/"
        wanted = req.get_header("X-HTTP-Method-Override")
        if wanted is None and req.method == "GET" and req.query_string:
            wanted = req.get_param("_method")
        if wanted is None:
            return
        method = _OVERRIDING.get(wanted.lower())
        if method is None:
            raise falcon.HTTPBadRequest
        req.method = method


def build_application(
    routes: Sequence[Route],
    services: Any,
    *,
    middleware: Sequence[Any],
    errors: ErrorAnswers,
    unserved: Mapping[str, str] | None = None,
) -> Application:
    """Build the application that answers a table of routes.

    Parameters
    ----------
    routes
        The table.
    services
        First argument of every responder.
    middleware
        Falcon middleware, outermost first.
    errors
        Writes error answers.
    unserved
        Templates of paths that are known but not served, with the reason to answer.
    """
    app = Application(middleware=[*middleware, Leniency()])
    app.req_options.strip_url_path_trailing_slash = True
    app.req_options.keep_blank_qs_values = True
    # Parts are streamed, and the time and the size of the whole are limited elsewhere.
    multipart = app.req_options.media_handlers[falcon.MEDIA_MULTIPART]
    multipart.parse_options.max_body_part_count = _MOST_PARTS  # type: ignore[attr-defined]
    app.resp_options.default_media_type = "text/plain"
    _add_error_handlers(app, errors)
    for path, reason in (unserved or {}).items():
        app.add_route(_build_template(path), _Unserved(reason))
    for path, responders in _group(routes).items():
        app.add_route(_build_template(path), _Resource(responders, services))
    for directory in list_directories(routes):
        app.add_route(directory, _Directory(list_children(routes, directory)))
    return app


def _add_error_handlers(app: Application, answers: ErrorAnswers) -> None:
    app.add_error_handler(Exception, answers.answer_bug)
    app.add_error_handler(falcon.HTTPError, answers.answer_http_error)
    app.add_error_handler(ServerError, answers.answer_server_error)
    app.add_error_handler(NotFound, answers.answer_not_found)


def _build_template(path: str) -> str:
    """Write a path for Falcon: the last parameter takes the rest of it if its name is ``path``."""
    return f"{path.removesuffix(_REST)}{{path:path}}" if path.endswith(_REST) else path


def _group(routes: Sequence[Route]) -> dict[str, list[Route]]:
    grouped: dict[str, list[Route]] = defaultdict(list)
    for route in routes:
        grouped[route.path].append(route)
    return grouped


class _Resource:
    """What Falcon wants for a path: one attribute per method."""

    def __init__(self, routes: Sequence[Route], services: Any) -> None:
        for route in routes:
            responder = partial(route.responder, services)
            setattr(self, f"on_{route.method.lower()}", responder)
            if route.method == "GET":
                self.on_head = responder


class _Directory:
    """Answers the names below a path that has no answer of its own."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    async def on_get(self, _: Request, resp: Response, **__: str) -> None:
        answer_json(resp, self._names)

    async def on_head(self, _: Request, resp: Response, **__: str) -> None:
        answer_json(resp, self._names)


class _Unserved:
    """Answers why a path of Orthanc's interface has nothing behind it."""

    def __init__(self, reason: str) -> None:
        self._reason = reason
        self.on_head = self.on_post = self.on_put = self.on_delete = self.on_get

    async def on_get(self, _: Request, __: Response, **___: str) -> None:
        raise NotSupportedError(self._reason)
