"""All use cases together, as doors see them."""

import hashlib
import socket
from dataclasses import dataclass

from isocenter.archive.annotations import Annotations
from isocenter.archive.attachments import Attachments
from isocenter.archive.browse import Browse
from isocenter.archive.changes import ChangeLog
from isocenter.archive.content import ContentReader
from isocenter.archive.deletion import Deleter
from isocenter.archive.exporting import Exporter
from isocenter.archive.exports import ExportLog
from isocenter.archive.group_writes import GroupWrites
from isocenter.archive.ingest import Ingest, IngestOptions
from isocenter.archive.instance_editor import InstanceEditor
from isocenter.archive.job_outputs import JobOutputs
from isocenter.archive.protection import Protection
from isocenter.archive.registry import Registry, build_registry
from isocenter.archive.stability import Stability
from isocenter.archive.uploads import UploadOptions, Uploads
from isocenter.archive.workers import Workers
from isocenter.config.configuration import Configuration
from isocenter.dicom.main_tags import MainTags, build_main_tags
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
    exports: ExportLog
    ingest: Ingest
    protection: Protection
    uploads: Uploads
    main_tags: MainTags
    registry: Registry
    server_identifier: str
    workers: Workers
    stability: Stability
    storage: Storage
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
    main_tags = build_main_tags()
    default_encoding = configuration.text("DefaultEncoding")
    deleter = Deleter(workers, database, storage, rules)
    ingest = Ingest(
        workers,
        database,
        storage,
        _get_ingest_options(configuration, main_tags, rules),
        on_removals=deleter.wake_from_thread,
    )
    registry = build_registry(configuration)
    writes = GroupWrites(workers, database)
    has_checked_revisions = configuration.boolean("CheckRevisions")
    return Archive(
        annotations=Annotations(workers, writes, has_checked_revisions=has_checked_revisions),
        attachments=Attachments(
            workers,
            database,
            storage,
            blobs=ingest.blobs,
            writes=writes,
            content_types=registry.content_types,
            on_removal=deleter.wake,
            has_checked_revisions=has_checked_revisions,
        ),
        browse=Browse(workers),
        changes=ChangeLog(workers, has_deletions=rules.logs_deletions),
        content=ContentReader(
            workers,
            storage,
            default_encoding=default_encoding,
            cache_bytes=configuration.integer("Isocenter.TagsCacheSizeMB") * _MIB,
        ),
        deleter=deleter,
        exports=ExportLog(workers, is_enabled=configuration.boolean("LogExportedResources")),
        ingest=ingest,
        protection=Protection(workers),
        uploads=Uploads(workers, ingest, _get_upload_options(configuration, storage)),
        main_tags=main_tags,
        registry=registry,
        server_identifier=_get_server_identifier(configuration),
        workers=workers,
        stability=Stability(workers, database, configuration.integer("StableAge")),
        storage=storage,
        exporter=Exporter(workers, storage),
        editor=InstanceEditor(workers, storage, default_encoding),
        job_outputs=JobOutputs(workers, storage, _get_output_limits(configuration), deleter.wake),
        is_read_only=is_read_only,
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


def _get_upload_options(configuration: Configuration, storage: Storage) -> UploadOptions:
    folder = storage.spool_folder or configuration.path("TemporaryDirectory")
    return UploadOptions(
        spool_folder=folder,
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
