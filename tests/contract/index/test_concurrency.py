"""Many threads on one database, and two servers on one PostgreSQL schema."""

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TypeVar

import pytest
from tests.support.instances import NOON, IndexCase, build_new_instance, change, store
from tests.support.server import DEADLINE_S

from isocenter.dicom.levels import Level
from isocenter.errors import RevisionConflictError, ServerError
from isocenter.index.annotations import Address, Condition
from isocenter.index.attachments import lookup_attachment, write_attachment
from isocenter.index.change_log import find_changes
from isocenter.index.deletion import delete_resource
from isocenter.index.group_commit import GroupCommit
from isocenter.index.job_outputs import (
    Output,
    OutputLimits,
    Part,
    add_output,
    add_part,
    evict_outputs,
)
from isocenter.index.jobs import DatabaseJobs
from isocenter.index.metadata import lookup_metadata, write_metadata
from isocenter.index.port import Database, Transaction
from isocenter.index.postgresql import PostgreSQLDatabase
from isocenter.index.reading import (
    find_removals,
    get_statistics,
    list_internal_ids,
    list_public_ids,
    lookup_resources,
)
from isocenter.index.records import Attachment, NewInstance, NewResource, Overwrite
from isocenter.jobs.records import NewJob

T = TypeVar("T")

THREADS = 16


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool


@pytest.fixture
def servers(postgresql: IndexCase) -> Iterator[list[Database]]:
    """Give two servers' databases on one schema."""
    with closing(postgresql.open()) as second:
        yield [postgresql.database, second]


def list_numbers(database: Database) -> list[int]:
    changes = database.read(lambda tx: find_changes(tx, since=0, until=None, limit=100_000))
    return [change.seq for change in changes]


def run_all(threads: ThreadPoolExecutor, calls: Sequence[Callable[[], T]]) -> list[T]:
    return [future.result() for future in [threads.submit(call) for call in calls]]


def test_group_commit_same_study_many_threads_stores_all(
    index: IndexCase, threads: ThreadPoolExecutor
) -> None:
    commit = GroupCommit(index.database)
    instances = [build_new_instance(f"p/t/r{n % 3}/i{n:03}") for n in range(150)]

    results = list(threads.map(commit.store, instances))

    assert all(result.is_stored for result in results)
    assert index.database.read(get_statistics).instances == 150
    assert list_numbers(index.database) == list(range(1, 156))
    index.assert_consistent()


def test_group_commit_different_studies_many_threads_stores_all(
    index: IndexCase, threads: ThreadPoolExecutor
) -> None:
    commit = GroupCommit(index.database)
    instances = [build_new_instance(f"p{n % 5}/t{n}/r{n}/i{n}") for n in range(100)]

    results = list(threads.map(commit.store, instances))

    assert all(result.is_stored for result in results)
    assert list_numbers(index.database) == list(range(1, 306))
    index.assert_consistent()


def test_group_commit_same_instance_many_threads_has_one_winner(
    index: IndexCase, threads: ThreadPoolExecutor
) -> None:
    commit = GroupCommit(index.database)
    instances = [build_new_instance("p/t/r/i") for _ in range(64)]

    results = list(threads.map(commit.store, instances))

    winners = [i for i, result in zip(instances, results, strict=True) if result.is_stored]
    assert len(winners) == 1
    [row] = index.database.read(
        lambda tx: lookup_resources(tx, list_internal_ids(tx, Level.INSTANCE))
    )
    assert row.attachment_uuid == winners[0].attachments[0].attachment_uuid
    index.assert_consistent()


def test_group_commit_poisoned_instances_fail_alone(
    index: IndexCase, threads: ThreadPoolExecutor
) -> None:
    def poison(level: Level) -> NewResource:
        # No database takes this as text.
        return NewResource(identifier=None, main_tags="{}", metadata="{}")  # type: ignore[arg-type]

    commit = GroupCommit(index.database)
    good = [build_new_instance(f"p/t/r/i{n}") for n in range(60)]
    bad = [
        NewInstance(("p", "t", "r", f"x{n}"), poison, good[n].attachments, Overwrite.NEVER, NOON)
        for n in range(4)
    ]

    def store_one(instance: NewInstance) -> bool:
        try:
            return commit.store(instance).is_stored
        except ServerError:
            return False

    results = list(threads.map(store_one, good[:30] + bad + good[30:]))

    assert results == [True] * 30 + [False] * 4 + [True] * 30
    listed = index.database.read(lambda tx: list_public_ids(tx, Level.INSTANCE))
    assert len(listed) == 60
    index.assert_consistent()


def test_store_and_delete_many_threads_stay_consistent(
    index: IndexCase, threads: ThreadPoolExecutor
) -> None:
    commit = GroupCommit(index.database)

    def delete(name: str) -> None:
        index.database.write(lambda tx: delete_resource(tx, Level.INSTANCE, name, deleted_at=NOON))

    def store_and_delete(thread: int) -> None:
        for n in range(10):
            commit.store(build_new_instance(f"p/t{n % 2}/r{n % 2}/i{n}", stored_at=NOON + n))
            delete(f"i{(n + thread) % 10}")

    list(threads.map(store_and_delete, range(8)))

    index.assert_consistent()


def test_read_beside_writers_is_a_snapshot(index: IndexCase, threads: ThreadPoolExecutor) -> None:
    def write() -> None:
        for n in range(50):
            store(index.database, build_new_instance(f"p{n}/t{n}/r{n}/i{n}"))

    writing = threads.submit(write)
    while not writing.done():
        statistics, patients = index.database.read(
            lambda tx: (get_statistics(tx), list_public_ids(tx, Level.PATIENT))
        )
        assert statistics.patients == statistics.instances == len(patients)
        assert statistics.last_change == 4 * len(patients)
    writing.result()


def test_two_servers_same_study_lose_nothing(
    postgresql: IndexCase, servers: list[Database], threads: ThreadPoolExecutor
) -> None:
    commits = [GroupCommit(database) for database in servers]

    def store_in(server: int, number: int) -> bool:
        instance = build_new_instance(f"p/t/r{number % 3}/i{number}")
        return commits[server].store(instance).is_stored

    results = run_all(threads, [partial(store_in, s, n) for n in range(100) for s in (0, 1)])

    # Every instance came to both servers, and one of them won.
    assert all(results[at] != results[at + 1] for at in range(0, 200, 2))
    assert postgresql.database.read(get_statistics).instances == 100
    assert list_numbers(postgresql.database) == list(range(1, 106))
    postgresql.assert_consistent()


def test_two_servers_store_and_delete_stay_consistent(
    postgresql: IndexCase, servers: list[Database], threads: ThreadPoolExecutor
) -> None:
    commits = [GroupCommit(database) for database in servers]

    def store_and_delete(thread: int) -> None:
        server = thread % 2
        for n in range(8):
            path = f"p/t{n % 3}/r{n % 3}/i{n}"
            overwrite = Overwrite.ALWAYS if n % 2 else Overwrite.NEVER
            commits[server].store(build_new_instance(path, overwrite=overwrite))
            servers[server].write(
                lambda tx, n=n: delete_resource(  # type: ignore[misc]
                    tx, Level.STUDY, f"t{(n + thread) % 3}", deleted_at=NOON
                )
            )

    list(threads.map(store_and_delete, range(8)))

    numbers = list_numbers(postgresql.database)
    assert numbers == sorted(set(numbers))
    postgresql.assert_consistent()


def test_two_servers_change_numbers_appear_in_order(
    servers: list[Database], threads: ThreadPoolExecutor
) -> None:
    """A client that follows the log never misses a change that was committed late."""

    def write(server: int) -> None:
        for n in range(40):
            store(
                servers[server], build_new_instance(f"p{server}/t{server}/r{server}/{server}-{n}")
            )

    writing = [threads.submit(write, server) for server in (0, 1)]
    seen: list[int] = []
    while True:
        is_last = all(future.done() for future in writing)
        since = seen[-1] if seen else 0
        page = servers[0].read(
            lambda tx: find_changes(tx, since=since, until=None, limit=7)  # noqa: B023
        )
        seen += [change.seq for change in page]
        if is_last and not page:
            break

    assert seen == list(range(1, 87))


def test_two_servers_start_at_once_migrate_once(
    postgresql_uri: str, postgresql_schema: str, threads: ThreadPoolExecutor
) -> None:
    opened = run_all(
        threads,
        [lambda: PostgreSQLDatabase(postgresql_uri, schema=postgresql_schema, attempts=1)] * 4,
    )

    try:
        store(opened[0], build_new_instance("p/t/r/i"))
        assert all(database.read(get_statistics).instances == 1 for database in opened)
    finally:
        for database in opened:
            database.close()


def test_write_metadata_many_threads_with_one_tag_has_one_winner(
    index: IndexCase, threads: ThreadPoolExecutor
) -> None:
    store(index.database, build_new_instance("p/t/r/i"))
    address = Address(Level.STUDY, "t")

    def write(value: str, tag: str | None) -> str | None:
        condition = Condition(tag, is_required=True)
        try:
            return change(
                index.database,
                lambda batch: write_metadata(
                    batch, address, 1024, value, condition=condition, now=NOON
                ),
            )
        except RevisionConflictError:
            return None

    for revision in range(5):
        found = index.database.read(lambda tx: lookup_metadata(tx, address, 1024))
        tag = None if found is None else found.tag
        written = run_all(threads, [partial(write, f"{revision}-{n}", tag) for n in range(THREADS)])

        [winner] = [tag for tag in written if tag is not None]
        present = index.database.read(lambda tx: lookup_metadata(tx, address, 1024))
        assert present is not None
        assert (present.tag, present.revision) == (winner, revision)
    index.assert_consistent()


def test_write_attachment_many_threads_keeps_one_blob_and_right_counters(
    index: IndexCase, threads: ThreadPoolExecutor
) -> None:
    store(index.database, build_new_instance("p/t/r/i"))
    address = Address(Level.STUDY, "t")

    def write(number: int) -> str:
        attachment = Attachment(1024, str(uuid.uuid4()), 0, number, number, "", "")
        change(
            index.database,
            lambda batch: write_attachment(
                batch, address, attachment, condition=Condition(), now=NOON
            ),
        )
        return attachment.attachment_uuid

    written = run_all(threads, [partial(write, number) for number in range(1, 60)])

    found = index.database.read(lambda tx: lookup_attachment(tx, address, 1024))
    assert found is not None
    assert found.revision == 58
    removals = index.database.read(lambda tx: find_removals(tx, 100))
    assert sorted([*removals, found.attachment.attachment_uuid]) == sorted(written)
    index.assert_consistent()


def test_two_servers_free_the_same_outputs_of_jobs(
    servers: list[Database], threads: ThreadPoolExecutor
) -> None:
    """Jobs that end together evict the same outputs, which clients may be freeing just then."""
    jobs = DatabaseJobs(servers[0], history=100)
    meeting = threading.Barrier(2)
    limits = OutputLimits(0, 0, 0)

    def evict(tx: Transaction) -> int:
        meeting.wait(DEADLINE_S)
        return evict_outputs(tx, limits, now_us=10**15)

    freed = []
    for number in range(5):
        job_id = f"j{number}"
        jobs.insert(job_id, NewJob("Archive", {}))
        part = Part(str(uuid.uuid4()), 3)
        output = Output("a.zip", "application/zip", 3, number)
        servers[0].write(partial(add_part, job_id=job_id, name="a", number=0, part=part))
        servers[0].write(partial(add_output, job_id=job_id, name="a", output=output))
        freed.append(part.attachment_uuid)

        run_all(threads, [partial(server.write, evict) for server in servers])

        assert servers[0].read(lambda tx: find_removals(tx, 100)) == sorted(freed)
