import pytest
from tests.support.instances import NOON, IndexCase, build_new_instance, store

from isocenter.dicom.levels import Level
from isocenter.index.change_log import find_changes
from isocenter.index.deletion import delete_resource, forget_removals
from isocenter.index.port import Database
from isocenter.index.reading import (
    find_existing_attachments,
    find_removals,
    get_statistics,
    list_public_ids,
    lookup_resource,
)
from isocenter.index.records import Deletion, Statistics


def delete(
    database: Database, level: Level, public_id: str, deleted_at: int = NOON
) -> Deletion | None:
    return database.write(lambda tx: delete_resource(tx, level, public_id, deleted_at=deleted_at))


def list_all(database: Database) -> dict[str, list[str]]:
    return {
        level.name: database.read(lambda tx, level=level: list_public_ids(tx, level))  # type: ignore[misc]
        for level in Level
    }


@pytest.mark.parametrize(
    ("level", "public_id", "expected", "left"),
    [
        (Level.INSTANCE, "i1", Deletion(Level.SERIES, "r1"), ["p", "t1", "t2", "r1", "r2", "r3"]),
        (Level.INSTANCE, "i3", Deletion(Level.STUDY, "t1"), ["p", "t1", "t2", "r1", "r3"]),
        (Level.INSTANCE, "i4", Deletion(Level.PATIENT, "p"), ["p", "t1", "r1", "r2"]),
        (Level.SERIES, "r1", Deletion(Level.STUDY, "t1"), ["p", "t1", "t2", "r2", "r3"]),
        (Level.SERIES, "r3", Deletion(Level.PATIENT, "p"), ["p", "t1", "r1", "r2"]),
        (Level.STUDY, "t1", Deletion(Level.PATIENT, "p"), ["p", "t2", "r3"]),
        (Level.PATIENT, "p", Deletion(None, None), []),
    ],
)
def test_delete_resource_cascades_both_ways(
    index: IndexCase, level: Level, public_id: str, expected: Deletion, left: list[str]
) -> None:
    store(
        index.database,
        build_new_instance("p/t1/r1/i1"),
        build_new_instance("p/t1/r1/i2"),
        build_new_instance("p/t1/r2/i3"),
        build_new_instance("p/t2/r3/i4"),
    )

    deletion = delete(index.database, level, public_id)

    assert deletion == expected
    found = list_all(index.database)
    assert found["PATIENT"] + found["STUDY"] + found["SERIES"] == left
    index.assert_consistent()


def test_delete_last_instance_deletes_its_ancestors(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i"))

    deletion = delete(index.database, Level.INSTANCE, "i")

    assert deletion == Deletion(None, None)
    assert index.database.read(get_statistics) == Statistics(0, 0, 0, 0, 0, 0, 4)
    index.assert_consistent()


def test_delete_one_patient_leaves_others(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i"), build_new_instance("p2/t2/r2/i2"))

    deletion = delete(index.database, Level.STUDY, "t")

    assert deletion == Deletion(None, None)
    found = list_all(index.database)
    assert found == {"PATIENT": ["p2"], "STUDY": ["t2"], "SERIES": ["r2"], "INSTANCE": ["i2"]}
    index.assert_consistent()


@pytest.mark.parametrize(("level", "public_id"), [(Level.STUDY, "x"), (Level.STUDY, "p")])
def test_delete_unknown_resource_returns_nothing(
    index: IndexCase, level: Level, public_id: str
) -> None:
    store(index.database, build_new_instance("p/t/r/i"))

    assert delete(index.database, level, public_id) is None

    assert index.database.read(get_statistics).instances == 1


def test_delete_resource_takes_its_changes_and_rows_along(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i"), build_new_instance("p/t/r2/i2"))
    index.sql("INSERT INTO labels SELECT internal_id, 'label' FROM resources")

    delete(index.database, Level.SERIES, "r2")

    changes = index.database.read(lambda tx: find_changes(tx, since=0, until=None, limit=100))
    assert [change.public_id for change in changes] == ["i", "r", "t", "p"]
    assert len(index.sql("SELECT * FROM labels")) == 4
    index.assert_consistent()


def test_delete_child_updates_remaining_ancestors(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i"), build_new_instance("p/t/r2/i2"))
    index.sql("UPDATE resources SET is_stable = 1")

    delete(index.database, Level.INSTANCE, "i", NOON + 5)

    for level, public_id, time in (
        (Level.PATIENT, "p", NOON + 5),
        (Level.STUDY, "t", NOON + 5),
        (Level.SERIES, "r2", NOON),
    ):
        row = index.database.read(lambda tx, at=(level, public_id): lookup_resource(tx, *at))  # type: ignore[misc]
        assert row is not None
        assert (row.last_update, row.is_stable) == (time, True)


def test_delete_resource_notes_all_its_blobs(index: IndexCase) -> None:
    instances = [build_new_instance(f"p/t/r{n}/i{n}") for n in range(3)]
    uuids = [instance.attachments[0].attachment_uuid for instance in instances]
    store(index.database, *instances)
    index.sql(
        "INSERT INTO attachments SELECT internal_id, 1025, 'study-blob', 0, 5, 5, '', '', 0"
        " FROM resources WHERE public_id = 't'"
    )
    index.sql("UPDATE archive SET disk_size = disk_size + 5")
    index.sql("UPDATE archive SET uncompressed_size = uncompressed_size + 5")

    delete(index.database, Level.STUDY, "t")

    removals = index.database.read(lambda tx: find_removals(tx, 100))
    assert set(removals) == {*uuids, "study-blob"}
    assert index.database.read(lambda tx: find_existing_attachments(tx, removals)) == set()
    index.assert_consistent()


def test_find_removals_limit_takes_some(database: Database) -> None:
    store(database, *(build_new_instance(f"p/t/r/i{n}") for n in range(5)))
    delete(database, Level.PATIENT, "p")

    first = database.read(lambda tx: find_removals(tx, 2))
    database.write(lambda tx: forget_removals(tx, first))
    rest = database.read(lambda tx: find_removals(tx, 10))

    assert len(first) == 2
    assert len(rest) == 3
    assert not set(first) & set(rest)


def test_store_after_deletion_creates_anew(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i"))
    delete(index.database, Level.INSTANCE, "i")

    store(index.database, build_new_instance("p/t/r/i"))

    changes = index.database.read(lambda tx: find_changes(tx, since=0, until=None, limit=100))
    assert [change.seq for change in changes] == [5, 6, 7, 8]
    index.assert_consistent()
