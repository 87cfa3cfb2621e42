"""The DICOM files of resources, told apart from resources that have none and from none at all."""

from isocenter.dicom.levels import Level
from isocenter.errors import MissingFileError
from isocenter.index.files import find_files_below, lookup_first_file
from isocenter.index.port import Transaction
from isocenter.index.reading import has_resource
from isocenter.index.records import DicomAttachment

__all__ = ["find_kept_files", "lookup_kept_file"]


def lookup_kept_file(
    tx: Transaction, public_id: str, level: Level = Level.INSTANCE
) -> DicomAttachment | None:
    """Find the file of an instance, or of the first one below a resource.

    Returns
    -------
    DicomAttachment or None
        ``None`` if there is no such resource.

    Raises
    ------
    MissingFileError
        If the file was not kept (option ``StoreDicom``).
    """
    found = lookup_first_file(tx, level, public_id)
    if found is None and has_resource(tx, level, public_id):
        message = "the file of this instance was not kept (option StoreDicom)"
        raise MissingFileError(message)
    return found


def find_kept_files(
    tx: Transaction, level: Level, public_id: str, *, after: str = ""
) -> list[tuple[str, DicomAttachment]]:
    """List a page of the instances at and below a resource that have files.

    Parameters
    ----------
    after
        The last identifier of the page before.

    Raises
    ------
    MissingFileError
        If no instance of the resource has one.
    """
    found = find_files_below(tx, level, public_id, after=after)
    if not found and not after and has_resource(tx, level, public_id):
        message = "no file of these instances was kept (option StoreDicom)"
        raise MissingFileError(message)
    return found
