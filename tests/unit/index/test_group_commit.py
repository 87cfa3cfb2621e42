import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from tests.support.instances import build_new_instance

from isocenter.errors import BackendError, DatabaseUnavailableError, FullStorageError
from isocenter.index.group_commit import GroupCommit
from isocenter.index.port import Transaction
from isocenter.index.reading import get_statistics
from isocenter.index.records import StoreResult
from isocenter.index.sqlite import SQLiteDatabase

T = TypeVar("T")

STORED = StoreResult(is_stored=True)


class CountingDatabase(SQLiteDatabase):
    """Counts its transactions; holds or refuses them when told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, is_durable=False)
        self.writes = 0
        self.refusals = 0
        self.error: type[Exception] = BackendError
        self.first_has_begun = threading.Event()
        self.proceed = threading.Event()
        self.proceed.set()

    def write(self, change: Callable[[Transaction], T], *, can_be_redone: bool = False) -> T:
        self.writes += 1
        self.first_has_begun.set()
        assert self.proceed.wait(10)
        if self.refusals:
            self.refusals -= 1
            raise self.error
        return super().write(change, can_be_redone=can_be_redone)


@pytest.fixture
def database(tmp_path: Path) -> CountingDatabase:
    return CountingDatabase(tmp_path / "index")


@pytest.fixture(autouse=True)
def _close(database: CountingDatabase) -> object:
    yield
    database.close()


def test_store_lone_instance_is_one_transaction(database: CountingDatabase) -> None:
    assert GroupCommit(database).store(build_new_instance("p/t/r/i")) == STORED

    assert database.writes == 1


def test_store_many_is_one_transaction_in_order(database: CountingDatabase) -> None:
    instances = [build_new_instance(f"p/t/r/i{n % 10}") for n in range(20)]

    results = GroupCommit(database).store_many(instances)

    assert results == [STORED] * 10 + [StoreResult(is_stored=False)] * 10
    assert database.writes == 1


def test_store_many_nothing_writes_nothing(database: CountingDatabase) -> None:
    assert GroupCommit(database).store_many([]) == []

    assert database.writes == 0


def test_store_many_large_number_is_cut_into_groups(database: CountingDatabase) -> None:
    results = GroupCommit(database).store_many(
        [build_new_instance(f"p/t/r/i{n}") for n in range(130)]
    )

    assert results == [STORED] * 130
    assert database.writes == 3


def test_store_while_another_commits_shares_a_transaction(database: CountingDatabase) -> None:
    commit = GroupCommit(database)
    database.proceed.clear()
    with ThreadPoolExecutor(20) as threads:
        first = threads.submit(commit.store, build_new_instance("p/t/r/first"))
        assert database.first_has_begun.wait(10)
        others = [
            threads.submit(commit.store, build_new_instance(f"p/t/r/i{n}")) for n in range(19)
        ]
        while len(commit._queue) < 19:
            pass
        database.proceed.set()
        results = [future.result() for future in [first, *others]]

    assert results == [STORED] * 20
    assert database.writes == 2


def test_store_refused_instance_raises(database: CountingDatabase) -> None:
    database.refusals = 1

    with pytest.raises(BackendError):
        GroupCommit(database).store(build_new_instance("p/t/r/i"))

    assert GroupCommit(database).store(build_new_instance("p/t/r/i")) == STORED


def test_store_many_refused_group_is_tried_one_by_one(database: CountingDatabase) -> None:
    database.refusals = 3

    results = GroupCommit(database).store_many(
        [build_new_instance(f"p/t/r/i{n}") for n in range(5)]
    )

    assert [isinstance(result, BackendError) for result in results] == (
        [True, True, False, False, False]
    )
    assert database.read(get_statistics).instances == 3


def test_store_many_unavailable_database_is_not_tried_again(database: CountingDatabase) -> None:
    database.refusals, database.error = 1, DatabaseUnavailableError

    results = GroupCommit(database).store_many(
        [build_new_instance(f"p/t/r/i{n}") for n in range(5)]
    )

    assert all(isinstance(result, DatabaseUnavailableError) for result in results)
    assert database.writes == 1


def test_store_many_waits_for_the_blobs_before_anybody_can_see_the_rows(
    database: CountingDatabase,
) -> None:
    counts = []

    def await_blobs() -> bool:
        counts.append(database.read(get_statistics).instances)
        return True

    results = GroupCommit(database).store_many([build_new_instance("p/t/r/i")], await_blobs)

    assert (results, counts) == ([STORED], [0])
    assert database.read(get_statistics).instances == 1


@pytest.mark.parametrize("can_be_redone", [True, False])
def test_store_many_syncs_unless_all_rows_can_be_redone(
    database: CountingDatabase, monkeypatch: pytest.MonkeyPatch, can_be_redone: bool
) -> None:
    syncs = []
    monkeypatch.setattr(database, "sync", lambda: syncs.append(True))

    GroupCommit(database).store_many([build_new_instance("p/t/r/i")], lambda: can_be_redone)

    assert bool(syncs) is not can_be_redone


def test_store_many_blobs_that_are_not_written_leave_no_rows_and_harm_nobody_else(
    database: CountingDatabase,
) -> None:
    def fail() -> bool:
        raise FullStorageError

    commit = GroupCommit(database)
    database.proceed.clear()
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(commit.store, build_new_instance("p/t/r/first"))
        assert database.first_has_begun.wait(10)
        bad = threads.submit(commit.store_many, [build_new_instance("p/t/r/bad")], fail)
        good = threads.submit(commit.store, build_new_instance("p/t/r/good"))
        while len(commit._queue) < 2:
            pass
        database.proceed.set()
        assert first.result() == good.result() == STORED
        assert isinstance(bad.result()[0], FullStorageError)

    assert database.read(get_statistics).instances == 2
