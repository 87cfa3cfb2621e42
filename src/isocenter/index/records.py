"""What goes into the index and what comes out of it.

Records that are read by the hundred for one answer are msgspec structures, which are made several
times as fast as frozen dataclasses.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

import msgspec

from isocenter.dicom.levels import Level

__all__ = [
    "Attachment",
    "Change",
    "ChangeType",
    "Deletion",
    "DicomAttachment",
    "ExportEntry",
    "MetadataCode",
    "NewInstance",
    "NewResource",
    "Overwrite",
    "Quota",
    "ResourceRow",
    "ResourceSize",
    "Rules",
    "Statistics",
    "StoreResult",
    "StoredAttachment",
    "format_tag",
]


class ChangeType(IntEnum):
    """Codes of the change log (Orthanc REST: GET /changes)."""

    COMPLETED_SERIES = 1
    NEW_INSTANCE = 2
    NEW_PATIENT = 3
    NEW_SERIES = 4
    NEW_STUDY = 5
    ANONYMIZED_STUDY = 6
    ANONYMIZED_SERIES = 7
    MODIFIED_STUDY = 8
    MODIFIED_SERIES = 9
    ANONYMIZED_PATIENT = 10
    MODIFIED_PATIENT = 11
    STABLE_PATIENT = 12
    STABLE_STUDY = 13
    STABLE_SERIES = 14
    UPDATED_ATTACHMENT = 15
    UPDATED_METADATA = 16
    # Only in the log if deletions are logged, which Orthanc never does.
    DELETED = 4096

    @property
    def title(self) -> str:
        """The name in answers, for example ``NewInstance``."""
        return self.name.title().replace("_", "")


NEW_CHANGES = {
    Level.PATIENT: ChangeType.NEW_PATIENT,
    Level.STUDY: ChangeType.NEW_STUDY,
    Level.SERIES: ChangeType.NEW_SERIES,
    Level.INSTANCE: ChangeType.NEW_INSTANCE,
}

STABLE_CHANGES = {
    Level.PATIENT: ChangeType.STABLE_PATIENT,
    Level.STUDY: ChangeType.STABLE_STUDY,
    Level.SERIES: ChangeType.STABLE_SERIES,
}


class MetadataCode(IntEnum):
    """Codes of the system metadata (Orthanc REST: metadata)."""

    INDEX_IN_SERIES = 1
    RECEPTION_DATE = 2
    REMOTE_AET = 3
    EXPECTED_NUMBER_OF_INSTANCES = 4
    MODIFIED_FROM = 5
    ANONYMIZED_FROM = 6
    LAST_UPDATE = 7
    ORIGIN = 8
    TRANSFER_SYNTAX = 9
    SOP_CLASS_UID = 10
    REMOTE_IP = 11
    CALLED_AET = 12
    HTTP_USERNAME = 13
    PIXEL_DATA_OFFSET = 14
    MAIN_DICOM_TAGS_SIGNATURE = 15
    MAIN_DICOM_SEQUENCES = 16
    PIXEL_DATA_VR = 17


class Overwrite(IntEnum):
    """What to do with an instance that is stored already (option ``OverwriteInstances``)."""

    NEVER = 0
    ALWAYS = 1
    IF_CHANGED = 2


@dataclass(frozen=True, slots=True)
class Quota:
    """How much may be stored (options ``MaximumStorageSize``, ``MaximumPatientCount``).

    Attributes
    ----------
    maximum_disk_size
        Bytes of all attachments as they are stored; 0 for no limit.
    maximum_patients
        0 for no limit.
    is_recycling
        Delete the oldest unprotected patients to make room; else refuse what is new (option
        ``MaximumStorageMode``).
    """

    maximum_disk_size: int = 0
    maximum_patients: int = 0
    is_recycling: bool = True

    @property
    def is_unlimited(self) -> bool:
        """True if nothing is ever refused or recycled."""
        return not (self.maximum_disk_size or self.maximum_patients)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says about storing and deleting.

    Attributes
    ----------
    logs_deletions
        Note what is deleted in the log of changes (option ``Isocenter.LogDeletions``).
    keeps_replaced
        Replace only the file and the tags of an instance, not what users added to it (option
        ``Isocenter.OverwriteInPlace``).
    """

    quota: Quota = Quota()
    logs_deletions: bool = False
    keeps_replaced: bool = False


@dataclass(frozen=True, slots=True)
class NewResource:
    """A row to create at one level.

    Attributes
    ----------
    identifier
        PatientID or UID, normalized for searching.
    main_tags, patient_tags, metadata
        JSON objects as text.
    search
        Pairs of tag number and normalized value.
    """

    identifier: str
    main_tags: str
    metadata: str
    patient_tags: str | None = None
    search: tuple[tuple[int, str], ...] = ()
    index_in_series: int | None = None
    expected_instances: int | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A blob of a resource.

    Attributes
    ----------
    content_type
        1 = ``dicom`` (Orthanc REST: attachments).
    compression
        0 = as is, 1 = zlib with the size in front.
    compressed_md5, uncompressed_md5
        Hexadecimal digits, or empty if not computed.
    """

    content_type: int
    attachment_uuid: str
    compression: int
    compressed_size: int
    uncompressed_size: int
    compressed_md5: str
    uncompressed_md5: str


@dataclass(frozen=True, slots=True)
class StoredAttachment:
    """An attachment that is in the index.

    Attributes
    ----------
    revision
        How often it was replaced.
    """

    attachment: Attachment
    revision: int

    @property
    def tag(self) -> str:
        """The entity tag of the content, without quotes.

        Without an MD5 sum it holds the name of the blob, which changes as well.
        """
        md5 = self.attachment.uncompressed_md5
        return format_tag(self.revision, md5 or self.attachment.attachment_uuid)


def format_tag(revision: int, md5: str) -> str:
    """Write an entity tag, without quotes.

    References
    ----------
    Orthanc REST: revisions (behaviour manual §13)
    """
    return f"{revision}-{md5}"


@dataclass(frozen=True, slots=True)
class DicomAttachment:
    """The DICOM file of an instance, as the index knows it.

    Attributes
    ----------
    revision
        How often the attachment was replaced.
    pixel_data_offset
        Where the element Pixel Data begins in the uncompressed file; ``None`` without pixels.
    """

    attachment: Attachment
    revision: int
    pixel_data_offset: int | None


@dataclass(frozen=True, slots=True)
class NewInstance:
    """An instance whose files are durable and whose rows are to be written.

    Attributes
    ----------
    public_ids
        Of the patient, the study, the series and the instance.
    describe
        Builds the row of a level; called only for levels that must be created.
    attachments
        The DICOM file first; empty if files are not kept.
    stored_at
        Seconds since 1970, UTC.
    """

    public_ids: tuple[str, str, str, str]
    describe: Callable[[Level], NewResource]
    attachments: tuple[Attachment, ...]
    overwrite: Overwrite
    stored_at: int

    @property
    def dicom(self) -> Attachment | None:
        """The DICOM file, ``None`` if it is not kept."""
        return self.attachments[0] if self.attachments else None

    @property
    def disk_size(self) -> int:
        """Bytes that the files take."""
        return sum(attachment.compressed_size for attachment in self.attachments)


class Change(msgspec.Struct, frozen=True):
    """One entry of the change log."""

    seq: int
    change_type: ChangeType
    level: Level
    public_id: str
    changed_at: int


class ExportEntry(msgspec.Struct, frozen=True):
    """One entry of the log of exports.

    Attributes
    ----------
    remote_modality
        Symbolic name of the receiver.
    study_instance_uid, series_instance_uid, sop_instance_uid
        Empty below the level of the resource.
    """

    seq: int
    level: Level
    public_id: str
    remote_modality: str
    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    exported_at: int


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What became of a `NewInstance`.

    Attributes
    ----------
    is_stored
        False if the instance was there already or there is no room; its new files are then of no
        use.
    has_replaced
        True if an older version of the instance was removed for it.
    is_full
        True if it was refused because there is no room.
    recycled_patients
        How many patients were deleted to make room for it.
    """

    is_stored: bool
    has_replaced: bool = False
    is_full: bool = False
    recycled_patients: int = 0

    @property
    def has_removed(self) -> bool:
        """True if files of others are to be removed from the storage area."""
        return self.has_replaced or self.recycled_patients > 0


class ResourceRow(msgspec.Struct, frozen=True):
    """A resource as the index knows it."""

    level: Level
    public_id: str
    main_tags: str
    patient_tags: str | None
    metadata: str
    last_update: int
    is_stable: bool
    index_in_series: int | None
    expected_instances: int | None
    parent: str | None
    children: list[str]
    labels: list[str]
    indexes_in_series: list[int]
    attachment_uuid: str | None
    file_size: int | None


class Statistics(msgspec.Struct, frozen=True):
    """The counters of the whole archive; sizes in bytes."""

    patients: int
    studies: int
    series: int
    instances: int
    disk_size: int
    uncompressed_size: int
    last_change: int


@dataclass(slots=True)
class ResourceSize:
    """What lies at and below a resource; sizes in bytes."""

    counts: dict[Level, int] = field(default_factory=dict)
    disk_size: int = 0
    uncompressed_size: int = 0
    dicom_disk_size: int = 0
    dicom_uncompressed_size: int = 0


@dataclass(frozen=True, slots=True)
class Deletion:
    """What a deletion left: the nearest ancestor that still exists, if any."""

    remaining_level: Level | None
    remaining_public_id: str | None
