"""Building resources anew from their files."""

from functools import partial
from typing import Any

from falcon.asgi import Request, Response

from isocenter.dicom.levels import Level
from isocenter.errors import BadRequestError, UnknownResourceError
from isocenter.http.answers import answer_nothing
from isocenter.http.json_bodies import read_json_object
from isocenter.http.routes import Permission, Route
from isocenter.rest.services import Services

__all__ = ["ROUTES", "reconstruct_all", "reconstruct_resource"]

_HAS_FILES = "ReconstructFiles"
_IS_LIMITED = "LimitToThisLevelMainDicomTags"


async def reconstruct_resource(
    services: Services, req: Request, resp: Response, public_id: str, *, level: Level
) -> None:
    """Orthanc REST: POST /{level}/{id}/reconstruct."""
    body = await read_json_object(req, is_optional=True)
    is_known = await services.archive.reconstruction.rebuild(
        level,
        public_id,
        is_limited=_get_boolean(body, _IS_LIMITED),
        has_files=_get_boolean(body, _HAS_FILES),
    )
    if not is_known:
        raise UnknownResourceError
    answer_nothing(resp)


async def reconstruct_all(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: POST /tools/reconstruct."""
    body = await read_json_object(req, is_optional=True)
    await services.archive.reconstruction.rebuild_all(has_files=_get_boolean(body, _HAS_FILES))
    answer_nothing(resp)


def _get_boolean(body: dict[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise BadRequestError(f"'{name}' must be true or false")
    return value


_BODY = f"`{_HAS_FILES}` also stores the files anew, compressed and transcoded as now configured"

ROUTES = (
    *(
        Route(
            "POST",
            f"/{level.plural}/{{public_id}}/reconstruct",
            partial(reconstruct_resource, level=level),
            f"Build main tags, metadata and search values of the {level.title.lower()} anew",
            level.plural,
            permission=Permission.WRITE,
            body="application/json",
            answer="text/plain",
            statuses=(200, 400, 404, 413, 500, 507),
            details=f"The body is optional. {_BODY}; `{_IS_LIMITED}` leaves out what lies above "
            "and below. Files that cannot be read change nothing.",
        )
        for level in Level
    ),
    Route(
        "POST",
        "/tools/reconstruct",
        reconstruct_all,
        "Build main tags, metadata and search values of the whole archive anew",
        "tools",
        permission=Permission.WRITE,
        body="application/json",
        answer="text/plain",
        statuses=(200, 400, 404, 413, 500, 507),
        details=f"The body is optional. {_BODY}. Patients whose files cannot be read are left as "
        "they are, and the first such error is the answer.",
    ),
)
