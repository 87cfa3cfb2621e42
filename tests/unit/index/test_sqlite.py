import errno
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from tests.support.forks import LOG_BYTES
from tests.support.instances import build_new_instance, store
from tests.support.server import wait_until

from isocenter.dicom.levels import Level
from isocenter.errors import BackendError, DatabaseUnavailableError, FullStorageError
from isocenter.index import sqlite
from isocenter.index.deletion import delete_resource
from isocenter.index.reading import get_statistics, list_public_ids
from isocenter.index.sqlite import SQLiteDatabase
from isocenter.index.writing import settle, store_instances


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SQLiteDatabase]:
    with closing(SQLiteDatabase(tmp_path / "index")) as opened:
        yield opened


def get_log(database: SQLiteDatabase) -> Path:
    return Path(f"{database._path}-wal")


def test_open_log_has_its_full_length(database: SQLiteDatabase) -> None:
    assert get_log(database).stat().st_size == LOG_BYTES


def test_write_durable_log_survives_the_process(database: SQLiteDatabase, tmp_path: Path) -> None:
    """What stands in the files at any moment after a commit is enough to open the index again."""
    for number in range(30):
        store(database, build_new_instance(f"p/t/r/i{number}"))
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("index", "index-wal"):
        shutil.copy(tmp_path / name, copy / name)

    with closing(SQLiteDatabase(copy / "index")) as again:
        assert again.read(get_statistics).instances == 30


def test_write_after_reopening_reuses_the_long_log(tmp_path: Path) -> None:
    for number in range(5):
        with closing(SQLiteDatabase(tmp_path / "index")) as database:
            store(database, build_new_instance(f"p/t/r/i{number}"))

    with closing(SQLiteDatabase(tmp_path / "index")) as database:
        assert database.read(get_statistics).instances == 5


@pytest.mark.parametrize("is_durable", [True, False])
def test_write_syncs_the_log_if_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_durable: bool
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    with closing(SQLiteDatabase(tmp_path / "index", is_durable=is_durable)) as database:
        synced.clear()
        store(database, build_new_instance("p/t/r/i"))
        database.write(lambda tx: list_public_ids(tx, Level.PATIENT))

        assert len(synced) == is_durable


def test_write_that_can_be_redone_is_synced_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    with closing(SQLiteDatabase(tmp_path / "index")) as database:
        synced.clear()
        for number in range(3):
            new = build_new_instance(f"p/t/r/i{number}")
            database.write(lambda tx, new=new: store_instances(tx, [new]), can_be_redone=True)  # type: ignore[misc]
        assert synced == []
        # Even one that changes nothing: what it saw must stay.
        database.write(lambda tx: list_public_ids(tx, Level.PATIENT))
        assert len(synced) == 1
        database.sync()
        assert len(synced) == 1


def test_sync_makes_what_can_be_redone_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    with closing(SQLiteDatabase(tmp_path / "index")) as database:
        synced.clear()
        new = build_new_instance("p/t/r/i")
        database.write(lambda tx: store_instances(tx, [new]), can_be_redone=True)
        database.sync()
        database.sync()
        assert len(synced) == 1


def test_generation_grows_with_each_change_and_with_nothing_else(
    database: SQLiteDatabase,
) -> None:
    seen = [database.generation]
    store(database, build_new_instance("p/t/r/i1"))
    seen.append(database.generation)
    database.write(lambda tx: settle(tx, before=0, now=1, limit=10))
    seen.append(database.generation)
    database.write(lambda tx: settle(tx, before=2**40, now=2**40, limit=10))
    seen.append(database.generation)
    patient = database.read(lambda tx: list_public_ids(tx, Level.PATIENT))[0]
    database.write(lambda tx: delete_resource(tx, Level.PATIENT, patient, deleted_at=1))
    seen.append(database.generation)

    assert seen[0] < seen[1] == seen[2] < seen[3] < seen[4]


def test_write_while_another_one_is_synced_shares_the_next_sync(
    database: SQLiteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk works for one, others write; one more sync is enough for all of them."""
    begun, may_end = threading.Event(), threading.Event()
    synced: list[int] = []

    def sync(_: int) -> None:
        synced.append(database.read(get_statistics).instances)
        begun.set()
        may_end.wait(10)

    monkeypatch.setattr(os, "fdatasync", sync)
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(store, database, build_new_instance("p/t/r/i0"))
        assert begun.wait(10)
        names = [f"p/t/r/i{number}" for number in range(1, 4)]
        others = [threads.submit(store, database, build_new_instance(name)) for name in names]
        wait_until(lambda: database.read(get_statistics).instances == 4, "four commits")
        assert not any(one.done() for one in [first, *others])
        may_end.set()
        for one in [first, *others]:
            one.result(10)

    # None of them has returned before a sync that began after its commit.
    assert synced == [1, 4]


def test_write_failing_sync_leaves_the_outcome_open(
    database: SQLiteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)

    with pytest.raises(DatabaseUnavailableError, match="cannot sync"):
        store(database, build_new_instance("p/t/r/i"))

    assert database.read(get_statistics).instances == 1


def test_maintain_long_log_starts_again(
    database: SQLiteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_CHECKPOINT_PAGES", 10)
    for number in range(200):
        store(database, build_new_instance(f"p/t/r/i{number}"))
        if number % 10 == 0:
            database.maintain()

    assert get_log(database).stat().st_size == LOG_BYTES
    assert database.read(get_statistics).instances == 200


def test_write_neglected_log_is_cut_by_the_writer(
    database: SQLiteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_CHECKPOINT_PAGES", 10)
    monkeypatch.setattr(sqlite, "_LONGEST_LOG_PAGES", 50)

    for number in range(200):
        store(database, build_new_instance(f"p/t/r/i{number}"))

    assert database._log_pages < 100
    assert get_log(database).stat().st_size == LOG_BYTES


def test_maintain_beside_long_read_waits_for_the_next_time(
    database: SQLiteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_CHECKPOINT_PAGES", 1)
    store(database, build_new_instance("p/t/r/i"))

    def read(tx: object) -> int:
        before = database.read_inline(get_statistics).instances
        store(database, build_new_instance("p/t/r/i2"))
        database.maintain()
        return before

    assert database.read(read) == 1
    assert database.read(get_statistics).instances == 2


def test_read_is_a_snapshot_inline_is_not(database: SQLiteDatabase) -> None:
    def read(tx: object) -> tuple[int, int]:
        first = get_statistics(tx).instances  # type: ignore[arg-type]
        store(database, build_new_instance("p/t/r/i"))
        return first, get_statistics(tx).instances  # type: ignore[arg-type]

    assert database.read(read) == (0, 0)
    assert database.read_inline(get_statistics).instances == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (apsw.FullError, FullStorageError),
        (apsw.BusyError, DatabaseUnavailableError),
        (apsw.LockedError, DatabaseUnavailableError),
        (apsw.NotADBError, BackendError),
        (apsw.CorruptError, BackendError),
        (apsw.IOError, BackendError),
    ],
)
def test_write_errors_of_sqlite_become_errors_of_the_server(
    database: SQLiteDatabase, error: type[apsw.Error], expected: type[Exception]
) -> None:
    def fail(_: object) -> None:
        raise error

    for call in (database.write, database.read, database.read_inline):
        with pytest.raises(expected):
            call(fail)

    store(database, build_new_instance("p/t/r/i"))


def test_log_that_cannot_grow_in_shared_memory_is_a_full_disk(database: SQLiteDatabase) -> None:
    def fail(_: object) -> None:
        error = apsw.IOError()
        error.extendedresult = apsw.SQLITE_IOERR_SHMSIZE  # type: ignore[attr-defined]
        raise error

    with pytest.raises(FullStorageError):
        database.write(fail)


def test_close_twice_is_harmless(tmp_path: Path) -> None:
    database = SQLiteDatabase(tmp_path / "index")

    database.close()
    database.close()


def test_write_after_a_failed_sync_is_refused_until_restart(
    database: SQLiteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def fail(_: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(DatabaseUnavailableError):
            store(database, build_new_instance("p/t/r/i1"))
    with pytest.raises(DatabaseUnavailableError, match="restart"):
        store(database, build_new_instance("p/t/r/i2"))


def test_failing_maintenance_is_no_failing_write(
    database: SQLiteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_LONGEST_LOG_PAGES", 0)

    def fail() -> None:
        raise BackendError

    monkeypatch.setattr(database, "maintain", fail)
    store(database, build_new_instance("p/t/r/i1"))
    assert database.read(get_statistics).instances == 1
