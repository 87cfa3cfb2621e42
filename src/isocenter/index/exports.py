"""The log of exports: which resource was sent to which remote modality."""

from collections.abc import Sequence
from typing import Any

import msgspec

from isocenter.dicom.levels import Level
from isocenter.index.port import Transaction
from isocenter.index.records import ExportEntry

__all__ = ["add_exports", "find_exports", "find_last_export", "forget_exports"]

# By level: the column, and the main tag whose value it keeps.
_IDENTIFIERS = (
    ("patient_id", "PatientID"),
    ("study_instance_uid", "StudyInstanceUID"),
    ("series_instance_uid", "SeriesInstanceUID"),
    ("sop_instance_uid", "SOPInstanceUID"),
)
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def add_exports(
    tx: Transaction,
    resources: Sequence[tuple[Level, str]],
    *,
    remote_modality: str,
    exported_at: int,
) -> None:
    """Log that some resources are sent; unknown ones are skipped.

    Parameters
    ----------
    resources
        In the order of their entries; one that occurs twice gets two of them.
    remote_modality
        Symbolic name of the receiver.
    exported_at
        Seconds since 1970, UTC.

    References
    ----------
    Orthanc REST: GET /exports (behaviour manual §10.2)
    """
    row = tx.row("lock_exports")
    assert row is not None, "the row of the table archive is never deleted"  # noqa: S101
    last = int(row[0])
    public_ids = list({public_id for _, public_id in resources})
    found = {
        (Level(level), str(public_id)): _read_identifiers(Level(level), documents)
        for level, public_id, *documents in tx.rows("describe_exported", {"public_ids": public_ids})
    }
    entries: list[dict[str, Any]] = []
    for level, public_id in resources:
        if (level, public_id) in found:
            last += 1
            entry = {"seq": last, "level": int(level), "public_id": public_id}
            times = {"remote_modality": remote_modality, "exported_at": exported_at}
            entries.append(entry | times | found[level, public_id])
    if entries:
        tx.run_many("insert_export", entries)
        tx.run("update_last_export", {"last_export": last})


def _read_identifiers(level: Level, documents: Sequence[str | None]) -> dict[str, str]:
    """Take the identifiers from the main tags of a resource and of its ancestors, going up."""
    identifiers = {column: "" for column, _ in _IDENTIFIERS}
    for document, (column, keyword) in zip(documents, _IDENTIFIERS[level::-1], strict=False):
        identifiers[column] = str(_decode(document or "{}").get(keyword, ""))
    return identifiers


def find_exports(tx: Transaction, *, since: int, limit: int) -> list[ExportEntry]:
    """List the entries with ``since < seq``, the oldest first."""
    rows = tx.rows("list_exports", {"since": since, "limit": limit})
    return [_read_entry(row) for row in rows]


def find_last_export(tx: Transaction) -> ExportEntry | None:
    """Read the newest entry."""
    row = tx.row("last_export")
    return None if row is None else _read_entry(row)


def _read_entry(row: tuple[Any, ...]) -> ExportEntry:
    return ExportEntry(row[0], Level(row[1]), *row[2:])


def forget_exports(tx: Transaction) -> None:
    """Empty the log; numbering goes on (Orthanc REST: DELETE /exports)."""
    tx.run("delete_exports")
