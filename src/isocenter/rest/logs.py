"""How much is logged, as a whole and by category."""

from collections.abc import Collection
from functools import partial

from falcon.asgi import Request, Response

from isocenter.errors import BadParameterError
from isocenter.http.answers import answer_nothing, answer_text
from isocenter.http.arguments import read_text
from isocenter.http.routes import Permission, Route
from isocenter.logs import Category, Verbosity
from isocenter.rest.services import Services

__all__ = ["ROUTES", "get_log_level", "set_log_level"]

_LEVEL = {"type": "string", "enum": list(Verbosity)}


async def get_log_level(
    services: Services, _: Request, resp: Response, *, categories: Collection[Category]
) -> None:
    """Orthanc REST: GET /tools/log-level, /tools/log-level-{category}."""
    answer_text(resp, services.logs.get_verbosity(categories))


async def set_log_level(
    services: Services, req: Request, resp: Response, *, categories: Collection[Category]
) -> None:
    """Orthanc REST: PUT /tools/log-level, /tools/log-level-{category}."""
    text = await read_text(req)
    if text not in set(Verbosity):
        message = 'a level must be "default", "verbose" or "trace"'
        raise BadParameterError(message)
    services.logs.set_verbosity(Verbosity(text), categories)
    answer_nothing(resp)


def _build_routes(path: str, categories: Collection[Category], what: str) -> tuple[Route, Route]:
    return (
        Route(
            "GET",
            path,
            partial(get_log_level, categories=categories),
            f"Tell how much {what} logs: default, verbose or trace",
            "logs",
            answer="text/plain",
        ),
        Route(
            "PUT",
            path,
            partial(set_log_level, categories=categories),
            f"Set how much {what} logs, until the next start",
            "logs",
            permission=Permission.ADMINISTER,
            body="text/plain",
            body_schema=_LEVEL,
            answer="text/plain",
            statuses=(200, 400, 413),
        ),
    )


ROUTES = (
    *_build_routes("/tools/log-level", tuple(Category), "every category"),
    *(
        route
        for category in Category
        for route in _build_routes(
            f"/tools/log-level-{category}", (category,), f"the category {category}"
        )
    ),
)
