"""Metrics in Prometheus' exposition format."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from isocenter.archive.records import Statistics
from isocenter.http.exchange import Request, Response

__all__ = ["Metrics"]

_MIB = 1024 * 1024


class Metrics:
    """The numbers that ``/tools/metrics-prometheus`` shows.

    Names with ``orthanc_`` are Orthanc's; ours begin with ``isocenter_``.

    References
    ----------
    Orthanc REST: metrics (behaviour manual §36.3, quirk 20)
    """

    media_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._started = time.monotonic()
        self._content = {
            name: Gauge(f"orthanc_{name}", meaning, registry=self._registry)
            for name, meaning in (
                ("count_patients", "Stored patients."),
                ("count_studies", "Stored studies."),
                ("count_series", "Stored series."),
                ("count_instances", "Stored instances."),
                ("disk_size_mb", "Size of the stored attachments on disk, in MiB."),
                ("uncompressed_size_mb", "Size of the stored attachments uncompressed, in MiB."),
                ("last_change", "Number of the last change of the log."),
                ("up_time_s", "Seconds since the start."),
            )
        }
        self._requests = Counter(
            "isocenter_http_requests", "Answered HTTP requests.", registry=self._registry
        )
        self._errors = Counter(
            "isocenter_http_errors",
            "HTTP requests answered with a status of 500 or more.",
            registry=self._registry,
        )

    async def process_response(
        self,
        _: Request,
        resp: Response,
        __: object,
        req_succeeded: bool,  # noqa: FBT001
    ) -> None:
        """Note an answered request; Falcon calls this as middleware."""
        self._requests.inc()
        if not req_succeeded and resp.status_code >= 500:
            self._errors.inc()

    def format(self, statistics: Statistics) -> bytes:
        """Write all numbers."""
        content = self._content
        content["count_patients"].set(statistics.patients)
        content["count_studies"].set(statistics.studies)
        content["count_series"].set(statistics.series)
        content["count_instances"].set(statistics.instances)
        content["disk_size_mb"].set(statistics.disk_size / _MIB)
        content["uncompressed_size_mb"].set(statistics.uncompressed_size / _MIB)
        content["last_change"].set(statistics.last_change)
        content["up_time_s"].set(time.monotonic() - self._started)
        return generate_latest(self._registry)
