"""What is noted of every HTTP request: its duration by route, and a line of the log if wanted."""

import logging
from time import perf_counter
from typing import Any

from isocenter.http.exchange import Request, Response
from isocenter.http.exposition import Sample
from isocenter.http.histograms import Histogram
from isocenter.logs import TRACE
from isocenter.measures import Measures

__all__ = ["ObservedApplication", "Observer"]

_log = logging.getLogger(__name__)

# Upper bounds of the buckets, in seconds: a cached answer takes less than the first, an upload of
# a large file or a long search more than the last but one.
_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)
# What clients ask for that we do not have: nobody has to be alarmed.
_UNSERVED = 501
_OTHER = "other"


class Observer:
    """Falcon middleware that notes requests; the outermost one. For the event loop's thread only.

    Attributes
    ----------
    active
        Requests that are being answered now.
    requests, errors
        Answers so far, and those with a status of 500 or more; 501 is no failure.
    """

    def __init__(self, measures: Measures) -> None:
        self.active = 0
        self.requests = 0
        self.errors = 0
        self._measures = measures
        self._histograms: dict[tuple[str, str], Histogram] = {}

    async def process_request(self, req: Request, _: Response) -> None:
        """Note the time; Falcon calls this."""
        req.context.started_at = perf_counter()

    async def process_response(
        self,
        req: Request,
        resp: Response,
        __: object,
        req_succeeded: bool,  # noqa: FBT001 - Falcon's order
    ) -> None:
        """Note an answer; Falcon calls this."""
        ended_at = perf_counter()
        duration_s = ended_at - req.context.started_at
        if self._measures.is_enabled:
            self.requests += 1
            if not req_succeeded and resp.status_code >= 500 and resp.status_code != _UNSERVED:
                self.errors += 1
            self._measures.rest_api.note(duration_s, ended_at)
            # Only templates of the table and methods that the parser knows: they are few.
            key = (req.method, req.uri_template or _OTHER)
            histogram = self._histograms.get(key)
            if histogram is None:
                histogram = self._histograms[key] = Histogram(_BOUNDS)
            histogram.note(duration_s)
        if _log.isEnabledFor(logging.DEBUG):
            _log_request(req, resp, duration_s)

    def build_samples(self) -> tuple[Sample, ...]:
        """Tell the durations of all routes that were asked for."""
        return tuple(
            sample
            for (method, route), histogram in sorted(self._histograms.items())
            for sample in histogram.build_samples((("method", method), ("route", route)))
        )


def _log_request(req: Request, resp: Response, duration_s: float) -> None:
    extra: dict[str, object] = {
        "method": req.method,
        "status": resp.status_code,
        "duration_ms": round(1000 * duration_s, 3),
        "remote_ip": req.remote_addr,
    }
    if _log.isEnabledFor(TRACE):
        # What is typed into an address may be the name of a patient.
        _log.log(TRACE, "request", extra={**extra, "path": req.path, "query": req.query_string})
    else:
        _log.debug("request", extra={**extra, "route": req.uri_template or _OTHER})


class ObservedApplication:
    """An ASGI application whose requests are counted while they are answered, bodies included."""

    def __init__(self, application: Any, observer: Observer) -> None:
        self._application = application
        self._observer = observer

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer a request; the server calls this."""
        self._observer.active += 1
        try:
            await self._application(scope, receive, send)
        finally:
            self._observer.active -= 1
