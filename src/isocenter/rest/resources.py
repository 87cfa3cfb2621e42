"""Patients, studies, series and instances: lists, single resources, relatives, deletion."""

from functools import partial
from typing import Any

from isocenter.archive.browse import Page
from isocenter.dicom.json_forms import Shape
from isocenter.dicom.levels import Level
from isocenter.errors import BadRequestError, NotSupportedError, UnknownResourceError
from isocenter.http.answers import answer_json
from isocenter.http.arguments import get_flag, get_natural
from isocenter.http.error_answers import NotFound
from isocenter.http.exchange import Request, Response
from isocenter.http.routes import Permission, Route
from isocenter.rest.arguments import EXPAND, PAGE, SHAPES
from isocenter.rest.resource_json import describe_resource, describe_size
from isocenter.rest.services import Services

__all__ = [
    "ROUTES",
    "delete_resource",
    "get_ancestor",
    "get_resource",
    "get_resource_statistics",
    "get_shape",
    "list_descendants",
    "list_resources",
]


_LATER_ARGUMENTS = ("requested-tags", "requestedTags", "response-content")


def get_shape(req: Request, default: Shape = Shape.HUMAN) -> Shape:
    """Read the arguments ``simplify``, ``short`` and ``full``; the first of them wins.

    References
    ----------
    Orthanc REST: three shapes (behaviour manual §5.1)
    """
    for name, shape in (("simplify", Shape.HUMAN), ("short", Shape.SHORT), ("full", Shape.FULL)):
        if name in req.params and get_flag(req, name):
            return shape
    return default


async def list_resources(services: Services, req: Request, resp: Response, *, level: Level) -> None:
    """Orthanc REST: GET /{level}."""
    _refuse_later_arguments(req)
    is_expanded = get_flag(req, "expand")
    page = _get_page(req)
    browse = services.archive.browse
    if not is_expanded:
        answer_json(resp, await browse.list_public_ids(level, page))
        return
    shape = get_shape(req)
    rows = await browse.list_resources(level, page)
    answer_json(resp, [describe_resource(row, shape) for row in rows])


def _refuse_later_arguments(req: Request) -> None:
    """Say so, rather than answer less than was asked."""
    if not req.query_string:
        return
    for name in _LATER_ARGUMENTS:
        if name in req.params:
            raise NotSupportedError(f"the argument '{name}' is not supported by this version")


def _get_page(req: Request) -> Page:
    if ("since" in req.params) != ("limit" in req.params):
        message = "the arguments 'since' and 'limit' must be given together"
        raise BadRequestError(message)
    return Page(since=get_natural(req, "since") or 0, limit=get_natural(req, "limit") or None)


async def get_resource(
    services: Services, req: Request, resp: Response, public_id: str, *, level: Level
) -> None:
    """Orthanc REST: GET /{level}/{id}."""
    _refuse_later_arguments(req)
    row = await services.archive.browse.lookup(level, public_id)
    if row is None:
        raise NotFound
    shape = get_shape(req) if req.query_string else Shape.HUMAN
    answer_json(resp, describe_resource(row, shape))


async def delete_resource(
    services: Services, _: Request, resp: Response, public_id: str, *, level: Level
) -> None:
    """Orthanc REST: DELETE /{level}/{id}."""
    deletion = await services.archive.deleter.delete(level, public_id)
    if deletion is None:
        raise NotFound
    remaining: dict[str, Any] | None = None
    if deletion.remaining_level is not None:
        remaining = {
            "ID": deletion.remaining_public_id,
            "Path": f"/{deletion.remaining_level.plural}/{deletion.remaining_public_id}",
            "Type": deletion.remaining_level.title,
        }
    answer_json(resp, {"RemainingAncestor": remaining})


async def list_descendants(
    services: Services, req: Request, resp: Response, public_id: str, *, level: Level, below: Level
) -> None:
    """Orthanc REST: GET /{level}/{id}/{deeper level}; objects unless ``expand=false``."""
    browse = services.archive.browse
    ancestor = (level, public_id)
    if not get_flag(req, "expand", default=True):
        public_ids = await browse.find_descendant_ids(ancestor, below)
        if not public_ids:
            raise UnknownResourceError
        answer_json(resp, public_ids)
        return
    shape = get_shape(req)
    rows = await browse.find_descendants(ancestor, below)
    if not rows:
        raise UnknownResourceError
    answer_json(resp, [describe_resource(row, shape) for row in rows])


async def get_ancestor(
    services: Services, req: Request, resp: Response, public_id: str, *, level: Level, above: Level
) -> None:
    """Orthanc REST: GET /{level}/{id}/{level above}."""
    row = await services.archive.browse.lookup_ancestor((level, public_id), above)
    if row is None:
        raise UnknownResourceError
    answer_json(resp, describe_resource(row, get_shape(req)))


async def get_resource_statistics(
    services: Services, _: Request, resp: Response, public_id: str, *, level: Level
) -> None:
    """Orthanc REST: GET /{level}/{id}/statistics; an unknown resource is 404 (quirk 53)."""
    size = await services.archive.browse.measure(level, public_id)
    if size is None:
        raise UnknownResourceError
    answer_json(resp, describe_size(level, size))


def _build_level_routes(level: Level) -> list[Route]:
    one, many = level.title.lower(), level.plural
    path = f"/{many}/{{public_id}}"
    routes = [
        Route(
            "GET",
            f"/{many}",
            partial(list_resources, level=level),
            f"List the identifiers of all {many}, or expanded objects",
            many,
            arguments=(EXPAND, *PAGE, *SHAPES),
            statuses=(200, 400, 501),
            is_immediate=True,
            is_lasting=True,
        ),
        Route(
            "GET",
            path,
            partial(get_resource, level=level),
            f"Describe one {one}: parent, children, main tags, status",
            many,
            arguments=SHAPES,
            statuses=(200, 400, 404, 501),
            is_immediate=True,
            is_lasting=True,
        ),
        Route(
            "DELETE",
            path,
            partial(delete_resource, level=level),
            f"Delete the {one} and everything below it; answers the remaining ancestor",
            many,
            permission=Permission.WRITE,
            statuses=(200, 404),
        ),
        Route(
            "GET",
            f"{path}/statistics",
            partial(get_resource_statistics, level=level),
            f"Sizes and counts of what lies below the {one}",
            many,
            statuses=(200, 404),
        ),
    ]
    return routes + _build_relatives(level, path)


def _build_relatives(level: Level, path: str) -> list[Route]:
    below = [
        Route(
            "GET",
            f"{path}/{deeper.plural}",
            partial(list_descendants, level=level, below=deeper),
            f"Describe the {deeper.plural} below; identifiers only with `expand=false`",
            level.plural,
            arguments=(EXPAND, *SHAPES),
            statuses=(200, 400, 404),
        )
        for deeper in Level
        if deeper > level
    ]
    above = [
        Route(
            "GET",
            f"{path}/{higher.title.lower()}",
            partial(get_ancestor, level=level, above=higher),
            f"Describe the {higher.title.lower()} above",
            level.plural,
            arguments=SHAPES,
            statuses=(200, 400, 404),
            is_immediate=True,
            is_lasting=True,
        )
        for higher in Level
        if higher < level
    ]
    return below + above


ROUTES = tuple(route for level in Level for route in _build_level_routes(level))
