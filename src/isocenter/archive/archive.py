"""All use cases together, as doors see them."""

import asyncio
import ssl
from dataclasses import dataclass

from isocenter.archive.acceptance import Acceptance, build_acceptance
from isocenter.archive.annotations import Annotations
from isocenter.archive.attachments import Attachments
from isocenter.archive.browse import Browse
from isocenter.archive.changes import ChangeLog
from isocenter.archive.content import ContentReader
from isocenter.archive.conversion import StoredConverter
from isocenter.archive.core import Core, build_core
from isocenter.archive.deletion import Deleter
from isocenter.archive.edits import Edits, build_edits
from isocenter.archive.elements import ElementReader
from isocenter.archive.exporting import Exporter
from isocenter.archive.exports import ExportLog
from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.file_export import FileExporter
from isocenter.archive.find import Finder, FindOptions
from isocenter.archive.group_writes import GroupWrites
from isocenter.archive.incoming import Incoming
from isocenter.archive.ingest import Ingest
from isocenter.archive.job_outputs import JobOutputs
from isocenter.archive.lasting_answers import LastingAnswers
from isocenter.archive.models import ModelReader
from isocenter.archive.options import (
    get_output_limits,
    get_server_identifier,
    get_spool_folder,
    get_upload_options,
    has_export_log,
)
from isocenter.archive.protection import Protection
from isocenter.archive.reading import Reading, build_reading
from isocenter.archive.reconstruction import Reconstruction, ReconstructionOptions
from isocenter.archive.redo import redo_rows, remove_revenants
from isocenter.archive.registry import Registry
from isocenter.archive.remotes import RemoteParts, Remotes, build_remotes
from isocenter.archive.requested_tags import RequestedTagOptions, RequestedTagReader
from isocenter.archive.settings import Settings
from isocenter.archive.slices import SliceReader
from isocenter.archive.stability import Stability
from isocenter.archive.tags import TagsReader
from isocenter.archive.tags_below import TagsBelow
from isocenter.archive.transcoding import TranscodedFiles, Transcoder
from isocenter.archive.uploads import Uploads
from isocenter.archive.warning_log import WarningLog
from isocenter.archive.workers import Workers
from isocenter.archive.worklists import WorklistOptions, Worklists
from isocenter.config.configuration import Configuration
from isocenter.dicom.find_request import NameRule
from isocenter.dicom.main_tags import MainTags
from isocenter.dicom.tags import TagDictionary
from isocenter.index.port import Database
from isocenter.measures import Measures
from isocenter.storage.port import Storage

__all__ = ["Archive", "build_archive"]

_MIB = 1024 * 1024
_TEMPORARY_AGE_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Archive:
    """What is stored, and everything one can do with it.

    Attributes
    ----------
    acceptance, settings
        What a client may change while the server runs.
    measures
        What the use cases note of their work.
    registry
        Names of metadata and attachments.
    dictionary
        Names and value representations of tags, with those of the configuration.
    buffers
        Its statistics are those of the storage cache.
    remotes
        Remote modalities, and what is sent to them.
    incoming
        What they send.
    server_identifier
        Names this server in a database shared by several.
    is_read_only
        Nothing of it may change.
    storage, database
        What all of them work on; doors leave them alone.
    """

    acceptance: Acceptance
    annotations: Annotations
    attachments: Attachments
    browse: Browse
    changes: ChangeLog
    content: ContentReader
    tags: TagsReader
    tags_below: TagsBelow
    elements: ElementReader
    models: ModelReader
    file_exporter: FileExporter
    buffers: FileBuffers
    dictionary: TagDictionary
    deleter: Deleter
    exports: ExportLog
    ingest: Ingest
    protection: Protection
    finder: Finder
    lasting_answers: LastingAnswers
    uploads: Uploads
    main_tags: MainTags
    reconstruction: Reconstruction
    measures: Measures
    registry: Registry
    server_identifier: str
    settings: Settings
    slices: SliceReader
    workers: Workers
    writes: GroupWrites
    stability: Stability
    storage: Storage
    warnings: WarningLog
    database: Database
    exporter: Exporter
    job_outputs: JobOutputs
    remotes: Remotes
    worklists: Worklists
    edits: Edits
    incoming: Incoming
    transcoder: Transcoder
    transcoded_files: TranscodedFiles
    is_read_only: bool

    def get_generation(self) -> int:
        """Tell a number that has grown when the same question may have another answer."""
        return self.workers.get_generation() + self.settings.generation

    def redo(self) -> int:
        """Complete what an earlier server has acknowledged, and no more than that. Blocks.

        See `redo_rows` and `remove_revenants`.
        """
        count = redo_rows(self.database, self.storage, self.ingest)
        if not self.database.is_exclusive:
            remove_revenants(self.database, self.storage)
        return count

    async def start(self) -> None:
        """Begin the work that the archive does by itself; there is none if it is read-only.

        Raises
        ------
        StorageUnavailableError
            If the storage cannot be written to.
        """
        await self.remotes.start()
        if self.is_read_only:
            return
        await self.workers.run(self.redo)
        await self.workers.run(self.storage.check_writable)
        await self.workers.run(self.storage.remove_temporary, _TEMPORARY_AGE_S)
        await self.workers.run(self.deleter.recycle_excess)
        self.deleter.start()
        self.stability.start()
        self.job_outputs.start()
        self.worklists.start()

    async def stop(self) -> None:
        """End that work and wait for the operations that are under way."""
        await self.worklists.stop()
        await self.remotes.stop()
        await self.job_outputs.stop()
        await self.stability.stop()
        await self.deleter.stop()
        await asyncio.to_thread(self.transcoder.stop)
        self.workers.close()
        self.writes.close()
        self.ingest.close()


def build_archive(
    configuration: Configuration,
    database: Database,
    storage: Storage,
    *,
    calling_tls: ssl.SSLContext | None = None,
) -> Archive:
    """Put the use cases together as the configuration asks.

    Parameters
    ----------
    calling_tls
        For calls of remote modalities over TLS.

    References
    ----------
    Orthanc: ReadOnly ignores compression, MD5, overwriting and limits (behaviour manual §36.5)
    """
    core = build_core(configuration, database, storage)
    workers, database, storage = core.workers, core.database, core.storage
    writes = GroupWrites(database, core.rules)
    is_read_only = configuration.boolean("ReadOnly")
    reading = build_reading(configuration, workers, storage, core.settings)
    uploads = Uploads(workers, core.ingest, get_upload_options(configuration, storage))
    remotes = _build_remotes(configuration, core, reading, calling_tls)
    return Archive(
        acceptance=build_acceptance(configuration),
        annotations=_build_annotations(configuration, core, writes),
        attachments=_build_attachments(configuration, core, writes),
        browse=_build_browse(configuration, core, core.warnings),
        content=reading.content,
        tags=reading.tags,
        tags_below=reading.tags_below,
        elements=reading.elements,
        models=reading.models,
        file_exporter=reading.file_exporter,
        buffers=reading.buffers,
        dictionary=reading.dictionary,
        changes=ChangeLog(workers, has_deletions=core.rules.logs_deletions),
        deleter=core.deleter,
        exports=ExportLog(workers, is_enabled=has_export_log(configuration)),
        protection=Protection(workers),
        finder=Finder(workers, storage, _get_find_options(configuration, core), core.warnings),
        ingest=core.ingest,
        lasting_answers=LastingAnswers(workers),
        uploads=uploads,
        main_tags=core.main_tags,
        reconstruction=_build_reconstruction(configuration, core, reading),
        measures=core.measures,
        registry=core.registry,
        server_identifier=get_server_identifier(configuration),
        settings=core.settings,
        slices=SliceReader(workers),
        workers=workers,
        writes=writes,
        stability=Stability(workers, database, configuration.integer("StableAge")),
        storage=storage,
        warnings=core.warnings,
        database=database,
        exporter=Exporter(workers, storage, reading.buffers, core.settings, core.transcoder),
        edits=build_edits(configuration, core, uploads, reading),
        remotes=remotes,
        worklists=_build_worklists(configuration, core, reading.dictionary),
        incoming=_build_incoming(core, uploads, remotes, is_read_only=is_read_only),
        job_outputs=_build_job_outputs(configuration, core),
        transcoder=core.transcoder,
        transcoded_files=TranscodedFiles(workers, reading.buffers, core.transcoder),
        is_read_only=is_read_only,
    )


def _build_job_outputs(configuration: Configuration, core: Core) -> JobOutputs:
    limits = get_output_limits(configuration)
    return JobOutputs(core.workers, core.storage, limits, core.deleter.wake)


def _build_remotes(
    configuration: Configuration,
    core: Core,
    reading: Reading,
    calling_tls: ssl.SSLContext | None,
) -> Remotes:
    parts = RemoteParts(
        core.workers,
        core.database,
        core.storage,
        core.deleter,
        reading.buffers,
        reading.dictionary,
        core.main_tags,
        core.settings,
        core.transcoder,
    )
    return build_remotes(configuration, parts, calling_tls=calling_tls)


def _build_incoming(
    core: Core, uploads: Uploads, remotes: Remotes, *, is_read_only: bool
) -> Incoming:
    return Incoming(core.ingest, uploads, core.workers, remotes.arrivals, is_read_only=is_read_only)


def _build_annotations(
    configuration: Configuration, core: Core, writes: GroupWrites
) -> Annotations:
    is_checked = configuration.boolean("CheckRevisions")
    return Annotations(core.workers, writes, has_checked_revisions=is_checked)


def _build_attachments(
    configuration: Configuration, core: Core, writes: GroupWrites
) -> Attachments:
    return Attachments(
        core.workers,
        core.database,
        core.storage,
        blobs=core.ingest.blobs,
        writes=writes,
        content_types=core.registry.content_types,
        on_removal=core.deleter.wake,
        has_checked_revisions=configuration.boolean("CheckRevisions"),
    )


def _build_reconstruction(
    configuration: Configuration, core: Core, reading: Reading
) -> Reconstruction:
    return Reconstruction(
        core.workers,
        core.database,
        core.storage,
        blobs=core.ingest.blobs,
        options=_get_reconstruction_options(configuration, core, reading),
        on_removal=core.deleter.wake,
    )


def _build_worklists(
    configuration: Configuration, core: Core, dictionary: TagDictionary
) -> Worklists:
    options = WorklistOptions(
        is_enabled=configuration.boolean("Worklists.Enable"),
        folder=configuration.lookup_path("Worklists.Directory"),
        is_for_caller_only=configuration.boolean("Worklists.FilterIssuerAet"),
        limit=configuration.integer("Worklists.LimitAnswers"),
        sets_study_instance_uid=configuration.boolean("Worklists.SetStudyInstanceUidIfMissing"),
        drops_done=configuration.boolean("Worklists.DeleteWorklistsOnStableStudy"),
        age_us=configuration.integer("Worklists.DeleteWorklistsDelay") * 3600 * 1_000_000,
        interval_s=configuration.integer("Worklists.HousekeepingInterval"),
        logs_matches=configuration.boolean("Worklists.LogMatchedWorklistIds"),
    )
    return Worklists(
        core.workers,
        options,
        settings=core.settings,
        dictionary=dictionary,
        rule=NameRule(in_names=configuration.boolean("CaseSensitivePN")),
    )


def _get_find_options(configuration: Configuration, core: Core) -> FindOptions:
    return FindOptions(
        main_tags=core.main_tags,
        may_open_files=configuration.text("StorageAccessOnFind") == "Always",
        settings=core.settings,
        most_results=configuration.integer("LimitFindResults"),
        most_instances=configuration.integer("LimitFindInstances"),
    )


def _build_browse(configuration: Configuration, core: Core, warnings: WarningLog) -> Browse:
    options = RequestedTagOptions(
        main_tags=core.main_tags,
        may_open_files=configuration.text("StorageAccessOnFind") != "Never",
        settings=core.settings,
    )
    reader = RequestedTagReader(core.workers, core.storage, options, warnings)
    return Browse(core.workers, reader)


def _get_reconstruction_options(
    configuration: Configuration, core: Core, reading: Reading
) -> ReconstructionOptions:
    converter = core.converter
    return ReconstructionOptions(
        main_tags=core.main_tags,
        settings=core.settings,
        is_compressed=configuration.boolean("StorageCompression"),
        folder=get_spool_folder(configuration, core.storage),
        converter=None if converter is None else StoredConverter(converter, reading.buffers),
    )
