"""The file and the tags of an instance."""

from isocenter.archive.content import TagsRequest
from isocenter.dicom.json_forms import Shape
from isocenter.dicom.tags import parse_tag
from isocenter.errors import BadParameterError, NotSupportedError, UnknownResourceError
from isocenter.http.answers import JSON
from isocenter.http.arguments import get_flag
from isocenter.http.exchange import Request, Response
from isocenter.http.files import answer_file
from isocenter.http.routes import Argument, Route
from isocenter.rest.arguments import IGNORE_LENGTH, SHAPES, WHOLE
from isocenter.rest.resources import get_shape
from isocenter.rest.services import Services

__all__ = ["ROUTES", "get_file", "get_simplified_tags", "get_tags"]

_LONGEST_IGNORE_LENGTH = 1000
_OTHER_FORMS = ("application/dicom+json", "application/dicom+xml")


async def get_file(services: Services, req: Request, resp: Response, public_id: str) -> None:
    """Orthanc REST: GET /instances/{id}/file."""
    for name in ("transcode", "lossy-quality"):
        if name in req.params:
            raise NotSupportedError(f"the argument '{name}' is not supported by this version")
    if any(form in req.accept for form in _OTHER_FORMS):
        message = "only application/dicom is supported by this version"
        raise NotSupportedError(message)
    file = await services.archive.content.lookup_file(public_id)
    if file is None:
        raise UnknownResourceError
    await answer_file(req, resp, file, file_name=f"{public_id}.dcm")


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
    request = TagsRequest(
        shape=shape,
        ignore_length=_get_ignore_length(req),
        is_whole=get_flag(req, "whole"),
    )
    document = await services.archive.content.lookup_tags(public_id, request)
    if document is None:
        raise UnknownResourceError
    resp.content_type = JSON
    resp.data = document


def _get_ignore_length(req: Request) -> frozenset[int]:
    names = [name for name in (req.get_param("ignore-length") or "").split(",") if name.strip()]
    if len(names) > _LONGEST_IGNORE_LENGTH:
        raise BadParameterError(f"'ignore-length' may list {_LONGEST_IGNORE_LENGTH} tags at most")
    return frozenset(parse_tag(name) for name in names)


ROUTES = (
    Route(
        "GET",
        "/instances/{public_id}/file",
        get_file,
        "Download the DICOM file; ranges and entity tags work",
        "instances",
        arguments=(Argument("filename", "text", "Name for saving the file."),),
        answer="application/dicom",
        statuses=(200, 206, 304, 404, 416, 501),
        is_immediate=True,
        is_lasting=True,
    ),
    Route(
        "GET",
        "/instances/{public_id}/tags",
        get_tags,
        "All tags of the instance as JSON",
        "instances",
        arguments=(*SHAPES, IGNORE_LENGTH, WHOLE),
        statuses=(200, 400, 404),
        is_immediate=True,
    ),
    Route(
        "GET",
        "/instances/{public_id}/simplified-tags",
        get_simplified_tags,
        "All tags of the instance as JSON, by name",
        "instances",
        arguments=(IGNORE_LENGTH, WHOLE),
        statuses=(200, 400, 404),
        is_immediate=True,
    ),
)
