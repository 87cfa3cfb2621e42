"""Modified and anonymized copies.

References
----------
Orthanc REST: modification and anonymization (behaviour manual §18, §19)
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from falcon.asgi import Request, Response

from isocenter.archive.edit_requests import (
    EditRequest,
    derive_pseudonym_key,
    parse_pseudonym_key,
)
from isocenter.archive.received import Origin, OriginKind
from isocenter.dicom.levels import Level
from isocenter.errors import BadFileFormatError, UnknownResourceError
from isocenter.http.answers import answer_json
from isocenter.http.routes import Permission, Responder, Route
from isocenter.http.streaming import Stream, while_present
from isocenter.rest.bodies import EDIT, EDIT_JOB, EDIT_OF_MANY
from isocenter.rest.job_calls import (
    answer_repeated,
    get_boolean,
    has_idempotency_key,
    parse_job_call,
    read_json_object,
    submit_job,
)
from isocenter.rest.services import Services
from isocenter.tasks.modification import (
    ModificationCall,
    build_modification_job,
    build_modification_question,
    parse_edit_request,
    parse_resources,
)

__all__ = ["ROUTES"]

_DICOM = "application/dicom"
# Fields that say how the job is run, or for what; all others say what is to be done.
_JOB_FIELDS = frozenset(
    {
        *("Asynchronous", "DryRun", "Permissive", "Priority", "PseudonymKey", "Resources"),
        *("Synchronous", "UserData"),
    }
)


async def edit_instance(
    services: Services, req: Request, resp: Response, public_id: str, *, is_anonymization: bool
) -> None:
    """Orthanc REST: POST /instances/{id}/modify, POST /instances/{id}/anonymize."""
    await _check_exists(services, Level.INSTANCE, public_id)
    body = await read_json_object(req)
    # The level is that of the identifiers in the request.
    call = _build_call(req, body, (), level=None, is_anonymization=is_anonymization)
    request = parse_edit_request(call, services.archive.edits.modifications.options)
    key = await _derive_key(services, body)
    edit = services.archive.edits.editor.edit
    pieces = await while_present(req, edit(public_id, request, key))
    if pieces is None:
        raise UnknownResourceError
    resp.content_type = _DICOM
    resp.stream = Stream(req, pieces)


async def edit_resource(
    services: Services,
    req: Request,
    resp: Response,
    public_id: str,
    *,
    level: Level,
    is_anonymization: bool,
) -> None:
    """Orthanc REST: POST /studies/{id}/modify, POST /studies/{id}/anonymize, and the like."""
    exists = await services.archive.exporter.exists(level, public_id)
    if not exists and not has_idempotency_key(req):
        raise UnknownResourceError
    body = await read_json_object(req)
    resources = ((level, public_id),)
    call = _build_call(req, body, resources, level=level, is_anonymization=is_anonymization)
    if await _answer_repeated(services, req, resp, body, call):
        return
    if not exists:
        raise UnknownResourceError
    await _submit(services, req, resp, body, call)


async def edit_resources(
    services: Services, req: Request, resp: Response, *, is_anonymization: bool
) -> None:
    """Orthanc REST: POST /tools/bulk-modify, POST /tools/bulk-anonymize."""
    body = await read_json_object(req)
    public_ids = body.get("Resources")
    if not isinstance(public_ids, list) or not all(isinstance(item, str) for item in public_ids):
        raise BadFileFormatError("the field 'Resources' must be a list of identifiers")
    call = _build_call(req, body, (), level=None, is_anonymization=is_anonymization)
    if has_idempotency_key(req):
        resources = await _recall_resources(services, req, body, call, public_ids)
        known = replace(call, resources=resources)
        if await _answer_repeated(services, req, resp, body, known):
            return
    call = replace(call, resources=await services.archive.edits.modifications.resolve(public_ids))
    await _submit(services, req, resp, body, call)


async def _check_exists(services: Services, level: Level, public_id: str) -> None:
    if not await services.archive.exporter.exists(level, public_id):
        raise UnknownResourceError


async def _derive_key(services: Services, body: Mapping[str, Any]) -> bytes | None:
    secret = parse_pseudonym_key(body)
    if secret is None:
        return None
    return await services.archive.workers.run(derive_pseudonym_key, secret)


def _build_call(
    req: Request,
    body: Mapping[str, Any],
    resources: tuple[tuple[Level, str], ...],
    *,
    level: Level | None,
    is_anonymization: bool,
) -> ModificationCall:
    origin = Origin(
        OriginKind.REST_API,
        remote_ip=req.remote_addr,
        http_username=getattr(req.context, "username", ""),
    )
    return ModificationCall(
        resources=resources,
        level=level,
        is_anonymization=is_anonymization,
        body={name: value for name, value in body.items() if name not in _JOB_FIELDS},
        origin=origin,
        is_permissive=parse_job_call(req, body).is_permissive,
        has_key=parse_pseudonym_key(body) is not None,
    )


async def _recall_resources(
    services: Services,
    req: Request,
    body: Mapping[str, Any],
    call: ModificationCall,
    public_ids: Sequence[str],
) -> tuple[tuple[Level, str], ...]:
    """Find the levels of resources that may be gone in the job of the same request."""
    question = build_modification_question(call)
    question = replace(
        question,
        drawn={**question.drawn, "resources": None},
        idempotency_key=parse_job_call(req, body).idempotency_key,
    )
    job = await services.jobs.lookup_same(question)
    if job is None:
        return ()
    resources = parse_resources(job)
    known = {public_id for _, public_id in resources}
    return resources if known == set(public_ids) else ()


async def _answer_repeated(
    services: Services,
    req: Request,
    resp: Response,
    body: Mapping[str, Any],
    call: ModificationCall,
) -> bool:
    """Answer with the job of a request that was sent before, whose sources it may have deleted."""
    if get_boolean(body, "DryRun", default=False):
        return False
    question = build_modification_question(call)
    return await answer_repeated(services, resp, question, parse_job_call(req, body))


async def _submit(
    services: Services,
    req: Request,
    resp: Response,
    body: Mapping[str, Any],
    call: ModificationCall,
) -> None:
    """Refuse what cannot be done, or make a job of it."""
    modifications = services.archive.edits.modifications
    request: EditRequest = parse_edit_request(call, modifications.options)
    job_call = parse_job_call(req, body)
    key = await _derive_key(services, body)
    if get_boolean(body, "DryRun", default=False):
        answer_json(resp, await services.archive.edits.trials.run(call.public_ids, request, key))
        return
    sources = await modifications.find_sources(call.public_ids, request)
    number = await modifications.draw_number(request)
    new = build_modification_job(call, sources, number=number, key=key)
    await submit_job(services, resp, new, job_call)


def _build_file_route(name: str, responder: Responder, summary: str) -> Route:
    return Route(
        "POST",
        f"/instances/{{public_id}}/{name}",
        responder,
        summary,
        "instances",
        body="application/json",
        body_schema=EDIT,
        answer=_DICOM,
        statuses=(200, 400, 404, 413, 500, 501),
    )


def _build_job_route(level: Level, name: str, *, is_anonymization: bool) -> Route:
    one = level.title.lower()
    participle = "an anonymized" if is_anonymization else "a modified"
    return Route(
        "POST",
        f"/{level.plural}/{{public_id}}/{name}",
        partial(edit_resource, level=level, is_anonymization=is_anonymization),
        f"Store {participle} copy of the {one}, by a job",
        level.plural,
        body="application/json",
        body_schema=EDIT_JOB,
        permission=Permission.WRITE,
        statuses=(200, 400, 404, 409, 413, 500, 501, 504, 507),
    )


def _build_bulk_route(name: str, *, is_anonymization: bool) -> Route:
    participle = "anonymized" if is_anonymization else "modified"
    return Route(
        "POST",
        f"/tools/{name}",
        partial(edit_resources, is_anonymization=is_anonymization),
        f"Store {participle} copies of many resources, by one job",
        "tools",
        body="application/json",
        body_schema=EDIT_OF_MANY,
        permission=Permission.WRITE,
        statuses=(200, 400, 404, 409, 413, 500, 501, 504, 507),
    )


ROUTES = (
    _build_file_route(
        "modify",
        partial(edit_instance, is_anonymization=False),
        "Download a modified copy; nothing is stored",
    ),
    _build_file_route(
        "anonymize",
        partial(edit_instance, is_anonymization=True),
        "Download an anonymized copy; nothing is stored",
    ),
    *(
        _build_job_route(level, name, is_anonymization=name == "anonymize")
        for level in (Level.PATIENT, Level.STUDY, Level.SERIES)
        for name in ("modify", "anonymize")
    ),
    _build_bulk_route("bulk-modify", is_anonymization=False),
    _build_bulk_route("bulk-anonymize", is_anonymization=True),
)
