"""The index on PostgreSQL: one database, many servers; through psycopg 3."""

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg_pool import ConnectionPool, PoolTimeout

from isocenter.errors import (
    BackendError,
    BadParameterError,
    DatabaseUnavailableError,
    DatabaseVersionError,
    DeadlineExceededError,
    FullStorageError,
    SerializationFailureError,
    ServerError,
)
from isocenter.index.port import BUILT_TIMEOUT_S, Parameters, Transaction
from isocenter.index.statements import POSTGRESQL, load_migrations, load_statements

__all__ = ["PostgreSQLDatabase", "build_connection_info"]

T = TypeVar("T")

_POOL_TIMEOUT_S = 30.0
_ATTEMPTS = 5
_MIGRATION_LOCK = 0x1500CE47E12
# Until the end of the transaction.
_SET_TIMEOUT = f"SET LOCAL statement_timeout = {BUILT_TIMEOUT_S * 1000}".encode()
# Rows that come together while a result is streamed; an old client library takes one at a time.
_STREAMED_ROWS = 1000 if psycopg.capabilities.has_stream_chunked() else 1

Connection = psycopg.Connection[tuple[Any, ...]]


class _Statements:
    """A transaction on one connection."""

    __slots__ = ("_cursor", "_texts")

    dialect = POSTGRESQL

    def __init__(self, cursor: psycopg.Cursor[tuple[Any, ...]], texts: dict[str, bytes]) -> None:
        self._cursor = cursor
        self._texts = texts

    def rows(self, statement: str, parameters: Parameters = {}) -> list[tuple[Any, ...]]:  # noqa: B006
        return self._cursor.execute(self._texts[statement], parameters).fetchall()

    def row(self, statement: str, parameters: Parameters = {}) -> tuple[Any, ...] | None:  # noqa: B006
        return self._cursor.execute(self._texts[statement], parameters).fetchone()

    def run(self, statement: str, parameters: Parameters = {}) -> None:  # noqa: B006
        self._cursor.execute(self._texts[statement], parameters)

    def iter_built(self, text: str, parameters: Parameters) -> Generator[tuple[Any, ...]]:
        # A stream is not prepared: built texts are many, and their plans must know the values.
        with self._cursor.connection.cursor() as cursor:
            cursor.execute(_SET_TIMEOUT)
            rows = cursor.stream(text.encode(), parameters, size=_STREAMED_ROWS)
            try:
                for row in rows:  # noqa: UP028 - to delegate would cancel the query when closed
                    yield row
            finally:
                # Cancelling the query would end the transaction.
                for _ in rows:
                    pass

    def run_many(self, statement: str, parameter_sets: Iterable[Parameters]) -> None:
        self._cursor.executemany(self._texts[statement], list(parameter_sets))


class PostgreSQLDatabase:
    """An index in a PostgreSQL database; implements `isocenter.index.port.Database`.

    Parameters
    ----------
    connection_info
        A libpq connection string or URI.
    schema
        The PostgreSQL schema that holds the tables; created if absent.
    connections
        The most connections kept open.
    is_durable
        Wait for the write-ahead log at each commit.
    attempts, retry_interval_s
        How often, and how long apart, to try the first connection.
    is_exclusive
        Keep all servers away from the index while it is open here.

    Raises
    ------
    DatabaseUnavailableError
        If no connection could be made, or if who else uses the index forbids it.
    DatabaseVersionError
        If the tables were written by a newer version.
    """

    reads_inline = False
    generation = 0

    def __init__(  # noqa: PLR0913 - one for each option of the configuration
        self,
        connection_info: str,
        *,
        schema: str = "public",
        connections: int = 10,
        is_durable: bool = True,
        attempts: int = 10,
        retry_interval_s: float = 5.0,
        is_exclusive: bool = False,
    ) -> None:
        self.is_exclusive = is_exclusive
        self._info = connection_info
        self._schema = schema
        self._commit_mode = "on" if is_durable else "off"
        self._texts = {name: text.encode() for name, text in load_statements(POSTGRESQL).items()}
        self._migrate_patiently(attempts, retry_interval_s)
        self._presence = self._announce()
        self._pool = ConnectionPool(
            connection_info,
            min_size=1,
            max_size=connections,
            open=True,
            timeout=_POOL_TIMEOUT_S,
            configure=self._configure,
            check=ConnectionPool.check_connection,
        )

    def _configure(self, connection: Connection) -> None:
        connection.autocommit = True
        search_path = sql.SQL("SET search_path TO {}").format(sql.Identifier(self._schema))
        connection.execute(search_path)
        # Recursive statements look costly to the planner; to compile them takes longer than to run.
        connection.execute("SET jit TO off")
        connection.execute(
            sql.SQL("SET synchronous_commit TO {}").format(sql.SQL(self._commit_mode))
        )

    def _announce(self) -> Connection:
        """Hold a lock for as long as we use the index: shared by servers, exclusive for repairs."""
        function = "pg_try_advisory_lock" + ("" if self.is_exclusive else "_shared")
        try:
            connection = psycopg.connect(self._info, autocommit=True)
            row = connection.execute(
                sql.SQL("SELECT {}(hashtextextended(%s, 0))").format(sql.Identifier(function)),
                (f"isocenter:{self._schema}",),
            ).fetchone()
        except psycopg.Error as error:
            raise _translated(error) from error
        if row is None or not row[0]:
            connection.close()
            message = (
                "a server uses the index; stop it first"
                if self.is_exclusive
                else "the index is being checked; start again when that is done"
            )
            raise DatabaseUnavailableError(message)
        return connection

    def _migrate_patiently(self, attempts: int, retry_interval_s: float) -> None:
        for attempt in range(1, attempts + 1):
            try:
                with psycopg.connect(self._info) as connection:
                    self._migrate(connection)
            except psycopg.OperationalError as error:
                if attempt == attempts:
                    reason = str(error).strip().splitlines()[-1]
                    message = f"cannot connect to PostgreSQL: {reason}"
                    raise DatabaseUnavailableError(message) from error
                time.sleep(retry_interval_s)
            except psycopg.Error as error:
                raise _translated(error) from error
            else:
                return

    def _migrate(self, connection: Connection) -> None:
        """Bring the tables to the newest version; several servers may start at once."""
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
            schema = sql.Identifier(self._schema)
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
            connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(schema))
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)"
            )
            row = connection.execute("SELECT version FROM schema_version").fetchone()
            version = row[0] if row else 0
            migrations = load_migrations(POSTGRESQL)
            if version > migrations[-1][0]:
                message = f"the database has schema {version}, written by a newer version"
                raise DatabaseVersionError(message)
            for target, script in migrations:
                if target > version:
                    connection.execute(script.encode())
            connection.execute("DELETE FROM schema_version")
            connection.execute("INSERT INTO schema_version VALUES (%s)", (migrations[-1][0],))

    def read(self, query: Callable[[Transaction], T]) -> T:
        """Run a query on a consistent snapshot, for worker threads."""
        try:
            with self._pool.connection() as connection, connection.cursor() as cursor:
                cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                try:
                    return query(_Statements(cursor, self._texts))
                finally:
                    if not connection.closed:
                        cursor.execute("ROLLBACK")
        except (psycopg.Error, PoolTimeout) as error:
            raise _translated(error) from error

    def read_inline(self, query: Callable[[Transaction], T]) -> T:
        """Not for a database behind a socket; the same as `read`."""
        return self.read(query)

    def read_briefly(self, query: Callable[[Transaction], T]) -> T:
        """Not for a database behind a socket; the same as `read`."""
        return self.read(query)

    def write(
        self,
        change: Callable[[Transaction], T],
        *,
        can_be_redone: bool = False,  # noqa: ARG002 - other servers may see it, so it is durable
    ) -> T:
        """Run a change in one transaction, again if other servers' transactions collided."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with (
                    self._pool.connection() as connection,
                    connection.transaction(),
                    connection.cursor() as cursor,
                ):
                    return change(_Statements(cursor, self._texts))
            except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected) as error:
                if attempt == _ATTEMPTS:
                    raise SerializationFailureError from error
            except (psycopg.Error, PoolTimeout) as error:
                raise _translated(error) from error
        raise SerializationFailureError

    def sync(self) -> None:
        """Nothing is left to do: every transaction was durable when `write` returned."""

    def maintain(self) -> None:
        """Nothing is due: PostgreSQL keeps itself."""

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()
        self._presence.close()


def build_connection_info(values: Mapping[str, str | int]) -> str:
    """Write a libpq connection string; special characters are quoted."""
    return psycopg.conninfo.make_conninfo("", **values)


def _translated(error: Exception) -> ServerError:
    if isinstance(error, psycopg.errors.QueryCanceled):
        return DeadlineExceededError("a query took too long")
    if isinstance(error, psycopg.errors.DiskFull):
        return FullStorageError("no room is left for the index")
    if isinstance(error, (psycopg.OperationalError, PoolTimeout)):
        return DatabaseUnavailableError("PostgreSQL does not answer")
    if type(error) is psycopg.DataError:  # Raised by the driver itself, before anything is sent.
        return BadParameterError("text with the character NUL is not known to the index")
    return BackendError(f"PostgreSQL: {type(error).__name__}")
