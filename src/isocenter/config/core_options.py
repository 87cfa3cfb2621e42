"""The options of the archive itself: storage, index, jobs, scripts.

References
----------
Orthanc REST: behaviour manual §38
"""

from isocenter.config.option import Effect, Group, Option
from isocenter.config.shapes import (
    BOOLEAN,
    COUNT,
    DICOM_DICTIONARY,
    ENCODINGS,
    EXTRA_MAIN_DICOM_TAGS,
    OVERWRITE_INSTANCES,
    PATH,
    PATHS,
    TEXT,
    USER_CONTENT_TYPE,
    USER_METADATA,
    WARNING_CODES,
    WARNINGS,
)
from isocenter.config.values import ChoiceKind, MapKind

__all__ = ["CORE_GROUPS"]

_FULL = Effect.FULL
_NONE = Effect.NONE
_OWN_FOLDER = "Orthanc uses `OrthancStorage`; the formats of the two folders differ."

_GENERAL = Group(
    "General",
    (
        Option(
            "Name",
            TEXT,
            default="Isocenter",
            effect=_FULL,
            meaning="Name of this server for people and for remote servers.",
            differs="Orthanc's is `MyOrthanc`.",
        ),
        Option(
            "StorageDirectory",
            PATH,
            default="isocenter-data",
            effect=_FULL,
            meaning=(
                "Folder of the stored files. It must be on a disk that keeps what is synced to it."
            ),
            differs=_OWN_FOLDER,
        ),
        Option(
            "IndexDirectory",
            PATH,
            fallback="StorageDirectory",
            effect=_FULL,
            meaning="Folder of the SQLite index. A fast local disk serves searches best; network "
            "folders break SQLite's locks.",
        ),
        Option(
            "TemporaryDirectory",
            PATH,
            default_note="the system's",
            effect=_FULL,
            meaning="Folder of large temporary files: uploads above the spool threshold, "
            "archives in the making.",
        ),
        Option(
            "StorageCompression",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Keep attachments zlib-compressed. Saves room for uncompressed images and "
            "costs processor time on every read.",
        ),
        Option(
            "StoreDicom",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning=(
                "Keep the DICOM files. If false, only the index is kept and pixel data is lost."
            ),
        ),
        Option(
            "StoreMD5ForAttachments",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning=(
                "Compute and keep the MD5 sum of each stored file, so that damage can be found."
            ),
        ),
        Option(
            "SyncStorageArea",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning="Force each file to disk before it is acknowledged. If false, a power "
            "failure may lose instances that senders hold for stored.",
        ),
        Option(
            "MaximumStorageSize",
            COUNT,
            default=0,
            unit="MB",
            effect=_FULL,
            meaning="Room for attachments on disk; 0 means no limit.",
        ),
        Option(
            "MaximumPatientCount",
            COUNT,
            default=0,
            effect=_FULL,
            meaning="Patients that may be stored; 0 means no limit.",
        ),
        Option(
            "MaximumStorageMode",
            ChoiceKind(("Recycle", "Reject")),
            default="Recycle",
            effect=_FULL,
            meaning="What happens at a limit of storage: `Recycle` deletes the oldest "
            "unprotected patients, `Reject` refuses new instances.",
        ),
        Option(
            "OverwriteInstances",
            OVERWRITE_INSTANCES,
            default="Never",
            effect=_FULL,
            meaning="What happens to an instance that is stored already: keep the old one "
            "(`Never` or false), replace it (`Always` or true), replace it if its bytes "
            "differ (`IfChanged`, needs MD5 sums).",
        ),
        Option(
            "ReadOnly",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Refuse every change of the archive; reading and searching still work.",
        ),
        Option(
            "PatientLevelEnabled",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning="Offer the patient level and check patients when studies are modified. "
            "Needed for limits of storage, which recycle by patient.",
        ),
        Option(
            "CheckRevisions",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Demand the present revision (`If-Match`) for changes of metadata and "
            "attachments, so that two writers cannot undo each other.",
        ),
        Option(
            "DatabaseServerIdentifier",
            TEXT,
            default="",
            default_note="derived from this host, the AE title and the ports",
            effect=_FULL,
            meaning="Name of this server among several that share one database.",
        ),
        Option(
            "Locale",
            TEXT,
            default="",
            default_note="the system's",
            effect=_NONE,
            meaning="Locale for comparisons without case. Comparisons follow Unicode here, "
            "whatever the locale.",
        ),
        Option(
            "MallocArenaMax",
            COUNT,
            default=5,
            effect=_NONE,
            meaning=(
                "Memory arenas of the C library; set `MALLOC_ARENA_MAX` in the environment instead."
            ),
        ),
    ),
)

_INDEX = Group(
    "Index and search",
    (
        Option(
            "StableAge",
            COUNT,
            default=60,
            unit="s",
            effect=_FULL,
            meaning="A patient, study or series without new instances for this long is stable: "
            "complete, as far as can be known.",
        ),
        Option(
            "ExtraMainDicomTags",
            EXTRA_MAIN_DICOM_TAGS,
            default={},
            effect=_FULL,
            meaning='More tags kept in the index, as names or numbers per level: `{"Study": '
            '["StudyID"]}`. They are shown and searched without opening files.',
        ),
        Option(
            "StorageAccessOnFind",
            ChoiceKind(("Always", "Answers", "Never")),
            default="Always",
            effect=_FULL,
            meaning="Whether searches may open files for tags that the index lacks: `Always`, "
            "for `Answers` only, or `Never`.",
        ),
        Option(
            "LimitFindResults",
            COUNT,
            default=0,
            effect=_FULL,
            meaning="Most patients, studies or series a search answers; 0 means no limit.",
        ),
        Option(
            "LimitFindInstances",
            COUNT,
            default=0,
            effect=_FULL,
            meaning="Most instances a search answers; 0 means no limit.",
        ),
        Option(
            "CaseSensitivePN",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Whether case matters for the names of persons in C-FIND.",
        ),
        Option(
            "DefaultEncoding",
            ENCODINGS,
            default="Latin1",
            effect=_FULL,
            meaning=(
                "Character set assumed for files that name none, and used in answers to C-FIND."
            ),
        ),
        Option(
            "Dictionary",
            DICOM_DICTIONARY,
            default={},
            effect=_FULL,
            meaning='Names of private tags: `{"00e1,10c2": ["UI", "PET-CT Multi Modality Name", '
            '1, 1, "ELSCINT1"]}` (VR, name, least and most values, private creator; 0 '
            "for any number of values).",
        ),
        Option(
            "ExternalDictionaries",
            PATHS,
            default=[],
            effect=_FULL,
            meaning="Files of further dictionaries in DCMTK's format, for example `diconde.dic`. "
            "Later ones win, and `Dictionary` wins over all.",
            differs="Orthanc forgets its own dictionary then.",
        ),
        Option(
            "LoadPrivateDictionary",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning="Know the private tags that manufacturers have published.",
        ),
        Option(
            "DefaultPrivateCreator",
            TEXT,
            default="",
            effect=Effect.FULL,
            meaning="Private creator of the private tags that this server writes.",
        ),
        Option(
            "UserMetadata",
            USER_METADATA,
            default={},
            effect=_FULL,
            meaning='Names of your own metadata and their codes from 1024 to 65535: `{"MyState": '
            "1024}`. Never give a used code another meaning.",
        ),
        Option(
            "UserContentType",
            USER_CONTENT_TYPE,
            default={},
            effect=_FULL,
            meaning="Names of your own attachments, with codes from 1024 to 65535 and, if "
            'wanted, media types: `{"report": [1025, "application/pdf"]}`.',
        ),
        Option(
            "Warnings",
            WARNINGS,
            default=dict.fromkeys(WARNING_CODES, True),
            effect=_FULL,
            meaning="Switches of the warnings in the log: W001 tags read from files, W002 "
            "inconsistent tags in the index, W003 pixel data cannot be decoded, W004 no "
            "signature of main tags, W005 tag of a lower level asked, W006 tag of the "
            "meta-header asked, W007 tags not read because files must stay closed. "
            "`W003_DecoderFailure` means the same as `W003`.",
        ),
        Option(
            "LogExportedResources",
            BOOLEAN,
            default=False,
            effect=_FULL,
            meaning="Keep a log of what was sent to remote servers (`/exports`).",
        ),
    ),
)

_JOBS = Group(
    "Jobs",
    (
        Option(
            "ConcurrentJobs",
            COUNT,
            default=2,
            effect=Effect.FULL,
            meaning="Jobs that run at once; 0 means one per processor thread.",
        ),
        Option(
            "JobsHistorySize",
            COUNT,
            default=10,
            effect=Effect.FULL,
            meaning="Finished jobs that are remembered; above 100, perhaps a hundredth more.",
        ),
        Option(
            "SaveJobs",
            BOOLEAN,
            default=True,
            effect=Effect.FULL,
            meaning="Keep jobs in the database, so that they survive a restart.",
        ),
        Option(
            "JobsEngineThreadsCount",
            MapKind(COUNT),
            default={"ResourceModification": 2},
            effect=Effect.FULL,
            meaning="Files of one job that are worked on at once, per kind of job: "
            "`ResourceModification`; `SplitStudy` and `MergeStudy` (as that); `Archive` and "
            "`Media` (4). 0 means one per processor, and half of `Isocenter.IngestThreads` is the "
            "most. A job that transcodes has one frame of each of these files coded at a time, by "
            "the processes of `TranscoderThreadsCount`. Orthanc: 1.",
        ),
        Option(
            "MediaArchiveSize",
            COUNT,
            default=100,
            effect=Effect.FULL,
            meaning="Archives made by asynchronous jobs that are kept for download.",
        ),
        Option(
            "SynchronousZipStream",
            BOOLEAN,
            default=True,
            meaning="Send an archive while it is built, instead of after.",
        ),
        Option(
            "ZipUseUtf8",
            BOOLEAN,
            default=False,
            effect=Effect.FULL,
            meaning="Write the names of folders in ZIP archives in UTF-8 instead of ASCII.",
        ),
        Option(
            "MaximumFileSizeInArchiveMB",
            COUNT,
            default=4096,
            unit="MB",
            effect=_FULL,
            meaning="Largest file that is read from an uploaded ZIP archive, once unpacked.",
        ),
        Option(
            "QueryRetrieveSize",
            COUNT,
            default=100,
            effect=_FULL,
            meaning="Queries to remote modalities whose answers are remembered.",
        ),
        Option(
            "StorageCommitmentReportsSize",
            COUNT,
            default=100,
            effect=_FULL,
            meaning="Reports of storage commitment that are remembered.",
        ),
    ),
)


def _cache(name: str, default: int | None, meaning: str, unit: str = "") -> Option:
    """Build an option of the inner threads and caches that Orthanc 1.13 has."""
    return Option(name, COUNT, default=default, unit=unit, effect=Effect.NONE, meaning=meaning)


_CACHES = Group(
    "Caches and threads",
    (
        Option(
            "MaximumStorageCacheSize",
            COUNT,
            default=128,
            unit="MB",
            effect=Effect.FULL,
            meaning="Memory for the content of compressed files that were read last. Files that "
            "are not compressed need none: the system keeps them in memory.",
        ),
        _cache("StorageLoaderThreadsCount", 4, "Threads that read files ahead."),
        _cache("StorageMemoryCapacity", 512, "Files in use in memory.", "MB"),
        _cache("DicomParserThreadsCount", 2, "Threads that parse files."),
        _cache("DicomParserMemoryCapacity", 256, "Parsed files in use in memory.", "MB"),
        _cache("DicomParserCacheSize", 256, "Parsed files kept in memory.", "MB"),
        Option(
            "TranscoderThreadsCount",
            COUNT,
            default=4,
            effect=Effect.FULL,
            meaning="The most processes that convert instances, for all jobs and requests "
            "together, but no more than there are processors; 0 means one per processor. They "
            "start when they are needed and end soon after.",
        ),
        _cache("TranscoderMemoryCapacity", 256, "Converted files in use in memory.", "MB"),
        _cache("TranscoderCacheSize", 256, "Converted files kept in memory.", "MB"),
        Option(
            "SequentialDicomReaderThreadsCount",
            COUNT,
            fallback="StorageLoaderThreadsCount",
            effect=_NONE,
            meaning="Threads that fill the windows of read-ahead.",
        ),
        _cache("SequentialDicomReaderWindowSize", 4, "Instances read ahead per consumer."),
        _cache("SequentialDicomReaderWindowCapacity", 128, "Size of a read-ahead window.", "MB"),
        Option(
            "LoaderThreads",
            COUNT,
            default_note="unset",
            effect=_NONE,
            meaning="Former name of `StorageLoaderThreadsCount`.",
        ),
        Option(
            "ZipLoaderThreads",
            COUNT,
            default_note="unset",
            effect=_NONE,
            meaning="Former number of threads that read files for archives.",
        ),
    ),
)

_EXTENSIONS = Group(
    "Scripts, plugins, logs, metrics",
    (
        Option("LuaScripts", PATHS, default=[], meaning="Lua scripts that are run at the start."),
        Option(
            "LuaHeartBeatPeriod",
            COUNT,
            default=0,
            unit="s",
            meaning="Time between calls of the Lua function `OnHeartBeat`; 0 means never.",
        ),
        Option(
            "Plugins",
            PATHS,
            default=[],
            meaning=(
                "Plugins to load: files or folders. Plugins compiled for Orthanc cannot be loaded."
            ),
        ),
        Option(
            "MetricsEnabled",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning="Collect metrics and serve them for Prometheus.",
        ),
        Option(
            "DeidentifyLogs",
            BOOLEAN,
            default=True,
            effect=_FULL,
            meaning="Hide personal data in logs.",
        ),
        Option(
            "DeidentifyLogsDicomVersion",
            ChoiceKind(("2008", "2017c", "2021b", "2023b")),
            default="2023b",
            effect=_FULL,
            meaning=(
                "Edition of the standard whose de-identification profile says what is personal."
            ),
        ),
    ),
)

CORE_GROUPS = (
    _GENERAL,
    _INDEX,
    _JOBS,
    _CACHES,
    _EXTENSIONS,
)
"""The groups of these options, in the order of the documentation."""
