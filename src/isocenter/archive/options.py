"""What the configuration says about storing, reduced to what the use cases need."""

import hashlib
import socket
from pathlib import Path

from isocenter.archive.ingest import IngestOptions
from isocenter.archive.settings import Settings
from isocenter.archive.uploads import UploadOptions
from isocenter.config.configuration import Configuration
from isocenter.dicom.main_tags import MainTags
from isocenter.index.job_outputs import OutputLimits
from isocenter.index.records import Overwrite, Quota, Rules
from isocenter.measures import Measures
from isocenter.storage.port import Storage

__all__ = [
    "get_ingest_options",
    "get_output_limits",
    "get_overwrite",
    "get_rules",
    "get_server_identifier",
    "get_spool_folder",
    "get_upload_options",
    "has_export_log",
    "list_own_folders",
]

_KIB = 1024
_MIB = 1024 * 1024
# A value of the option MaximumStorageMode.
_RECYCLE = "Recycle"
# Values of the option OverwriteInstances.
_OVERWRITE = {
    "Never": Overwrite.NEVER,
    "Always": Overwrite.ALWAYS,
    "IfChanged": Overwrite.IF_CHANGED,
}


def has_export_log(configuration: Configuration) -> bool:
    """Tell whether the log of exports grows."""
    is_read_only = configuration.boolean("ReadOnly")
    return configuration.boolean("LogExportedResources") and not is_read_only


def get_rules(configuration: Configuration) -> Rules:
    """Read the limits of storage, and what else holds for whatever is written."""
    return Rules(
        quota=Quota(
            maximum_disk_size=configuration.integer("MaximumStorageSize") * _MIB,
            maximum_patients=configuration.integer("MaximumPatientCount"),
            is_recycling=configuration.text("MaximumStorageMode") == _RECYCLE,
        ),
        logs_deletions=configuration.boolean("Isocenter.LogDeletions"),
        keeps_replaced=configuration.boolean("Isocenter.OverwriteInPlace"),
    )


def get_ingest_options(
    configuration: Configuration,
    main_tags: MainTags,
    rules: Rules,
    settings: Settings,
    measures: Measures,
) -> IngestOptions:
    """Read how instances are stored."""
    return IngestOptions(
        main_tags=main_tags,
        overwrite=get_overwrite(configuration),
        has_md5=configuration.boolean("StoreMD5ForAttachments"),
        is_compressed=configuration.boolean("StorageCompression"),
        settings=settings,
        measures=measures,
        rules=rules,
        keeps_files=configuration.boolean("StoreDicom"),
        is_read_only=configuration.boolean("ReadOnly"),
    )


def get_overwrite(configuration: Configuration) -> Overwrite:
    """Read what becomes of an instance that is stored already."""
    return _OVERWRITE[configuration.text("OverwriteInstances")]


def get_output_limits(configuration: Configuration) -> OutputLimits:
    """Read how many outputs of jobs are kept, and for how long."""
    return OutputLimits(
        count=configuration.integer("MediaArchiveSize"),
        size_bytes=configuration.integer("Isocenter.JobOutputsSizeMB") * _MIB,
        age_us=configuration.integer("Isocenter.JobOutputsAge") * 1_000_000,
    )


def get_spool_folder(configuration: Configuration, storage: Storage) -> Path:
    """Tell where files lie until they are stored."""
    return storage.spool_folder or configuration.path("TemporaryDirectory")


def list_own_folders(configuration: Configuration) -> list[Path]:
    """List the folders that nobody may write into from outside."""
    names = ("StorageDirectory", "IndexDirectory", "TemporaryDirectory")
    return [configuration.path(name) for name in names]


def get_upload_options(configuration: Configuration, storage: Storage) -> UploadOptions:
    """Read the limits of uploads."""
    return UploadOptions(
        spool_folder=get_spool_folder(configuration, storage),
        spool_threshold=configuration.integer("Isocenter.SpoolThresholdKB") * _KIB,
        largest_body=configuration.integer("MaximumRequestBodySizeMB") * _MIB,
        largest_entry=configuration.integer("MaximumFileSizeInArchiveMB") * _MIB,
    )


def get_server_identifier(configuration: Configuration) -> str:
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
