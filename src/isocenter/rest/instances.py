"""The file of an instance: as it is, in the forms of DICOMweb, exported to the host."""

from falcon.asgi import Request as BodyRequest

from isocenter.archive.models import ModelForm
from isocenter.errors import (
    BadParameterError,
    ForbiddenError,
    UnknownResourceError,
)
from isocenter.http.answers import answer_json
from isocenter.http.arguments import read_body
from isocenter.http.exchange import Request, Response
from isocenter.http.files import answer_file, format_disposition
from isocenter.http.pieces import answer_pieces
from isocenter.http.routes import Argument, Permission, Route
from isocenter.http.streaming import while_present
from isocenter.rest.arguments import TRANSCODE_ARGUMENTS, read_target
from isocenter.rest.services import Services

__all__ = ["ROUTES", "export_file", "get_file"]

# PATH_MAX of Linux.
_LONGEST_PATH = 4096


async def get_file(services: Services, req: Request, resp: Response, public_id: str) -> None:
    """Orthanc REST: GET /instances/{id}/file."""
    form = _choose_form(req.accept)
    if form is not None:
        pieces = services.archive.models.iter_model(public_id, form)
        if not await answer_pieces(req, resp, pieces, media_type=form.value):
            raise UnknownResourceError
        return
    target = read_target(req)
    if target is not None:
        lookup = services.archive.transcoded_files.lookup
        transcoded = await while_present(req, lookup(public_id, target))
        if transcoded is None:
            raise UnknownResourceError
        name = req.get_param("filename") or f"{public_id}.dcm"
        resp.set_header("Content-Disposition", format_disposition(name))
        await answer_pieces(req, resp, transcoded, media_type="application/dicom")
        return
    file = await services.archive.content.lookup_file(public_id)
    if file is None:
        raise UnknownResourceError
    await answer_file(req, resp, file, file_name=f"{public_id}.dcm")


def _choose_form(accept: str) -> ModelForm | None:
    """Find the first form of the DICOM model in the header ``Accept``; else the file is meant."""
    for part in accept.lower().split(","):
        media_type = part.partition(";")[0].strip()
        for form in ModelForm:
            if media_type == form.value:
                return form
    return None


async def export_file(services: Services, req: BodyRequest, resp: Response, public_id: str) -> None:
    """Orthanc REST: POST /instances/{id}/export; the body is the path."""
    if not services.configuration.boolean("RestApiWriteToFileSystemEnabled"):
        raise ForbiddenError("the option RestApiWriteToFileSystemEnabled is false")
    body = await read_body(req, limit=_LONGEST_PATH)
    try:
        path = body.decode()
    except UnicodeDecodeError as error:
        message = "the path must be UTF-8 text"
        raise BadParameterError(message) from error
    if not await services.archive.file_exporter.export(public_id, path):
        raise UnknownResourceError
    answer_json(resp, {})


ROUTES = (
    Route(
        "GET",
        "/instances/{public_id}/file",
        get_file,
        "Download the DICOM file; ranges and entity tags work",
        "instances",
        arguments=(
            Argument("filename", "text", "Name for saving the file."),
            *TRANSCODE_ARGUMENTS,
        ),
        answer="application/dicom",
        statuses=(200, 206, 304, 400, 404, 416, 500),
        details="With `Accept: application/dicom+json` or `application/dicom+xml` the data set is "
        "answered in that form (PS3.18 annex F, PS3.19), binary values included.",
        is_immediate=True,
        is_lasting=True,
    ),
    Route(
        "POST",
        "/instances/{public_id}/export",
        export_file,
        "Write the DICOM file to a path of the server's host",
        "instances",
        permission=Permission.ADMINISTER,
        body="text/plain",
        statuses=(200, 400, 403, 404, 413),
        details="Only if the option `RestApiWriteToFileSystemEnabled` is true.",
    ),
)
