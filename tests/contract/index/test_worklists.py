"""Entries of the modality worklist in the index."""

from tests.support.instances import CountingTransaction, build_new_instance, store

from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import build_index_value
from isocenter.index.port import Database
from isocenter.index.records import NewResource
from isocenter.index.worklists import (
    WorklistRow,
    count_worklists,
    delete_done_worklists,
    delete_old_worklists,
    delete_worklist,
    list_worklists,
    put_worklist,
    read_worklists,
)
from isocenter.index.writing import settle

NOON_US = 1_700_000_000_000_000
STUDY = NewResource(
    identifier=build_index_value("1.2.A"), main_tags="{}", metadata="{}", patient_tags="{}"
)


def put(database: Database, name: str, at: int = NOON_US, study: str = "") -> None:
    row = WorklistRow(name, at, name.encode())
    database.write(lambda tx: put_worklist(tx, row, study))


def test_entries_are_kept_changed_and_deleted(database: Database) -> None:
    put(database, "b")
    put(database, "a", NOON_US + 1)
    assert database.read(list_worklists) == {"a": NOON_US + 1, "b": NOON_US}
    put(database, "b", NOON_US + 2)
    assert database.read(count_worklists) == 2

    found = database.read(lambda tx: read_worklists(tx, ["b", "nothing"]))
    assert found == {"b": WorklistRow("b", NOON_US + 2, b"b")}

    assert database.write(lambda tx: delete_worklist(tx, "b"))
    assert not database.write(lambda tx: delete_worklist(tx, "b"))
    assert list(database.read(list_worklists)) == ["a"]


def test_old_entries_are_deleted_by_the_time_of_their_creation(database: Database) -> None:
    put(database, "old")
    put(database, "old", NOON_US + 100)
    put(database, "new", NOON_US + 50)
    assert database.write(lambda tx: delete_old_worklists(tx, NOON_US + 50)) == 1
    assert list(database.read(list_worklists)) == ["new"]


def test_entries_go_when_their_study_was_stored_since_and_is_stable(database: Database) -> None:
    at = NOON_US // 1_000_000
    put(database, "before", NOON_US, study="1.2.a")
    put(database, "later", NOON_US + 60_000_000, study="1.2.a")
    put(database, "other", NOON_US, study="1.2.b")
    new = build_new_instance("p/t/r/i", stored_at=at + 5, rows={Level.STUDY: STUDY})
    store(database, new)
    assert database.write(delete_done_worklists) == 0

    database.write(lambda tx: settle(tx, before=at + 10, now=at + 10, limit=10))

    assert database.write(delete_done_worklists) == 1
    assert list(database.read(list_worklists)) == ["later", "other"]


def test_number_of_statements_does_not_depend_on_the_number_of_entries(database: Database) -> None:
    for number in range(5):
        put(database, str(number))

    def read(tx: object) -> int:
        counting = CountingTransaction(tx)  # type: ignore[arg-type]
        read_worklists(counting, list_worklists(counting))
        return counting.count

    assert database.read(read) == 2
