"""Archives for download: sent while they are built, or built by a job.

References
----------
Orthanc REST: archives and media (behaviour manual §22)
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from falcon.asgi import Request, Response

from isocenter.archive.exporting import ExportPlan, ExportRequest, MissingFile
from isocenter.dicom.levels import Level
from isocenter.errors import (
    BadFileFormatError,
    BadParameterError,
    BadRequestError,
    NotSupportedError,
    UnknownItemError,
)
from isocenter.http.answers import answer_nothing
from isocenter.http.arguments import get_flag, read_body
from isocenter.http.files import answer_file, format_disposition
from isocenter.http.json_bodies import parse_json
from isocenter.http.routes import Argument, Permission, Route
from isocenter.http.streaming import Stream
from isocenter.rest.bodies import ARCHIVE, ARCHIVE_OF_MANY
from isocenter.rest.job_calls import get_boolean, parse_job_call, submit_job
from isocenter.rest.services import Services
from isocenter.tasks.archiving import build_archive_job

__all__ = ["ROUTES", "create_archive", "delete_output", "download_archive", "get_output"]

_ZIP = "application/zip"
_SEVERAL = "Archive.zip"
_MOST_RESOURCES = 100_000
_ARGUMENTS = (
    Argument("filename", "text", "Name for saving the archive."),
    Argument("manifest", "flag", "Add a list of the files with their sums, and of missing ones."),
)


async def download_archive(
    services: Services, req: Request, resp: Response, public_id: str, *, level: Level
) -> None:
    """Orthanc REST: GET /{level}/{id}/archive."""
    await _check_resource(services, level, public_id)
    _refuse_transcoding(req.params)
    plan = await services.archive.exporter.plan(_read_arguments(services, req, (public_id,)))
    _answer_stream(services, req, resp, plan, _get_name(req, f"{public_id}.zip"))


async def create_archive_of(
    services: Services, req: Request, resp: Response, public_id: str, *, level: Level
) -> None:
    """Orthanc REST: POST /{level}/{id}/archive."""
    await _check_resource(services, level, public_id)
    body = await _read_body(req)
    if isinstance(body, list):
        raise BadRequestError("the body must be a JSON object")
    await _create(services, req, resp, body, (public_id,), f"{public_id}.zip")


async def create_archive(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: POST /tools/create-archive."""
    body = await _read_body(req)
    if isinstance(body, list):
        body = {"Resources": body}
    resources = body.get("Resources")
    if resources is None:
        raise BadFileFormatError("the field 'Resources' is missing")
    await _create(services, req, resp, body, _check_identifiers(resources), _SEVERAL)


async def get_archive_of_many(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: GET /tools/create-archive."""
    text = req.get_param("resources")
    if text is None:
        raise BadRequestError("the argument 'resources' is missing")
    _refuse_transcoding(req.params)
    resources = _check_identifiers([part for part in text.split(",") if part])
    plan = await services.archive.exporter.plan(_read_arguments(services, req, resources))
    _answer_stream(services, req, resp, plan, _get_name(req, _SEVERAL))


async def _check_resource(services: Services, level: Level, public_id: str) -> None:
    if not await services.archive.exporter.exists(level, public_id):
        raise UnknownItemError("there is no such resource")


def _check_identifiers(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadRequestError("the resources must be a list of identifiers")
    if len(value) > _MOST_RESOURCES:
        raise BadRequestError(f"an archive may be asked of {_MOST_RESOURCES} resources at most")
    return tuple(dict.fromkeys(value))


async def _read_body(req: Request) -> Any:
    """Read a JSON object or array; nothing counts as an empty object."""
    data = await read_body(req)
    if not data.strip():
        return {}
    value = parse_json(data)
    if not isinstance(value, dict | list):
        raise BadFileFormatError("the body must be a JSON object or an array of identifiers")
    return value


def _refuse_transcoding(values: Mapping[str, Any]) -> None:
    for name in ("transcode", "lossy-quality", "Transcode", "LossyQuality"):
        if name in values:
            raise NotSupportedError(f"'{name}' is not supported by this version")


def _read_arguments(services: Services, req: Request, resources: tuple[str, ...]) -> ExportRequest:
    return ExportRequest(
        resources,
        is_utf8=services.configuration.boolean("ZipUseUtf8"),
        has_manifest=get_flag(req, "manifest"),
    )


def _get_name(req: Request, default: str) -> str:
    return req.get_param("filename") or default


async def _create(
    services: Services,
    req: Request,
    resp: Response,
    body: Mapping[str, Any],
    resources: tuple[str, ...],
    default_name: str,
) -> None:
    """Build an archive as the body of a POST asks: now, or by a job."""
    _refuse_transcoding(body)
    call = parse_job_call(req, body)
    name = body.get("Filename", default_name)
    if not isinstance(name, str):
        raise BadParameterError("the field 'Filename' must be text")
    is_utf8 = services.configuration.boolean("ZipUseUtf8")
    request = ExportRequest(
        resources,
        is_utf8=get_boolean(body, "Utf8", default=is_utf8),
        has_manifest=get_boolean(body, "Manifest", default=False),
    )
    plan = await services.archive.exporter.plan(request)
    if call.is_synchronous:
        _answer_stream(services, req, resp, plan, name)
    else:
        await submit_job(services, resp, build_archive_job(plan, name), call)


def _answer_stream(
    services: Services, req: Request, resp: Response, plan: ExportPlan, name: str
) -> None:
    resp.content_type = _ZIP
    resp.set_header("Content-Disposition", format_disposition(name))
    missing: list[MissingFile] = []
    resp.stream = Stream(req, services.archive.exporter.stream(plan, missing))


async def get_output(
    services: Services, req: Request, resp: Response, job_id: str, key: str
) -> None:
    """Orthanc REST: GET /jobs/{id}/{key}; ranges and entity tags work."""
    file = await services.archive.job_outputs.lookup(job_id, key)
    if file is None:
        raise UnknownItemError("the job offers nothing under that name, or not any more")
    await answer_file(req, resp, file, file_name=file.file_name)


async def delete_output(
    services: Services, _: Request, resp: Response, job_id: str, key: str
) -> None:
    """Orthanc REST: DELETE /jobs/{id}/{key}."""
    if not await services.archive.job_outputs.delete(job_id, key):
        raise UnknownItemError("the job offers nothing under that name, or not any more")
    answer_nothing(resp)


def _build_level_routes(level: Level) -> list[Route]:
    one, many = level.title.lower(), level.plural
    path = f"/{many}/{{public_id}}/archive"
    return [
        Route(
            "GET",
            path,
            partial(download_archive, level=level),
            f"Download the {one} as a ZIP archive, sent while it is built",
            many,
            arguments=_ARGUMENTS,
            answer=_ZIP,
            statuses=(200, 400, 404, 501),
        ),
        Route(
            "POST",
            path,
            partial(create_archive_of, level=level),
            f"ZIP archive of the {one}: sent at once, or built by a job",
            many,
            body="application/json",
            body_schema=ARCHIVE,
            answer=_ZIP,
            other_answers=("application/json",),
            statuses=(200, 400, 404, 413, 501),
        ),
    ]


ROUTES = (
    *(
        route
        for level in (Level.PATIENT, Level.STUDY, Level.SERIES)
        for route in _build_level_routes(level)
    ),
    Route(
        "GET",
        "/tools/create-archive",
        get_archive_of_many,
        "Download several resources as a ZIP archive",
        "tools",
        arguments=(
            Argument("resources", "text", "Identifiers, separated by commas."),
            *_ARGUMENTS,
        ),
        answer=_ZIP,
        statuses=(200, 400, 404, 501),
    ),
    Route(
        "POST",
        "/tools/create-archive",
        create_archive,
        "ZIP archive of several resources: sent at once, or built by a job",
        "tools",
        body="application/json",
        body_schema=ARCHIVE_OF_MANY,
        answer=_ZIP,
        other_answers=("application/json",),
        statuses=(200, 400, 404, 413, 501),
    ),
    Route(
        "GET",
        "/jobs/{job_id}/{key}",
        get_output,
        "Download what a job has made",
        "jobs",
        answer=_ZIP,
        statuses=(200, 206, 304, 404, 416),
    ),
    Route(
        "DELETE",
        "/jobs/{job_id}/{key}",
        delete_output,
        "Free what a job has made",
        "jobs",
        permission=Permission.WRITE,
        answer="text/plain",
        statuses=(200, 404),
    ),
)
