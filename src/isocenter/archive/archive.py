"""All use cases together, as doors see them."""

import hashlib
import socket
from dataclasses import dataclass
from pathlib import Path

from isocenter.archive.annotations import Annotations
from isocenter.archive.attachments import Attachments
from isocenter.archive.browse import Browse
from isocenter.archive.changes import ChangeLog
from isocenter.archive.configured_tags import build_configured_main_tags
from isocenter.archive.content import ContentReader
from isocenter.archive.deletion import Deleter
from isocenter.archive.exporting import Exporter
from isocenter.archive.exports import ExportLog
from isocenter.archive.find import Finder, FindOptions
from isocenter.archive.group_writes import GroupWrites
from isocenter.archive.ingest import Ingest, IngestOptions
from isocenter.archive.instance_editor import InstanceEditor
from isocenter.archive.job_outputs import JobOutputs
from isocenter.archive.lasting_answers import LastingAnswers
from isocenter.archive.protection import Protection
from isocenter.archive.reconstruction import Reconstruction, ReconstructionOptions
from isocenter.archive.registry import Registry, build_registry
from isocenter.archive.requested_tags import RequestedTagOptions, RequestedTagReader
from isocenter.archive.stability import Stability
from isocenter.archive.uploads import UploadOptions, Uploads
from isocenter.archive.warning_log import WarningLog
from isocenter.archive.workers import Workers
from isocenter.config.configuration import Configuration
from isocenter.dicom.main_tags import MainTags
from isocenter.index.job_outputs import OutputLimits
from isocenter.index.port import Database
from isocenter.index.read_only import ReadOnlyDatabase
from isocenter.index.records import Overwrite, Quota, Rules
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
    registry
        Names of metadata and attachments.
    server_identifier
        Names this server in a database shared by several.
    is_read_only
        Nothing of it may change.
    """

    annotations: Annotations
    attachments: Attachments
    browse: Browse
    changes: ChangeLog
    content: ContentReader
    deleter: Deleter
    finder: Finder
    ingest: Ingest
    lasting_answers: LastingAnswers
    exports: ExportLog
    protection: Protection
    uploads: Uploads
    main_tags: MainTags
    reconstruction: Reconstruction
    registry: Registry
    server_identifier: str
    workers: Workers
    stability: Stability
    storage: Storage
    warnings: WarningLog
    exporter: Exporter
    job_outputs: JobOutputs
    editor: InstanceEditor
    is_read_only: bool

    async def start(self) -> None:
        """Begin the work that the archive does by itself; there is none if it is read-only.

        Raises
        ------
        StorageUnavailableError
            If the storage cannot be written to.
        """
        if self.is_read_only:
            return
        await self.workers.run(self.storage.check_writable)
        await self.workers.run(self.storage.remove_temporary, _TEMPORARY_AGE_S)
        await self.workers.run(self.deleter.recycle_excess)
        self.deleter.start()
        self.stability.start()
        self.job_outputs.start()

    async def stop(self) -> None:
        """End that work and wait for the operations that are under way."""
        await self.job_outputs.stop()
        await self.stability.stop()
        await self.deleter.stop()
        self.workers.close()
        self.ingest.close()


def build_archive(configuration: Configuration, database: Database, storage: Storage) -> Archive:
    """Put the use cases together as the configuration asks.

    References
    ----------
    Orthanc: ReadOnly ignores compression, MD5, overwriting and limits (behaviour manual §36.5)
    """
    is_read_only = configuration.boolean("ReadOnly")
    if is_read_only:
        database = ReadOnlyDatabase(database)
    rules = _get_rules(configuration)
    workers = Workers(database, configuration.integer("Isocenter.IngestThreads"))
    main_tags = build_configured_main_tags(configuration)
    deleter = Deleter(workers, database, storage, rules)
    options = _get_ingest_options(configuration, main_tags, rules)
    ingest = Ingest(workers, database, storage, options, on_removals=deleter.wake_from_thread)
    registry = build_registry(configuration)
    writes = GroupWrites(workers, database)
    is_checked = configuration.boolean("CheckRevisions")
    warnings = WarningLog(configuration.mapping("Warnings"))
    rebuilt = _get_reconstruction_options(configuration, storage, main_tags)
    return Archive(
        annotations=Annotations(workers, writes, has_checked_revisions=is_checked),
        attachments=Attachments(
            workers,
            database,
            storage,
            blobs=ingest.blobs,
            writes=writes,
            content_types=registry.content_types,
            on_removal=deleter.wake,
            has_checked_revisions=is_checked,
        ),
        browse=_build_browse(configuration, workers, storage, main_tags, warnings),
        changes=ChangeLog(workers, has_deletions=rules.logs_deletions),
        content=_build_content(configuration, workers, storage),
        deleter=deleter,
        finder=Finder(workers, storage, _get_find_options(configuration, main_tags), warnings),
        ingest=ingest,
        lasting_answers=LastingAnswers(workers),
        exports=ExportLog(workers, is_enabled=configuration.boolean("LogExportedResources")),
        protection=Protection(workers),
        uploads=Uploads(workers, ingest, _get_upload_options(configuration, storage)),
        main_tags=main_tags,
        reconstruction=Reconstruction(
            workers, database, storage, blobs=ingest.blobs, options=rebuilt, on_removal=deleter.wake
        ),
        registry=registry,
        server_identifier=_get_server_identifier(configuration),
        workers=workers,
        stability=Stability(workers, database, configuration.integer("StableAge")),
        storage=storage,
        warnings=warnings,
        exporter=Exporter(workers, storage),
        editor=InstanceEditor(workers, storage, configuration.text("DefaultEncoding")),
        job_outputs=JobOutputs(workers, storage, _get_output_limits(configuration), deleter.wake),
        is_read_only=is_read_only,
    )


def _build_content(
    configuration: Configuration, workers: Workers, storage: Storage
) -> ContentReader:
    return ContentReader(
        workers,
        storage,
        default_encoding=configuration.text("DefaultEncoding"),
        cache_bytes=configuration.integer("Isocenter.TagsCacheSizeMB") * _MIB,
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
    configuration: Configuration, main_tags: MainTags, rules: Rules
) -> IngestOptions:
    return IngestOptions(
        main_tags=main_tags,
        overwrite=_OVERWRITE[configuration.text("OverwriteInstances")],
        has_md5=configuration.boolean("StoreMD5ForAttachments"),
        is_compressed=configuration.boolean("StorageCompression"),
        default_encoding=configuration.text("DefaultEncoding"),
        rules=rules,
        keeps_files=configuration.boolean("StoreDicom"),
        is_read_only=configuration.boolean("ReadOnly"),
    )


def _get_output_limits(configuration: Configuration) -> OutputLimits:
    return OutputLimits(
        count=configuration.integer("MediaArchiveSize"),
        size_bytes=configuration.integer("Isocenter.JobOutputsSizeMB") * _MIB,
        age_us=configuration.integer("Isocenter.JobOutputsAge") * 1_000_000,
    )


def _get_find_options(configuration: Configuration, main_tags: MainTags) -> FindOptions:
    return FindOptions(
        main_tags=main_tags,
        may_open_files=configuration.text("StorageAccessOnFind") == "Always",
        default_encoding=configuration.text("DefaultEncoding"),
        most_results=configuration.integer("LimitFindResults"),
        most_instances=configuration.integer("LimitFindInstances"),
    )


def _get_spool_folder(configuration: Configuration, storage: Storage) -> Path:
    return storage.spool_folder or configuration.path("TemporaryDirectory")


def _build_browse(
    configuration: Configuration,
    workers: Workers,
    storage: Storage,
    main_tags: MainTags,
    warnings: WarningLog,
) -> Browse:
    options = RequestedTagOptions(
        main_tags=main_tags,
        may_open_files=configuration.text("StorageAccessOnFind") != "Never",
        default_encoding=configuration.text("DefaultEncoding"),
    )
    return Browse(workers, RequestedTagReader(workers, storage, options, warnings))


def _get_reconstruction_options(
    configuration: Configuration, storage: Storage, main_tags: MainTags
) -> ReconstructionOptions:
    return ReconstructionOptions(
        main_tags=main_tags,
        default_encoding=configuration.text("DefaultEncoding"),
        is_compressed=configuration.boolean("StorageCompression"),
        folder=_get_spool_folder(configuration, storage),
    )


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
