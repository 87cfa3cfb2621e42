"""The log of changes, as clients follow it."""

from collections.abc import Sequence
from dataclasses import dataclass

from isocenter.archive.workers import Workers
from isocenter.index.change_log import find_changes, forget_changes
from isocenter.index.port import Transaction
from isocenter.index.reading import get_statistics
from isocenter.index.records import Change, ChangeType

__all__ = ["ChangeLog", "ChangePage"]

# A page up to this size, of an unfiltered log, is read on the event loop.
_SHORT_PAGE = 200


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Some changes in the order of their numbers.

    Attributes
    ----------
    is_done
        True if nothing follows for the same filter.
    last
        The number to go on from.
    """

    changes: list[Change]
    is_done: bool
    last: int


class ChangeLog:
    """Reads and empties the log of changes.

    Parameters
    ----------
    has_deletions
        Show what was deleted, too (option ``Isocenter.LogDeletions``).

    References
    ----------
    Orthanc REST: GET /changes (behaviour manual §10.1, quirk 23)
    """

    def __init__(self, workers: Workers, *, has_deletions: bool = False) -> None:
        self._workers = workers
        self._has_deletions = has_deletions

    async def find(
        self,
        *,
        since: int | None,
        until: int | None,
        limit: int,
        types: Sequence[ChangeType] = (),
    ) -> ChangePage:
        """Read a page of the log.

        Parameters
        ----------
        since
            Number to start after. Without it but with ``until`` the page is the last one that ends
            there.
        until
            Last number of interest, inclusive.
        limit
            The most changes to read; with 0 the page is empty and not done.
        types
            Types of interest; empty means all.
        """
        is_backwards = since is None and until is not None

        def query(tx: Transaction) -> ChangePage:
            changes = find_changes(
                tx,
                since=since or 0,
                until=until,
                limit=limit + 1,
                types=types,
                is_backwards=is_backwards,
                has_deletions=self._has_deletions,
            )
            is_done = len(changes) <= limit
            del changes[limit:]
            if is_backwards:
                changes.reverse()
            last = changes[-1].seq if changes else get_statistics(tx).last_change
            return ChangePage(changes, is_done, last)

        if types or limit > _SHORT_PAGE:
            return await self._workers.read_long(query)
        return await self._workers.read(query)

    async def find_last(self) -> ChangePage:
        """Read the newest change alone."""

        def query(tx: Transaction) -> ChangePage:
            changes = find_changes(
                tx,
                since=0,
                until=None,
                limit=1,
                is_backwards=True,
                has_deletions=self._has_deletions,
            )
            last = changes[0].seq if changes else get_statistics(tx).last_change
            return ChangePage(changes, is_done=True, last=last)

        return await self._workers.read(query)

    async def clear(self) -> None:
        """Empty the log; numbering goes on."""
        await self._workers.write(forget_changes)
