"""The engine of a server, with all kinds of jobs."""

import logging
import os
from collections.abc import Callable, Iterable

from isocenter.archive.archive import Archive
from isocenter.archive.recoding import build_recoding
from isocenter.archive.retrieval import Retrieval
from isocenter.config.configuration import Configuration
from isocenter.index.jobs import DatabaseJobs
from isocenter.index.port import Database
from isocenter.jobs.claims import Limits
from isocenter.jobs.engine import Engine, EngineOptions
from isocenter.jobs.kind import JobKind
from isocenter.jobs.port import Recovery
from isocenter.jobs.records import Job
from isocenter.tasks.archiving import FILES_AHEAD, build_archive_kinds
from isocenter.tasks.editing import StagedEdits
from isocenter.tasks.modality_store import ModalityStoreKind
from isocenter.tasks.modification import ModificationKind
from isocenter.tasks.peer_store import PeerStoreKind
from isocenter.tasks.regrouping import build_regrouping_kinds
from isocenter.tasks.retries import build_retry_policy
from isocenter.tasks.retrieving import GetKind, MoveKind
from isocenter.tasks.storage_commitment import StorageCommitmentKind

__all__ = ["build_engine"]

_log = logging.getLogger(__name__)

# They send what is stored and write nothing to the storage area, not even an archive for download.
_READ_ONLY_KINDS = frozenset(
    {ModalityStoreKind.name, PeerStoreKind.name, MoveKind.name, StorageCommitmentKind.name}
)

# Whom they call may be silent for as long as it likes.
_INTERRUPTIBLE_KINDS = frozenset(
    {
        ModalityStoreKind.name,
        PeerStoreKind.name,
        MoveKind.name,
        GetKind.name,
        StorageCommitmentKind.name,
    }
)


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
        interruptible=_INTERRUPTIBLE_KINDS,
        allowed=_READ_ONLY_KINDS if archive.is_read_only else None,
    )
    store = DatabaseJobs(database, history=configuration.integer("JobsHistorySize"))
    own = [
        *_build_local_kinds(configuration, archive),
        *_build_remote_kinds(configuration, archive),
        *kinds,
    ]
    _check_names(configuration, {kind.name for kind in own})

    def follow_up(job: Job) -> None:
        """Remove the files that a job has deleted, or that it leaves because it failed."""
        if job.is_finished:
            archive.deleter.wake_soon()
        on_saved(job)

    return Engine(store, archive.workers.run, own, options, on_saved=follow_up)


def _build_local_kinds(configuration: Configuration, archive: Archive) -> list[JobKind]:
    """Build the kinds that read and write many stored files."""
    workers, edits = archive.workers, archive.edits

    def count(kind: str, default: int) -> int:
        return _count_threads(configuration, kind, default, workers=workers.count)

    of_edits = count(ModificationKind.name, 1)

    def build_edits(kind: str) -> StagedEdits:
        return StagedEdits(workers, edits.stager, threads=count(kind, of_edits))

    return [
        *build_archive_kinds(
            workers,
            archive.storage,
            archive.exporter,
            archive.job_outputs.limits,
            count_ahead=lambda kind: count(kind, FILES_AHEAD),
        ),
        ModificationKind(workers, edits.modifications, build_edits(ModificationKind.name)),
        *build_regrouping_kinds(edits.regroupings, build_edits),
    ]


def _count_threads(configuration: Configuration, kind: str, default: int, *, workers: int) -> int:
    """Tell how many files of a job are worked on at once; requests need threads as well."""
    wanted = configuration.mapping("JobsEngineThreadsCount").get(kind)
    if wanted is None:
        return default
    return max(1, min(int(wanted) or os.cpu_count() or 1, workers // 2))


def _check_names(configuration: Configuration, known: set[str]) -> None:
    """Tell of kinds in the configuration that do not exist, perhaps because of a wrong letter."""
    for option in ("JobsEngineThreadsCount", "Isocenter.ConcurrentJobsPerKind"):
        if unknown := configuration.mapping(option).keys() - known:
            extra = {"option": option, "kinds": ", ".join(sorted(unknown))}
            _log.warning("an option names kinds of jobs that do not exist", extra=extra)


def _build_remote_kinds(configuration: Configuration, archive: Archive) -> list[JobKind]:
    remotes = archive.remotes
    policy = build_retry_policy(configuration)
    recoding = build_recoding(configuration, archive.workers, archive.buffers, archive.transcoder)
    retrieval = Retrieval(remotes.queries, remotes.arrivals, archive.incoming, archive.acceptance)
    return [
        ModalityStoreKind(remotes, recoding, policy),
        PeerStoreKind(remotes, policy),
        MoveKind(retrieval, remotes.modalities, remotes.calling, policy),
        GetKind(retrieval, remotes.modalities, remotes.calling, policy),
        StorageCommitmentKind(archive.workers, remotes.modalities, remotes.calling, policy),
    ]
