"""The log of changes: what became of which resource, in the order of the commits."""

from collections.abc import Iterator, Sequence
from typing import Any

from isocenter.dicom.levels import Level
from isocenter.index.port import Transaction
from isocenter.index.records import Change, ChangeType

__all__ = ["find_changes", "forget_changes"]

_LAST = 2**63 - 1
_LEVELS = tuple(Level)
_CHANGE_TYPES = {int(change_type): change_type for change_type in ChangeType}


def find_changes(  # noqa: PLR0913 - each narrows the log in its own way
    tx: Transaction,
    *,
    since: int,
    until: int | None,
    limit: int,
    types: Sequence[ChangeType] = (),
    is_backwards: bool = False,
    has_deletions: bool = False,
) -> list[Change]:
    """List changes with ``since < seq <= until``.

    One statement, or one for each type: each reads along an index and stops at the limit.

    Parameters
    ----------
    limit
        The most changes to list.
    types
        Types to list; empty means all.
    is_backwards
        List the newest first.
    has_deletions
        Whether deletions are shown, if they were logged.
    """
    end = _LAST if until is None else until
    found: list[Change] = []
    direction = "_backwards" if is_backwards else ""
    for statement, keys in _iter_sources(types, has_deletions=has_deletions):
        rows = tx.rows(
            statement + direction, {**keys, "since": since, "until": end, "limit": limit}
        )
        found.extend(_read_change(row) for row in rows)
        if rows and len(rows) == limit:
            # What lies further on cannot be among the first ones any more.
            since, end = (rows[-1][0] - 1, end) if is_backwards else (since, rows[-1][0])
    found.sort(key=lambda change: change.seq, reverse=is_backwards)
    return found[:limit]


def _iter_sources(
    types: Sequence[ChangeType], *, has_deletions: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name the statements to run, those first that read along an index of their own."""
    if not types:
        yield "list_changes", {}
    wanted = dict.fromkeys(types)
    for change_type in wanted:
        if change_type not in (ChangeType.DELETED, ChangeType.NEW_INSTANCE):
            yield "list_changes_of_type", {"change_type": int(change_type)}
    if has_deletions and (not types or ChangeType.DELETED in wanted):
        yield "list_deletions", {}
    if ChangeType.NEW_INSTANCE in wanted:
        yield "list_new_instances", {}


def _read_change(row: tuple[Any, ...]) -> Change:
    seq, change_type, level, public_id, changed_at = row
    return Change(seq, _CHANGE_TYPES[change_type], _LEVELS[level], public_id, changed_at)


def forget_changes(tx: Transaction) -> None:
    """Empty the change log; numbering goes on (Orthanc REST: DELETE /changes)."""
    tx.run("delete_changes")
    tx.run("delete_deletions")
