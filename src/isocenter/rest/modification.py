"""Modified and anonymized copies.

References
----------
Orthanc REST: modification and anonymization (behaviour manual §18, §19)
"""

from falcon.asgi import Request, Response

from isocenter.archive.edit_requests import EditRequest, parse_anonymization, parse_modification
from isocenter.dicom.levels import Level
from isocenter.errors import UnknownResourceError
from isocenter.http.routes import Responder, Route
from isocenter.http.streaming import Stream
from isocenter.rest.job_calls import read_json_object
from isocenter.rest.services import Services

__all__ = ["ROUTES", "anonymize_instance", "modify_instance"]

_DICOM = "application/dicom"


async def modify_instance(services: Services, req: Request, resp: Response, public_id: str) -> None:
    """Orthanc REST: POST /instances/{id}/modify."""
    await _check_instance(services, public_id)
    body = await read_json_object(req)
    creator = services.configuration.text("DefaultPrivateCreator")
    request = parse_modification(body, None, private_creator=creator)
    await _answer_edited(services, req, resp, public_id, request)


async def anonymize_instance(
    services: Services, req: Request, resp: Response, public_id: str
) -> None:
    """Orthanc REST: POST /instances/{id}/anonymize."""
    await _check_instance(services, public_id)
    body = await read_json_object(req)
    creator = services.configuration.text("DefaultPrivateCreator")
    request = parse_anonymization(body, private_creator=creator)
    await _answer_edited(services, req, resp, public_id, request)


async def _check_instance(services: Services, public_id: str) -> None:
    if not await services.archive.exporter.exists(Level.INSTANCE, public_id):
        raise UnknownResourceError


async def _answer_edited(
    services: Services, req: Request, resp: Response, public_id: str, request: EditRequest
) -> None:
    pieces = await services.archive.editor.edit(public_id, request)
    if pieces is None:
        raise UnknownResourceError
    resp.content_type = _DICOM
    resp.stream = Stream(req, pieces)


def _build_route(name: str, responder: Responder, summary: str) -> Route:
    return Route(
        "POST",
        f"/instances/{{public_id}}/{name}",
        responder,
        summary,
        "instances",
        body="application/json",
        answer=_DICOM,
        statuses=(200, 400, 404, 413, 501),
    )


ROUTES = (
    _build_route("modify", modify_instance, "Download a modified copy; nothing is stored"),
    _build_route("anonymize", anonymize_instance, "Download an anonymized copy; nothing is stored"),
)
