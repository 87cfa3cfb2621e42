"""Deleting many resources in one transaction, and noting what was deleted."""

import pytest
from tests.support.instances import NOON, IndexCase, build_new_instance, store

from isocenter.dicom.levels import Level
from isocenter.index.change_log import find_changes, forget_changes
from isocenter.index.deletion import Named, delete_resource, delete_resources
from isocenter.index.port import Database
from isocenter.index.reading import find_removals, get_statistics, list_public_ids, lookup_resource
from isocenter.index.records import ChangeType, Deletion, Overwrite, Quota, Rules
from isocenter.index.writing import store_instances

PATHS = ("p/t1/r1/i1", "p/t1/r1/i2", "p/t1/r2/i3", "p/t2/r3/i4", "q/t3/r4/i5")
ALL = ["p", "q", "t1", "t2", "t3", "r1", "r2", "r3", "r4", "i1", "i2", "i3", "i4", "i5"]


@pytest.fixture
def filled(index: IndexCase) -> IndexCase:
    store(index.database, *(build_new_instance(path) for path in PATHS))
    return index


def delete(
    database: Database, *named: Named, deleted_at: int = NOON, logs_deletions: bool = False
) -> list[Deletion]:
    return database.write(
        lambda tx: delete_resources(tx, named, deleted_at=deleted_at, logs_deletions=logs_deletions)
    )


def list_all(database: Database) -> list[str]:
    return [
        public_id
        for level in Level
        for public_id in database.read(lambda tx, level=level: list_public_ids(tx, level))  # type: ignore[misc]
    ]


def list_changes(database: Database, **query: object) -> list[tuple[int, ChangeType, str]]:
    keywords = {"since": 0, "until": None, "limit": 1000, "has_deletions": True, **query}
    changes = database.read(lambda tx: find_changes(tx, **keywords))  # type: ignore[arg-type]
    return [(change.seq, change.change_type, change.public_id) for change in changes]


@pytest.mark.parametrize(
    ("named", "gone"),
    [
        ([], ""),
        (["x", "y"], ""),
        (["i1"], "i1"),
        (["i1", "i1", "x"], "i1"),
        (["i1", "i2"], "i1 i2 r1"),
        (["i1", "i2", "i3"], "i1 i2 i3 r1 r2 t1"),
        (["i1", "i2", "r2"], "i1 i2 i3 r1 r2 t1"),
        (["i1", "i2", "i3", "i4"], "p t1 t2 r1 r2 r3 i1 i2 i3 i4"),
        (["t1", "i4"], "p t1 t2 r1 r2 r3 i1 i2 i3 i4"),
        (["r1", "i1"], "r1 i1 i2"),
        (["p", "t1", "r1", "i1", "i4"], "p t1 t2 r1 r2 r3 i1 i2 i3 i4"),
        (["i5", "r3"], "q t3 r4 i5 t2 r3 i4"),
        (["p", "q"], " ".join(ALL)),
    ],
)
def test_delete_resources_deletes_what_is_below_and_what_is_left_empty(
    filled: IndexCase, named: list[str], gone: str
) -> None:
    delete(filled.database, *((None, public_id) for public_id in named))

    assert list_all(filled.database) == [name for name in ALL if name not in gone.split()]
    filled.assert_consistent()


def test_delete_resources_tells_what_remains_above(filled: IndexCase) -> None:
    deletions = delete(filled.database, (None, "i5"), (None, "i1"), (None, "t2"))

    assert {(d.remaining_level, d.remaining_public_id) for d in deletions} == {
        (None, None),
        (Level.SERIES, "r1"),
        (Level.PATIENT, "p"),
    }


def test_delete_resources_of_a_wrong_level_are_skipped(filled: IndexCase) -> None:
    delete(filled.database, (Level.STUDY, "p"), (Level.SERIES, "r2"), (Level.INSTANCE, "i4"))

    assert list_all(filled.database) == ["p", "q", "t1", "t3", "r1", "r4", "i1", "i2", "i5"]


def test_delete_resources_updates_all_that_remains_above(filled: IndexCase) -> None:
    delete(filled.database, (None, "i1"), (None, "r2"), deleted_at=NOON + 9)

    for level, public_id, time in (
        (Level.PATIENT, "p", NOON + 9),
        (Level.STUDY, "t1", NOON + 9),
        (Level.STUDY, "t2", NOON),
        (Level.SERIES, "r1", NOON + 9),
        (Level.PATIENT, "q", NOON),
    ):
        row = filled.database.read(lambda tx, at=(level, public_id): lookup_resource(tx, *at))  # type: ignore[misc]
        assert row is not None
        assert row.last_update == time


def test_delete_resources_notes_all_blobs(filled: IndexCase) -> None:
    delete(filled.database, (None, "t1"), (None, "i5"))

    assert len(filled.database.read(lambda tx: find_removals(tx, 100))) == 4


# Deletions in the log of changes.


def test_deletions_are_logged_from_the_bottom_if_asked(filled: IndexCase) -> None:
    last = filled.database.read(get_statistics).last_change

    delete(filled.database, (None, "r1"), (None, "r3"), logs_deletions=True)

    changes = list_changes(filled.database, since=last)
    assert [seq for seq, _, _ in changes] == list(range(last + 1, last + 7))
    assert {change_type for _, change_type, _ in changes} == {ChangeType.DELETED}
    assert [public_id for _, _, public_id in changes] == ["i1", "i2", "i4", "r1", "r3", "t2"]
    filled.assert_consistent()


def test_deletions_are_not_logged_otherwise(filled: IndexCase) -> None:
    delete(filled.database, (None, "r1"))

    assert list_changes(filled.database, types=[ChangeType.DELETED]) == []


def test_deletions_are_hidden_unless_asked_for(filled: IndexCase) -> None:
    delete(filled.database, (None, "q"), logs_deletions=True)

    for types in ([], [ChangeType.DELETED], [ChangeType.DELETED, ChangeType.NEW_PATIENT]):
        shown = list_changes(filled.database, types=types, has_deletions=False)
        assert ChangeType.DELETED not in {change_type for _, change_type, _ in shown}


def test_deletions_stand_among_the_changes_in_their_order(filled: IndexCase) -> None:
    delete(filled.database, (None, "i5"), logs_deletions=True)
    store(filled.database, build_new_instance("z/tz/rz/iz"))
    delete(filled.database, (None, "t2"), logs_deletions=True)

    everything = list_changes(filled.database)
    seqs = [seq for seq, _, _ in everything]
    assert seqs == sorted(seqs)
    assert [name for _, kind, name in everything if kind is ChangeType.DELETED] == (
        ["i5", "r4", "t3", "q", "i4", "r3", "t2"]
    )
    for limit in range(1, len(everything) + 1):
        assert list_changes(filled.database, limit=limit) == everything[:limit]
        backwards = list_changes(filled.database, limit=limit, is_backwards=True)
        assert backwards == everything[::-1][:limit]


def test_changes_of_several_types_are_merged_in_their_order(filled: IndexCase) -> None:
    delete(filled.database, (None, "i5"), logs_deletions=True)
    store(filled.database, build_new_instance("z/tz/rz/iz"))
    types = [
        *(ChangeType.NEW_PATIENT, ChangeType.DELETED, ChangeType.NEW_INSTANCE),
        *(ChangeType.NEW_SERIES, ChangeType.NEW_SERIES),
    ]
    expected = [change for change in list_changes(filled.database) if change[1] in types]

    for since in range(expected[-1][0] + 1):
        for limit in (1, 2, 3, 5, 100):
            page = list_changes(filled.database, types=types, since=since, limit=limit)
            assert page == [change for change in expected if change[0] > since][:limit]
            until = list_changes(
                filled.database, types=types, until=since, limit=limit, is_backwards=True
            )
            assert until == [change for change in expected[::-1] if change[0] <= since][:limit]


def test_forgotten_changes_take_the_deletions_along(filled: IndexCase) -> None:
    delete(filled.database, (None, "i5"), logs_deletions=True)

    filled.database.write(forget_changes)

    assert list_changes(filled.database) == []


def test_recycled_and_replaced_resources_are_logged_as_deleted(index: IndexCase) -> None:
    rules = Rules(Quota(maximum_patients=1), logs_deletions=True)

    def store_one(path: str, overwrite: Overwrite = Overwrite.NEVER) -> None:
        new = build_new_instance(path, overwrite=overwrite)
        index.database.write(lambda tx: store_instances(tx, [new], rules))

    store_one("p/t/r/i")
    store_one("p/t/r2/i2")
    store_one("p/t/r/i", Overwrite.ALWAYS)
    store_one("q/tq/rq/iq")

    deleted = [name for _, kind, name in list_changes(index.database) if kind is ChangeType.DELETED]
    assert deleted == ["i", "r", "i2", "i", "r2", "r", "t", "p"]
    index.assert_consistent()


def test_deleted_resource_that_comes_back_is_new_again(filled: IndexCase) -> None:
    def write(public_id: str) -> None:
        filled.database.write(
            lambda tx: delete_resource(
                tx, Level.PATIENT, public_id, deleted_at=NOON, logs_deletions=True
            )
        )

    write("q")
    store(filled.database, build_new_instance(PATHS[4]))

    changes = [(kind.title, name) for _, kind, name in list_changes(filled.database)[-8:]]
    assert changes == [
        *(("Deleted", name) for name in ("i5", "r4", "t3", "q")),
        ("NewInstance", "i5"),
        ("NewSeries", "r4"),
        ("NewStudy", "t3"),
        ("NewPatient", "q"),
    ]
