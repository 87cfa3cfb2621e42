"""Tools: identifiers, time, the cache of tags, the life of the server."""

import time
import uuid

from falcon.asgi import Request, Response

from isocenter.clock import format_timestamp, now
from isocenter.dicom.uids import build_uid
from isocenter.http.answers import answer_done, answer_json, answer_text
from isocenter.http.arguments import read_text
from isocenter.http.error_answers import NotFound
from isocenter.http.routes import Argument, Permission, Route
from isocenter.rest.services import Services

__all__ = [
    "ROUTES",
    "generate_uid",
    "get_local_time",
    "get_utc_time",
    "lookup",
    "reset",
    "shut_down",
]

_LONGEST_IDENTIFIER = 4096
_UID_LEVELS = {"study", "series", "instance"}


async def lookup(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: POST /tools/lookup."""
    text = await read_text(req, limit=_LONGEST_IDENTIFIER)
    found = await services.archive.browse.find_identifier(text.strip())
    answer_json(
        resp,
        [
            {"Type": level.title, "ID": public_id, "Path": f"/{level.plural}/{public_id}"}
            for level, public_id in found
        ],
    )


async def generate_uid(_: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: GET /tools/generate-uid; a UUID for ``patient``, else a UID."""
    level = req.get_param("level")
    if level == "patient":
        answer_text(resp, str(uuid.uuid4()))
    elif level in _UID_LEVELS:
        answer_text(resp, build_uid())
    else:
        raise NotFound


async def get_utc_time(_: Services, __: Request, resp: Response) -> None:
    """Orthanc REST: GET /tools/now."""
    answer_text(resp, format_timestamp(now()))


async def get_local_time(_: Services, __: Request, resp: Response) -> None:
    """Orthanc REST: GET /tools/now-local."""
    answer_text(resp, time.strftime("%Y%m%dT%H%M%S", time.localtime(now())))


async def reset(services: Services, _: Request, resp: Response) -> None:
    """Orthanc REST: POST /tools/reset."""
    services.lifecycle.restart()
    answer_done(resp)


async def shut_down(services: Services, _: Request, resp: Response) -> None:
    """Orthanc REST: POST /tools/shutdown."""
    services.lifecycle.stop()
    answer_done(resp)


ROUTES = (
    Route(
        "POST",
        "/tools/lookup",
        lookup,
        "Find resources by PatientID, StudyInstanceUID, SeriesInstanceUID or SOPInstanceUID",
        "tools",
        body="text/plain",
        statuses=(200, 400, 413),
    ),
    Route(
        "GET",
        "/tools/generate-uid",
        generate_uid,
        "Make a new identifier",
        "tools",
        arguments=(Argument("level", "text", "`patient`, `study`, `series` or `instance`."),),
        answer="text/plain",
        statuses=(200, 404),
    ),
    Route("GET", "/tools/now", get_utc_time, "The time, UTC", "tools", answer="text/plain"),
    Route(
        "GET",
        "/tools/now-local",
        get_local_time,
        "The time, local",
        "tools",
        answer="text/plain",
    ),
    Route(
        "POST",
        "/tools/reset",
        reset,
        "Restart the server with its configuration read again",
        "tools",
        permission=Permission.ADMINISTER,
    ),
    Route(
        "POST",
        "/tools/shutdown",
        shut_down,
        "Stop the server",
        "tools",
        permission=Permission.ADMINISTER,
    ),
)
