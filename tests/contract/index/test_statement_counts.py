"""The number of statements does not grow with the number of rows."""

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tests.support.instances import (
    NOON,
    CountingTransaction,
    build_new_instance,
    change,
    store,
)

from isocenter.dicom.levels import Level
from isocenter.index.annotations import Address, Condition, run_changes
from isocenter.index.attachments import find_content_types, lookup_attachment, write_attachment
from isocenter.index.batch import Batch
from isocenter.index.change_log import find_changes
from isocenter.index.deletion import delete_resource, delete_resources, forget_removals
from isocenter.index.labels import add_label, find_all_labels, find_labels, has_label
from isocenter.index.metadata import (
    find_metadata,
    find_metadata_codes,
    lookup_metadata,
    write_metadata,
)
from isocenter.index.port import Database, Transaction
from isocenter.index.reading import (
    find_descendants,
    find_existing_attachments,
    find_identifier,
    get_statistics,
    list_public_ids,
    lookup_resource,
    lookup_resources,
    measure_resource,
    read_page,
)
from isocenter.index.records import Attachment, NewResource, Overwrite
from isocenter.index.writing import settle, store_instances

STUDY = Address(Level.STUDY, "t")
ANY = Condition()


def count_written(database: Database, change: Callable[[Transaction], Any]) -> int:
    def run(tx: Transaction) -> int:
        counting = CountingTransaction(tx)
        change(counting)
        return counting.count

    return database.write(run)


def count_read(database: Database, query: Callable[[Transaction], Any]) -> int:
    def run(tx: Transaction) -> int:
        counting = CountingTransaction(tx)
        query(counting)
        return counting.count

    return database.read(run)


def test_store_group_of_any_size_uses_as_many_statements(database: Database) -> None:
    def store_group(size: int, patient: str) -> int:
        rows = {Level.STUDY: NewResource("T", "{}", "{}", search=((1, "a"), (2, "b")))}
        group = [
            build_new_instance(f"{patient}/t{patient}{n}/r{patient}{n}/i{patient}{n}", rows=rows)
            for n in range(size)
        ]
        return count_written(database, lambda tx: store_instances(tx, group))

    assert store_group(1, "a") == store_group(64, "b") <= 9


def test_store_existing_parents_uses_as_many_statements(database: Database) -> None:
    store(database, build_new_instance("p/t/r/i"))

    def store_group(size: int, name: str, stored_at: int) -> int:
        group = [build_new_instance(f"p/t/r/{name}{n}", stored_at=stored_at) for n in range(size)]
        return count_written(database, lambda tx: store_instances(tx, group))

    assert store_group(1, "a", NOON + 1) == store_group(64, "b", NOON + 2) <= 8


def test_store_refused_group_uses_as_many_statements(database: Database) -> None:
    group = [build_new_instance(f"p/t/r/i{n}", overwrite=Overwrite.NEVER) for n in range(64)]
    store(database, *group)

    few = count_written(database, lambda tx: store_instances(tx, group[:1]))
    many = count_written(database, lambda tx: store_instances(tx, group))

    assert few == many <= 4


def test_store_expected_instances_uses_as_many_statements(database: Database) -> None:
    def store_group(size: int, series: str) -> int:
        rows = {Level.SERIES: NewResource("R", "{}", "{}", expected_instances=1000)}
        group = [build_new_instance(f"p/t/{series}/{series}{n}", rows=rows) for n in range(size)]
        return count_written(database, lambda tx: store_instances(tx, group))

    store(database, build_new_instance("p/t/r/i"))

    assert store_group(1, "a") == store_group(64, "b") <= 9


def test_delete_any_size_uses_as_many_statements(database: Database) -> None:
    store(database, *(build_new_instance(f"p/t/r{n}/i{n}") for n in range(64)))
    store(database, build_new_instance("p/t2/r/i"))

    def delete(level: Level, public_id: str) -> int:
        return count_written(
            database, lambda tx: delete_resource(tx, level, public_id, deleted_at=NOON)
        )

    assert delete(Level.SERIES, "r7") == delete(Level.STUDY, "t") <= 9


def test_delete_many_uses_as_many_statements(database: Database) -> None:
    for patient in "pq":
        paths = [f"{patient}/t{n % 5}{patient}/r{n}{patient}/i{n}{patient}" for n in range(60)]
        store(database, *(build_new_instance(path) for path in paths))

    def delete(*named: str) -> int:
        resources = [(None, public_id) for public_id in named]
        return count_written(
            database,
            lambda tx: delete_resources(tx, resources, deleted_at=NOON, logs_deletions=True),
        )

    few = delete("i0p", "r1p")
    assert delete(*(f"i{n}q" for n in range(50)), "r51q") == few <= 12


def test_settle_any_number_uses_as_many_statements(database: Database) -> None:
    store(database, *(build_new_instance(f"p{n}/t{n}/r{n}/i{n}") for n in range(40)))

    def settle_some(limit: int) -> int:
        return count_written(database, lambda tx: settle(tx, before=NOON, now=NOON, limit=limit))

    assert settle_some(1) == settle_some(100) <= 6


@pytest.mark.parametrize(
    "query",
    [
        lambda tx, n: read_page(tx, Level.STUDY, since=0, limit=n),
        lambda tx, n: list_public_ids(tx, Level.STUDY, limit=n),
        lambda tx, n: lookup_resources(tx, list(range(1, n))),
        lambda tx, n: find_changes(tx, since=0, until=None, limit=n),
        lambda tx, n: find_existing_attachments(tx, ["x"] * n),
        lambda tx, n: lookup_resource(tx, Level.PATIENT, "p"),
        lambda tx, n: measure_resource(tx, Level.PATIENT, "p"),
        lambda tx, n: find_identifier(tx, "P"),
        lambda tx, n: get_statistics(tx),
    ],
)
def test_read_any_size_uses_one_statement(
    database: Database, query: Callable[[Transaction, int], Any]
) -> None:
    store(database, *(build_new_instance(f"p/t{n}/r{n}/i{n}") for n in range(100)))

    assert count_read(database, lambda tx: query(tx, 1)) == 1
    assert count_read(database, lambda tx: query(tx, 100)) == 1


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (lambda tx: find_metadata(tx, STUDY), 2),
        (lambda tx: find_metadata_codes(tx, STUDY), 2),
        (lambda tx: lookup_metadata(tx, STUDY, 1024), 1),
        (lambda tx: find_content_types(tx, STUDY), 1),
        (lambda tx: lookup_attachment(tx, STUDY, 1024), 1),
        (lambda tx: find_labels(tx, STUDY), 1),
        (lambda tx: has_label(tx, STUDY, "l1"), 1),
        (find_all_labels, 1),
    ],
)
def test_read_annotations_any_number_uses_as_many_statements(
    database: Database, query: Callable[[Transaction], Any], expected: int
) -> None:
    store(database, build_new_instance("p/t/r/i"))
    for count in (1, 20):
        for n in range(count):
            blob = Attachment(1024 + n, str(uuid.uuid4()), 0, 1, 1, "", "")
            for function in (
                partial(write_metadata, code=1024 + n, value="v", condition=ANY, now=NOON),
                partial(write_attachment, attachment=blob, condition=ANY, now=NOON),
                partial(add_label, label=f"l{n}"),
            ):
                change(database, lambda batch, f=function: f(batch, address=STUDY))  # type: ignore[misc]
        assert count_read(database, query) == expected


def test_write_annotation_uses_few_statements(database: Database) -> None:
    store(database, build_new_instance("p/t/r/i"))
    blob = Attachment(1024, str(uuid.uuid4()), 0, 1, 1, "", "")
    changes: list[Callable[[Batch], Any]] = [
        lambda batch: write_metadata(batch, STUDY, 1024, "v", condition=ANY, now=NOON),
        lambda batch: write_attachment(batch, STUDY, blob, condition=ANY, now=NOON),
        lambda batch: add_label(batch, STUDY, "label"),
    ]

    for function in changes:
        assert count_written(database, lambda tx, f=function: run_changes(tx, [f])) <= 5  # type: ignore[misc]
    # The lock, the log and the counters are shared.
    assert count_written(database, lambda tx: run_changes(tx, changes[:1] * 30)) <= 3 + 2 * 30


def test_find_descendants_any_depth_uses_two_statements(database: Database) -> None:
    store(database, *(build_new_instance(f"p/t/r{n}/i{n}") for n in range(100)))

    for level in (Level.STUDY, Level.SERIES, Level.INSTANCE):
        query = count_read(
            database,
            lambda tx, level=level: find_descendants(tx, (Level.PATIENT, "p"), level),  # type: ignore[misc]
        )
        assert query == 2


def test_forget_removals_any_number_uses_one_statement(database: Database) -> None:
    assert count_written(database, lambda tx: forget_removals(tx, ["x"] * 500)) == 1
