from typing import Any

import pytest
from tests.support.instances import NOON, IndexCase, build_new_instance, store

from isocenter.dicom.levels import Level
from isocenter.index.change_log import find_changes, forget_changes
from isocenter.index.port import Database
from isocenter.index.reading import get_statistics, lookup_resource
from isocenter.index.records import Change, ChangeType, Overwrite
from isocenter.index.writing import settle


def find(database: Database, **keywords: Any) -> list[int]:
    query = {"since": 0, "until": None, "limit": 100, **keywords}
    return [change.seq for change in database.read(lambda tx: find_changes(tx, **query))]


def settle_at(database: Database, before: int, limit: int = 100) -> list[Change]:
    return database.write(lambda tx: settle(tx, before=before, now=NOON + 60, limit=limit))


@pytest.fixture
def logged(database: Database) -> Database:
    """Log ten changes: 1 instance, 2 series, 3 study, 4 patient, 5 to 10 instances."""
    store(database, *(build_new_instance(f"p/t/r/i{n}") for n in range(7)))
    return database


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"limit": 3}, [1, 2, 3]),
        ({"limit": 0}, []),
        ({"since": 8}, [9, 10]),
        ({"since": 10}, []),
        ({"since": 2**62}, []),
        ({"until": 2}, [1, 2]),
        ({"since": 2, "until": 4}, [3, 4]),
        ({"since": 4, "until": 2}, []),
        ({"is_backwards": True, "limit": 1}, [10]),
        ({"is_backwards": True, "until": 5, "limit": 2}, [5, 4]),
        ({"types": [ChangeType.NEW_STUDY, ChangeType.NEW_PATIENT]}, [3, 4]),
        ({"types": [ChangeType.NEW_INSTANCE], "since": 1, "limit": 2}, [5, 6]),
        ({"types": [ChangeType.NEW_INSTANCE], "until": 6, "is_backwards": True}, [6, 5, 1]),
        ({"types": [ChangeType.STABLE_STUDY]}, []),
    ],
)
def test_find_changes_query_selects(
    logged: Database, query: dict[str, Any], expected: list[int]
) -> None:
    assert find(logged, **query) == expected


def test_find_changes_entry_names_its_resource(database: Database) -> None:
    store(database, build_new_instance("p/t/r/i", stored_at=NOON + 3))

    changes = database.read(lambda tx: find_changes(tx, since=2, until=3, limit=1))

    assert changes == [Change(3, ChangeType.NEW_STUDY, Level.STUDY, "t", NOON + 3)]


def test_forget_changes_numbering_goes_on(logged: Database) -> None:
    logged.write(forget_changes)

    assert find(logged) == []
    assert logged.read(get_statistics).last_change == 10
    store(logged, build_new_instance("p/t/r/new"))
    assert find(logged) == [11]


def test_settle_quiet_resources_become_stable(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i", stored_at=NOON))

    changes = settle_at(index.database, NOON)

    assert {(change.change_type, change.public_id) for change in changes} == {
        (ChangeType.STABLE_PATIENT, "p"),
        (ChangeType.STABLE_STUDY, "t"),
        (ChangeType.STABLE_SERIES, "r"),
    }
    assert [change.seq for change in changes] == [5, 6, 7]
    logged = index.database.read(lambda tx: find_changes(tx, since=4, until=None, limit=9))
    assert logged == changes
    for level, public_id in ((Level.PATIENT, "p"), (Level.STUDY, "t"), (Level.SERIES, "r")):
        row = index.database.read(lambda tx, at=(level, public_id): lookup_resource(tx, *at))  # type: ignore[misc]
        assert row is not None
        assert (row.is_stable, row.last_update) == (True, NOON)
    index.assert_consistent()


def test_settle_twice_logs_once(database: Database) -> None:
    store(database, build_new_instance("p/t/r/i", stored_at=NOON))
    settle_at(database, NOON)

    assert settle_at(database, NOON + 100) == []


def test_settle_recent_resources_wait(database: Database) -> None:
    store(database, build_new_instance("p/t/r/i", stored_at=NOON))

    assert settle_at(database, NOON - 1) == []


def test_settle_new_instance_restarts_the_countdown(database: Database) -> None:
    store(database, build_new_instance("p/t/r/i", stored_at=NOON))
    store(database, build_new_instance("p/t/r2/i2", stored_at=NOON + 10))

    first = settle_at(database, NOON)
    second = settle_at(database, NOON + 10)

    assert [change.public_id for change in first] == ["r"]
    assert {change.public_id for change in second} == {"p", "t", "r2"}


def test_settle_unstable_again_logs_again(database: Database) -> None:
    store(database, build_new_instance("p/t/r/i", stored_at=NOON))
    settle_at(database, NOON)
    store(database, build_new_instance("p/t/r/i2", stored_at=NOON + 10))

    again = settle_at(database, NOON + 10)

    assert {change.public_id for change in again} == {"p", "t", "r"}


def test_settle_limit_takes_the_oldest_first(database: Database) -> None:
    for at in range(4):
        store(database, build_new_instance(f"p{at}/t{at}/r{at}/i{at}", stored_at=NOON + at))

    pages = [settle_at(database, NOON + 9, limit=5) for _ in range(4)]

    assert [len(page) for page in pages] == [5, 5, 2, 0]
    assert {change.public_id[1:] for change in pages[0]} == {"0", "1"}


def test_settle_instances_are_never_unstable(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i"))

    assert index.sql("SELECT level FROM resources WHERE is_stable = 1") == [(3,)]


def test_settle_replaced_instance_restarts_the_countdown(database: Database) -> None:
    store(database, build_new_instance("p/t/r/i", stored_at=NOON))
    settle_at(database, NOON)

    store(
        database,
        build_new_instance("p/t/r/i", stored_at=NOON + 10, overwrite=Overwrite.ALWAYS),
    )

    assert settle_at(database, NOON + 9) == []
    assert {change.public_id for change in settle_at(database, NOON + 10)} == {"p", "t", "r"}
    assert settle_at(database, NOON + 100) == []
