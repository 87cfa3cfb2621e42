"""Everything below some resources, for archives and media."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from isocenter.dicom.levels import Level
from isocenter.errors import UnknownResourceError
from isocenter.index.port import Transaction
from isocenter.index.records import Attachment

__all__ = ["Folder", "Package", "PackagedInstance", "read_package", "resolve_resources"]

_DICOM = 1


class PackagedInstance(msgspec.Struct, frozen=True):
    """An instance and its file.

    Attributes
    ----------
    series
        Key of its series in `Package.folders`.
    main_tags, metadata
        JSON objects as text.
    last_update
        Seconds since 1970, UTC.
    """

    public_id: str
    series: int
    main_tags: str
    metadata: str
    index_in_series: int | None
    last_update: int
    attachment: Attachment


class Folder(msgspec.Struct, frozen=True):
    """A patient, study or series.

    Attributes
    ----------
    parent
        Key of the resource above; ``None`` for patients.
    main_tags
        JSON object as text.
    """

    level: Level
    parent: int | None
    public_id: str
    main_tags: str


@dataclass(frozen=True, slots=True)
class Package:
    """What lies below some resources.

    Attributes
    ----------
    folders
        Patients, studies and series by their keys.
    """

    instances: list[PackagedInstance]
    folders: dict[int, Folder]


def resolve_resources(tx: Transaction, public_ids: Sequence[str]) -> list[tuple[Level, str, int]]:
    """Find the level and the key of each resource, in the order given.

    Raises
    ------
    UnknownResourceError
        If one of them does not exist.
    """
    rows = tx.rows("resolve_resources", {"public_ids": list(public_ids)})
    found = {public_id: (Level(level), public_id, int(key)) for level, public_id, key in rows}
    for public_id in public_ids:
        if public_id not in found:
            raise UnknownResourceError("one of the resources does not exist")
    return [found[public_id] for public_id in public_ids]


def read_package(tx: Transaction, internal_ids: Sequence[int]) -> Package:
    """Read everything at and below some resources, and what lies above: four statements."""
    instances = [
        PackagedInstance(
            public_id=row[0],
            series=row[1],
            main_tags=row[2],
            index_in_series=row[3],
            last_update=row[4],
            attachment=Attachment(_DICOM, *row[5:11]),
            metadata=row[11],
        )
        for row in tx.rows("list_instances_below", {"internal_ids": list(internal_ids)})
    ]
    folders: dict[int, Folder] = {}
    keys = {instance.series for instance in instances}
    for level in (Level.SERIES, Level.STUDY, Level.PATIENT):
        above: set[int] = set()
        for row in tx.rows("list_folders", {"internal_ids": sorted(keys)}):
            folders[row[0]] = Folder(level, row[1], row[2], row[3])
            if row[1] is not None:
                above.add(row[1])
        keys = above
    return Package(instances, folders)
