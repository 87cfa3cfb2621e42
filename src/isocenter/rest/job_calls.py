"""What all calls share that make a job: the common fields of their bodies, waiting, the answer.

References
----------
Orthanc REST: synchronous or asynchronous (behaviour manual §16.6)
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from falcon.asgi import Request

from isocenter.errors import BadRequestError, build_error
from isocenter.http.answers import answer_json
from isocenter.http.arguments import read_body
from isocenter.http.exchange import Response
from isocenter.http.json_bodies import parse_json
from isocenter.jobs.records import Job, NewJob
from isocenter.jobs.states import JobState
from isocenter.rest.long_answers import answer_from_thread
from isocenter.rest.services import Services

__all__ = [
    "JobCall",
    "answer_repeated",
    "get_boolean",
    "has_idempotency_key",
    "is_short",
    "parse_job_call",
    "read_idempotency_key",
    "read_json_object",
    "run_job",
    "submit_job",
]

_LARGEST_PRIORITY = 2**31 - 1
_LONGEST_KEY = 255
# As JSON: it comes back whenever the job is described, in each of its events, too.
_LARGEST_USER_DATA_BYTES = 64 * 1024
# Of the content of a job that is written on the event loop.
_FEW_RESOURCES = 200
_KEY_HEADER = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class JobCall:
    """How a client wants a job to be run.

    Attributes
    ----------
    user_data
        Any JSON, kept with the job; ``None`` if absent.
    idempotency_key
        Of the header ``Idempotency-Key``; empty if absent.
    """

    is_synchronous: bool
    priority: int
    is_permissive: bool
    user_data: Any
    idempotency_key: str


async def read_json_object(req: Request) -> dict[str, Any]:
    """Read a body that is a JSON object.

    Raises
    ------
    BadFileFormatError
        If it is empty or no JSON.
    BadRequestError
        If it is JSON but no object.
    """
    value = parse_json(await read_body(req))
    if not isinstance(value, dict):
        message = "the body must be a JSON object"
        raise BadRequestError(message)
    return value


def parse_job_call(
    req: Request, body: Mapping[str, Any], *, is_synchronous: bool = True
) -> JobCall:
    """Read the fields that every call with a job has.

    Parameters
    ----------
    is_synchronous
        The default of the route.

    Raises
    ------
    BadRequestError
        If a field has a wrong type, or is too long.
    """
    if "Asynchronous" in body:
        is_synchronous = not get_boolean(body, "Asynchronous", default=False)
    priority = body.get("Priority", 0)
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise BadRequestError("the field 'Priority' must be an integer")
    if abs(priority) > _LARGEST_PRIORITY:
        raise BadRequestError("the field 'Priority' must be an integer of 32 bits")
    return JobCall(
        is_synchronous=get_boolean(body, "Synchronous", default=is_synchronous),
        priority=priority,
        is_permissive=get_boolean(body, "Permissive", default=False),
        user_data=_check_user_data(body.get("UserData")),
        idempotency_key=read_idempotency_key(req),
    )


def _check_user_data(value: Any) -> Any:
    if len(msgspec.json.encode(value)) > _LARGEST_USER_DATA_BYTES:
        raise BadRequestError(f"the field 'UserData' may have {_LARGEST_USER_DATA_BYTES} bytes")
    return value


def read_idempotency_key(req: Request) -> str:
    """Read the header ``Idempotency-Key``; empty if it is absent.

    Raises
    ------
    BadRequestError
        If it is too long.
    """
    key = req.get_header(_KEY_HEADER) or ""
    if len(key) > _LONGEST_KEY:
        raise BadRequestError(f"the header 'Idempotency-Key' may have {_LONGEST_KEY} characters")
    return key


def get_boolean(body: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """Read a boolean field.

    Raises
    ------
    BadRequestError
        If it is there and no boolean.
    """
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise BadRequestError(f"the field '{name}' must be a boolean")
    return value


async def submit_job(services: Services, resp: Response, new: NewJob, call: JobCall) -> None:
    """Submit a job and answer: its content at its end, or where to find it.

    Raises
    ------
    ServerError
        The failure of a job that was waited for.
    """
    new = _complete(new, call)
    if call.is_synchronous:
        await _answer_content(services, resp, await run_job(services, new))
        return
    job = await services.jobs.submit(new)
    answer_json(resp, {"ID": job.job_id, "Path": f"/jobs/{job.job_id}"})


def has_idempotency_key(req: Request) -> bool:
    """Tell whether a request may have been sent before."""
    return bool(req.get_header(_KEY_HEADER))


async def answer_repeated(services: Services, resp: Response, new: NewJob, call: JobCall) -> bool:
    """Answer a request that was sent before with the job of then; false if it is a new one.

    To be asked before anybody looks for what the job is about, which it may have deleted.

    Parameters
    ----------
    new
        As it is submitted; of `NewJob.drawn` only the names count.

    Raises
    ------
    ServerError
        The failure of a job that was waited for.
    """
    if not call.idempotency_key:
        return False
    job = await services.jobs.lookup_same(_complete(new, call))
    if job is None:
        return False
    if call.is_synchronous:
        timeout_s = services.configuration.integer("Isocenter.SynchronousJobTimeout")
        job = _check_success(await services.jobs.wait(job.job_id, timeout_s))
        await _answer_content(services, resp, job)
    else:
        answer_json(resp, {"ID": job.job_id, "Path": f"/jobs/{job.job_id}"})
    return True


async def _answer_content(services: Services, resp: Response, job: Job) -> None:
    content = dict(job.content)
    if is_short(content):
        answer_json(resp, content)
    else:
        await answer_from_thread(services, resp, lambda: content)


def is_short(content: Mapping[str, Any]) -> bool:
    """Tell whether what a job tells is written on the event loop: it may name many resources."""
    lists = (value for value in content.values() if isinstance(value, list))
    return sum(map(len, lists)) <= _FEW_RESOURCES


def _complete(new: NewJob, call: JobCall) -> NewJob:
    return replace(
        new,
        priority=call.priority,
        user_data=call.user_data,
        idempotency_key=call.idempotency_key,
    )


async def run_job(services: Services, new: NewJob) -> Job:
    """Submit a job and wait for its success.

    Raises
    ------
    ServerError
        Its failure, with the code and payload of the job.
    StillRunningError
        If it does not end within ``Isocenter.SynchronousJobTimeout``; it goes on.
    """
    timeout_s = services.configuration.integer("Isocenter.SynchronousJobTimeout")
    return _check_success(await services.jobs.run(new, timeout_s))


def _check_success(job: Job) -> Job:
    if job.state is JobState.FAILURE and job.failure is not None:
        payload = None if job.failure.payload is None else dict(job.failure.payload)
        error = build_error(job.failure.code, job.failure.details, payload)
        # By who ran the job.
        error.is_logged = True
        raise error
    return job
