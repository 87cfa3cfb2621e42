"""The databases that every test of this folder runs on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest
from psycopg import sql
from tests.support.instances import IndexCase
from tests.support.postgresql import KeptSchema

from isocenter.index.port import Database
from isocenter.index.postgresql import PostgreSQLDatabase
from isocenter.index.sqlite import SQLiteDatabase


@contextmanager
def _open_sqlite(path: Path) -> Iterator[IndexCase]:
    def execute(statement: str) -> list[tuple[Any, ...]]:
        # The same SQLite library as the code's: two of them would not see each other's locks.
        connection = apsw.Connection(str(path))
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    yield from _case("sqlite", lambda: SQLiteDatabase(path, is_durable=False), execute)


@pytest.fixture(scope="session")
def kept_schema(postgresql_uri: str) -> Iterator[KeptSchema]:
    """Give the schema that the tests of a process take in turn."""
    schema = KeptSchema(postgresql_uri)
    yield schema
    schema.drop()


@contextmanager
def _open_postgresql(uri: str, kept: KeptSchema) -> Iterator[IndexCase]:
    with kept.borrow() as schema, psycopg.connect(uri, autocommit=True) as connection:
        search_path = sql.SQL("SET search_path TO {}").format(sql.Identifier(schema))
        connection.execute(search_path)

        def execute(statement: str) -> list[tuple[Any, ...]]:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

        def connect() -> Database:
            return PostgreSQLDatabase(uri, schema=schema, is_durable=False, attempts=1)

        yield from _case("postgresql", connect, execute)


def _case(
    name: str, connect: Callable[[], Database], execute: Callable[[str], list[tuple[Any, ...]]]
) -> Iterator[IndexCase]:
    database = connect()
    try:
        yield IndexCase(name, database, connect, execute)
    finally:
        database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IndexCase]:
    """Give an empty database of each kind in turn."""
    if request.param == "sqlite":
        with _open_sqlite(tmp_path / "index") as case:
            yield case
    else:
        kept = request.getfixturevalue("kept_schema")
        with _open_postgresql(request.getfixturevalue("postgresql_uri"), kept) as case:
            yield case


@pytest.fixture
def database(index: IndexCase) -> Database:
    return index.database


@pytest.fixture
def postgresql(postgresql_uri: str, kept_schema: KeptSchema) -> Iterator[IndexCase]:
    """Give an empty PostgreSQL database, for what SQLite does not offer."""
    with _open_postgresql(postgresql_uri, kept_schema) as case:
        yield case
