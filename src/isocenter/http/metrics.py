"""The numbers that the server tells of itself, in Prometheus' format."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from time import perf_counter

from isocenter.archive.archive import Archive
from isocenter.archive.records import Statistics
from isocenter.clock import now_us
from isocenter.http.exposition import MEDIA_TYPE, Family, Kind, Sample, format_families
from isocenter.http.job_times import JobTimes
from isocenter.http.observing import Observer
from isocenter.jobs.engine import Engine
from isocenter.jobs.port import JobCounts
from isocenter.jobs.states import JobState
from isocenter.logs import Logs

__all__ = ["Metrics"]

_MIB = 1024 * 1024
_ORTHANC = "orthanc_"
_COUNTER, _GAUGE = Kind.COUNTER, Kind.GAUGE


class Metrics:
    """The numbers that ``/tools/metrics-prometheus`` shows. For the event loop's thread only.

    Names with ``orthanc_`` are Orthanc's and mean what they mean there; ours begin with
    ``isocenter_``. What this server does not have (transcoders, say) has no number.

    Attributes
    ----------
    observer
        Notes the requests.

    References
    ----------
    Orthanc REST: metrics (behaviour manual §36.3, quirk 20)
    """

    media_type = MEDIA_TYPE

    def __init__(
        self,
        archive: Archive,
        jobs: Engine,
        observer: Observer,
        logs: Logs,
        *,
        job_times: JobTimes,
    ) -> None:
        self._archive = archive
        self._jobs = jobs
        self._job_times = job_times
        self.observer = observer
        self._logs = logs
        self._started_at = perf_counter()
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    @property
    def is_enabled(self) -> bool:
        """Whether numbers are collected (option ``MetricsEnabled``)."""
        return self._archive.measures.is_enabled

    @is_enabled.setter
    def is_enabled(self, is_enabled: bool) -> None:
        self._archive.measures.is_enabled = is_enabled

    def add_gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Show one more number that may rise and fall.

        Parameters
        ----------
        name
            With its prefix.
        read
            Tells the number; called on the event loop each time the metrics are asked for.
        """
        self._gauges[name] = (meaning, read)

    async def format(self) -> bytes:
        """Write all numbers; nothing if they are not collected."""
        if not self.is_enabled:
            return b""
        statistics = await self._archive.browse.get_statistics()
        families = [
            *_build_content(statistics),
            *_build_jobs(await self._jobs.count()),
            *self._job_times.build_families(),
            *self._build_timings(),
            *self._build_use(),
            *self._build_http(),
            *(
                _build(name, _GAUGE, meaning, read())
                for name, (meaning, read) in self._gauges.items()
            ),
        ]
        # Orthanc's clients take only lines with a time for metrics.
        instant_ms = now_us() // 1000
        return format_families(
            replace(family, timestamp_ms=instant_ms) if family.name.startswith(_ORTHANC) else family
            for family in families
        )

    def _build_timings(self) -> Iterable[Family]:
        measures, instant = self._archive.measures, perf_counter()
        for name, meaning, longest in (
            ("rest_api", "answering of a request", measures.rest_api),
            ("store_dicom", "storing of an instance", measures.store_dicom),
            ("find_scp", "answering of a C-FIND", measures.find_scp),
            ("move_scp", "answering of a C-MOVE", measures.move_scp),
            ("get_scp", "answering of a C-GET", measures.get_scp),
            ("storage_create", "writing of files", measures.storage_create),
            ("storage_read", "reading of a file", measures.storage_read),
            ("storage_remove", "removal of a file", measures.storage_remove),
        ):
            text = f"Longest {meaning} in the last 10 s, in ms."
            milliseconds = round(longest.get_ms(instant), 3)
            yield _build(f"orthanc_{name}_duration_ms", _GAUGE, text, milliseconds)

    def _build_use(self) -> Iterable[Family]:
        measures, cache = self._archive.measures, self._archive.tags.get_statistics()
        up_time = int(perf_counter() - self._started_at)
        idle = self._archive.workers.idle_count
        for name, kind, meaning, value in (
            ("storage_read_bytes", _COUNTER, "Bytes read.", measures.storage_read_bytes.value),
            (
                "storage_written_bytes",
                _COUNTER,
                "Bytes written.",
                measures.storage_written_bytes.value,
            ),
            ("storage_available_threads", _GAUGE, "Idle threads for files and index.", idle),
            ("dicom_parser_cache_count", _GAUGE, "Parsed files in the cache.", cache.count),
            ("dicom_parser_cache_hit_count", _COUNTER, "Files found in the cache.", cache.hits),
            ("dicom_parser_cache_miss_count", _COUNTER, "Files that were parsed.", cache.misses),
            (
                "dicom_parser_cache_size_mb",
                _GAUGE,
                "Size of the cache of parsed files, in MiB.",
                cache.size_bytes / _MIB,
            ),
            ("up_time_s", _GAUGE, "Seconds since the start.", up_time),
            ("logged_errors_count", _COUNTER, "Errors in the log.", self._logs.errors),
            ("logged_warnings_count", _COUNTER, "Warnings in the log.", self._logs.warnings),
        ):
            yield _build(f"orthanc_{name}", kind, meaning, value)

    def _build_http(self) -> Iterable[Family]:
        observer = self.observer
        yield _build(
            "orthanc_rest_api_active_requests", _GAUGE, "Requests being answered.", observer.active
        )
        yield _build(
            "isocenter_http_requests_total", _COUNTER, "Answered HTTP requests.", observer.requests
        )
        yield _build(
            "isocenter_http_errors_total",
            _COUNTER,
            "HTTP requests answered with a status of 500 or more, 501 aside.",
            observer.errors,
        )
        yield Family(
            "isocenter_http_request_duration_seconds",
            Kind.HISTOGRAM,
            "Time until an answer is ready to be sent.",
            observer.build_samples(),
        )


def _build_content(statistics: Statistics) -> Iterable[Family]:
    for name, meaning, value in (
        ("count_patients", "Stored patients.", statistics.patients),
        ("count_studies", "Stored studies.", statistics.studies),
        ("count_series", "Stored series.", statistics.series),
        ("count_instances", "Stored instances.", statistics.instances),
        ("disk_size_mb", "Size of the attachments on disk, in MiB.", statistics.disk_size / _MIB),
        (
            "uncompressed_size_mb",
            "Size of the attachments uncompressed, in MiB.",
            statistics.uncompressed_size / _MIB,
        ),
        ("last_change", "Number of the last change of the log.", statistics.last_change),
    ):
        yield _build(f"orthanc_{name}", _GAUGE, meaning, value)


def _build_jobs(counts: JobCounts) -> Iterable[Family]:
    for name, meaning, value in (
        ("pending", "Jobs that wait.", counts.pending),
        ("running", "Jobs that run.", counts.running),
        ("total_completed", "Finished jobs in the history.", counts.success + counts.failed),
        ("total_success", "Jobs in the history that succeeded.", counts.success),
        ("total_failed", "Jobs in the history that failed.", counts.failed),
    ):
        yield _build(f"orthanc_jobs_{name}", _GAUGE, meaning, value)
    yield Family(
        "isocenter_jobs",
        _GAUGE,
        "Jobs by state, those in the history included.",
        tuple(
            Sample(counts.by_state.get(state, 0), labels=(("state", state.title),))
            for state in JobState
        ),
    )


def _build(name: str, kind: Kind, meaning: str, value: float) -> Family:
    return Family(name, kind, meaning, (Sample(value),))
