"""New instances of tags, images and documents.

References
----------
Orthanc REST: POST /tools/create-dicom (behaviour manual §21)
"""

from falcon.asgi import Request, Response

from isocenter.archive.creation import LARGEST_CREATION_BYTES
from isocenter.archive.received import StoreStatus
from isocenter.dicom.levels import Level
from isocenter.http.answers import answer_json
from isocenter.http.routes import Permission, Route
from isocenter.rest.bodies import CREATION
from isocenter.rest.services import Services
from isocenter.rest.uploads import describe_outcome, get_origin

__all__ = ["ROUTES", "create"]


async def create(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: POST /tools/create-dicom."""
    body = await services.archive.uploads.receive(
        req.stream, size=req.content_length, largest=LARGEST_CREATION_BYTES
    )
    created = await services.archive.edits.creator.create(body, get_origin(req))
    if not created.is_series:
        answer_json(resp, describe_outcome(created.outcomes[0]))
        return
    series = created.outcomes[0].public_ids[Level.SERIES]
    is_new = any(outcome.status is StoreStatus.SUCCESS for outcome in created.outcomes)
    status = StoreStatus.SUCCESS if is_new else StoreStatus.ALREADY_STORED
    answer_json(resp, {"ID": series, "Path": f"/series/{series}", "Status": status.value})


ROUTES = (
    Route(
        "POST",
        "/tools/create-dicom",
        create,
        "Create and store instances of tags and, if given, images or documents",
        "tools",
        permission=Permission.WRITE,
        body="application/json",
        body_schema=CREATION,
        statuses=(200, 400, 413, 507),
        details="`Content` is a data URI: PNG, JPEG, PAM, raw pixels (`application/octet-stream`), "
        "PDF, STL, OBJ or MTL. An array of them, or of objects with `Content` and `Tags`, becomes "
        "a series, of which all instances are stored or none. `Parent` names a patient, study or "
        "series to which the instances are added.",
    ),
)
