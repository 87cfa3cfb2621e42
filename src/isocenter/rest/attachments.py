"""Attachments of resources."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import falcon.asgi

from isocenter.archive.attachments import AttachmentFile
from isocenter.archive.records import Address, Attachment, StoredAttachment
from isocenter.dicom.levels import Level
from isocenter.errors import MissingFileError
from isocenter.http.answers import answer_done, answer_json, answer_nothing, answer_text
from isocenter.http.arguments import get_flag
from isocenter.http.entity_tags import get_expected_tag, is_unchanged, set_entity_tag
from isocenter.http.error_answers import NotFound
from isocenter.http.exchange import Request, Response
from isocenter.http.files import answer_file
from isocenter.http.routes import Argument, Permission, Route
from isocenter.rest.services import Services

__all__ = [
    "ROUTES",
    "compress",
    "delete_attachment",
    "describe_attachment",
    "get_data",
    "get_info",
    "get_property",
    "get_stored_data",
    "list_attachments",
    "list_operations",
    "put_attachment",
    "uncompress",
    "verify_md5",
]

# Each is a route below the attachment; the second group only if there are MD5 sums.
_OPERATIONS = (
    "compress",
    "compressed-data",
    "compressed-size",
    "data",
    "info",
    "is-compressed",
    "size",
    "uncompress",
)
_MD5_OPERATIONS = ("compressed-md5", "md5", "verify-md5")

_PROPERTIES: dict[str, tuple[Callable[[Attachment], object], str]] = {
    "size": (lambda a: a.uncompressed_size, "Size in bytes"),
    "compressed-size": (lambda a: a.compressed_size, "Size of the stored form in bytes"),
    "md5": (lambda a: a.uncompressed_md5, "MD5 sum of the content"),
    "compressed-md5": (lambda a: a.compressed_md5, "MD5 sum of the stored form"),
    "is-compressed": (lambda a: int(a.compression != 0), "Whether the stored form is compressed"),
}


def _get_place(services: Services, level: Level, public_id: str, name: str) -> tuple[Address, int]:
    """Find the resource and the code that a path names."""
    return Address(level, public_id), services.archive.registry.content_types.get_code(name)


def describe_attachment(attachment: Attachment) -> dict[str, Any]:
    """Build the JSON object of an attachment (behaviour manual §12)."""
    return {
        "Uuid": attachment.attachment_uuid,
        "ContentType": attachment.content_type,
        "UncompressedSize": attachment.uncompressed_size,
        "CompressedSize": attachment.compressed_size,
        "UncompressedMD5": attachment.uncompressed_md5,
        "CompressedMD5": attachment.compressed_md5,
    }


async def list_attachments(
    services: Services, req: Request, resp: Response, public_id: str, *, level: Level
) -> None:
    """Orthanc REST: GET /{level}/{id}/attachments."""
    is_full = get_flag(req, "full")
    codes = await services.archive.attachments.list_content_types(Address(level, public_id))
    names = services.archive.registry.content_types
    named = {names.get_name(code): code for code in codes}
    answer_json(resp, named if is_full else list(named))


async def _get_changed(
    services: Services, req: Request, resp: Response, place: tuple[Address, int]
) -> StoredAttachment | None:
    """Find an attachment, or answer that the client has the same version already."""
    stored = await services.archive.attachments.get(*place)
    return None if is_unchanged(req, resp, stored.tag) else stored


async def list_operations(
    services: Services, req: Request, resp: Response, public_id: str, name: str, *, level: Level
) -> None:
    """Orthanc REST: GET /{level}/{id}/attachments/{name}."""
    place = _get_place(services, level, public_id, name)
    stored = await _get_changed(services, req, resp, place)
    if stored is not None:
        has_md5 = bool(stored.attachment.uncompressed_md5)
        answer_json(resp, sorted(_OPERATIONS + (_MD5_OPERATIONS if has_md5 else ())))


async def get_info(
    services: Services, req: Request, resp: Response, public_id: str, name: str, *, level: Level
) -> None:
    """Orthanc REST: GET /{level}/{id}/attachments/{name}/info."""
    place = _get_place(services, level, public_id, name)
    stored = await _get_changed(services, req, resp, place)
    if stored is not None:
        answer_json(resp, describe_attachment(stored.attachment))


async def get_property(  # noqa: PLR0913 - what the path says, and which property
    services: Services,
    req: Request,
    resp: Response,
    public_id: str,
    name: str,
    *,
    level: Level,
    read: Callable[[Attachment], object],
) -> None:
    """Orthanc REST: GET /{level}/{id}/attachments/{name}/size and the like."""
    place = _get_place(services, level, public_id, name)
    stored = await _get_changed(services, req, resp, place)
    if stored is None:
        return
    text = str(read(stored.attachment))
    if not text:
        # No MD5 sum was computed.
        raise NotFound
    answer_text(resp, text)


async def get_data(
    services: Services, req: Request, resp: Response, public_id: str, name: str, *, level: Level
) -> None:
    """Orthanc REST: GET /{level}/{id}/attachments/{name}/data."""
    place = _get_place(services, level, public_id, name)
    find = partial(services.archive.attachments.get_file, *place)
    await _answer_content(req, resp, find, is_named=True)


async def get_stored_data(
    services: Services, req: Request, resp: Response, public_id: str, name: str, *, level: Level
) -> None:
    """Orthanc REST: GET /{level}/{id}/attachments/{name}/compressed-data."""
    place = _get_place(services, level, public_id, name)
    find = partial(services.archive.attachments.get_stored_file, *place)
    await _answer_content(req, resp, find, is_named=False)


async def _answer_content(
    req: Request,
    resp: Response,
    find: Callable[[], Awaitable[AttachmentFile]],
    *,
    is_named: bool,
) -> None:
    file = await find()
    try:
        await answer_file(req, resp, file, file_name=file.attachment_uuid if is_named else None)
    except MissingFileError:
        present = await find()
        if present.attachment_uuid == file.attachment_uuid:
            raise
        # Another version was stored, and the blob removed, since the index was read.
        resp.status = 200
        name = present.attachment_uuid if is_named else None
        await answer_file(req, resp, present, file_name=name)


async def put_attachment(
    services: Services,
    req: falcon.asgi.Request,
    resp: Response,
    public_id: str,
    name: str,
    *,
    level: Level,
) -> None:
    """Orthanc REST: PUT /{level}/{id}/attachments/{name}."""
    place = _get_place(services, level, public_id, name)
    attachments, tag = services.archive.attachments, get_expected_tag(req)
    await attachments.check(*place, tag=tag)
    content = await services.archive.uploads.receive(req.stream, size=req.content_length)
    stored = await attachments.store(*place, content, tag=tag)
    set_entity_tag(resp, stored.tag)
    answer_done(resp)


async def delete_attachment(
    services: Services, req: Request, resp: Response, public_id: str, name: str, *, level: Level
) -> None:
    """Orthanc REST: DELETE /{level}/{id}/attachments/{name}."""
    place = _get_place(services, level, public_id, name)
    await services.archive.attachments.remove(*place, tag=get_expected_tag(req))
    answer_nothing(resp)


async def compress(
    services: Services, _: Request, resp: Response, public_id: str, name: str, *, level: Level
) -> None:
    """Orthanc REST: POST /{level}/{id}/attachments/{name}/compress."""
    await services.archive.attachments.compress(*_get_place(services, level, public_id, name))
    answer_done(resp)


async def uncompress(
    services: Services, _: Request, resp: Response, public_id: str, name: str, *, level: Level
) -> None:
    """Orthanc REST: POST /{level}/{id}/attachments/{name}/uncompress."""
    await services.archive.attachments.uncompress(*_get_place(services, level, public_id, name))
    answer_done(resp)


async def verify_md5(
    services: Services, _: Request, resp: Response, public_id: str, name: str, *, level: Level
) -> None:
    """Orthanc REST: POST /{level}/{id}/attachments/{name}/verify-md5; 404 if not (quirk 33)."""
    await services.archive.attachments.verify(*_get_place(services, level, public_id, name))
    answer_done(resp)


def _build_level_routes(level: Level) -> list[Route]:
    path = f"/{level.plural}/{{public_id}}/attachments"
    return [
        Route(
            "GET",
            path,
            partial(list_attachments, level=level),
            f"List the attachments of the {level.title.lower()}",
            level.plural,
            arguments=(Argument("full", "flag", "Answer names and codes."),),
            statuses=(200, 400, 404),
            is_immediate=True,
            is_lasting=True,
        ),
        *_build_whole(level, f"{path}/{{name}}"),
        *_build_reading(level, f"{path}/{{name}}"),
        *_build_actions(level, f"{path}/{{name}}"),
    ]


def _build_whole(level: Level, path: str) -> list[Route]:
    one, area = level.title.lower(), level.plural
    return [
        Route(
            "GET",
            path,
            partial(list_operations, level=level),
            f"List what can be done with an attachment of the {one}",
            area,
            statuses=(200, 304, 400, 404),
            is_immediate=True,
            is_lasting=True,
        ),
        Route(
            "PUT",
            path,
            partial(put_attachment, level=level),
            f"Store an attachment of the {one}",
            area,
            permission=Permission.WRITE,
            body="application/octet-stream",
            statuses=(200, 400, 404, 409, 413, 507),
            details="Names of your own are registered by the option `UserContentType`; a code from "
            "1024 to 65535 does as well. With `CheckRevisions` an attachment that is there is only "
            "replaced if the header `If-Match` holds its entity tag.",
        ),
        Route(
            "DELETE",
            path,
            partial(delete_attachment, level=level),
            f"Remove an attachment of the {one}",
            area,
            permission=Permission.WRITE,
            answer="text/plain",
            statuses=(200, 400, 404, 409),
        ),
    ]


def _build_reading(level: Level, path: str) -> list[Route]:
    area = level.plural
    properties = [
        Route(
            "GET",
            f"{path}/{name}",
            partial(get_property, level=level, read=read),
            f"{summary}, of an attachment",
            area,
            answer="text/plain",
            statuses=(200, 304, 400, 404),
            is_immediate=True,
            is_lasting=True,
        )
        for name, (read, summary) in _PROPERTIES.items()
    ]
    return [
        *properties,
        Route(
            "GET",
            f"{path}/info",
            partial(get_info, level=level),
            "Name of the blob, sizes and MD5 sums of an attachment",
            area,
            statuses=(200, 304, 400, 404),
            is_immediate=True,
            is_lasting=True,
        ),
        Route(
            "GET",
            f"{path}/data",
            partial(get_data, level=level),
            "Download an attachment; ranges and entity tags work",
            area,
            arguments=(Argument("filename", "text", "Name for saving the file."),),
            answer="application/octet-stream",
            statuses=(200, 206, 304, 400, 404, 416),
            is_immediate=True,
            is_lasting=True,
        ),
        Route(
            "GET",
            f"{path}/compressed-data",
            partial(get_stored_data, level=level),
            "Download an attachment in its stored form, compressed or not",
            area,
            answer="application/octet-stream",
            statuses=(200, 206, 304, 400, 404, 416),
            is_immediate=True,
            is_lasting=True,
        ),
    ]


def _build_actions(level: Level, path: str) -> list[Route]:
    actions = (
        ("compress", compress, "Keep an attachment compressed", Permission.WRITE),
        ("uncompress", uncompress, "Keep an attachment as it is", Permission.WRITE),
        ("verify-md5", verify_md5, "Compare an attachment with its MD5 sums", Permission.READ),
    )
    return [
        Route(
            "POST",
            f"{path}/{name}",
            partial(responder, level=level),
            summary,
            level.plural,
            permission=permission,
            statuses=(200, 400, 404, 409) if permission is Permission.WRITE else (200, 400, 404),
        )
        for name, responder, summary, permission in actions
    ]


ROUTES = tuple(route for level in Level for route in _build_level_routes(level))
