"""Writing the rows again that a power failure took away, before anybody can ask for them.

References
----------
Decision 0010
"""

import logging

from isocenter.archive.ingest import Ingest
from isocenter.archive.memo import Memo
from isocenter.errors import MissingError, RequestError
from isocenter.index.port import Database
from isocenter.index.redoing import MOST_CHANGES, find_mentioned_blobs, skip_changes
from isocenter.storage.port import Storage

__all__ = ["redo_rows"]

_log = logging.getLogger(__name__)

_AT_ONCE = 16


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
