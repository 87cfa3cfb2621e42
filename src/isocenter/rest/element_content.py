"""Single elements of an instance: what there is, and the bytes."""

from isocenter.archive.elements import ItemList, StoredValue, TagList
from isocenter.dicom.element_paths import parse_path
from isocenter.errors import UnknownResourceError
from isocenter.http.answers import answer_json
from isocenter.http.error_answers import NotFound
from isocenter.http.exchange import Request, Response
from isocenter.http.pieces import answer_stream
from isocenter.http.routes import Route
from isocenter.rest.services import Services

__all__ = ["ROUTES", "get_content"]

_BYTES = "application/octet-stream"


async def get_content(
    services: Services, req: Request, resp: Response, public_id: str, path: str = ""
) -> None:
    """Orthanc REST: GET /instances/{id}/content, /instances/{id}/content/{path}."""
    elements = await services.archive.elements.open(public_id)
    if elements is None:
        raise UnknownResourceError
    segments = [segment for segment in path.split("/") if segment]
    parsed = parse_path(segments, services.archive.dictionary)
    found = None if parsed is None else await elements.lookup(parsed)
    match found:
        case TagList(tags):
            answer_json(resp, tags)
        case ItemList(count):
            answer_json(resp, [str(number) for number in range(count)])
        case StoredValue():
            _answer_value(req, resp, found)
        case None:
            raise NotFound


def _answer_value(req: Request, resp: Response, value: StoredValue) -> None:
    resp.content_type = _BYTES
    if value.data is not None:
        resp.data = value.data
        return
    resp.content_length = value.size_bytes
    if req.method != "HEAD":
        answer_stream(req, resp, value.stream())


ROUTES = (
    Route(
        "GET",
        "/instances/{public_id}/content",
        get_content,
        "List the tags of the instance",
        "instances",
        statuses=(200, 400, 404),
    ),
    Route(
        "GET",
        "/instances/{public_id}/content/{path}",
        get_content,
        "The bytes of an element, or the list of its items or fragments",
        "instances",
        answer=_BYTES,
        statuses=(200, 400, 404),
        details="The path is a tag by number or name; in sequences the number of an item, from 0, "
        "and a tag follow, and so on. Of `7fe0-0010` the fragments are numbered.",
    ),
)
