"""Queries of the index, each with a constant number of statements."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from isocenter.dicom.levels import Level
from isocenter.errors import UnknownResourceError
from isocenter.index.port import Transaction
from isocenter.index.records import (
    Attachment,
    DicomAttachment,
    MetadataCode,
    ResourceRow,
    ResourceSize,
    Statistics,
)

__all__ = [
    "find_descendants",
    "find_existing_attachments",
    "find_identifier",
    "find_lineage",
    "find_removals",
    "get_public_id",
    "get_statistics",
    "has_resource",
    "list_public_ids",
    "lookup_dicom_attachment",
    "lookup_resource",
    "lookup_resources",
    "measure_resource",
    "read_attachments",
    "read_page",
]

_LAST = 2**63 - 1
_PAGE = 10_000
_LEVELS = tuple(Level)
# One value out of a JSON object that our own encoder wrote, without parsing the rest.
_PIXEL_DATA_OFFSET = re.compile(rf'"{int(MetadataCode.PIXEL_DATA_OFFSET)}":"(\d{{1,18}})"')
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


def lookup_resource(tx: Transaction, level: Level, public_id: str) -> ResourceRow | None:
    """Read one resource with its children and labels: one statement."""
    row = tx.row("describe_one", {"level": int(level), "public_id": public_id})
    return None if row is None else _resource(row)


def read_page(tx: Transaction, level: Level, *, since: int, limit: int | None) -> list[ResourceRow]:
    """Read a page of the resources of a level, ordered by identifier: one statement."""
    keys = {"level": int(level), "since": since, "limit": _LAST if limit is None else limit}
    return [_resource(row) for row in tx.rows("describe_page", keys)]


def lookup_resources(tx: Transaction, internal_ids: Sequence[int]) -> list[ResourceRow]:
    """Read resources by their rows' keys, ordered by identifier: one statement."""
    rows = tx.rows("describe_many", {"internal_ids": list(internal_ids)})
    return [_resource(row) for row in rows]


def _resource(row: tuple[Any, ...]) -> ResourceRow:
    return ResourceRow(
        level=_LEVELS[row[0]],
        public_id=row[1],
        main_tags=row[2],
        patient_tags=row[3],
        metadata=row[4],
        last_update=row[5],
        is_stable=row[6] == 1,
        index_in_series=row[7],
        expected_instances=row[8],
        parent=row[9],
        # Sorting here costs nothing where the index gave the order; in SQL it would build a table.
        children=sorted(row[10].split(",")) if row[10] else [],
        labels=sorted(row[11].split(",")) if row[11] else [],
        indexes_in_series=[int(text) for text in row[12].split(",")] if row[12] else [],
        attachment_uuid=row[13],
        file_size=row[14],
    )


def find_descendants(
    tx: Transaction, ancestor: tuple[Level, str], level: Level
) -> list[tuple[int, str]]:
    """List (internal_id, public_id) of what lies below a resource at a deeper level."""
    keys = {"level": int(ancestor[0]), "public_id": ancestor[1]}
    row = tx.row("lookup_internal_id", keys)
    if row is None:
        return []
    statement = _DESCENDANTS[level - ancestor[0]]
    return [(key, text) for key, text in tx.rows(statement, {"internal_id": row[0]})]


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
    offset = _PIXEL_DATA_OFFSET.search(row[7])
    return DicomAttachment(
        Attachment(1, *row[:6]), row[6], None if offset is None else int(offset[1])
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
