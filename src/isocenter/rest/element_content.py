"""Single elements of an instance: what there is, and the bytes; the document that one holds."""

from isocenter.archive.elements import ItemList, StoredValue, TagList
from isocenter.dicom.element_paths import parse_path
from isocenter.errors import UnknownResourceError
from isocenter.http.answers import answer_json
from isocenter.http.error_answers import NotFound
from isocenter.http.exchange import Request, Response
from isocenter.http.pieces import answer_stream
from isocenter.http.routes import Route
from isocenter.rest.services import Services

__all__ = ["ROUTES", "get_content", "get_pdf"]

_BYTES = "application/octet-stream"
_PDF = "application/pdf"
_MIME_TYPE = (0x00420012,)
_DOCUMENT = (0x00420011,)
_DOCUMENT_LENGTH = (0x00420015,)


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
            _answer_value(req, resp, found, _BYTES)
        case None:
            raise NotFound


async def get_pdf(services: Services, req: Request, resp: Response, public_id: str) -> None:
    """Orthanc REST: GET /instances/{id}/pdf (behaviour manual §6)."""
    elements = await services.archive.elements.open(public_id)
    if elements is None:
        raise UnknownResourceError
    kind = await elements.lookup(_MIME_TYPE)
    if not isinstance(kind, StoredValue) or (kind.data or b"").strip(b" \0") != _PDF.encode():
        raise NotFound
    document = await elements.lookup(_DOCUMENT)
    if not isinstance(document, StoredValue):
        raise NotFound
    length = await elements.lookup(_DOCUMENT_LENGTH)
    if isinstance(length, StoredValue) and length.data is not None:
        document.drop_padding(int.from_bytes(length.data, "little"))
    _answer_value(req, resp, document, _PDF)


def _answer_value(req: Request, resp: Response, value: StoredValue, content_type: str) -> None:
    resp.content_type = content_type
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
    Route(
        "GET",
        "/instances/{public_id}/pdf",
        get_pdf,
        "The PDF document that the instance holds",
        "instances",
        answer=_PDF,
        statuses=(200, 404),
    ),
)
