"""All use cases together, as doors see them."""

import hashlib
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from isocenter.archive.acceptance import Acceptance, build_acceptance
from isocenter.archive.annotations import Annotations
from isocenter.archive.attachments import Attachments
from isocenter.archive.browse import Browse
from isocenter.archive.changes import ChangeLog
from isocenter.archive.configured_tags import build_configured_main_tags
from isocenter.archive.content import ContentReader
from isocenter.archive.creation import CreationOptions, Creator
from isocenter.archive.deletion import Deleter
from isocenter.archive.elements import ElementReader
from isocenter.archive.exporting import Exporter
from isocenter.archive.exports import ExportLog
from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.file_export import FileExporter
from isocenter.archive.find import Finder, FindOptions
from isocenter.archive.group_writes import GroupWrites
from isocenter.archive.incoming import Incoming
from isocenter.archive.ingest import Ingest, IngestOptions
from isocenter.archive.instance_editor import InstanceEditor
from isocenter.archive.job_outputs import JobOutputs
from isocenter.archive.lasting_answers import LastingAnswers
from isocenter.archive.models import ModelReader
from isocenter.archive.modifications import ModificationOptions, Modifications
from isocenter.archive.protection import Protection
from isocenter.archive.reconstruction import Reconstruction, ReconstructionOptions
from isocenter.archive.redo import redo_rows
from isocenter.archive.registry import Registry, build_registry
from isocenter.archive.regrouping import Regroupings
from isocenter.archive.remotes import RemoteParts, Remotes, build_remotes
from isocenter.archive.requested_tags import RequestedTagOptions, RequestedTagReader
from isocenter.archive.settings import Settings
from isocenter.archive.slices import SliceReader
from isocenter.archive.stability import Stability
from isocenter.archive.staging import Stager, StagingOptions
from isocenter.archive.tags import TagsReader
from isocenter.archive.tags_below import TagsBelow
from isocenter.archive.uploads import UploadOptions, Uploads
from isocenter.archive.warning_log import WarningLog
from isocenter.archive.workers import Workers
from isocenter.archive.worklists import WorklistOptions, Worklists
from isocenter.config.configuration import Configuration
from isocenter.dicom.configured_elements import iter_configured_elements
from isocenter.dicom.find_request import NameRule
from isocenter.dicom.main_tags import MainTags
from isocenter.dicom.tags import TagDictionary
from isocenter.index.job_outputs import OutputLimits
from isocenter.index.port import Database
from isocenter.index.read_only import ReadOnlyDatabase
from isocenter.index.records import Overwrite, Quota, Rules
from isocenter.measures import Measures
from isocenter.storage.measured import MeasuredStorage
from isocenter.storage.port import Storage

__all__ = ["Archive", "build_archive"]

_KIB = 1024
_MIB = 1024 * 1024
_TEMPORARY_AGE_S = 24 * 3600.0
# A value of the option MaximumStorageMode.
_RECYCLE = "Recycle"
# Values of the option OverwriteInstances.
_OVERWRITE = {
    "Never": Overwrite.NEVER,
    "Always": Overwrite.ALWAYS,
    "IfChanged": Overwrite.IF_CHANGED,
}


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
    stability: Stability
    storage: Storage
    warnings: WarningLog
    database: Database
    exporter: Exporter
    job_outputs: JobOutputs
    editor: InstanceEditor
    creator: Creator
    remotes: Remotes
    worklists: Worklists
    modifications: Modifications
    regroupings: Regroupings
    stager: Stager
    incoming: Incoming
    is_read_only: bool

    def get_generation(self) -> int:
        """Tell a number that has grown when the same question may have another answer."""
        return self.workers.get_generation() + self.settings.generation

    def redo(self) -> int:
        """Complete what an earlier server has acknowledged, see `redo_rows`. Blocks."""
        return redo_rows(self.database, self.storage, self.ingest)

    async def start(self) -> None:
        """Begin the work that the archive does by itself; there is none if it is read-only.

        Raises
        ------
        StorageUnavailableError
            If the storage cannot be written to.
        """
        await self.remotes.start()
        self.worklists.start()
        if self.is_read_only:
            return
        await self.workers.run(self.redo)
        await self.workers.run(self.storage.check_writable)
        await self.workers.run(self.storage.remove_temporary, _TEMPORARY_AGE_S)
        await self.workers.run(self.deleter.recycle_excess)
        self.deleter.start()
        self.stability.start()
        self.job_outputs.start()

    async def stop(self) -> None:
        """End that work and wait for the operations that are under way."""
        await self.worklists.stop()
        await self.remotes.stop()
        await self.job_outputs.stop()
        await self.stability.stop()
        await self.deleter.stop()
        self.workers.close()
        self.ingest.close()


@dataclass(frozen=True, slots=True)
class _Core:
    """What most use cases work with."""

    workers: Workers
    database: Database
    storage: Storage
    settings: Settings
    measures: Measures
    rules: Rules
    main_tags: MainTags
    registry: Registry
    deleter: Deleter
    ingest: Ingest
    warnings: WarningLog


def _build_core(configuration: Configuration, database: Database, storage: Storage) -> _Core:
    if configuration.boolean("ReadOnly"):
        database = ReadOnlyDatabase(database)
    measures = Measures(is_enabled=configuration.boolean("MetricsEnabled"))
    storage = MeasuredStorage(storage, measures)
    settings = Settings(configuration.text("DefaultEncoding"))
    rules = _get_rules(configuration)
    workers = Workers(database, configuration.integer("Isocenter.IngestThreads"))
    main_tags = build_configured_main_tags(configuration)
    options = _get_ingest_options(configuration, main_tags, rules, settings, measures)
    deleter = Deleter(workers, database, storage, rules)
    return _Core(
        workers=workers,
        database=database,
        storage=storage,
        settings=settings,
        measures=measures,
        rules=rules,
        main_tags=main_tags,
        registry=build_registry(configuration),
        deleter=deleter,
        ingest=Ingest(workers, database, storage, options, on_removals=deleter.wake_from_thread),
        warnings=WarningLog(configuration.mapping("Warnings")),
    )


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
    core = _build_core(configuration, database, storage)
    workers, database, storage = core.workers, core.database, core.storage
    writes = GroupWrites(workers, database, core.rules)
    is_read_only = configuration.boolean("ReadOnly")
    reading = _build_reading(configuration, workers, storage, core.settings)
    uploads = Uploads(workers, core.ingest, _get_upload_options(configuration, storage))
    remotes = _build_remotes(configuration, core, reading, calling_tls)
    return Archive(
        acceptance=build_acceptance(configuration),
        annotations=_build_annotations(configuration, core, writes),
        attachments=_build_attachments(configuration, core, writes),
        browse=_build_browse(configuration, core, core.warnings),
        changes=ChangeLog(workers, has_deletions=core.rules.logs_deletions),
        content=reading.content,
        tags=reading.tags,
        tags_below=reading.tags_below,
        elements=reading.elements,
        models=reading.models,
        file_exporter=reading.file_exporter,
        buffers=reading.buffers,
        dictionary=reading.dictionary,
        deleter=core.deleter,
        exports=ExportLog(workers, is_enabled=_logs_exports(configuration)),
        protection=Protection(workers),
        finder=Finder(workers, storage, _get_find_options(configuration, core), core.warnings),
        ingest=core.ingest,
        lasting_answers=LastingAnswers(workers),
        uploads=uploads,
        main_tags=core.main_tags,
        reconstruction=_build_reconstruction(configuration, core),
        measures=core.measures,
        registry=core.registry,
        server_identifier=_get_server_identifier(configuration),
        settings=core.settings,
        slices=SliceReader(workers),
        workers=workers,
        stability=Stability(workers, database, configuration.integer("StableAge")),
        storage=storage,
        warnings=core.warnings,
        database=database,
        exporter=Exporter(workers, storage, reading.buffers, core.settings),
        editor=InstanceEditor(workers, storage, core.settings),
        creator=_build_creator(configuration, core, uploads, reading.dictionary),
        modifications=_build_modifications(configuration, core, reading.dictionary),
        regroupings=_build_regroupings(configuration, core, reading.dictionary),
        stager=Stager(storage, core.ingest.blobs, _get_staging_options(configuration, core)),
        remotes=remotes,
        worklists=_build_worklists(configuration, core, reading.dictionary),
        incoming=_build_incoming(core, uploads, remotes, is_read_only=is_read_only),
        job_outputs=_build_job_outputs(configuration, core),
        is_read_only=is_read_only,
    )


def _build_job_outputs(configuration: Configuration, core: _Core) -> JobOutputs:
    limits = _get_output_limits(configuration)
    return JobOutputs(core.workers, core.storage, limits, core.deleter.wake)


def _build_modifications(
    configuration: Configuration, core: _Core, dictionary: TagDictionary
) -> Modifications:
    options = _get_modification_options(configuration, core, dictionary)
    return Modifications(core.workers, options)


def _build_regroupings(
    configuration: Configuration, core: _Core, dictionary: TagDictionary
) -> Regroupings:
    options = _get_modification_options(configuration, core, dictionary)
    return Regroupings(core.workers, core.storage, core.settings, options)


def _build_creator(
    configuration: Configuration, core: _Core, uploads: Uploads, dictionary: TagDictionary
) -> Creator:
    return Creator(
        core.workers,
        core.storage,
        core.ingest,
        new_content=uploads.new_content,
        options=CreationOptions(
            core.settings, dictionary, configuration.text("DefaultPrivateCreator")
        ),
    )


def _build_remotes(
    configuration: Configuration,
    core: _Core,
    reading: "_Reading",
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
    )
    return build_remotes(configuration, parts, calling_tls=calling_tls)


def _build_incoming(
    core: _Core, uploads: Uploads, remotes: Remotes, *, is_read_only: bool
) -> Incoming:
    return Incoming(core.ingest, uploads, core.workers, remotes.arrivals, is_read_only=is_read_only)


def _build_annotations(
    configuration: Configuration, core: _Core, writes: GroupWrites
) -> Annotations:
    is_checked = configuration.boolean("CheckRevisions")
    return Annotations(core.workers, writes, has_checked_revisions=is_checked)


def _build_attachments(
    configuration: Configuration, core: _Core, writes: GroupWrites
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


def _build_reconstruction(configuration: Configuration, core: _Core) -> Reconstruction:
    return Reconstruction(
        core.workers,
        core.database,
        core.storage,
        blobs=core.ingest.blobs,
        options=_get_reconstruction_options(configuration, core),
        on_removal=core.deleter.wake,
    )


def _logs_exports(configuration: Configuration) -> bool:
    is_read_only = configuration.boolean("ReadOnly")
    return configuration.boolean("LogExportedResources") and not is_read_only


def _build_worklists(
    configuration: Configuration, core: _Core, dictionary: TagDictionary
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


def _get_rules(configuration: Configuration) -> Rules:
    return Rules(
        quota=Quota(
            maximum_disk_size=configuration.integer("MaximumStorageSize") * _MIB,
            maximum_patients=configuration.integer("MaximumPatientCount"),
            is_recycling=configuration.text("MaximumStorageMode") == _RECYCLE,
        ),
        logs_deletions=configuration.boolean("Isocenter.LogDeletions"),
        keeps_replaced=configuration.boolean("Isocenter.OverwriteInPlace"),
    )


def _get_ingest_options(
    configuration: Configuration,
    main_tags: MainTags,
    rules: Rules,
    settings: Settings,
    measures: Measures,
) -> IngestOptions:
    return IngestOptions(
        main_tags=main_tags,
        overwrite=_OVERWRITE[configuration.text("OverwriteInstances")],
        has_md5=configuration.boolean("StoreMD5ForAttachments"),
        is_compressed=configuration.boolean("StorageCompression"),
        settings=settings,
        measures=measures,
        rules=rules,
        keeps_files=configuration.boolean("StoreDicom"),
        is_read_only=configuration.boolean("ReadOnly"),
    )


def _get_modification_options(
    configuration: Configuration, core: _Core, dictionary: TagDictionary
) -> ModificationOptions:
    return ModificationOptions(
        main_tags=core.main_tags,
        rules=core.rules,
        overwrite=_OVERWRITE[configuration.text("OverwriteInstances")],
        has_patient_level=configuration.boolean("PatientLevelEnabled"),
        private_creator=configuration.text("DefaultPrivateCreator"),
        dictionary=dictionary,
    )


def _get_staging_options(configuration: Configuration, core: _Core) -> StagingOptions:
    return StagingOptions(
        main_tags=core.main_tags,
        settings=core.settings,
        has_md5=configuration.boolean("StoreMD5ForAttachments"),
        is_compressed=configuration.boolean("StorageCompression"),
    )


def _get_output_limits(configuration: Configuration) -> OutputLimits:
    return OutputLimits(
        count=configuration.integer("MediaArchiveSize"),
        size_bytes=configuration.integer("Isocenter.JobOutputsSizeMB") * _MIB,
        age_us=configuration.integer("Isocenter.JobOutputsAge") * 1_000_000,
    )


def _get_find_options(configuration: Configuration, core: _Core) -> FindOptions:
    return FindOptions(
        main_tags=core.main_tags,
        may_open_files=configuration.text("StorageAccessOnFind") == "Always",
        settings=core.settings,
        most_results=configuration.integer("LimitFindResults"),
        most_instances=configuration.integer("LimitFindInstances"),
    )


def _get_spool_folder(configuration: Configuration, storage: Storage) -> Path:
    return storage.spool_folder or configuration.path("TemporaryDirectory")


def _build_browse(configuration: Configuration, core: _Core, warnings: WarningLog) -> Browse:
    options = RequestedTagOptions(
        main_tags=core.main_tags,
        may_open_files=configuration.text("StorageAccessOnFind") != "Never",
        settings=core.settings,
    )
    reader = RequestedTagReader(core.workers, core.storage, options, warnings)
    return Browse(core.workers, reader)


def _get_reconstruction_options(configuration: Configuration, core: _Core) -> ReconstructionOptions:
    return ReconstructionOptions(
        main_tags=core.main_tags,
        settings=core.settings,
        is_compressed=configuration.boolean("StorageCompression"),
        folder=_get_spool_folder(configuration, core.storage),
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """The use cases that read stored files."""

    dictionary: TagDictionary
    buffers: FileBuffers
    content: ContentReader
    tags: TagsReader
    tags_below: TagsBelow
    elements: ElementReader
    models: ModelReader
    file_exporter: FileExporter


def _build_reading(
    configuration: Configuration, workers: Workers, storage: Storage, settings: Settings
) -> _Reading:
    dictionary = TagDictionary(
        iter_configured_elements(configuration.mapping("Dictionary")),
        knows_private=configuration.boolean("LoadPrivateDictionary"),
    )
    buffers = FileBuffers(
        storage,
        cache_bytes=configuration.integer("MaximumStorageCacheSize") * _MIB,
        temporary_folder=_get_spool_folder(configuration, storage),
    )
    content = ContentReader(workers, storage, buffers)
    tags = TagsReader(
        workers,
        storage,
        buffers,
        settings=settings,
        dictionary=dictionary,
        cache_bytes=configuration.integer("Isocenter.TagsCacheSizeMB") * _MIB,
    )
    own_folders = _list_own_folders(configuration)
    return _Reading(
        dictionary=dictionary,
        buffers=buffers,
        content=content,
        tags=tags,
        tags_below=TagsBelow(workers, tags),
        elements=ElementReader(workers, storage, buffers, dictionary=dictionary),
        models=ModelReader(workers, buffers, settings=settings, dictionary=dictionary),
        file_exporter=FileExporter(workers, content, own_folders=own_folders),
    )


def _list_own_folders(configuration: Configuration) -> list[Path]:
    names = ("StorageDirectory", "IndexDirectory", "TemporaryDirectory")
    return [configuration.path(name) for name in names]


def _get_upload_options(configuration: Configuration, storage: Storage) -> UploadOptions:
    return UploadOptions(
        spool_folder=_get_spool_folder(configuration, storage),
        spool_threshold=configuration.integer("Isocenter.SpoolThresholdKB") * _KIB,
        largest_body=configuration.integer("MaximumRequestBodySizeMB") * _MIB,
        largest_entry=configuration.integer("MaximumFileSizeInArchiveMB") * _MIB,
    )


def _get_server_identifier(configuration: Configuration) -> str:
    """Name this server, in a form that stays the same over restarts."""
    configured = configuration.text("DatabaseServerIdentifier")
    if configured:
        return configured
    parts = [
        socket.gethostname(),
        configuration.text("DicomAet"),
        str(configuration.integer("DicomPort")),
        str(configuration.integer("HttpPort")),
    ]
    return hashlib.sha1("|".join(parts).encode(), usedforsecurity=False).hexdigest()
