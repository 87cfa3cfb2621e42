"""How long jobs have waited and worked, by kind."""

from isocenter.http.exposition import Family, Kind
from isocenter.http.histograms import Histogram
from isocenter.jobs.records import Job
from isocenter.jobs.states import JobState

__all__ = ["JobTimes"]

# Upper bounds in seconds: from a job of one instance to an archive of terabytes.
_BOUNDS = (0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0)


class JobTimes:
    """Notes the times of the jobs that this server runs. For the event loop's thread only."""

    def __init__(self) -> None:
        self._waits: dict[str, Histogram] = {}
        self._runs: dict[tuple[str, str], Histogram] = {}

    def note(self, job: Job) -> None:
        """Take the new state of a job, as `Engine` tells it."""
        if job.state is JobState.RUNNING:
            self._note_start(job)
        elif job.is_finished:
            runs = self._runs.setdefault((job.kind, job.state.title), Histogram(_BOUNDS))
            runs.note(job.runtime / 1e6)

    def _note_start(self, job: Job) -> None:
        # Told when it is claimed, and before it has done anything; later it has a runtime, and one
        # that goes on after a pause or a crash has a checkpoint.
        is_new = job.runtime == 0 and job.checkpoint is None and job.requested is None
        if is_new and job.started_at is not None:
            waits = self._waits.setdefault(job.kind, Histogram(_BOUNDS))
            waits.note((job.started_at - job.created_at) / 1e6)

    def build_families(self) -> list[Family]:
        """Tell the times so far."""
        return [
            Family(
                "isocenter_job_waiting_seconds",
                Kind.HISTOGRAM,
                "Time from the submission of a job to its start.",
                tuple(
                    sample
                    for kind, histogram in sorted(self._waits.items())
                    for sample in histogram.build_samples((("type", kind),))
                ),
            ),
            Family(
                "isocenter_job_duration_seconds",
                Kind.HISTOGRAM,
                "Time of work of a job that has ended.",
                tuple(
                    sample
                    for (kind, state), histogram in sorted(self._runs.items())
                    for sample in histogram.build_samples((("type", kind), ("state", state)))
                ),
            ),
        ]
