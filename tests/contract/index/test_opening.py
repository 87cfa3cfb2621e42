import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.support.instances import IndexCase, build_new_instance, store

from isocenter.dicom.levels import Level
from isocenter.errors import (
    BackendError,
    BadParameterError,
    DatabaseUnavailableError,
    DatabaseVersionError,
    SerializationFailureError,
)
from isocenter.index import postgresql as postgresql_module
from isocenter.index.port import Transaction
from isocenter.index.postgresql import PostgreSQLDatabase, build_connection_info
from isocenter.index.reading import get_statistics, list_public_ids, lookup_row
from isocenter.index.sqlite import SQLiteDatabase

NOBODY_LISTENS = "host=127.0.0.1 port=9 dbname=isocenter connect_timeout=2"


def list_patients(tx: Transaction) -> list[str]:
    return list_public_ids(tx, Level.PATIENT)


def test_fresh_database_is_empty(index: IndexCase) -> None:
    statistics = index.database.read(get_statistics)

    assert (statistics.patients, statistics.instances, statistics.last_change) == (0, 0, 0)
    index.assert_consistent()


def test_reopened_database_keeps_all(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i"))
    index.database.close()

    with closing(index.open()) as again:
        assert again.read(list_patients) == ["p"]
        store(again, build_new_instance("p2/t2/r2/i2"))
    with closing(index.open()) as again:
        assert again.read(list_patients) == ["p", "p2"]


def test_inline_read_sees_what_was_written(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i"))

    assert index.database.read_inline(list_patients) == ["p"]


@pytest.mark.parametrize("call", ["read", "read_inline", "write"])
def test_closed_database_is_unavailable(index: IndexCase, call: str) -> None:
    index.database.close()

    with pytest.raises(DatabaseUnavailableError):
        getattr(index.database, call)(list_patients)


@pytest.mark.parametrize("call", ["read", "read_inline", "write"])
def test_wrong_statement_is_a_backend_error(index: IndexCase, call: str) -> None:
    index.sql("ALTER TABLE resources RENAME TO moved")

    with pytest.raises(BackendError):
        getattr(index.database, call)(list_patients)


def test_text_with_nul_is_no_failure_of_the_backend(index: IndexCase) -> None:
    with suppress(BadParameterError):
        assert index.database.read(lambda tx: lookup_row(tx, Level.STUDY, "a\0b")) is None
    assert index.database.read(list_patients) == []


def test_read_failing_query_leaves_the_database_usable(index: IndexCase) -> None:
    def fail(_: Transaction) -> None:
        message = "not the database"
        raise RuntimeError(message)

    for _ in range(20):
        with pytest.raises(RuntimeError, match="not the database"):
            index.database.read(fail)
        with pytest.raises(RuntimeError, match="not the database"):
            index.database.write(fail)

    assert index.database.read(list_patients) == []


def test_maintenance_is_harmless(index: IndexCase) -> None:
    store(index.database, build_new_instance("p/t/r/i"))

    index.database.maintain()

    assert index.database.read(list_patients) == ["p"]


def test_sqlite_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index"
    SQLiteDatabase(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 9999")

    for _ in range(2):
        with pytest.raises(DatabaseVersionError, match="9999"):
            SQLiteDatabase(path)


def test_sqlite_second_opener_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index"
    with (
        closing(SQLiteDatabase(path)),
        pytest.raises(DatabaseUnavailableError, match="another server"),
    ):
        SQLiteDatabase(path)
    SQLiteDatabase(path).close()


def test_sqlite_other_file_is_refused_and_unharmed(tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.write_bytes(b"not a database" * 1000)

    for _ in range(2):
        with pytest.raises(BackendError):
            SQLiteDatabase(path)

    assert path.read_bytes() == b"not a database" * 1000


def test_sqlite_unwritable_folder_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(DatabaseUnavailableError, match="cannot write"):
        SQLiteDatabase(tmp_path / "file" / "index")


def test_sqlite_durable_commit_reads_back(tmp_path: Path) -> None:
    with closing(SQLiteDatabase(tmp_path / "index", is_durable=True)) as database:
        store(database, build_new_instance("p/t/r/i"))

        assert database.read(list_patients) == ["p"]


def test_postgresql_newer_schema_is_refused(postgresql: IndexCase) -> None:
    postgresql.sql("UPDATE schema_version SET version = 9999")

    with pytest.raises(DatabaseVersionError, match="9999"):
        postgresql.open()


def test_postgresql_nobody_listens_is_unavailable() -> None:
    with pytest.raises(DatabaseUnavailableError, match="cannot connect"):
        PostgreSQLDatabase(NOBODY_LISTENS, attempts=2, retry_interval_s=0)


def test_postgresql_killed_connection_is_unavailable_once(postgresql: IndexCase) -> None:
    killed = "SELECT pg_terminate_backend({})"

    def kill_oneself(tx: Any) -> None:
        [(pid,)] = tx._cursor.execute("SELECT pg_backend_pid()").fetchall()
        postgresql.sql(killed.format(pid))
        list_patients(tx)

    with pytest.raises(DatabaseUnavailableError):
        postgresql.database.read(kill_oneself)
    with pytest.raises(DatabaseUnavailableError):
        postgresql.database.write(kill_oneself)

    assert postgresql.database.read(list_patients) == []


def test_postgresql_stopped_is_unavailable_until_it_is_back(
    postgresql_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_module, "_POOL_TIMEOUT_S", 0.3)
    name = sql.Identifier(f"stopped_{threading.get_native_id()}")
    with psycopg.connect(postgresql_uri, autocommit=True) as connection:

        def run(statement: str) -> None:
            connection.execute(sql.SQL(statement).format(name=name))

        run("CREATE DATABASE {name}")
        database = PostgreSQLDatabase(
            psycopg.conninfo.make_conninfo(postgresql_uri, dbname=name.as_string()[1:-1])
        )
        try:
            run("ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (name.as_string()[1:-1],),
            )
            with pytest.raises(DatabaseUnavailableError):
                database.read(list_patients)
            with pytest.raises(DatabaseUnavailableError):
                database.write(list_patients)

            run("ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            assert wait_for(lambda: database.read(list_patients)) == []
        finally:
            database.close()
            run("DROP DATABASE {name} WITH (FORCE)")


def wait_for(read: Callable[[], list[str]]) -> list[str]:
    """Ask again while the database is unavailable; each call waits for a connection by itself."""
    for _ in range(100):
        try:
            return read()
        except DatabaseUnavailableError:
            continue
    return read()


def test_postgresql_colliding_writes_are_repeated(postgresql: IndexCase) -> None:
    attempts = []

    def collide(tx: Transaction) -> list[str]:
        attempts.append(tx)
        if len(attempts) < 3:
            raise psycopg.errors.SerializationFailure
        return list_patients(tx)

    assert postgresql.database.write(collide) == []
    assert len(attempts) == 3


@pytest.mark.parametrize(
    "error", [psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected]
)
def test_postgresql_endless_collisions_give_up(
    postgresql: IndexCase, error: type[Exception]
) -> None:
    def collide(_: Transaction) -> None:
        raise error

    with pytest.raises(SerializationFailureError):
        postgresql.database.write(collide)


def test_postgresql_refused_schema_is_a_backend_error(
    postgresql_uri: str, postgresql_schema: str
) -> None:
    with psycopg.connect(postgresql_uri, autocommit=True) as connection:
        role = f"role_{postgresql_schema}"
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        try:
            uri = psycopg.conninfo.make_conninfo(postgresql_uri, user=role)
            with pytest.raises(BackendError, match="InsufficientPrivilege"):
                PostgreSQLDatabase(uri, schema=postgresql_schema)
        finally:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_connection_info_special_characters_are_quoted() -> None:
    values: dict[str, str | int] = {
        "host": "db",
        "port": 5433,
        "dbname": "a b",
        "password": "it's \\ =secret",
    }

    parsed = psycopg.conninfo.conninfo_to_dict(build_connection_info(values))

    assert parsed == {**values, "port": "5433"}
