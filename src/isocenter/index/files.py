"""Queries for the DICOM files below resources."""

from isocenter.dicom.levels import Level
from isocenter.index.port import Transaction
from isocenter.index.reading import build_dicom_attachment, lookup_dicom_attachment
from isocenter.index.records import DicomAttachment

__all__ = ["FILES_PAGE", "find_files_below", "lookup_first_file"]

FILES_PAGE = 10_000
"""The most files that are listed at once, so that memory stays bounded."""

_FIRST = {
    Level.PATIENT: "lookup_first_file_of_patient",
    Level.STUDY: "lookup_first_file_of_study",
    Level.SERIES: "lookup_first_file_of_series",
}


def find_files_below(
    tx: Transaction, level: Level, public_id: str, *, after: str = "", limit: int = FILES_PAGE
) -> list[tuple[str, DicomAttachment]]:
    """List the instances at and below a resource, with their DICOM files: one statement.

    Parameters
    ----------
    after
        The last identifier of the page before.

    Returns
    -------
    list
        Pairs of public identifier and file, ordered by identifier; empty if there is no such
        resource.
    """
    keys = {"level": int(level), "public_id": public_id, "after": after, "limit": limit}
    return [(row[0], build_dicom_attachment(row[1:])) for row in tx.rows("list_files_below", keys)]


def lookup_first_file(tx: Transaction, level: Level, public_id: str) -> DicomAttachment | None:
    """Find the DICOM file of an instance, or of the first instance below another resource.

    One statement, and as fast whatever the number of instances. The first one is that of the first
    child at each level, in the order of identifiers.
    """
    if level is Level.INSTANCE:
        return lookup_dicom_attachment(tx, public_id)
    row = tx.row(_FIRST[level], {"public_id": public_id})
    return None if row is None else build_dicom_attachment(row[1:])
