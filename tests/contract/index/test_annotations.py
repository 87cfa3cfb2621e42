import pytest
from tests.support.instances import NOON, IndexCase, build_new_instance, store

from isocenter.dicom.levels import Level
from isocenter.errors import BackendError, RevisionConflictError, UnknownResourceError
from isocenter.index.annotations import Address, Condition, run_changes
from isocenter.index.batch import Batch
from isocenter.index.change_log import find_changes
from isocenter.index.labels import add_label, find_labels
from isocenter.index.metadata import find_metadata, write_metadata

STUDY = Address(Level.STUDY, "t")


def write(code: int, value: str, tag: str | None = None, address: Address = STUDY):  # type: ignore[no-untyped-def]
    return lambda batch: write_metadata(
        batch, address, code, value, condition=Condition(tag), now=NOON
    )


def test_run_changes_that_fail_leave_the_others_alone(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i"))

    results = index.database.write(
        lambda tx: run_changes(
            tx,
            [
                write(1024, "a"),
                write(1025, "b", address=Address(Level.STUDY, "x")),
                write(1024, "c", "7-0"),
                lambda batch: add_label(batch, STUDY, "label"),
                write(1024, "d"),
            ],
        )
    )

    assert [type(result) for result in results] == [
        str,
        UnknownResourceError,
        RevisionConflictError,
        type(None),
        str,
    ]
    found = index.database.read(lambda tx: find_metadata(tx, STUDY))
    assert found[1024] == "d"
    assert index.database.read(lambda tx: find_labels(tx, STUDY)) == ["label"]
    changes = index.database.read(lambda tx: find_changes(tx, since=4, until=None, limit=10))
    assert [change.seq for change in changes] == [5, 6]
    index.assert_consistent()


def test_run_changes_undoes_all_if_the_database_fails(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i"))

    def fail(batch: Batch) -> None:
        batch.tx.run("insert_label", {"resource_id": 4711, "label": "orphan"})

    with pytest.raises(BackendError):
        index.database.write(lambda tx: run_changes(tx, [write(1024, "a"), fail]))

    assert 1024 not in index.database.read(lambda tx: find_metadata(tx, STUDY))
    index.assert_consistent()
