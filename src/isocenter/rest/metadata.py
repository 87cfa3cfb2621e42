"""Metadata of resources."""

from functools import partial

from isocenter.archive.records import Address
from isocenter.dicom.levels import Level
from isocenter.errors import BadParameterError
from isocenter.http.answers import answer_json, answer_nothing, answer_text
from isocenter.http.arguments import get_flag, read_body
from isocenter.http.entity_tags import get_expected_tag, is_unchanged, set_entity_tag
from isocenter.http.error_answers import NotFound
from isocenter.http.exchange import Request, Response, WritingRequest
from isocenter.http.routes import Argument, Permission, Route
from isocenter.rest.arguments import EXPAND
from isocenter.rest.long_answers import answer_from_thread
from isocenter.rest.services import Services

__all__ = ["ROUTES", "delete_metadata", "get_metadata", "list_metadata", "put_metadata"]

_LONGEST_VALUE = 1024 * 1024
# An answer up to this size, in characters, is written on the event loop.
_SHORT_ANSWER = 256 * 1024

_NUMERIC = Argument("numeric", "flag", "Answer codes instead of names.")


async def list_metadata(
    services: Services, req: Request, resp: Response, public_id: str, *, level: Level
) -> None:
    """Orthanc REST: GET /{level}/{id}/metadata."""
    address = Address(level, public_id)
    annotations, names = services.archive.annotations, services.archive.registry.metadata
    is_numeric = get_flag(req, "numeric")
    if not get_flag(req, "expand"):
        codes = await annotations.list_metadata_codes(address)
        answer_json(resp, codes if is_numeric else [names.get_name(code) for code in codes])
        return
    values = await annotations.list_metadata(address)
    named = {
        str(code) if is_numeric else names.get_name(code): value for code, value in values.items()
    }
    if sum(map(len, values.values())) <= _SHORT_ANSWER:
        answer_json(resp, named)
        return
    await answer_from_thread(services, resp, lambda: named)


async def get_metadata(
    services: Services, req: Request, resp: Response, public_id: str, name: str, *, level: Level
) -> None:
    """Orthanc REST: GET /{level}/{id}/metadata/{name}."""
    code = services.archive.registry.metadata.get_code(name)
    found = await services.archive.annotations.lookup_metadata(Address(level, public_id), code)
    if found is None:
        raise NotFound
    if not is_unchanged(req, resp, found.tag):
        answer_text(resp, found.value)


async def put_metadata(
    services: Services,
    req: WritingRequest,
    resp: Response,
    public_id: str,
    name: str,
    *,
    level: Level,
) -> None:
    """Orthanc REST: PUT /{level}/{id}/metadata/{name}."""
    code = services.archive.registry.metadata.get_code(name)
    body = await read_body(req, limit=_LONGEST_VALUE)
    try:
        value = body.decode()
    except UnicodeDecodeError as error:
        message = "a metadata is text in UTF-8"
        raise BadParameterError(message) from error
    tag = await services.archive.annotations.set_metadata(
        Address(level, public_id), code, value, tag=get_expected_tag(req)
    )
    set_entity_tag(resp, tag)
    answer_nothing(resp)


async def delete_metadata(
    services: Services, req: Request, resp: Response, public_id: str, name: str, *, level: Level
) -> None:
    """Orthanc REST: DELETE /{level}/{id}/metadata/{name}."""
    code = services.archive.registry.metadata.get_code(name)
    await services.archive.annotations.remove_metadata(
        Address(level, public_id), code, tag=get_expected_tag(req)
    )
    answer_nothing(resp)


def _build_level_routes(level: Level) -> list[Route]:
    one, many = level.title.lower(), level.plural
    path = f"/{many}/{{public_id}}/metadata"
    return [
        Route(
            "GET",
            path,
            partial(list_metadata, level=level),
            f"List the metadata of the {one}, or name and value of each",
            many,
            arguments=(EXPAND, _NUMERIC),
            statuses=(200, 400, 404),
            is_immediate=True,
            is_lasting=True,
        ),
        Route(
            "GET",
            f"{path}/{{name}}",
            partial(get_metadata, level=level),
            f"Read a metadata of the {one}",
            many,
            answer="text/plain",
            statuses=(200, 304, 400, 404),
            is_immediate=True,
            is_lasting=True,
        ),
        Route(
            "PUT",
            f"{path}/{{name}}",
            partial(put_metadata, level=level),
            f"Set a metadata of the {one}",
            many,
            permission=Permission.WRITE,
            is_light=True,
            body="text/plain",
            answer="text/plain",
            statuses=(200, 400, 404, 409, 413),
            details="Names of your own are registered by the option `UserMetadata`; a code from "
            "1024 to 65535 does as well. With `CheckRevisions` a value that is there is only "
            "changed if the header `If-Match` holds its entity tag.",
        ),
        Route(
            "DELETE",
            f"{path}/{{name}}",
            partial(delete_metadata, level=level),
            f"Remove a metadata of the {one}",
            many,
            permission=Permission.WRITE,
            is_light=True,
            answer="text/plain",
            statuses=(200, 400, 404, 409),
        ),
    ]


ROUTES = tuple(route for level in Level for route in _build_level_routes(level))
