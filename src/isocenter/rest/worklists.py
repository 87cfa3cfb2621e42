"""Entries of the modality worklist.

References
----------
Orthanc REST: worklists (behaviour manual §29)
"""

from typing import Any

from falcon.asgi import Request as BodyRequest

from isocenter.dicom.json_forms import Shape
from isocenter.errors import BadParameterError, BadRequestError
from isocenter.http.answers import answer_json
from isocenter.http.arguments import read_body
from isocenter.http.error_answers import NotFound
from isocenter.http.exchange import Request, Response
from isocenter.http.json_bodies import parse_json_object
from isocenter.http.routes import Argument, Permission, Route
from isocenter.rest.services import Services

__all__ = ["ROUTES"]

_SHAPES = {"Full": Shape.FULL, "Short": Shape.SHORT, "Simplify": Shape.HUMAN}
_LONGEST_NAME = 128


async def list_worklists(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: GET /worklists."""
    entries = await services.archive.worklists.list_tags(_get_shape(req))
    answer_json(resp, [{"ID": name, "Tags": tags} for name, tags in entries.items()])


async def get_worklist(services: Services, req: Request, resp: Response, worklist_id: str) -> None:
    """Orthanc REST: GET /worklists/{id}."""
    worklists = services.archive.worklists
    tags = await worklists.lookup_tags(_check_name(worklist_id), _get_shape(req))
    if tags is None:
        raise NotFound
    answer_json(resp, tags)


async def create_worklist(services: Services, req: BodyRequest, resp: Response) -> None:
    """Orthanc REST: POST /worklists/create."""
    worklists = services.archive.worklists
    worklist_id = await worklists.put(await _read_tags(req))
    answer_json(resp, {"ID": worklist_id, "Path": f"/worklists/{worklist_id}"})


async def put_worklist(
    services: Services, req: BodyRequest, resp: Response, worklist_id: str
) -> None:
    """Orthanc REST: PUT /worklists/{id}."""
    worklists = services.archive.worklists
    await worklists.put(await _read_tags(req), _check_name(worklist_id))
    answer_json(resp, {"ID": worklist_id, "Path": f"/worklists/{worklist_id}"})


async def delete_worklist(services: Services, _: Request, resp: Response, worklist_id: str) -> None:
    """Orthanc REST: DELETE /worklists/{id}."""
    if not await services.archive.worklists.delete(_check_name(worklist_id)):
        raise NotFound
    answer_json(resp, {})


async def _read_tags(req: BodyRequest) -> Any:
    body = parse_json_object(await read_body(req))
    if "Tags" not in body:
        message = "'Tags' is missing"
        raise BadRequestError(message)
    return body["Tags"]


def _check_name(worklist_id: str) -> str:
    """Pass what an identifier may be; PostgreSQL takes no text with NUL."""
    if "\0" in worklist_id or len(worklist_id) > _LONGEST_NAME:
        raise NotFound
    return worklist_id


def _get_shape(req: Request) -> Shape:
    name = req.get_param("format")
    if name is None:
        return Shape.FULL
    if name not in _SHAPES:
        raise BadParameterError(f"'format' must be one of {', '.join(_SHAPES)}")
    return _SHAPES[name]


_FORMAT = Argument("format", "text", "Shape of the tags: `Full` (default), `Short` or `Simplify`")
_TAGS = (
    "`Tags` are names or numbers of tags with their values, lists of objects for sequences; "
    "`SpecificCharacterSet` is UTF-8 unless given."
)

ROUTES = (
    Route(
        "GET",
        "/worklists",
        list_worklists,
        "List the entries of the modality worklist",
        "worklists",
        arguments=(_FORMAT,),
        statuses=(200, 400),
    ),
    Route(
        "POST",
        "/worklists/create",
        create_worklist,
        "Create an entry of the modality worklist",
        "worklists",
        permission=Permission.WRITE,
        body="application/json",
        statuses=(200, 400, 413),
        details=_TAGS,
    ),
    Route(
        "GET",
        "/worklists/{worklist_id}",
        get_worklist,
        "Read the tags of an entry of the modality worklist",
        "worklists",
        arguments=(_FORMAT,),
        statuses=(200, 400, 404),
    ),
    Route(
        "PUT",
        "/worklists/{worklist_id}",
        put_worklist,
        "Create or replace an entry of the modality worklist",
        "worklists",
        permission=Permission.WRITE,
        body="application/json",
        statuses=(200, 400, 413),
        details=_TAGS,
    ),
    Route(
        "DELETE",
        "/worklists/{worklist_id}",
        delete_worklist,
        "Remove an entry of the modality worklist",
        "worklists",
        permission=Permission.WRITE,
        statuses=(200, 404),
        details="Files of the folder `Worklists.Directory` belong to who writes them.",
    ),
)
