"""Builders of instances as the index receives them, and a look at all that it holds."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from isocenter.dicom.levels import Level
from isocenter.errors import ServerError
from isocenter.index.annotations import run_changes
from isocenter.index.batch import Batch
from isocenter.index.port import Database, Parameters, Transaction
from isocenter.index.reading import get_statistics
from isocenter.index.records import (
    Attachment,
    NewInstance,
    NewResource,
    Overwrite,
    Statistics,
    StoreResult,
)
from isocenter.index.writing import store_instances

__all__ = [
    "NOON",
    "CountingTransaction",
    "IndexCase",
    "build_new_instance",
    "change",
    "store",
]

T = TypeVar("T")

NOON = 1_700_000_000
"""An arbitrary time, seconds since 1970."""


def build_new_instance(
    path: str,
    *,
    size: int = 1000,
    md5: str = "",
    overwrite: Overwrite = Overwrite.NEVER,
    stored_at: int = NOON,
    rows: Mapping[Level, NewResource] | None = None,
) -> NewInstance:
    """Build an instance with one attachment.

    Parameters
    ----------
    path
        Public identifiers from the patient down, for example ``p/t/r/i``.
    rows
        The rows of some levels; the others hold their level and public identifier.
    """
    patient, study, series, instance = path.split("/")
    public_ids = (patient, study, series, instance)

    def describe(level: Level) -> NewResource:
        given = (rows or {}).get(level)
        return given or NewResource(
            identifier=public_ids[level].upper(),
            main_tags=f'{{"Name":"{public_ids[level]}"}}',
            metadata="{}",
            patient_tags='{"PatientID":"p"}' if level is Level.STUDY else None,
        )

    attachment = Attachment(1, str(uuid.uuid4()), 1, size // 2, size, f"packed-{md5}", md5)
    return NewInstance(public_ids, describe, (attachment,), overwrite, stored_at)


def store(database: Database, *instances: NewInstance) -> list[StoreResult]:
    """Store instances in one transaction."""
    return database.write(lambda tx: store_instances(tx, instances))


def change(database: Database, function: Callable[[Batch], T]) -> T:
    """Make one change of annotations in a transaction of its own, or raise why it was not made."""
    [result] = database.write(lambda tx: run_changes(tx, [function]))
    if isinstance(result, ServerError):
        raise result
    return result


class CountingTransaction:
    """A transaction that counts its statements."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.count = 0

    def rows(self, statement: str, parameters: Parameters = {}) -> list[tuple[Any, ...]]:  # noqa: B006
        self.count += 1
        return self._tx.rows(statement, parameters)

    def row(self, statement: str, parameters: Parameters = {}) -> tuple[Any, ...] | None:  # noqa: B006
        self.count += 1
        return self._tx.row(statement, parameters)

    def run(self, statement: str, parameters: Parameters = {}) -> None:  # noqa: B006
        self.count += 1
        self._tx.run(statement, parameters)

    def run_many(self, statement: str, parameter_sets: Iterable[Parameters]) -> None:
        self.count += 1
        self._tx.run_many(statement, parameter_sets)


_RECOUNT = """
SELECT (SELECT COUNT(*) FROM resources WHERE level = 0),
       (SELECT COUNT(*) FROM resources WHERE level = 1),
       (SELECT COUNT(*) FROM resources WHERE level = 2),
       (SELECT COUNT(*) FROM resources WHERE level = 3),
       (SELECT COALESCE(SUM(compressed_size), 0) FROM attachments),
       (SELECT COALESCE(SUM(uncompressed_size), 0) FROM attachments),
       (SELECT last_change FROM archive)
"""
_CHILDLESS = """
SELECT p.public_id FROM resources p WHERE p.level < 3
AND NOT EXISTS (SELECT 1 FROM resources c WHERE c.parent_id = p.internal_id)
"""
_MISPLACED = """
SELECT c.public_id FROM resources c LEFT JOIN resources p ON p.internal_id = c.parent_id
WHERE (c.level = 0) <> (c.parent_id IS NULL) OR p.level <> c.level - 1
"""
_BARE = """
SELECT r.public_id FROM resources r WHERE r.level = 3
AND NOT EXISTS (SELECT 1 FROM attachments a WHERE a.resource_id = r.internal_id)
"""
_TORN = "SELECT attachment_uuid FROM attachments WHERE attachment_uuid IN (SELECT * FROM removals)"


@dataclass(frozen=True, slots=True)
class IndexCase:
    """A database under test.

    Attributes
    ----------
    open
        Opens the same tables once more; the caller closes it.
    sql
        Runs a statement beside the code under test and fetches its rows.
    """

    name: str
    database: Database
    open: Callable[[], Database]
    sql: Callable[[str], list[tuple[Any, ...]]]

    def assert_consistent(self) -> None:
        """Check the counters against the rows, and that nothing lacks its parent or child."""
        counters = self.database.read(get_statistics)
        assert counters == Statistics(*(int(number) for number in self.sql(_RECOUNT)[0]))
        for query in (_CHILDLESS, _MISPLACED, _BARE, _TORN):
            assert self.sql(query) == []
