"""Queries of the index, each with a constant number of statements."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from msgspec.structs import replace

from isocenter.dicom.levels import Level
from isocenter.errors import UnknownResourceError
from isocenter.index.port import Transaction
from isocenter.index.records import (
    Attachment,
    AttachmentRow,
    DicomAttachment,
    MetadataCode,
    Part,
    ResourceRow,
    ResourceSize,
    Statistics,
)

__all__ = [
    "build_dicom_attachment",
    "find_descendants",
    "find_existing_attachments",
    "find_identifier",
    "find_lineage",
    "find_removals",
    "get_public_id",
    "get_statistics",
    "has_resource",
    "list_internal_ids",
    "list_public_ids",
    "lookup_dicom_attachment",
    "lookup_resource",
    "lookup_resources",
    "lookup_row",
    "measure_resource",
    "read_attachments",
]

_LAST = 2**63 - 1
_PAGE = 10_000
_LEVELS = tuple(Level)
# One value out of a JSON object that our own encoder wrote, without parsing the rest.
_PIXEL_DATA_OFFSET = re.compile(rf'"{int(MetadataCode.PIXEL_DATA_OFFSET)}":"(\d{{1,18}})"')
# The parts for which the row itself does not suffice.
_LOOKED_UP = (
    *(Part.MAIN_TAGS, Part.METADATA, Part.SOURCES, Part.PARENT, Part.CHILDREN, Part.LABELS),
    *(Part.STATUS, Part.FILE),
)
_LISTS = (Part.METADATA | Part.ATTACHMENTS).value
_DESCENDANTS = {1: "list_children", 2: "list_grandchildren", 3: "list_great_grandchildren"}


def get_statistics(tx: Transaction) -> Statistics:
    """Read the counters of the whole archive: one row, whatever its size."""
    row = tx.row("statistics")
    assert row is not None, "the row of the table archive is never deleted"  # noqa: S101
    return Statistics(*row)


def list_public_ids(
    tx: Transaction, level: Level, *, since: int = 0, limit: int | None = None
) -> list[str]:
    """List the identifiers of a level in alphabetical order; ``limit=None`` means all."""
    keys = {"level": int(level), "since": since, "limit": _LAST if limit is None else limit}
    return [row[0] for row in tx.rows("list_public_ids", keys)]


def list_internal_ids(
    tx: Transaction, level: Level, *, since: int = 0, limit: int | None = None
) -> list[int]:
    """List the rows of a level in the order of their identifiers; ``limit=None`` means all."""
    keys = {"level": int(level), "since": since, "limit": _LAST if limit is None else limit}
    return [row[0] for row in tx.rows("list_internal_ids", keys)]


def lookup_row(tx: Transaction, level: Level, public_id: str) -> int | None:
    """Find the row of a resource, or ``None``."""
    row = tx.row("lookup_internal_id", {"level": int(level), "public_id": public_id})
    return None if row is None else int(row[0])


def lookup_resource(
    tx: Transaction,
    level: Level,
    public_id: str,
    parts: Part = Part.CLASSIC,
    *,
    most_children: int | None = None,
) -> ResourceRow | None:
    """Read one resource: one statement, and one more for metadata and for attachments.

    Parameters
    ----------
    most_children
        A resource that has more says so and lists none; ``None`` to list any number.
    """
    keys = {**_build_keys(parts, most_children), "level": int(level), "public_id": public_id}
    row = tx.row("describe_one", keys)
    return None if row is None else _add_lists(tx, [_resource(row)], parts)[0]


def lookup_resources(
    tx: Transaction, internal_ids: Sequence[int], parts: Part = Part.CLASSIC
) -> list[ResourceRow]:
    """Read resources by their rows' keys, in the order of these; those that are gone are left out.

    One statement, and one more for metadata and for attachments.
    """
    keys = {**_build_keys(parts, None), "internal_ids": list(internal_ids)}
    rows = {row[0]: _resource(row) for row in tx.rows("describe_many", keys)}
    found = [rows[internal_id] for internal_id in internal_ids if internal_id in rows]
    return _add_lists(tx, found, parts)


@lru_cache(maxsize=256)
def _build_keys(parts: Part, most_children: int | None) -> dict[str, Any]:
    flags = {str(part.name).lower(): part in parts for part in _LOOKED_UP}
    return {
        **flags,
        "is_short": most_children is not None,
        "most_children": 0 if most_children is None else most_children,
    }


def _resource(row: tuple[Any, ...]) -> ResourceRow:
    return ResourceRow(
        internal_id=row[0],
        level=_LEVELS[row[1]],
        public_id=row[2],
        parent_id=row[3],
        main_tags=row[4],
        patient_tags=row[5],
        metadata=row[6],
        last_update=row[7],
        is_stable=row[8] == 1,
        is_protected=row[9] is None and row[1] == 0,
        index_in_series=row[10],
        expected_instances=row[11],
        parent=row[12],
        has_more_children=row[13] is not None,
        # Sorting here costs nothing where the index gave the order; in SQL it would build a table.
        children=sorted(row[14].split(",")) if row[14] else [],
        labels=sorted(row[15].split(",")) if row[15] else [],
        indexes_in_series=[int(text) for text in row[16].split(",")] if row[16] else [],
        attachment_uuid=row[17],
        file_size=row[18],
        modified_from=row[19],
        anonymized_from=row[20],
    )


def _add_lists(tx: Transaction, rows: list[ResourceRow], parts: Part) -> list[ResourceRow]:
    """Add the parts of which a resource has several."""
    # As numbers: operators of flags cost more than the rest of a short reading.
    if not parts.value & _LISTS:
        return rows
    keys = {"internal_ids": [row.internal_id for row in rows]}
    metadata: dict[int, dict[int, str]] = defaultdict(dict)
    if Part.METADATA in parts:
        for internal_id, code, value in tx.rows("list_written_metadata", keys):
            metadata[internal_id][code] = value
    attachments: dict[int, list[AttachmentRow]] = defaultdict(list)
    if Part.ATTACHMENTS in parts:
        for internal_id, *values in tx.rows("list_attachments_of", keys):
            attachments[internal_id].append(AttachmentRow(*values))
    return [
        replace(
            row,
            written_metadata=metadata[row.internal_id],
            attachments=attachments[row.internal_id],
        )
        for row in rows
    ]


def find_descendants(
    tx: Transaction, ancestor: tuple[Level, str], level: Level
) -> list[tuple[int, str]]:
    """List (internal_id, public_id) of what lies below a resource at a deeper level."""
    internal_id = lookup_row(tx, *ancestor)
    if internal_id is None:
        return []
    statement = _DESCENDANTS[level - ancestor[0]]
    return [(key, text) for key, text in tx.rows(statement, {"internal_id": internal_id})]


def find_lineage(tx: Transaction, level: Level, public_id: str) -> dict[Level, str]:
    """Map the levels at and above a resource to the identifiers; empty if it does not exist."""
    row = tx.row("list_lineage", {"level": int(level), "public_id": public_id})
    if row is None:
        return {}
    return {Level(row[i]): row[i + 2] for i in range(0, 3 * (level + 1), 3)}


def find_identifier(tx: Transaction, identifier: str) -> list[tuple[Level, str]]:
    """List the resources whose normalized DICOM identifier equals a value."""
    rows = tx.rows("lookup_identifier", {"identifier": identifier})
    return [(Level(level), public_id) for level, public_id in rows]


def measure_resource(tx: Transaction, level: Level, public_id: str) -> ResourceSize | None:
    """Add up what lies at and below a resource; ``None`` if it does not exist."""
    rows = tx.rows("resource_statistics", {"level": int(level), "public_id": public_id})
    if not rows:
        return None
    size = ResourceSize()
    for row_level, count, disk, uncompressed, dicom, dicom_uncompressed in rows:
        size.counts[Level(row_level)] = int(count)
        size.disk_size += int(disk)
        size.uncompressed_size += int(uncompressed)
        size.dicom_disk_size += int(dicom)
        size.dicom_uncompressed_size += int(dicom_uncompressed)
    return size


def has_resource(tx: Transaction, level: Level, public_id: str) -> bool:
    """Tell whether there is such a resource."""
    return tx.row("lookup_internal_id", {"level": int(level), "public_id": public_id}) is not None


def lookup_dicom_attachment(tx: Transaction, public_id: str) -> DicomAttachment | None:
    """Find the DICOM file of an instance, or ``None``."""
    row = tx.row("lookup_dicom_attachment", {"public_id": public_id})
    if row is None:
        return None
    return build_dicom_attachment(row)


def build_dicom_attachment(columns: Sequence[Any]) -> DicomAttachment:
    """Build the record of a DICOM file from the columns of ``lookup_dicom_attachment``."""
    offset = _PIXEL_DATA_OFFSET.search(columns[7])
    return DicomAttachment(
        Attachment(1, *columns[:6]), columns[6], None if offset is None else int(offset[1])
    )


def find_removals(tx: Transaction, limit: int, *, after: str = "") -> list[str]:
    """List blobs that no row refers to any more and that are still to be removed.

    Parameters
    ----------
    after
        The last name of the page before.
    """
    return [row[0] for row in tx.rows("list_removals", {"after": after, "limit": limit})]


def find_existing_attachments(tx: Transaction, attachment_uuids: Iterable[str]) -> set[str]:
    """Keep those of some blobs that a row refers to."""
    keys = {"attachment_uuids": list(attachment_uuids)}
    return {row[0] for row in tx.rows("existing_attachments", keys)}


def get_public_id(tx: Transaction, internal_id: int) -> tuple[Level, str]:
    """Name the resource of a row.

    Raises
    ------
    UnknownResourceError
        If the row was deleted meanwhile.
    """
    row = tx.row("public_id_of", {"internal_id": internal_id})
    if row is None:
        raise UnknownResourceError
    return Level(row[0]), row[1]


def read_attachments(
    tx: Transaction, *, after: tuple[int, int]
) -> list[tuple[int, int, str, int, str]]:
    """Read a page of (internal_id, content_type, attachment_uuid, stored size, stored MD5).

    Parameters
    ----------
    after
        The first two values of the last row of the page before; zeros at first.

    Returns
    -------
    list of tuple
        The page, empty at the end.
    """
    keys = {"resource_id": after[0], "content_type": after[1], "limit": _PAGE}
    return [
        (internal_id, content_type, name, size, md5)
        for internal_id, content_type, name, size, md5 in tx.rows("list_attachments_after", keys)
    ]
