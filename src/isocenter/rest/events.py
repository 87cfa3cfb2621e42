"""What happens on the server, as a stream of events; ours.

References
----------
HTML Living Standard §9.2 (server-sent events)
"""

import msgspec
from falcon.asgi import Request, Response

from isocenter.archive.event_feed import EventPosition
from isocenter.errors import BadParameterError, UnknownItemError
from isocenter.http.arguments import get_natural
from isocenter.http.event_streams import EventFormats, Interest, parse_position
from isocenter.http.routes import Argument, Route
from isocenter.http.streaming import ABORT, Stream
from isocenter.rest.changes import describe_change
from isocenter.rest.jobs import describe_job
from isocenter.rest.services import Services

__all__ = ["EVENT_FORMATS", "ROUTES", "stream_events"]

_MEDIA_TYPE = "text/event-stream"
_TYPES = ("change", "job")
_LONGEST_S = 86_400

EVENT_FORMATS = EventFormats(
    change=lambda change: msgspec.json.encode(describe_change(change)),
    job=lambda job: msgspec.json.encode(describe_job(job)),
)
"""Changes as ``GET /changes`` describes them, jobs as ``GET /jobs/{id}`` does."""


async def stream_events(services: Services, req: Request, resp: Response) -> None:
    """Tell what happens, from the last event on that the client has seen."""
    interest, since, timeout_s = _get_interest(req), _get_since(req), _get_timeout(req)
    services.events.check_room()
    if interest.job_id and await services.jobs.lookup(interest.job_id) is None:
        # A stream would tell nothing forever.
        raise UnknownItemError("there is no job with that identifier")
    await services.events.open()
    resp.content_type = _MEDIA_TYPE
    resp.set_header("Cache-Control", "no-store")
    # nginx would keep the events until it has a page of them.
    resp.set_header("X-Accel-Buffering", "no")
    abort = req.scope.get(ABORT, lambda: None)
    events = services.events.listen(interest, since, timeout_s=timeout_s, abort=abort)
    resp.stream = Stream(req, events)


def _get_interest(req: Request) -> Interest:
    types = [name for name in (req.get_param("type") or "").split(";") if name]
    if unknown := set(types) - set(_TYPES):
        raise BadParameterError(f"unknown type of event: {min(unknown)}; known: change, job")
    job_id = req.get_param("job") or ""
    if job_id and not types:
        types = ["job"]
    return Interest(
        has_changes=not types or "change" in types,
        has_jobs=not types or "job" in types,
        job_id=job_id,
    )


def _get_since(req: Request) -> EventPosition | None:
    text = req.get_header("Last-Event-ID") or req.get_param("last-event-id")
    return parse_position(text) if text else None


def _get_timeout(req: Request) -> int | None:
    timeout_s = get_natural(req, "timeout")
    if timeout_s is not None and timeout_s > _LONGEST_S:
        raise BadParameterError(f"the argument 'timeout' may be {_LONGEST_S} at most")
    return timeout_s


ROUTES = (
    Route(
        "GET",
        "/events",
        stream_events,
        "Server-sent events: changes of resources, and progress of jobs",
        "changes",
        arguments=(
            Argument("type", "text", "Types of interest: change, job; separated by semicolons."),
            Argument("job", "text", "Identifier of the only job of interest."),
            Argument("last-event-id", "text", "As the header Last-Event-ID: what was seen last."),
            Argument("timeout", "integer", "End after so many seconds (never)."),
        ),
        answer=_MEDIA_TYPE,
        statuses=(200, 400, 404, 503),
        details="Each event has the identifier `CHANGE.MOMENT`. A client that sends the last one "
        "as `Last-Event-ID` is told the changes since then, and how the jobs are now; a job may be "
        "told again. A client that does not read is dropped.",
    ),
)
