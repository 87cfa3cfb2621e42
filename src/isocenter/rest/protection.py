"""Protection of patients against recycling."""

from falcon.asgi import Request, Response

from isocenter.errors import BadFileFormatError
from isocenter.http.answers import answer_nothing, answer_text
from isocenter.http.arguments import read_body
from isocenter.http.routes import Permission, Route
from isocenter.rest.services import Services

__all__ = ["ROUTES", "get_protection", "set_protection"]

_VALUES = {b"1": True, b"true": True, b"0": False, b"false": False}
_LONGEST_BODY = 1024


async def get_protection(services: Services, _: Request, resp: Response, public_id: str) -> None:
    """Orthanc REST: GET /patients/{id}/protected."""
    is_protected = await services.archive.protection.get(public_id)
    answer_text(resp, "1" if is_protected else "0")


async def set_protection(services: Services, req: Request, resp: Response, public_id: str) -> None:
    """Orthanc REST: PUT /patients/{id}/protected."""
    text = (await read_body(req, limit=_LONGEST_BODY)).strip()
    if text not in _VALUES:
        message = "the body must be a boolean: 1, true, 0 or false"
        raise BadFileFormatError(message)
    await services.archive.protection.set(public_id, is_protected=_VALUES[text])
    answer_nothing(resp)


ROUTES = (
    Route(
        "GET",
        "/patients/{public_id}/protected",
        get_protection,
        "Tell whether the patient is protected against recycling: 1 or 0",
        "patients",
        answer="text/plain",
        statuses=(200, 400),
        is_immediate=True,
        is_lasting=True,
    ),
    Route(
        "PUT",
        "/patients/{public_id}/protected",
        set_protection,
        "Protect the patient against recycling, or give it free",
        "patients",
        permission=Permission.WRITE,
        body="text/plain",
        answer="text/plain",
        statuses=(200, 400, 413),
        details="The body is `1` or `true`, `0` or `false`. A patient that is given free comes "
        "last among those to be recycled.",
    ),
)
