"""Rows that are to be written again after a crash (Decision 0010)."""

from collections.abc import Iterable

from isocenter.index.port import Transaction

__all__ = ["MOST_CHANGES", "find_mentioned_blobs", "skip_changes"]

MOST_CHANGES = 5
"""The most changes that storing one instance logs: four new resources, one completed series."""


def find_mentioned_blobs(tx: Transaction, attachment_uuids: Iterable[str]) -> set[str]:
    """Keep those of some blobs that a row refers to, or that are to be removed."""
    keys = {"attachment_uuids": list(attachment_uuids)}
    return {row[0] for row in tx.rows("find_mentioned_blobs", keys)}


def skip_changes(tx: Transaction, count: int) -> None:
    """Leave out numbers of the change log, in a writing transaction.

    Clients may have seen the numbers of changes that a crash took away. What is logged again gets
    numbers beyond, so that a client which goes on from the last one it saw misses nothing.
    """
    tx.row("lock_archive")
    tx.run("skip_changes", {"count": count})
