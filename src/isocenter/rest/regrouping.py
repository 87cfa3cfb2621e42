"""Splitting and merging studies.

References
----------
Orthanc REST: split and merge (behaviour manual §20)
"""

from functools import partial

from falcon.asgi import Request

from isocenter.dicom.levels import Level
from isocenter.errors import UnknownResourceError
from isocenter.http.exchange import Response
from isocenter.http.routes import Permission, Route, Schema
from isocenter.rest.bodies import MERGE, SPLIT
from isocenter.rest.job_calls import (
    answer_repeated,
    has_idempotency_key,
    parse_job_call,
    read_json_object,
    submit_job,
)
from isocenter.rest.services import Services
from isocenter.rest.uploads import get_origin
from isocenter.tasks.regrouping import (
    Direction,
    RegroupingCall,
    build_regrouping_job,
    build_regrouping_question,
)

__all__ = ["ROUTES", "regroup"]

# What counts of the body; the rest says how the job is run.
_FIELDS = frozenset(
    {"Instances", "KeepLabels", "KeepSource", "Remove", "Replace", "Resources", "Series"}
)


async def regroup(
    services: Services, req: Request, resp: Response, public_id: str, *, direction: Direction
) -> None:
    """Orthanc REST: POST /studies/{id}/split, POST /studies/{id}/merge."""
    exists = await services.archive.exporter.exists(Level.STUDY, public_id)
    if not exists and not has_idempotency_key(req):
        raise UnknownResourceError
    body = await read_json_object(req)
    job_call = parse_job_call(req, body)
    call = RegroupingCall(
        direction=direction,
        study=public_id,
        body={name: value for name, value in body.items() if name in _FIELDS},
        origin=get_origin(req),
        is_permissive=job_call.is_permissive,
    )
    if await answer_repeated(services, resp, build_regrouping_question(call), job_call):
        return
    if not exists:
        raise UnknownResourceError
    new = await build_regrouping_job(call, services.archive.edits.regroupings)
    await submit_job(services, resp, new, job_call)


def _build_route(name: str, direction: Direction, schema: Schema, summary: str) -> Route:
    return Route(
        "POST",
        f"/studies/{{public_id}}/{name}",
        partial(regroup, direction=direction),
        summary,
        "studies",
        permission=Permission.WRITE,
        body="application/json",
        body_schema=schema,
        statuses=(200, 400, 404, 409, 413, 500, 504, 507),
        details="Everything is moved or, after an error, nothing. Labels, metadata and "
        "attachments of users go with what is moved; `KeepSource` copies instead.",
    )


ROUTES = (
    _build_route(
        "split",
        Direction.SPLIT,
        SPLIT,
        "Move series and instances of the study into a new study, by a job",
    ),
    _build_route(
        "merge",
        Direction.MERGE,
        MERGE,
        "Move studies, series and instances into the study, by a job",
    ),
)
