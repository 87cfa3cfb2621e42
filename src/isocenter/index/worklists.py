"""Entries of the modality worklist that clients manage."""

import base64
from collections.abc import Collection, Mapping
from typing import NamedTuple

from isocenter.dicom.main_tags import build_index_value
from isocenter.index.port import Transaction

__all__ = [
    "WorklistRow",
    "count_worklists",
    "delete_done_worklists",
    "delete_old_worklists",
    "delete_worklist",
    "list_worklists",
    "put_worklist",
    "read_worklists",
]


class WorklistRow(NamedTuple):
    """One entry; ``content`` is a DICOM file, ``updated_at`` grows whenever it changes."""

    worklist_id: str
    updated_at: int
    content: bytes


def list_worklists(tx: Transaction) -> dict[str, int]:
    """List the entries in the order of their identifiers, with the time of their last change."""
    return {str(name): int(updated_at) for name, updated_at in tx.rows("list_worklists")}


def read_worklists(tx: Transaction, worklist_ids: Collection[str]) -> dict[str, WorklistRow]:
    """Read entries; those that do not exist are left out."""
    rows = tx.rows("read_worklists", {"worklist_ids": sorted(worklist_ids)})
    return {row[0]: WorklistRow(row[0], row[1], base64.b64decode(row[2])) for row in rows}


def count_worklists(tx: Transaction) -> int:
    """Count the entries."""
    row = tx.row("count_worklists")
    return int(row[0]) if row else 0


def put_worklist(tx: Transaction, row: WorklistRow, study_instance_uid: str) -> None:
    """Create or replace an entry; the time of its creation stays."""
    values: Mapping[str, str | int] = {
        "worklist_id": row.worklist_id,
        "now": row.updated_at,
        "study_uid": build_index_value(study_instance_uid),
        "content": base64.b64encode(row.content).decode("ascii"),
    }
    tx.run("put_worklist", values)


def delete_worklist(tx: Transaction, worklist_id: str) -> bool:
    """Delete an entry; tell whether there was one."""
    return tx.row("delete_worklist", {"worklist_id": worklist_id}) is not None


def delete_old_worklists(tx: Transaction, before: int) -> int:
    """Delete the entries made before a time; tell how many."""
    return len(tx.rows("delete_old_worklists", {"before": before}))


def delete_done_worklists(tx: Transaction) -> int:
    """Delete the entries whose study was stored since and is stable; tell how many."""
    return len(tx.rows("delete_done_worklists"))
