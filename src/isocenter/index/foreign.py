"""What the index of another server tells, and what of it is to be written into ours."""

from dataclasses import dataclass, field

from isocenter.dicom.levels import Level
from isocenter.index.records import Attachment, NewResource

__all__ = [
    "AdoptedResource",
    "AdoptionState",
    "ForeignAttachment",
    "ForeignChange",
    "ForeignExport",
    "ForeignInstance",
    "ForeignResource",
    "LastNumbers",
    "PresentResource",
]


@dataclass(frozen=True, slots=True)
class ForeignAttachment:
    """An attachment as the other index describes it.

    Attributes
    ----------
    is_elsewhere
        A storage plugin keeps it, so its file is not where files usually are.
    is_sound
        False if the sizes or the compression make no sense.
    """

    attachment: Attachment
    revision: int
    is_elsewhere: bool
    is_sound: bool


@dataclass(frozen=True, slots=True)
class ForeignInstance:
    """An instance with its ancestors, indexed by level.

    Attributes
    ----------
    internal_ids
        Rows of the other index; ``None`` where an ancestor is missing.
    public_ids
        The identifiers; empty where an ancestor is missing.
    is_sound
        Whether nothing is missing and all identifiers have their form.
    """

    internal_ids: tuple[int | None, ...]
    public_ids: tuple[str, ...]
    is_sound: bool


@dataclass(slots=True)
class ForeignResource:
    """What the other index knows of a resource.

    Attributes
    ----------
    tags
        Main tags as text.
    metadata
        Code to value and revision.
    recycling_order
        Patients only: the place in the list of those to recycle; ``None`` if protected.
    """

    tags: dict[int, str] = field(default_factory=dict)
    metadata: dict[int, tuple[str, int]] = field(default_factory=dict)
    attachments: list[ForeignAttachment] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    recycling_order: int | None = None


@dataclass(frozen=True, slots=True)
class ForeignChange:
    """An entry of the other change log; ``changed_at`` in seconds since 1970, UTC."""

    seq: int
    change_type: int
    public_id: str
    changed_at: int


@dataclass(frozen=True, slots=True)
class ForeignExport:
    """An entry of the other log of exports; ``exported_at`` in seconds since 1970, UTC."""

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
class LastNumbers:
    """The last numbers that an index gave; 0 if none."""

    change: int
    export: int
    recycling: int


@dataclass(frozen=True, slots=True)
class PresentResource:
    """A resource that our index has already; ``content_types`` are those of its attachments."""

    internal_id: int
    content_types: frozenset[int]


@dataclass(frozen=True, slots=True)
class AdoptedResource:
    """A resource to be made, or to be completed if it is there.

    Attributes
    ----------
    parent_public_id
        ``None`` for a patient.
    row
        ``None`` if the resource is there already and only lacks some of the rest.
    last_update
        Seconds since 1970, UTC.
    attachments
        Pairs of attachment and revision; their files are durable.
    metadata
        Code, value and revision of what lies outside of the row.
    recycling_order
        Patients only: the place in our list; ``None`` if protected.
    """

    level: Level
    public_id: str
    parent_public_id: str | None
    row: NewResource | None
    last_update: int
    attachments: tuple[tuple[Attachment, int], ...]
    metadata: tuple[tuple[int, str, int], ...]
    labels: tuple[str, ...]
    recycling_order: int | None = None


@dataclass(frozen=True, slots=True)
class AdoptionState:
    """How numbers of another index become ours, and how far its logs were adopted.

    Attributes
    ----------
    change_base, export_base, recycling_base
        What is added to a foreign number; 0 in an archive that was empty.
    reserved
        The foreign numbers for which room is kept.
    changes, exports
        The last foreign numbers that were adopted.
    """

    change_base: int
    export_base: int
    recycling_base: int
    reserved: LastNumbers
    changes: int = 0
    exports: int = 0
