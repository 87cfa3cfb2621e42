"""The engine of a server, with all kinds of jobs."""

import os
from collections.abc import Callable, Iterable

from isocenter.archive.archive import Archive
from isocenter.config.configuration import Configuration
from isocenter.index.jobs import DatabaseJobs
from isocenter.index.port import Database
from isocenter.jobs.claims import Limits
from isocenter.jobs.engine import Engine, EngineOptions
from isocenter.jobs.kind import JobKind
from isocenter.jobs.port import Recovery
from isocenter.jobs.records import Job
from isocenter.tasks.archiving import build_archive_kinds
from isocenter.tasks.editing import StagedEdits
from isocenter.tasks.modality_store import ModalityStoreKind
from isocenter.tasks.modification import ModificationKind
from isocenter.tasks.retries import build_retry_policy

__all__ = ["build_engine"]


def build_engine(
    configuration: Configuration,
    archive: Archive,
    database: Database,
    kinds: Iterable[JobKind] = (),
    *,
    recovery: Recovery = Recovery.RESUME,
    on_saved: Callable[[Job], None] = lambda _: None,
) -> Engine:
    """Put the engine together as the configuration asks.

    Parameters
    ----------
    kinds
        More kinds of jobs than the server has by itself.
    recovery
        What becomes of unfinished jobs.
    on_saved
        Told of each job that goes on in this server (see `Engine`).
    """
    if not configuration.boolean("SaveJobs"):
        recovery = Recovery.FORGET
    options = EngineOptions(
        concurrent=configuration.integer("ConcurrentJobs") or os.cpu_count() or 1,
        limits=Limits(
            by_kind=configuration.mapping("Isocenter.ConcurrentJobsPerKind"),
            per_destination=configuration.integer("Isocenter.ConcurrentJobsPerDestination"),
        ),
        recovery=recovery,
        is_shared=not database.is_exclusive,
    )
    store = DatabaseJobs(database, history=configuration.integer("JobsHistorySize"))
    edits = StagedEdits(
        archive.workers,
        archive.stager,
        threads=_count_threads(configuration),
        on_removals=archive.deleter.wake,
    )
    own: list[JobKind] = [
        *build_archive_kinds(
            archive.workers, archive.storage, archive.exporter, archive.job_outputs.limits
        ),
        ModificationKind(archive.modifications, edits),
        ModalityStoreKind(
            archive.remotes.outgoing,
            archive.remotes.modalities,
            archive.remotes.calling,
            build_retry_policy(configuration),
        ),
    ]
    return Engine(store, archive.workers.run, [*own, *kinds], options, on_saved=on_saved)


def _count_threads(configuration: Configuration) -> int:
    """Tell how many files of a modification are edited at once."""
    counts = configuration.mapping("JobsEngineThreadsCount")
    return int(counts.get("ResourceModification", 1)) or os.cpu_count() or 1
