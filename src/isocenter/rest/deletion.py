"""Deletion of many resources at once."""

import re
from typing import Any

from falcon.asgi import Request, Response

from isocenter.dicom.levels import Level
from isocenter.errors import BadFileFormatError, BadParameterError, BadRequestError
from isocenter.http.answers import answer_nothing
from isocenter.http.arguments import read_body
from isocenter.http.json_bodies import parse_json_object
from isocenter.http.routes import Permission, Route
from isocenter.rest.bodies import RESOURCES
from isocenter.rest.services import Services

__all__ = ["ROUTES", "delete_many"]

_LEVELS = {level.title: level for level in Level}
_RESOURCES = "Resources"
# What no resource can be called needs not be looked for.
_PUBLIC_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{8}){4}")


async def delete_many(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: POST /tools/bulk-delete."""
    body = await read_body(req)
    named = await services.archive.workers.run(_parse_body, body)
    await services.archive.deleter.delete_many(named)
    answer_nothing(resp)


def _parse_body(body: bytes) -> list[tuple[Level | None, str]]:
    """Read which resources are named, those left out that cannot exist."""
    entries = [_parse_entry(entry) for entry in _parse_resources(body)]
    return [entry for entry in entries if _PUBLIC_ID.fullmatch(entry[1])]


def _parse_resources(body: bytes) -> list[Any]:
    document = parse_json_object(body)
    if _RESOURCES not in document:
        message = f"the body must contain the field '{_RESOURCES}'"
        raise BadRequestError(message)
    resources = document[_RESOURCES]
    if not isinstance(resources, list):
        message = f"the field '{_RESOURCES}' must be a list"
        raise BadFileFormatError(message)
    return resources


def _parse_entry(entry: object) -> tuple[Level | None, str]:
    """Read an identifier, or an object that names its level besides."""
    if isinstance(entry, str):
        return None, entry
    if isinstance(entry, dict):
        title, public_id = entry.get("Level"), entry.get("ID")
        if isinstance(title, str) and isinstance(public_id, str):
            if title not in _LEVELS:
                raise BadParameterError(f"unknown level; known are: {', '.join(_LEVELS)}")
            return _LEVELS[title], public_id
    message = f"'{_RESOURCES}' must list identifiers, or objects with 'Level' and 'ID'"
    raise BadFileFormatError(message)


ROUTES = (
    Route(
        "POST",
        "/tools/bulk-delete",
        delete_many,
        "Delete many resources, whatever their level",
        "tools",
        permission=Permission.WRITE,
        body="application/json",
        body_schema=RESOURCES,
        answer="text/plain",
        statuses=(200, 400, 413),
        details="The body is an object whose `Resources` are a list of identifiers, or of objects "
        "with `Level` and `ID`. Unknown resources are skipped.",
    ),
)
