"""What users have added moves from resources that go to those that take their place."""

from functools import partial

import pytest
from tests.support.instances import (
    NOON,
    CountingTransaction,
    IndexCase,
    build_new_instance,
    change,
    store,
)

from isocenter.dicom.levels import Level
from isocenter.errors import AnnotationConflictError
from isocenter.index.annotations import Address, Condition
from isocenter.index.attachments import find_content_types, write_attachment
from isocenter.index.carrying import carry_annotations
from isocenter.index.deletion import delete_resources, find_doomed
from isocenter.index.labels import add_label, find_labels
from isocenter.index.metadata import find_metadata, write_metadata
from isocenter.index.port import Transaction
from isocenter.index.records import Attachment

ANY = Condition()
OLD, NEW = Address(Level.SERIES, "r"), Address(Level.SERIES, "s")


def _annotate(index: IndexCase, address: Address, name: str, code: int, md5: str = "sum") -> None:
    blob = Attachment(code, f"{name}-{address.public_id}", 0, 3, 3, md5, md5)
    change(index.database, lambda batch: add_label(batch, address, name))
    change(
        index.database,
        lambda batch: write_metadata(batch, address, code, name, condition=ANY, now=NOON),
    )
    change(
        index.database,
        lambda batch: write_attachment(batch, address, blob, condition=ANY, now=NOON),
    )


@pytest.fixture
def annotated(index: IndexCase) -> IndexCase:
    store(index.database, build_new_instance("p/t/r/i"), build_new_instance("p/t/s/j"))
    _annotate(index, OLD, "old", 1024)
    _annotate(index, OLD, "both", 1025)
    _annotate(index, NEW, "both", 1025)
    return index


def test_what_the_target_lacks_moves_and_survives_the_source(annotated: IndexCase) -> None:
    def carry_and_delete(tx: Transaction) -> None:
        carry_annotations(tx, [(Level.SERIES, "r", "s")])
        delete_resources(tx, [(Level.SERIES, "r")], deleted_at=NOON)

    annotated.database.write(carry_and_delete)

    read = annotated.database.read
    assert read(lambda tx: find_labels(tx, NEW)) == ["both", "old"]
    values = read(lambda tx: find_metadata(tx, NEW))
    assert (values[1024], values[1025]) == ("old", "both")
    assert read(lambda tx: find_content_types(tx, NEW)) == [1024, 1025]
    annotated.assert_consistent()


@pytest.mark.parametrize(
    ("name", "md5"),
    [("other", "sum"), ("old", "different"), ("old", "")],
    ids=["metadata", "attachment", "no sum"],
)
def test_nothing_is_lost_if_both_have_different_values(
    annotated: IndexCase, name: str, md5: str
) -> None:
    _annotate(annotated, NEW, name, 1024, md5)
    before = annotated.database.read(lambda tx: find_metadata(tx, NEW))

    def carry(tx: Transaction) -> None:
        carry_annotations(tx, [(Level.SERIES, "r", "s")])

    with pytest.raises(AnnotationConflictError, match="series r and s"):
        annotated.database.write(carry)
    assert annotated.database.read(lambda tx: find_metadata(tx, NEW)) == before


def test_two_sources_with_different_values_cannot_become_one(annotated: IndexCase) -> None:
    store(annotated.database, build_new_instance("p/t/q/k"), build_new_instance("p/t/n/l"))
    _annotate(annotated, Address(Level.SERIES, "q"), "other", 1024)

    def carry(tx: Transaction) -> None:
        carry_annotations(tx, [(Level.SERIES, "r", "n"), (Level.SERIES, "q", "n")])

    with pytest.raises(AnnotationConflictError):
        annotated.database.write(carry)


def test_nothing_moves_to_what_does_not_exist(annotated: IndexCase) -> None:
    annotated.database.write(lambda tx: carry_annotations(tx, [(Level.SERIES, "r", "x")]))
    assert annotated.database.read(lambda tx: find_labels(tx, OLD)) == ["both", "old"]


def test_statements_do_not_depend_on_the_number(index: IndexCase) -> None:
    store(index.database, *(build_new_instance(f"p/t/r/i{n}") for n in range(6)))
    for address in (Address(Level.INSTANCE, f"i{n}") for n in range(3)):
        change(index.database, partial(add_label, address=address, label="x"))

    def count(numbers: range) -> int:
        def carry(tx: Transaction) -> int:
            counting = CountingTransaction(tx)
            pairs = [(Level.INSTANCE, f"i{n}", f"i{n + 3}") for n in numbers]
            carry_annotations(counting, pairs)
            return counting.count

        return index.database.write(carry)

    assert count(range(1)) == count(range(1, 3))


@pytest.mark.parametrize(
    ("named", "doomed"),
    [
        (["i"], {(Level.INSTANCE, "i")}),
        (["i", "j"], {(Level.INSTANCE, "i"), (Level.INSTANCE, "j"), (Level.SERIES, "r")}),
        (["k"], {(Level.INSTANCE, "k"), (Level.SERIES, "s"), (Level.STUDY, "u")}),
        (["x"], set()),
    ],
)
def test_doomed_are_named_ones_and_ancestors_without_child(
    index: IndexCase, named: list[str], doomed: set[tuple[Level, str]]
) -> None:
    paths = ("p/t/r/i", "p/t/r/j", "p/t/q/h", "p/u/s/k")
    store(index.database, *map(build_new_instance, paths))
    found = index.database.read(
        lambda tx: find_doomed(tx, [(Level.INSTANCE, name) for name in named])
    )
    assert found == doomed
