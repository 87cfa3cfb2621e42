"""Running searches: one statement each, with what SQL cannot decide tested row by row."""

from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import MainTags
from isocenter.dicom.query import Query
from isocenter.dicom.tags import format_tag
from isocenter.index.port import Transaction
from isocenter.index.sql_builder import Search, Wanted, build_search

__all__ = [
    "Check",
    "count_resources",
    "find_public_ids",
    "find_rows",
    "has_outdated",
    "list_public_ids_of",
]

Check = Callable[[], None]
"""Called now and then while rows are tested; raises if there is no time left."""

# So many rows are tested between two looks at the clock.
_ROWS_OF_A_CHECK = 100


def find_rows(tx: Transaction, query: Query, main_tags: MainTags, *, check: Check) -> Sequence[int]:
    """Find the rows of a search in the order that is asked for: one statement.

    Criteria on what only the files hold are passed over, so ask for all rows then.

    Raises
    ------
    BadRequestError
        If the order follows a tag that the index does not hold.
    """
    search = build_search(query, main_tags, tx.dialect, Wanted.ROW)
    return array("q", _iter_found(tx, search, query, check))


def find_public_ids(
    tx: Transaction, query: Query, main_tags: MainTags, *, check: Check
) -> list[str]:
    """Find the public identifiers of a search, otherwise as `find_rows`."""
    search = build_search(query, main_tags, tx.dialect, Wanted.PUBLIC_ID)
    return list(_iter_found(tx, search, query, check))


def count_resources(tx: Transaction, query: Query, main_tags: MainTags, *, check: Check) -> int:
    """Count what a search finds, whatever its part or order: one statement."""
    search = build_search(query, main_tags, tx.dialect, Wanted.COUNT)
    with closing(tx.iter_built(search.text, search.parameters)) as rows:
        if search.is_exact:
            return int(next(rows)[0])
        return sum(1 for _ in _iter_tested(rows, search, check))


def has_outdated(tx: Transaction, level: Level, tag: int) -> bool:
    """Tell whether resources of a level were stored before a tag became one of its main tags."""
    keys = {"level": int(level), "pattern": f"%{format_tag(tag)}%"}
    return tx.row("find_outdated", keys) is not None


def list_public_ids_of(tx: Transaction, internal_ids: Sequence[int]) -> list[str]:
    """Name rows, in their order; those that are gone are left out."""
    rows = tx.rows("list_public_ids_of", {"internal_ids": list(internal_ids)})
    names = dict(rows)
    return [names[internal_id] for internal_id in internal_ids if internal_id in names]


def _iter_found(tx: Transaction, search: Search, query: Query, check: Check) -> Iterator[Any]:
    with closing(tx.iter_built(search.text, search.parameters)) as rows:
        tested = _iter_tested(rows, search, check)
        if not search.is_exact:
            stop = None if query.limit is None else query.since + query.limit
            tested = islice(tested, query.since, stop)
        for row in tested:
            yield row[0]


def _iter_tested(
    rows: Iterator[tuple[Any, ...]], search: Search, check: Check
) -> Iterator[tuple[Any, ...]]:
    """Keep the rows that fulfil what is left to be tested."""
    residuals = search.residuals
    for number, row in enumerate(rows):
        if number % _ROWS_OF_A_CHECK == 0:
            check()
        if all(residual.test(row[i]) for i, residual in enumerate(residuals, 1)):
            yield row
