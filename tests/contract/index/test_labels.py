import pytest
from tests.support.instances import IndexCase, build_new_instance, change, store

from isocenter.dicom.levels import Level
from isocenter.errors import BadRequestError, UnknownResourceError
from isocenter.index import labels
from isocenter.index.annotations import Address
from isocenter.index.labels import (
    add_label,
    delete_label,
    find_all_labels,
    find_labels,
    has_label,
)
from isocenter.index.port import Database
from isocenter.index.reading import lookup_resource

SERIES = Address(Level.SERIES, "r")
STUDY = Address(Level.STUDY, "t")


@pytest.fixture
def stored(database: Database) -> Database:
    store(database, build_new_instance("p/t/r/i"), build_new_instance("p/t/r2/i2"))
    return database


def add(database: Database, address: Address, label: str) -> None:
    change(database, lambda batch: add_label(batch, address, label))


def remove(database: Database, address: Address, label: str) -> None:
    change(database, lambda batch: delete_label(batch, address, label))


def test_add_label_shows_it_sorted_and_once(stored: Database) -> None:
    for label in ("b", "Z", "a", "b"):
        add(stored, SERIES, label)

    assert stored.read(lambda tx: find_labels(tx, SERIES)) == ["Z", "a", "b"]
    assert stored.read(lambda tx: find_labels(tx, STUDY)) == []
    row = stored.read(lambda tx: lookup_resource(tx, Level.SERIES, "r"))
    assert row is not None
    assert row.labels == ["Z", "a", "b"]


def test_has_label_heeds_the_case(stored: Database) -> None:
    add(stored, SERIES, "Teaching")

    assert stored.read(lambda tx: has_label(tx, SERIES, "Teaching"))
    assert not stored.read(lambda tx: has_label(tx, SERIES, "teaching"))
    assert not stored.read(lambda tx: has_label(tx, STUDY, "Teaching"))


def test_delete_label_takes_it_from_one_resource(stored: Database) -> None:
    add(stored, SERIES, "a")
    add(stored, STUDY, "a")

    remove(stored, SERIES, "a")
    remove(stored, SERIES, "a")

    assert stored.read(lambda tx: find_labels(tx, SERIES)) == []
    assert stored.read(lambda tx: find_labels(tx, STUDY)) == ["a"]


def test_find_all_labels_lists_each_once(index: IndexCase) -> None:
    store(index.database, *(build_new_instance(f"p/t/r{n}/i{n}") for n in range(50)))
    assert index.database.read(find_all_labels) == []
    index.sql("INSERT INTO labels SELECT internal_id, 'common' FROM resources")
    index.sql("INSERT INTO labels SELECT internal_id, 'Other' FROM resources WHERE level = 1")
    index.sql("INSERT INTO labels SELECT internal_id, '_x-1' FROM resources WHERE level = 0")

    assert index.database.read(find_all_labels) == ["Other", "_x-1", "common"]


def test_add_label_beyond_the_limit_is_refused(
    stored: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "MOST_LABELS", 2)
    add(stored, SERIES, "a")
    add(stored, SERIES, "b")

    with pytest.raises(BadRequestError):
        add(stored, SERIES, "c")
    add(stored, SERIES, "b")

    assert stored.read(lambda tx: find_labels(tx, SERIES)) == ["a", "b"]


@pytest.mark.parametrize("address", [Address(Level.SERIES, "x"), Address(Level.STUDY, "r")])
def test_labels_of_unknown_resource_are_unknown(stored: Database, address: Address) -> None:
    with pytest.raises(UnknownResourceError):
        stored.read(lambda tx: find_labels(tx, address))
    with pytest.raises(UnknownResourceError):
        stored.read(lambda tx: has_label(tx, address, "a"))
    with pytest.raises(UnknownResourceError):
        add(stored, address, "a")
    with pytest.raises(UnknownResourceError):
        remove(stored, address, "a")
