"""Many resources described in one call."""

from typing import Any

from falcon.asgi import Request, Response

from isocenter.archive.records import Part
from isocenter.dicom.levels import Level
from isocenter.errors import BadFileFormatError, BadParameterError
from isocenter.http.json_bodies import read_json_object
from isocenter.http.routes import Route
from isocenter.rest.resource_answers import Expansion, parse_shape, write_resources
from isocenter.rest.services import Services

__all__ = ["ROUTES", "describe_in_bulk"]

_FLAGS = ("Metadata", "Simplify", "Short", "Full")


async def describe_in_bulk(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: POST /tools/bulk-content (behaviour manual §15.4)."""
    body = await read_json_object(req)
    public_ids = _get_resources(body)
    level = _get_level(body)
    expansion = _get_expansion(body)
    browse = services.archive.browse
    rows = await browse.find_rows(public_ids)
    if level is None:
        internal_ids = [internal_id for internal_id, _ in rows]
    else:
        internal_ids = await browse.find_relatives(rows, level)
    await write_resources(services, resp, level, internal_ids, expansion=expansion)


def _get_resources(body: dict[str, Any]) -> list[str]:
    value = body.get("Resources")
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadFileFormatError("'Resources' must be an array of texts")
    return value


def _get_level(body: dict[str, Any]) -> Level | None:
    if "Level" not in body:
        return None
    value = body["Level"]
    if not isinstance(value, str):
        raise BadFileFormatError("'Level' must be a text")
    level = Level.lookup_title(value)
    if level is None:
        level = Level.lookup_plural(value.lower())
    if level is None:
        raise BadParameterError("there is no such level")
    return level


def _get_expansion(body: dict[str, Any]) -> Expansion:
    for name in _FLAGS:
        if not isinstance(body.get(name, False), bool):
            raise BadFileFormatError(f"'{name}' must be true or false")
    parts = Part.CLASSIC | (Part.METADATA if body.get("Metadata", True) else Part(0))
    return Expansion(parse_shape(body), parts)


ROUTES = (
    Route(
        "POST",
        "/tools/bulk-content",
        describe_in_bulk,
        "Describe many resources, or what lies above or below them",
        "tools",
        body="application/json",
        statuses=(200, 400, 413),
        details="`Resources` lists identifiers of any level; unknown ones are left out. With "
        "`Level` the answer holds the ancestors or descendants of that level, each once. "
        "`Metadata` is true by default; `Full`, `Short` and `Simplify` shape the tags.",
    ),
)
