import hashlib

import pytest
from tests.support.instances import NOON, IndexCase, build_new_instance, change, store

from isocenter.dicom.levels import Level
from isocenter.errors import RevisionConflictError, UnknownResourceError
from isocenter.index.annotations import Address, Condition
from isocenter.index.change_log import find_changes
from isocenter.index.deletion import delete_resource
from isocenter.index.metadata import (
    LongValueError,
    MetadataValue,
    delete_metadata,
    find_metadata,
    find_metadata_codes,
    lookup_metadata,
    write_metadata,
)
from isocenter.index.port import Database
from isocenter.index.records import ChangeType, NewResource

SERIES = Address(Level.SERIES, "r")
STUDY = Address(Level.STUDY, "t")
ANY = Condition()
CHECKED = Condition(is_required=True)


@pytest.fixture
def stored(database: Database) -> Database:
    """Give a database with one instance, whose series has metadata of its own."""
    rows = {Level.SERIES: NewResource("R", "{}", '{"15":"0008,0060","3":"SENDER"}')}
    store(database, build_new_instance("p/t/r/i", rows=rows))
    return database


def tag_of(revision: int, value: str) -> str:
    return f"{revision}-{hashlib.md5(value.encode(), usedforsecurity=False).hexdigest()}"


def write(
    database: Database, address: Address, code: int, value: str, condition: Condition = ANY
) -> str:
    return change(
        database,
        lambda batch: write_metadata(batch, address, code, value, condition=condition, now=NOON),
    )


def delete(database: Database, address: Address, code: int, condition: Condition = ANY) -> None:
    change(
        database,
        lambda batch: delete_metadata(batch, address, code, condition=condition, now=NOON),
    )


def lookup(database: Database, address: Address, code: int) -> MetadataValue | None:
    return database.read(lambda tx: lookup_metadata(tx, address, code))


def list_updates(database: Database) -> list[tuple[ChangeType, str]]:
    found = database.read(lambda tx: find_changes(tx, since=4, until=None, limit=100))
    return [(entry.change_type, entry.public_id) for entry in found]


def test_find_metadata_joins_those_of_storing_with_later_ones(stored: Database) -> None:
    write(stored, SERIES, 65535, "last")
    write(stored, SERIES, 1024, "first")

    found = stored.read(lambda tx: find_metadata(tx, SERIES))

    expected = {3: "SENDER", 7: "20231114T221320", 15: "0008,0060", 1024: "first", 65535: "last"}
    assert list(found.items()) == list(expected.items())
    assert stored.read(lambda tx: find_metadata_codes(tx, SERIES)) == list(expected)


def test_find_metadata_of_instance_has_no_last_update(stored: Database) -> None:
    address = Address(Level.INSTANCE, "i")

    assert stored.read(lambda tx: find_metadata(tx, address)) == {}
    assert lookup(stored, address, 7) is None


@pytest.mark.parametrize(
    ("code", "value"), [(3, "SENDER"), (7, "20231114T221320"), (15, "0008,0060")]
)
def test_lookup_metadata_of_storing_has_revision_0(stored: Database, code: int, value: str) -> None:
    assert lookup(stored, SERIES, code) == MetadataValue(value, 0)


@pytest.mark.parametrize("code", [-1, 0, 1, 1024, 65536, 2**31 - 1])
def test_lookup_metadata_not_set_is_nothing(stored: Database, code: int) -> None:
    assert lookup(stored, SERIES, code) is None


@pytest.mark.parametrize(
    "value", ["", "value", "Ωμέγα 🩻", "<script>'\"&", "a\r\n\tb", "x" * 70_000]
)
def test_write_metadata_can_be_read_as_it_was_written(stored: Database, value: str) -> None:
    tag = write(stored, SERIES, 1024, value)

    found = lookup(stored, SERIES, 1024)
    assert found == MetadataValue(value, 0)
    assert found.tag == tag == tag_of(0, value)


def test_write_metadata_again_raises_the_revision(stored: Database) -> None:
    tags = [write(stored, SERIES, 1024, value) for value in ("a", "b", "b")]

    assert tags == [tag_of(0, "a"), tag_of(1, "b"), tag_of(2, "b")]
    assert lookup(stored, SERIES, 1024) == MetadataValue("b", 2)


def test_write_metadata_belongs_to_one_resource(stored: Database) -> None:
    write(stored, SERIES, 1024, "series")
    write(stored, STUDY, 1024, "study")

    assert lookup(stored, SERIES, 1024) == MetadataValue("series", 0)
    assert lookup(stored, STUDY, 1024) == MetadataValue("study", 0)
    assert lookup(stored, Address(Level.PATIENT, "p"), 1024) is None


def test_write_and_delete_metadata_are_logged(stored: Database) -> None:
    write(stored, SERIES, 1024, "a")
    write(stored, STUDY, 1024, "a")
    delete(stored, SERIES, 1024)

    assert list_updates(stored) == [
        (ChangeType.UPDATED_METADATA, "r"),
        (ChangeType.UPDATED_METADATA, "t"),
        (ChangeType.UPDATED_METADATA, "r"),
    ]


def test_delete_metadata_starts_the_revisions_anew(stored: Database) -> None:
    write(stored, SERIES, 1024, "a")
    write(stored, SERIES, 1024, "b")

    delete(stored, SERIES, 1024)

    assert lookup(stored, SERIES, 1024) is None
    assert write(stored, SERIES, 1024, "c") == tag_of(0, "c")


def test_delete_metadata_not_set_is_unknown(stored: Database) -> None:
    with pytest.raises(UnknownResourceError):
        delete(stored, SERIES, 1024)

    assert list_updates(stored) == []


def test_write_metadata_with_present_tag_succeeds(stored: Database) -> None:
    first = write(stored, SERIES, 1024, "a", CHECKED)

    second = write(stored, SERIES, 1024, "b", Condition(first, is_required=True))
    delete(stored, SERIES, 1024, Condition(second))

    assert lookup(stored, SERIES, 1024) is None


@pytest.mark.parametrize(
    "condition",
    [
        CHECKED,
        Condition(tag_of(0, "a")),
        Condition(tag_of(1, "a")),
        Condition(tag_of(0, "b")),
        Condition(tag_of(2, "b"), is_required=True),
        Condition("1-"),
    ],
)
def test_change_of_metadata_with_other_tag_conflicts(
    stored: Database, condition: Condition
) -> None:
    write(stored, SERIES, 1024, "a")
    write(stored, SERIES, 1024, "b")

    with pytest.raises(RevisionConflictError):
        write(stored, SERIES, 1024, "c", condition)
    with pytest.raises(RevisionConflictError):
        delete(stored, SERIES, 1024, condition)

    assert lookup(stored, SERIES, 1024) == MetadataValue("b", 1)
    assert len(list_updates(stored)) == 2


def test_write_new_metadata_ignores_the_tag(stored: Database) -> None:
    assert write(stored, SERIES, 1024, "a", Condition(tag_of(3, "x"))) == tag_of(0, "a")


def test_delete_metadata_without_required_tag_conflicts_even_if_not_set(stored: Database) -> None:
    with pytest.raises(RevisionConflictError):
        delete(stored, SERIES, 1024, CHECKED)


@pytest.mark.parametrize(
    "address",
    [Address(Level.SERIES, "x"), Address(Level.STUDY, "r"), Address(Level.SERIES, "r\0")],
)
def test_metadata_of_unknown_resource_are_unknown(stored: Database, address: Address) -> None:
    with pytest.raises(UnknownResourceError):
        stored.read(lambda tx: find_metadata(tx, address))
    with pytest.raises(UnknownResourceError):
        stored.read(lambda tx: find_metadata_codes(tx, address))
    with pytest.raises(UnknownResourceError):
        lookup(stored, address, 1024)
    with pytest.raises(UnknownResourceError):
        write(stored, address, 1024, "a")
    with pytest.raises(UnknownResourceError):
        delete(stored, address, 1024)


def test_read_long_metadata_in_a_hurry_is_refused(stored: Database) -> None:
    write(stored, SERIES, 1024, "é" * 500)

    with pytest.raises(LongValueError):
        stored.read(lambda tx: lookup_metadata(tx, SERIES, 1024, longest=999))
    assert stored.read(lambda tx: lookup_metadata(tx, SERIES, 1024, longest=1000)) is not None
    with pytest.raises(LongValueError):
        stored.read(lambda tx: find_metadata(tx, SERIES, longest=1000))
    with pytest.raises(LongValueError):
        stored.read(lambda tx: find_metadata_codes(tx, SERIES, longest=1000))
    assert len(stored.read(lambda tx: find_metadata(tx, SERIES, longest=1200))) == 4


def test_delete_resource_takes_its_metadata_along(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i"), build_new_instance("p/t/r2/i2"))
    write(index.database, SERIES, 1024, "a")
    write(index.database, STUDY, 1024, "a")

    index.database.write(lambda tx: delete_resource(tx, Level.SERIES, "r", deleted_at=NOON))

    index.assert_consistent()
    assert len(index.sql("SELECT * FROM metadata")) == 1
