"""Comparing the storage area with the index, and mending what differs.

Two things can differ after a crash or a loss. A file without a row is the harmless rest of an
instance that was never acknowledged, or of one that was deleted. A row without its file, or with a
file of another size or content, is damage.
"""

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from isocenter.clock import now
from isocenter.dicom.levels import Level
from isocenter.errors import MissingFileError, UnknownResourceError
from isocenter.index.annotations import Address, Condition, run_changes
from isocenter.index.attachments import delete_attachment
from isocenter.index.batch import Batch
from isocenter.index.deletion import delete_resource, forget_removals
from isocenter.index.port import Database
from isocenter.index.reading import (
    find_existing_attachments,
    find_removals,
    get_public_id,
    read_attachments,
)
from isocenter.storage.port import Storage

__all__ = ["Damage", "Report", "reconcile"]

_DICOM = 1
_AT_ONCE = 1000
_PIECE = 1024 * 1024
_MOST_LISTED = 1000
# Nobody knows whether another server on the same database is just receiving.
_TEMPORARY_AGE_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Damage:
    """A resource whose file is missing or not what was stored."""

    level: Level
    public_id: str
    reason: str


@dataclass(slots=True)
class Report:
    """What a comparison found.

    Attributes
    ----------
    checked_attachments
        Rows that were compared with their files.
    damaged
        The first thousand rows with a missing or wrong file.
    damaged_count, unreferenced_count
        How many rows are damaged; how many files no row refers to.
    is_repaired
        Whether damaged instances and attachments were deleted, and unreferenced files removed.
    """

    checked_attachments: int = 0
    damaged: list[Damage] = field(default_factory=list)
    damaged_count: int = 0
    unreferenced_count: int = 0
    is_repaired: bool = False

    @property
    def is_clean(self) -> bool:
        """True if nothing differs that was not repaired."""
        return self.is_repaired or not (self.damaged_count or self.unreferenced_count)


def reconcile(
    database: Database,
    storage: Storage,
    *,
    has_content: bool = False,
    has_repair: bool = False,
    on_progress: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Compare every stored file with its row. Blocks; the server must not run meanwhile.

    Parameters
    ----------
    has_content
        Read every file and compare its MD5 sum, not only its size.
    has_repair
        Delete damaged instances and attachments from the index and remove unreferenced files.
    on_progress
        Called after each batch.
    """
    report = Report(is_repaired=has_repair)
    storage.remove_temporary(0 if database.is_exclusive else _TEMPORARY_AGE_S)
    _finish_removals(database, storage)
    known = array("Q")
    for batch in _iter_rows(database):
        for internal_id, content_type, attachment_uuid, size, md5 in batch:
            report.checked_attachments += 1
            known.append(_abbreviate(attachment_uuid))
            reason = _find_damage(storage, attachment_uuid, size, md5 if has_content else "")
            if reason is not None:
                _note_damage(database, report, (internal_id, content_type), reason)
        on_progress(report)
    if has_repair:
        _finish_removals(database, storage)
    for unreferenced in _iter_unreferenced(database, storage, known):
        report.unreferenced_count += 1
        if has_repair:
            storage.remove(unreferenced)
    on_progress(report)
    return report


def _iter_rows(database: Database) -> Iterator[list[tuple[int, int, str, int, str]]]:
    after = (0, 0)
    while batch := database.read(partial(read_attachments, after=after)):
        yield batch
        after = batch[-1][:2]


def _find_damage(storage: Storage, attachment_uuid: str, size: int, md5: str) -> str | None:
    try:
        found = storage.size_bytes(attachment_uuid)
    except MissingFileError:
        return "the file is missing"
    if found != size:
        return f"the file has {found} bytes instead of {size}"
    if md5 and _compute_md5(storage, attachment_uuid) != md5:
        return "the content of the file has changed"
    return None


def _compute_md5(storage: Storage, attachment_uuid: str) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with storage.open_reader(attachment_uuid) as reader:
        for start in range(0, reader.size_bytes, _PIECE):
            digest.update(reader.read_at(start, min(_PIECE, reader.size_bytes - start)))
    return digest.hexdigest()


def _note_damage(
    database: Database, report: Report, attachment: tuple[int, int], reason: str
) -> None:
    """Note, and mend, that the attachment with this key and content type is damaged."""
    internal_id, content_type = attachment
    try:
        level, public_id = database.read(lambda tx: get_public_id(tx, internal_id))
    except UnknownResourceError:
        # It went with another damaged attachment of its resource.
        return
    if content_type != _DICOM:
        reason = f"attachment {content_type}: {reason}"
    report.damaged_count += 1
    if len(report.damaged) < _MOST_LISTED:
        report.damaged.append(Damage(level, public_id, reason))
    if report.is_repaired:
        _remove_damaged(database, Address(level, public_id), content_type)


def _remove_damaged(database: Database, address: Address, content_type: int) -> None:
    """Delete an instance without its file; of any other attachment only the attachment."""
    if content_type == _DICOM:
        database.write(
            lambda tx: delete_resource(tx, address.level, address.public_id, deleted_at=now())
        )
        return

    def delete(batch: Batch) -> None:
        delete_attachment(batch, address, content_type, condition=Condition(), now=now())

    database.write(lambda tx: run_changes(tx, [delete]))


def _finish_removals(database: Database, storage: Storage) -> None:
    """Remove the files of deleted instances, which a crash may have left."""
    while uuids := database.read(lambda tx: find_removals(tx, _AT_ONCE)):
        for attachment_uuid in uuids:
            storage.remove(attachment_uuid)
        database.write(lambda tx, uuids=uuids: forget_removals(tx, uuids))  # type: ignore[misc]


def _abbreviate(attachment_uuid: str) -> int:
    """Keep 64 of the 122 random bits: enough to tell files apart, in a tenth of the memory."""
    return int(attachment_uuid[:18].replace("-", ""), 16)


def _iter_unreferenced(database: Database, storage: Storage, known: "array[int]") -> Iterator[str]:
    """Iterate over the files that no row names, and that none names in the meantime either."""
    ordered = array("Q", sorted(known))

    def is_known(name: str) -> bool:
        short = _abbreviate(name)
        place = bisect_left(ordered, short)
        return place < len(ordered) and ordered[place] == short

    names = (name for name in storage.iter_uuids() if not is_known(name))
    while batch := list(islice(names, _AT_ONCE)):
        existing = database.read(
            lambda tx, batch=batch: find_existing_attachments(tx, batch)  # type: ignore[misc]
        )
        yield from (name for name in batch if name not in existing)
