"""Jobs: state, control, history."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

from falcon.asgi import Request as BodyRequest

from isocenter.clock import format_precise_timestamp, now_us
from isocenter.errors import BadJobStateError, BadParameterError, UnknownItemError, get_message
from isocenter.http.answers import JSON, answer_json, answer_nothing, format_json
from isocenter.http.arguments import get_flag, get_natural
from isocenter.http.error_answers import NotFound
from isocenter.http.exchange import Request, Response
from isocenter.http.pieces import answer_pieces
from isocenter.http.routes import Argument, Permission, Route
from isocenter.jobs.records import FailedItem, Job, JobFilter
from isocenter.jobs.states import Action, JobState
from isocenter.rest.arguments import EXPAND
from isocenter.rest.job_calls import is_short, read_idempotency_key
from isocenter.rest.long_answers import answer_from_thread
from isocenter.rest.services import Services

__all__ = [
    "ROUTES",
    "act",
    "delete_job",
    "describe_job",
    "get_job",
    "list_failed_items",
    "list_jobs",
    "retry_failed",
]

_SUCCESS = "Success"
_STATES = {state.title: state for state in JobState}
_MOST_FAILED_ITEMS = 100_000
# Identifiers that are written on the event loop; jobs that are described in one hop to a thread.
_SHORT_LIST = 1000
# Failed items that are described on the event loop.
_FEW_ITEMS = 200
_PAGE = 500
_ALL = 2**62


async def list_jobs(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: GET /jobs; the arguments other than ``expand`` are ours."""
    selection = JobFilter(
        states=tuple(_parse_state(name) for name in _split(req, "state")),
        kinds=tuple(_split(req, "type")),
        since=get_natural(req, "since") or 0,
        limit=get_natural(req, "limit") or None,
    )
    is_expanded = get_flag(req, "expand")
    if is_expanded and selection.limit is None:
        # With a limit, whatever it is, they come in the order of their submission.
        selection = replace(selection, limit=_ALL)
    job_ids = await services.jobs.list_ids(selection)
    if not is_expanded:
        await _answer_list(services, resp, job_ids)
    else:
        pieces = _iter_described(services, job_ids)
        await answer_pieces(req, resp, pieces, media_type=JSON)


async def _answer_list(services: Services, resp: Response, names: list[str]) -> None:
    """Answer a list of texts as JSON; a long one is written in a thread."""
    if len(names) > _SHORT_LIST:
        await answer_from_thread(services, resp, lambda: names)
    else:
        answer_json(resp, names)


async def _iter_described(services: Services, job_ids: list[str]) -> AsyncGenerator[bytes]:
    """Describe jobs page by page; those that are forgotten meanwhile are left out."""
    separator = b"["
    for start in range(0, len(job_ids), _PAGE):
        page = job_ids[start : start + _PAGE]
        described = await _describe_page(services, page)
        if described:
            yield separator + described
            separator = b","
    yield b"[]\n" if separator == b"[" else b"\n]\n"


async def _describe_page(services: Services, job_ids: list[str]) -> bytes:
    """Write some jobs as JSON, without the brackets of the list."""
    found = {job.job_id: job for job in await services.jobs.read(job_ids)}

    def write() -> bytes:
        jobs = [describe_job(found[job_id]) for job_id in job_ids if job_id in found]
        return format_json(jobs)[1:-3] if jobs else b""

    return await services.archive.workers.run(write)


def _split(req: Request, name: str) -> list[str]:
    return [part for part in (req.get_param(name) or "").split(";") if part]


def _parse_state(name: str) -> JobState:
    state = _STATES.get(name)
    if state is None:
        raise BadParameterError(f"the states of jobs are {', '.join(_STATES)}")
    return state


async def get_job(services: Services, _: Request, resp: Response, job_id: str) -> None:
    """Orthanc REST: GET /jobs/{id}."""
    job = await services.jobs.lookup(job_id)
    if job is None:
        raise NotFound
    if is_short(job.content):
        answer_json(resp, describe_job(job))
        return
    await answer_from_thread(services, resp, lambda: describe_job(job))


def describe_job(job: Job) -> dict[str, Any]:
    """Describe a job as Orthanc does.

    References
    ----------
    Orthanc REST: job object (behaviour manual §16.2)
    """
    now = now_us()
    failure = job.failure
    described: dict[str, Any] = {
        "ID": job.job_id,
        "Type": job.kind,
        "State": job.state.title,
        "Priority": job.priority,
        "Progress": job.progress,
        "CreationTime": format_precise_timestamp(job.created_at),
        "Timestamp": format_precise_timestamp(now),
        "EffectiveRuntime": job.runtime / 1e6,
        "ErrorCode": 0 if failure is None else failure.code,
        "ErrorDescription": _SUCCESS if failure is None else get_message(failure.code),
        "ErrorDetails": "" if failure is None else failure.details,
        "Content": dict(job.content),
    }
    if failure is not None and failure.payload is not None:
        described["ErrorPayload"] = failure.payload
    if job.user_data is not None:
        described["UserData"] = job.user_data
    if job.is_finished and job.completed_at is not None:
        described["CompletionTime"] = format_precise_timestamp(job.completed_at)
    if job.state is JobState.RUNNING and job.progress > 0 and job.runtime > 0:
        left = job.runtime * (100 - job.progress) // job.progress
        described["EstimatedTimeOfArrival"] = format_precise_timestamp(now + left)
    return described


async def delete_job(services: Services, _: Request, resp: Response, job_id: str) -> None:
    """Orthanc REST: DELETE /jobs/{id}."""
    if not await services.jobs.delete(job_id):
        raise UnknownItemError("there is no finished job with that identifier")
    answer_nothing(resp)


async def act(
    services: Services, _: BodyRequest, resp: Response, job_id: str, *, action: Action
) -> None:
    """Orthanc REST: POST /jobs/{id}/pause, resume, cancel, resubmit (quirk 13)."""
    result = await services.jobs.act(job_id, action)
    if result.job is None:
        raise BadJobStateError("there is no job with that identifier")
    is_silent = action in {Action.PAUSE, Action.CANCEL}
    if not result.is_possible and not is_silent:
        state = result.job.state.title
        raise BadJobStateError(f"a job in the state {state} cannot be told to {action.value}")
    answer_json(resp, {})


async def retry_failed(services: Services, req: BodyRequest, resp: Response, job_id: str) -> None:
    """Submit a job for the items that failed in a finished one; ours."""
    key = read_idempotency_key(req)
    job = await services.jobs.retry_failed(job_id, idempotency_key=key)
    answer_json(resp, {"ID": job.job_id, "Path": f"/jobs/{job.job_id}"})


async def list_failed_items(services: Services, _: Request, resp: Response, job_id: str) -> None:
    """List what a job could not deal with, and why; ours."""
    if await services.jobs.lookup(job_id) is None:
        raise UnknownItemError("there is no job with that identifier")
    items = await services.jobs.list_failed_items(job_id, limit=_MOST_FAILED_ITEMS)
    if len(items) <= _FEW_ITEMS:
        answer_json(resp, _describe_items(items))
        return
    await answer_from_thread(services, resp, lambda: _describe_items(items))


def _describe_items(items: list[FailedItem]) -> list[dict[str, Any]]:
    return [_describe_item(item) for item in items]


def _describe_item(item: FailedItem) -> dict[str, Any]:
    return {
        "ID": item.name,
        "ErrorCode": item.code,
        "ErrorDescription": get_message(item.code),
        "ErrorDetails": item.details,
    }


def _build_action(action: Action, summary: str, *, is_writing: bool = False) -> Route:
    async def respond(services: Services, req: BodyRequest, resp: Response, job_id: str) -> None:
        await act(services, req, resp, job_id, action=action)

    return Route(
        "POST",
        f"/jobs/{{job_id}}/{action.value}",
        respond,
        summary,
        "jobs",
        permission=Permission.WRITE,
        is_writing=is_writing,
        statuses=(200, 400),
    )


ROUTES = (
    Route(
        "GET",
        "/jobs",
        list_jobs,
        "List the identifiers of all jobs, or describe them",
        "jobs",
        arguments=(
            EXPAND,
            Argument("state", "text", "States of interest, separated by semicolons."),
            Argument("type", "text", "Types of interest, separated by semicolons."),
            Argument("since", "integer", "Skip that many jobs, in the order of submission."),
            Argument("limit", "integer", "Answer that many jobs at most, 0 for all."),
        ),
        statuses=(200, 400),
    ),
    Route("GET", "/jobs/{job_id}", get_job, "Describe one job", "jobs", statuses=(200, 404)),
    Route(
        "DELETE",
        "/jobs/{job_id}",
        delete_job,
        "Forget a finished job and what it offers for download",
        "jobs",
        permission=Permission.WRITE,
        is_writing=False,
        answer="text/plain",
        statuses=(200, 404),
    ),
    _build_action(Action.PAUSE, "Pause the job, if it runs at the end of its step"),
    _build_action(Action.RESUME, "Put a paused job back into the queue"),
    _build_action(Action.CANCEL, "Make an unfinished job a failure, with the code 37"),
    _build_action(Action.RESUBMIT, "Begin a failed job anew", is_writing=True),
    Route(
        "POST",
        "/jobs/{job_id}/retry-failed",
        retry_failed,
        "Submit a new job for what failed in a finished one",
        "jobs",
        permission=Permission.WRITE,
        statuses=(200, 400, 404, 409),
    ),
    Route(
        "GET",
        "/jobs/{job_id}/failed-items",
        list_failed_items,
        "What the job could not deal with, and why",
        "jobs",
        statuses=(200, 404),
    ),
)
