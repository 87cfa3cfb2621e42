"""Uploads: one DICOM file, gzip, ZIP, multipart."""

from typing import Any

import falcon
from falcon.asgi import Request, Response

from isocenter.archive.received import Origin, OriginKind, StoreOutcome
from isocenter.dicom.levels import Level
from isocenter.errors import BadFileFormatError, BadRequestError
from isocenter.http.answers import answer_json
from isocenter.http.routes import Permission, Route
from isocenter.rest.services import Services

__all__ = ["ROUTES", "describe_outcome", "get_origin", "upload"]


async def upload(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: POST /instances."""
    origin = get_origin(req)
    if (req.content_type or "").startswith("multipart/form-data"):
        answer_json(resp, await _store_parts(services, req, origin))
        return
    uploads = services.archive.uploads
    encoding = req.get_header("Content-Encoding", default="")
    content = await uploads.receive(
        req.stream, size=req.content_length, is_gzip=encoding.strip().lower() == "gzip"
    )
    answer_json(resp, _describe(await uploads.store(content, origin)))


def get_origin(req: Request) -> Origin:
    """Tell where the instances of a request come from."""
    return Origin(
        OriginKind.REST_API,
        remote_ip=req.remote_addr,
        http_username=getattr(req.context, "username", ""),
    )


async def _store_parts(services: Services, req: Request, origin: Origin) -> list[dict[str, str]]:
    """Store every part of a form; answers as for a ZIP archive (quirk 47)."""
    uploads = services.archive.uploads
    described: list[dict[str, str]] = []
    try:
        async for part in await req.get_media():
            content = await uploads.receive(part.stream)
            answer = _describe(await uploads.store(content, origin))
            described.extend(answer if isinstance(answer, list) else [answer])
    except falcon.HTTPBadRequest as error:
        message = "the multipart body is malformed"
        raise BadRequestError(message) from error
    if not described:
        message = "the multipart body holds no file"
        raise BadFileFormatError(message)
    return described


def _describe(stored: StoreOutcome | list[StoreOutcome]) -> Any:
    if isinstance(stored, list):
        return [describe_outcome(outcome) for outcome in stored]
    return describe_outcome(stored)


def describe_outcome(stored: StoreOutcome) -> dict[str, str]:
    """Write what became of one file (Orthanc REST: POST /instances)."""
    ids = stored.public_ids
    return {
        "ID": ids[Level.INSTANCE],
        "ParentPatient": ids[Level.PATIENT],
        "ParentStudy": ids[Level.STUDY],
        "ParentSeries": ids[Level.SERIES],
        "Path": f"/instances/{ids[Level.INSTANCE]}",
        "Status": stored.status.value,
    }


ROUTES = (
    Route(
        "POST",
        "/instances",
        upload,
        "Store DICOM: a file, gzip, a ZIP archive of files, or a multipart form",
        "instances",
        permission=Permission.WRITE,
        is_light=True,
        body="application/dicom",
        statuses=(200, 400, 404, 413, 507),
        details="Answers an object for a single file and an array for an archive or a form. "
        "An instance that is there already is answered with the status `AlreadyStored`.",
    ),
)
