"""Writing the rows again that a power failure took away, before anybody can ask for them.

References
----------
Decision 0010
"""

import logging

from isocenter.archive.ingest import Ingest
from isocenter.archive.memo import Memo
from isocenter.errors import MissingError, RequestError
from isocenter.index.port import Database, Transaction
from isocenter.index.reading import find_existing_attachments
from isocenter.index.redoing import MOST_CHANGES, find_mentioned_blobs, skip_changes
from isocenter.storage.port import Storage

__all__ = ["redo_rows", "remove_revenants"]

_log = logging.getLogger(__name__)

_AT_ONCE = 16
# Blobs of which a statement tells whether they are used.
_ASKED_AT_ONCE = 1000


def redo_rows(database: Database, storage: Storage, ingest: Ingest) -> int:
    """Store the instances that are in the journal and not in the index, in their old order.

    Blocks. It may be cut off at any moment and is then done again by the next start; what is
    already there is left alone.

    Returns
    -------
    int
        How many instances came back.

    Raises
    ------
    ServerError
        If the index or the storage cannot be written; nothing is lost then.
    """
    memos = storage.list_memos()
    if not memos:
        return 0
    names = [name for name, _ in memos]
    mentioned = database.read(lambda tx: find_mentioned_blobs(tx, names))
    lost = [(name, Memo.decode(memo)) for name, memo in memos if name not in mentioned]
    if lost:
        database.write(lambda tx: skip_changes(tx, MOST_CHANGES * len(lost)))
    count = 0
    for start in range(0, len(lost), _AT_ONCE):
        for outcome in ingest.store_again(lost[start : start + _AT_ONCE]):
            if isinstance(outcome, RequestError | MissingError):
                # It was refused then as well, and nobody was told that it is stored.
                _log.warning("a file of the journal was refused", extra={"error": str(outcome)})
            elif isinstance(outcome, Exception):
                raise outcome
            else:
                count += 1
    database.sync()
    storage.forget_memos()
    if count:
        _log.warning("instances were indexed again after a crash", extra={"count": count})
    return count


def remove_revenants(database: Database, storage: Storage) -> int:
    """Remove the files that came back from the journal and that no row names; tell how many.

    What was deleted stays deleted, also if another server did it, which cannot erase it from the
    journal of the one that was killed. Blocks; rows must have been written again before.

    Raises
    ------
    ServerError
        If the index or the storage cannot be used; the next check of the archive finds them then.
    """
    restored = storage.list_restored()
    count = 0
    for start in range(0, len(restored), _ASKED_AT_ONCE):
        names = restored[start : start + _ASKED_AT_ONCE]
        for name in set(names) - database.write(lambda tx, names=names: _find_used(tx, names)):  # type: ignore[misc]
            storage.remove(name)
            count += 1
    if count:
        _log.info(
            "files of a killed server are removed, which nothing uses", extra={"count": count}
        )
    return count


def _find_used(tx: Transaction, names: list[str]) -> set[str]:
    # The database may still be at work for the killed server; its transaction has the lock then.
    tx.row("lock_archive")
    return find_existing_attachments(tx, names)
