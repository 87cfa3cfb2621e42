"""Archives for download: sent while they are built, or built by a job.

References
----------
Orthanc REST: archives and media (behaviour manual §22)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from falcon.asgi import Request, Response

from isocenter.archive.exporting import ExportPlan, ExportRequest
from isocenter.archive.transcoding import parse_target
from isocenter.dicom.levels import Level
from isocenter.errors import (
    BadFileFormatError,
    BadParameterError,
    BadRequestError,
    UnknownItemError,
)
from isocenter.http.answers import answer_nothing
from isocenter.http.arguments import get_flag, read_body
from isocenter.http.files import answer_file, clean_name, format_disposition
from isocenter.http.json_bodies import parse_json
from isocenter.http.routes import Argument, Permission, Route
from isocenter.http.streaming import Stream
from isocenter.rest.arguments import TRANSCODE_ARGUMENTS, read_target
from isocenter.rest.bodies import ARCHIVE, ARCHIVE_OF_MANY, MEDIA, MEDIA_OF_MANY
from isocenter.rest.job_calls import get_boolean, parse_job_call, submit_job
from isocenter.rest.services import Services
from isocenter.tasks.archiving import build_archive_job

__all__ = ["ROUTES", "create_archive", "delete_output", "download_archive", "get_output"]

_ZIP = "application/zip"
_SEVERAL = "Archive.zip"
_MOST_RESOURCES = 100_000
# It is kept with the job, and sent in a header.
_LONGEST_NAME = 255
_FILE_NAME = Argument("filename", "text", "Name for saving the archive.")
_MANIFEST = Argument(
    "manifest", "flag", "Add a list of the files with their sums, and of missing ones."
)
_EXTENDED = Argument("extended", "flag", "Add optional attributes to the DICOMDIR.")
_RESOURCES = Argument("resources", "text", "Identifiers, separated by commas.")


@dataclass(frozen=True, slots=True)
class _Form:
    """What kind of archive a route makes."""

    is_media: bool = False
    is_extended: bool = False

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """What a GET may say."""
        has_choice = self.is_media and not self.is_extended
        general = (_FILE_NAME, _MANIFEST, *TRANSCODE_ARGUMENTS)
        return (*general, _EXTENDED) if has_choice else general

    @property
    def title(self) -> str:
        """What it is called in the documentation."""
        return "ZIP archive with a DICOMDIR" if self.is_media else "ZIP archive"


_ARCHIVE = _Form()
_MEDIA = _Form(is_media=True)
_MEDIA_EXTENDED = _Form(is_media=True, is_extended=True)


async def download_archive(
    services: Services,
    req: Request,
    resp: Response,
    public_id: str,
    *,
    level: Level,
    form: _Form = _ARCHIVE,
) -> None:
    """Orthanc REST: GET /{level}/{id}/archive, GET /{level}/{id}/media."""
    await _check_resource(services, level, public_id)
    request = _read_arguments(services, req, (public_id,), form)
    plan = await services.archive.exporter.plan(request)
    _answer_stream(services, req, resp, plan, _get_name(req, f"{public_id}.zip"))


async def create_archive_of(
    services: Services,
    req: Request,
    resp: Response,
    public_id: str,
    *,
    level: Level,
    form: _Form = _ARCHIVE,
) -> None:
    """Orthanc REST: POST /{level}/{id}/archive, POST /{level}/{id}/media."""
    await _check_resource(services, level, public_id)
    body = await _read_body(req)
    if isinstance(body, list):
        raise BadRequestError("the body must be a JSON object")
    request = _read_request(services, body, (public_id,), form)
    await _create(services, req, resp, body, request, f"{public_id}.zip")


async def create_archive(
    services: Services, req: Request, resp: Response, *, form: _Form = _ARCHIVE
) -> None:
    """Orthanc REST: POST /tools/create-archive, create-media, create-media-extended."""
    body = await _read_body(req)
    if isinstance(body, list):
        body = {"Resources": body}
    resources = body.get("Resources")
    if resources is None:
        raise BadFileFormatError("the field 'Resources' is missing")
    request = _read_request(services, body, _check_identifiers(resources), form)
    await _create(services, req, resp, body, request, _SEVERAL)


async def get_archive_of_many(
    services: Services, req: Request, resp: Response, *, form: _Form = _ARCHIVE
) -> None:
    """Orthanc REST: GET /tools/create-archive, create-media, create-media-extended."""
    text = req.get_param("resources")
    if text is None:
        raise BadRequestError("the argument 'resources' is missing")
    resources = _check_identifiers([part for part in text.split(",") if part])
    request = _read_arguments(services, req, resources, form)
    plan = await services.archive.exporter.plan(request)
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


def _read_arguments(
    services: Services, req: Request, resources: tuple[str, ...], form: _Form
) -> ExportRequest:
    return ExportRequest(
        resources,
        is_utf8=services.configuration.boolean("ZipUseUtf8"),
        has_manifest=get_flag(req, "manifest"),
        is_media=form.is_media,
        is_extended=form.is_extended or (form.is_media and get_flag(req, "extended")),
        target=read_target(req),
    )


def _read_request(
    services: Services, body: Mapping[str, Any], resources: tuple[str, ...], form: _Form
) -> ExportRequest:
    is_utf8 = services.configuration.boolean("ZipUseUtf8")
    return ExportRequest(
        resources,
        is_utf8=get_boolean(body, "Utf8", default=is_utf8),
        has_manifest=get_boolean(body, "Manifest", default=False),
        is_media=form.is_media,
        is_extended=form.is_media and get_boolean(body, "Extended", default=form.is_extended),
        target=parse_target(body),
    )


def _get_name(req: Request, default: str) -> str:
    return req.get_param("filename") or default


async def _create(
    services: Services,
    req: Request,
    resp: Response,
    body: Mapping[str, Any],
    request: ExportRequest,
    default_name: str,
) -> None:
    """Build an archive as the body of a POST asks: now, or by a job."""
    call = parse_job_call(req, body)
    name = body.get("Filename", default_name)
    if not isinstance(name, str):
        raise BadParameterError("the field 'Filename' must be text")
    if len(name) > _LONGEST_NAME:
        raise BadParameterError(f"the field 'Filename' may have {_LONGEST_NAME} characters")
    plan = await services.archive.exporter.plan(request)
    if call.is_synchronous:
        _answer_stream(services, req, resp, plan, name)
    else:
        await submit_job(
            services, resp, build_archive_job(plan, clean_name(name) or default_name), call
        )


def _answer_stream(
    services: Services, req: Request, resp: Response, plan: ExportPlan, name: str
) -> None:
    resp.content_type = _ZIP
    resp.set_header("Content-Disposition", format_disposition(name))
    pieces = services.archive.exporter.stream(plan)
    resp.stream = Stream(req, pieces, is_slow=plan.request.target is not None)


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


def _build_level_routes(level: Level, name: str, form: _Form) -> list[Route]:
    one, many = level.title.lower(), level.plural
    path = f"/{many}/{{public_id}}/{name}"
    return [
        Route(
            "GET",
            path,
            partial(download_archive, level=level, form=form),
            f"Download the {one} as a {form.title}, sent while it is built",
            many,
            arguments=form.arguments,
            answer=_ZIP,
            statuses=(200, 400, 404),
        ),
        Route(
            "POST",
            path,
            partial(create_archive_of, level=level, form=form),
            f"{form.title} of the {one}: sent at once, or built by a job",
            many,
            body="application/json",
            body_schema=MEDIA if form.is_media else ARCHIVE,
            answer=_ZIP,
            other_answers=("application/json",),
            statuses=(200, 400, 404, 413),
        ),
    ]


def _build_routes_of_many(name: str, form: _Form) -> list[Route]:
    return [
        Route(
            "GET",
            f"/tools/{name}",
            partial(get_archive_of_many, form=form),
            f"Download several resources as a {form.title}",
            "tools",
            arguments=(_RESOURCES, *form.arguments),
            answer=_ZIP,
            statuses=(200, 400, 404),
        ),
        Route(
            "POST",
            f"/tools/{name}",
            partial(create_archive, form=form),
            f"{form.title} of several resources: sent at once, or built by a job",
            "tools",
            body="application/json",
            body_schema=MEDIA_OF_MANY if form.is_media else ARCHIVE_OF_MANY,
            answer=_ZIP,
            other_answers=("application/json",),
            statuses=(200, 400, 404, 413),
        ),
    ]


ROUTES = (
    *(
        route
        for level in (Level.PATIENT, Level.STUDY, Level.SERIES)
        for name, form in (("archive", _ARCHIVE), ("media", _MEDIA))
        for route in _build_level_routes(level, name, form)
    ),
    *_build_routes_of_many("create-archive", _ARCHIVE),
    *_build_routes_of_many("create-media", _MEDIA),
    *_build_routes_of_many("create-media-extended", _MEDIA_EXTENDED),
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
