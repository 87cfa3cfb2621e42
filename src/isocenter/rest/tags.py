"""Tags as JSON: of an instance, of the module of a level, of all instances below a resource."""

from functools import partial

from isocenter.archive.tags import TagsRequest
from isocenter.dicom.json_forms import Shape
from isocenter.dicom.levels import Level
from isocenter.dicom.tags import TagDictionary
from isocenter.errors import BadParameterError, UnknownResourceError
from isocenter.http.answers import JSON, answer_nothing
from isocenter.http.arguments import get_flag
from isocenter.http.exchange import Request, Response
from isocenter.http.pieces import answer_pieces
from isocenter.http.routes import Permission, Route
from isocenter.rest.arguments import IGNORE_LENGTH, SHAPES, WHOLE
from isocenter.rest.resources import get_shape
from isocenter.rest.services import Services

__all__ = [
    "ROUTES",
    "get_header",
    "get_instances_tags",
    "get_module",
    "get_shared_tags",
    "get_simplified_tags",
    "get_tags",
    "invalidate_tags",
]

_LONGEST_IGNORE_LENGTH = 1000


async def get_tags(services: Services, req: Request, resp: Response, public_id: str) -> None:
    """Orthanc REST: GET /instances/{id}/tags."""
    await _answer_tags(services, req, resp, public_id, get_shape(req, Shape.FULL))


async def get_simplified_tags(
    services: Services, req: Request, resp: Response, public_id: str
) -> None:
    """Orthanc REST: GET /instances/{id}/simplified-tags."""
    await _answer_tags(services, req, resp, public_id, Shape.HUMAN)


async def _answer_tags(
    services: Services, req: Request, resp: Response, public_id: str, shape: Shape
) -> None:
    request = _read_request(req, services.archive.dictionary, shape)
    _answer(resp, await services.archive.tags.lookup_tags(public_id, request))


async def get_header(services: Services, req: Request, resp: Response, public_id: str) -> None:
    """Orthanc REST: GET /instances/{id}/header."""
    shape = get_shape(req, Shape.FULL)
    _answer(resp, await services.archive.tags.lookup_header(public_id, shape))


async def get_module(
    services: Services, req: Request, resp: Response, public_id: str, *, level: Level, module: Level
) -> None:
    """Orthanc REST: GET /{level}/{id}/module, /studies/{id}/module-patient."""
    request = _read_request(req, services.archive.dictionary)
    document = await services.archive.tags.lookup_module((level, public_id), module, request)
    _answer(resp, document)


async def get_shared_tags(
    services: Services, req: Request, resp: Response, public_id: str, *, level: Level
) -> None:
    """Orthanc REST: GET /{level}/{id}/shared-tags."""
    request = _read_request(req, services.archive.dictionary)
    document = await services.archive.tags_below.lookup_shared_tags(level, public_id, request)
    _answer(resp, document)


async def get_instances_tags(
    services: Services, req: Request, resp: Response, public_id: str, *, level: Level
) -> None:
    """Orthanc REST: GET /{level}/{id}/instances-tags; streamed."""
    request = _read_request(req, services.archive.dictionary)
    pieces = services.archive.tags_below.iter_instances_tags(level, public_id, request)
    if not await answer_pieces(req, resp, pieces, media_type=JSON):
        raise UnknownResourceError


async def invalidate_tags(services: Services, _: Request, resp: Response) -> None:
    """Orthanc REST: POST /tools/invalidate-tags."""
    services.archive.tags.forget()
    answer_nothing(resp)


def _answer(resp: Response, document: bytes | None) -> None:
    if document is None:
        raise UnknownResourceError
    resp.content_type = JSON
    resp.data = document


def _read_request(
    req: Request, dictionary: TagDictionary, shape: Shape | None = None
) -> TagsRequest:
    """Read the arguments that ask for a shape; ``shape`` goes before them."""
    return TagsRequest(
        shape=shape or get_shape(req, Shape.FULL),
        ignore_length=_get_ignore_length(req, dictionary),
        is_whole=get_flag(req, "whole"),
    )


def _get_ignore_length(req: Request, dictionary: TagDictionary) -> frozenset[int]:
    text = req.get_param("ignore-length") or ""
    names = [name for name in text.split(",") if name.strip()]
    if len(names) > _LONGEST_IGNORE_LENGTH:
        raise BadParameterError(f"'ignore-length' may list {_LONGEST_IGNORE_LENGTH} tags at most")
    return frozenset(dictionary.parse_tag(name) for name in names)


def _build_instance_routes() -> list[Route]:
    return [
        Route(
            "GET",
            f"/instances/{{public_id}}/{name}",
            responder,
            summary,
            "instances",
            arguments=arguments,
            statuses=(200, 400, 404),
            is_immediate=True,
            is_lasting=True,
        )
        for name, responder, summary, arguments in (
            (
                "tags",
                get_tags,
                "All tags of the instance as JSON",
                (*SHAPES, IGNORE_LENGTH, WHOLE),
            ),
            (
                "simplified-tags",
                get_simplified_tags,
                "All tags of the instance as JSON, by name",
                (IGNORE_LENGTH, WHOLE),
            ),
            ("header", get_header, "The file meta information of the instance as JSON", SHAPES),
        )
    ]


def _build_module_route(level: Level, name: str, module: Level) -> Route:
    return Route(
        "GET",
        f"/{level.plural}/{{public_id}}/{name}",
        partial(get_module, level=level, module=module),
        f"The tags of the {module.title.lower()} module, read from one instance",
        level.plural,
        arguments=(*SHAPES, IGNORE_LENGTH),
        statuses=(200, 400, 404),
        is_immediate=True,
        is_lasting=True,
    )


def _build_routes_of_many(level: Level) -> list[Route]:
    one = level.title.lower()
    return [
        Route(
            "GET",
            f"/{level.plural}/{{public_id}}/shared-tags",
            partial(get_shared_tags, level=level),
            f"The tags that have the same text in all instances of the {one}",
            level.plural,
            arguments=(*SHAPES, IGNORE_LENGTH),
            statuses=(200, 400, 404),
        ),
        Route(
            "GET",
            f"/{level.plural}/{{public_id}}/instances-tags",
            partial(get_instances_tags, level=level),
            f"All tags of each instance of the {one}, by identifier",
            level.plural,
            arguments=(*SHAPES, IGNORE_LENGTH, WHOLE),
            statuses=(200, 400, 404),
        ),
    ]


ROUTES = (
    *_build_instance_routes(),
    *(_build_module_route(level, "module", level) for level in Level),
    _build_module_route(Level.STUDY, "module-patient", Level.PATIENT),
    *(
        route
        for level in Level
        if level is not Level.INSTANCE
        for route in _build_routes_of_many(level)
    ),
    Route(
        "POST",
        "/tools/invalidate-tags",
        invalidate_tags,
        "Empty the cache of tags",
        "tools",
        permission=Permission.WRITE,
        answer="text/plain",
        is_writing=False,
    ),
)
