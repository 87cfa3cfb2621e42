"""Who may use an index on PostgreSQL at the same time."""

import pytest

from isocenter.errors import DatabaseUnavailableError
from isocenter.index.postgresql import PostgreSQLDatabase


def open_index(uri: str, schema: str, *, is_exclusive: bool = False) -> PostgreSQLDatabase:
    return PostgreSQLDatabase(uri, schema=schema, attempts=1, is_exclusive=is_exclusive)


def test_check_is_refused_while_a_server_runs(postgresql_uri: str, postgresql_schema: str) -> None:
    server = open_index(postgresql_uri, postgresql_schema)
    with pytest.raises(DatabaseUnavailableError, match="stop it first"):
        open_index(postgresql_uri, postgresql_schema, is_exclusive=True)
    server.close()
    check = open_index(postgresql_uri, postgresql_schema, is_exclusive=True)
    with pytest.raises(DatabaseUnavailableError, match="being checked"):
        open_index(postgresql_uri, postgresql_schema)
    check.close()


def test_servers_run_side_by_side(postgresql_uri: str, postgresql_schema: str) -> None:
    first = open_index(postgresql_uri, postgresql_schema)
    second = open_index(postgresql_uri, postgresql_schema)
    first.close()
    second.close()
