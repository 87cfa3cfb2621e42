"""The index on SQLite: one file, one server; through apsw."""

import errno
import fcntl
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec

from isocenter.errors import (
    BackendError,
    DatabaseUnavailableError,
    DatabaseVersionError,
    DeadlineExceededError,
    FullStorageError,
    ServerError,
)
from isocenter.index.port import BUILT_TIMEOUT_S, NotBriefError, Parameters, Transaction
from isocenter.index.statements import (
    INTEGER_TEXT,
    REAL_TEXT,
    SQLITE,
    load_migrations,
    load_statements,
)

__all__ = ["SQLiteDatabase"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_BUSY_TIMEOUT_MS = 5000
_STATEMENT_CACHE = 200
_WRITER_CACHE_KIB = 65536
_READER_CACHE_KIB = 16384
# Frames of the write-ahead log (4 KiB each) after which they move to the database file: at the
# next maintenance, or, should that never come, by the writer itself.
_CHECKPOINT_PAGES = 8_000
_LONGEST_LOG_PAGES = 64_000
_LOG_BYTES = 64 * 1024 * 1024
_ZEROS = bytes(1 << 20)
_READERS = 4
# How long a query may keep the event loop, and the steps of SQLite's virtual machine between two
# looks at the clock: 5 ns each, those that run a function on a text some 100 times as long.
_BRIEF_S = 0.002
_STEPS_OF_A_LOOK = 1_000
# Steps between two looks at the clock while a query runs in a thread, and whose looks these are.
_STEPS_OF_A_LONG_LOOK = 1_000_000
_TIMEOUT = "timeout"

_INTEGER = re.compile(INTEGER_TEXT.replace("$", r"\Z"))
_REAL = re.compile(REAL_TEXT.replace("$", r"\Z"))
_encode = msgspec.json.Encoder().encode


class _Statements:
    """A transaction on one connection."""

    __slots__ = ("_connection", "_execute", "_execute_many", "_texts")

    dialect = SQLITE

    def __init__(self, connection: apsw.Connection, texts: dict[str, str]) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._execute_many = connection.executemany
        self._texts = texts

    def rows(self, statement: str, parameters: Parameters = {}) -> list[tuple[Any, ...]]:  # noqa: B006
        return self._execute(self._texts[statement], _bound(parameters)).fetchall()

    def row(self, statement: str, parameters: Parameters = {}) -> tuple[Any, ...] | None:  # noqa: B006
        cursor = self._execute(self._texts[statement], _bound(parameters))
        row: tuple[Any, ...] | None = cursor.fetchone()
        cursor.close(force=True)
        return row

    def run(self, statement: str, parameters: Parameters = {}) -> None:  # noqa: B006
        self._execute(self._texts[statement], _bound(parameters))

    def iter_built(self, text: str, parameters: Parameters) -> Generator[tuple[Any, ...]]:
        end = time.monotonic() + BUILT_TIMEOUT_S
        self._connection.set_progress_handler(
            lambda: time.monotonic() > end, _STEPS_OF_A_LONG_LOOK, id=_TIMEOUT
        )
        cursor = None
        try:
            cursor = self._execute(text, _bound(parameters))
            yield from cursor
        except apsw.InterruptError as error:
            if time.monotonic() > end:
                raise DeadlineExceededError from error
            raise
        finally:
            self._connection.set_progress_handler(None, id=_TIMEOUT)
            if cursor is not None:
                cursor.close(force=True)

    def run_many(self, statement: str, parameter_sets: Iterable[Parameters]) -> None:
        self._execute_many(self._texts[statement], list(parameter_sets))


def _bound(parameters: Parameters) -> Parameters:
    """Pass lists as JSON text, which the statements unfold with ``json_each``."""
    for value in parameters.values():
        if type(value) is list:
            return {
                key: _json_list(value) if type(value) is list else value
                for key, value in parameters.items()
            }
    return parameters


def _json_list(values: list[Any]) -> str:
    return _encode(values).decode()


def _read_integer(*values: Any) -> int | float | None:
    """Take a text for a whole number as PostgreSQL's dialect does."""
    (text,) = values
    if isinstance(text, str) and _INTEGER.match(text):
        return int(text)
    number = _read_real(text)
    return None if number is None else float(int(number))


def _read_real(*values: Any) -> float | None:
    (text,) = values
    return float(text) if isinstance(text, str) and _REAL.match(text) else None


class SQLiteDatabase:
    """An index in a SQLite file; implements `isocenter.index.port.Database`.

    One connection writes, under a lock; a second one serves the event loop's short reads; a few
    more serve long reads in worker threads. The write-ahead log keeps them out of each other's way.

    Parameters
    ----------
    path
        The database file; created if absent.
    is_durable
        Sync the log at each commit, unless it can be redone. Without it a power failure may lose
        the last transactions (never the consistency of the file).

    Raises
    ------
    DatabaseUnavailableError
        If another server has the file open, or its folder cannot be written to.
    FullStorageError
        If no room is left for it.
    DatabaseVersionError
        If the file was written by a newer version, or by an Orthanc.
    """

    reads_inline = True
    is_exclusive = True

    def __init__(self, path: Path, *, is_durable: bool = True) -> None:
        self.generation = 0
        self._path = path
        self._lock_fd = _lock_file(path)
        self._write_lock = threading.Lock()
        self._checkpoint_lock = threading.Lock()
        self._log_pages = 0
        self._is_durable = is_durable
        # Transactions so far that have to become durable, and how many of them are. The second lock
        # is held by whoever syncs, so that others can write meanwhile.
        self._committed = 0
        self._synced = 0
        self._sync_lock = threading.Lock()
        self._is_broken = False
        try:
            texts = load_statements(SQLITE)
            _check_owner(path)
            self._writer = self._connect(_WRITER_CACHE_KIB)
            self._migrate()
            self._log = _open_log(path)
            self._inline = self._connect(_READER_CACHE_KIB)
            self._readers = [self._connect(_READER_CACHE_KIB) for _ in range(_READERS)]
        except (apsw.Error, OSError) as error:
            os.close(self._lock_fd)
            raise _explain_opening(error, path) from error
        except ServerError:
            os.close(self._lock_fd)
            raise
        self._texts = texts
        self._write_statements = _Statements(self._writer, texts)
        self._inline_statements = _Statements(self._inline, texts)
        self._free_readers = threading.Semaphore(_READERS)
        self._writer.set_wal_hook(self._note_log_size)

    def _connect(self, cache_kib: int) -> apsw.Connection:
        connection = apsw.Connection(str(self._path), statementcachesize=_STATEMENT_CACHE)
        connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
        connection.pragma("journal_mode", "wal")
        # The log is synced by `_sync_log`, which does it more cheaply than SQLite would.
        connection.pragma("synchronous", "NORMAL")
        connection.pragma("foreign_keys", value=True)
        connection.pragma("cache_size", -cache_kib)
        connection.pragma("temp_store", "MEMORY")
        for name, function in (("integer", _read_integer), ("real", _read_real)):
            connection.create_scalar_function(f"text_to_{name}", function, 1, deterministic=True)
        return connection

    def _migrate(self) -> None:
        version = self._writer.pragma("user_version")
        migrations = load_migrations(SQLITE)
        if version > migrations[-1][0]:
            message = f"the index has schema {version}, written by a newer version"
            raise DatabaseVersionError(message)
        for target, script in migrations:
            if target > version:
                with self._writer:
                    self._writer.execute(script)
                    self._writer.pragma("user_version", target)
        # A first transaction, so that the write-ahead log exists.
        with self._writer:
            self._writer.pragma("user_version", migrations[-1][0])

    def _note_log_size(self, _: apsw.Connection, __: str, pages: int) -> int:
        self._log_pages = pages
        self._committed += self._is_durable
        return apsw.SQLITE_OK

    def read(self, query: Callable[[Transaction], T]) -> T:
        """Run a query on a consistent snapshot, for worker threads."""
        with self._free_readers, self._borrowed_reader() as reader:
            try:
                reader.execute("BEGIN")
                try:
                    return query(_Statements(reader, self._texts))
                finally:
                    reader.execute("ROLLBACK")
            except apsw.Error as error:
                raise _translated(error) from error

    @contextmanager
    def _borrowed_reader(self) -> Iterator[apsw.Connection]:
        reader = self._readers.pop()
        try:
            yield reader
        finally:
            self._readers.append(reader)

    def read_inline(self, query: Callable[[Transaction], T]) -> T:
        """Run a short query on the event loop's thread; each statement is its own snapshot."""
        try:
            return query(self._inline_statements)
        except apsw.Error as error:
            raise _translated(error) from error

    def read_briefly(self, query: Callable[[Transaction], T]) -> T:
        """Run a query on the event loop's thread, and give it up if it proves to be long."""
        end = time.thread_time() + _BRIEF_S
        self._inline.set_progress_handler(lambda: time.thread_time() > end, _STEPS_OF_A_LOOK)
        try:
            return query(self._inline_statements)
        except apsw.InterruptError as error:
            raise NotBriefError from error
        except apsw.Error as error:
            raise _translated(error) from error
        finally:
            self._inline.set_progress_handler(None)

    def write(self, change: Callable[[Transaction], T], *, can_be_redone: bool = False) -> T:
        """Run a change in one transaction; it is durable when this returns (see `Database`)."""
        with self._write_lock:
            self._check_disk()
            try:
                result = self._transact(change)
            except apsw.Error as error:
                raise _translated(error) from error
            number = self._committed
        if not can_be_redone:
            self._sync_log(number)
        if self._log_pages >= _LONGEST_LOG_PAGES:
            self._maintain_quietly()
        return result

    def sync(self) -> None:
        """Make all transactions durable that were committed before."""
        with self._write_lock:
            self._check_disk()
            number = self._committed
        self._sync_log(number)

    def _check_disk(self) -> None:
        if self._is_broken:
            message = "the disk failed to store the index; restart when it is mended"
            raise DatabaseUnavailableError(message)

    def _maintain_quietly(self) -> None:
        """Do the housekeeping; its failure must not pass for one of a transaction that is done."""
        try:
            self.maintain()
        except ServerError:
            _log.warning("the log of the index cannot be emptied", exc_info=True)

    def _transact(self, change: Callable[[Transaction], T]) -> T:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            rows = self._writer.total_changes()
            result = change(self._write_statements)
            # What only looked whether there is something to do makes no answer untrue.
            step = self._writer.total_changes() != rows
            # Before the commit and after it: nobody takes what was read in between for the newest.
            self.generation += step
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        self.generation += step
        return result

    def _sync_log(self, number: int) -> None:
        """Make the transactions in the log durable, up to one of them at least.

        SQLite itself would sync the log with its time stamp, for which the file system writes a
        transaction of its own and, before it, the data of all new files. The log has its full
        length from the start, so syncing its data alone is enough, and several times as fast.

        Others write meanwhile. Whoever waits for his turn often finds that the sync before his own
        has taken his transaction along.
        """
        if self._synced >= number:
            return
        with self._sync_lock:
            if self._synced >= number:
                return
            self._check_disk()
            # All of these are in the log: they are counted after that.
            reached = self._committed
            try:
                os.fdatasync(self._log)
            except OSError as error:
                # The system tells of lost pages once; the next sync would succeed without them, and
                # all later transactions stand behind the gap.
                self._is_broken = True
                message = f"cannot sync the index: {error.strerror}"
                raise DatabaseUnavailableError(message) from error
            self._synced = reached

    def maintain(self) -> None:
        """Move a long log into the database file, mostly beside the writers.

        The first pass runs while others write; the second one finds little left and holds them off,
        so that the log is empty and starts again from its beginning instead of growing.
        """
        if self._log_pages < _CHECKPOINT_PAGES or not self._checkpoint_lock.acquire(blocking=False):
            return
        try:
            with self._free_readers, self._borrowed_reader() as reader:
                reader.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                with self._write_lock:
                    reader.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                    self._log_pages = 0
        except apsw.BusyError:
            # A long read holds the log; the next commit tries again.
            pass
        except apsw.Error as error:
            raise _translated(error) from error
        finally:
            self._checkpoint_lock.release()

    def close(self) -> None:
        """Close all connections; harmless if done before."""
        with self._write_lock, self._sync_lock:
            if self._log < 0:
                return
            for connection in (self._inline, *self._readers, self._writer):
                connection.close()
            os.close(self._log)
            os.close(self._lock_fd)
            self._log = -1


def _check_owner(path: Path) -> None:
    """Keep away from the index of an Orthanc, which has the same name by default."""
    if not path.exists():
        return
    tables = "SELECT 1 FROM sqlite_master WHERE name = 'GlobalProperties'"
    connection = apsw.Connection(str(path))
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        is_foreign = connection.execute(tables).fetchone() is not None
    finally:
        connection.close()
    if is_foreign:
        message = f"the index {path} is Orthanc's; set IndexDirectory to another folder"
        advice = "and take its archive over with `isocenter adopt-orthanc`"
        raise DatabaseVersionError(f"{message}, {advice}")


def _open_log(path: Path) -> int:
    """Open the write-ahead log beside SQLite and give it its full length.

    What follows the last transaction of the log is not read by SQLite, as its checksums do not fit
    (SQLite file format §4.4).
    """
    descriptor = os.open(f"{path}-wal", os.O_RDWR | os.O_CLOEXEC)
    length = os.fstat(descriptor).st_size
    for start in range(length, _LOG_BYTES, len(_ZEROS)):
        os.pwrite(descriptor, _ZEROS[: _LOG_BYTES - start], start)
    os.fsync(descriptor)
    return descriptor


def _lock_file(path: Path) -> int:
    """Keep a second server away from the same index."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        message = f"cannot write to the index folder {path.parent}: {error.strerror}"
        raise DatabaseUnavailableError(message) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        message = f"another server uses the index in {path.parent}"
        raise DatabaseUnavailableError(message) from error
    return fd


def _explain_opening(error: apsw.Error | OSError, path: Path) -> ServerError:
    """Say why an index cannot be opened, with its folder: only who starts the server reads it."""
    is_full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    if is_full or _is_full(error):
        return FullStorageError(f"no room is left for the index in {path.parent}")
    if isinstance(error, OSError):
        message = f"cannot write to the index folder {path.parent}: {error.strerror}"
        return DatabaseUnavailableError(message)
    return _translated(error)


def _is_full(error: BaseException) -> bool:
    """Tell whether SQLite found no room, be it for the index of its log in shared memory."""
    if isinstance(error, apsw.IOError):
        return getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE
    return isinstance(error, apsw.FullError)


def _translated(error: apsw.Error) -> ServerError:
    if _is_full(error):
        return FullStorageError("no room is left for the index")
    if isinstance(error, (apsw.BusyError, apsw.LockedError, apsw.ConnectionClosedError)):
        return DatabaseUnavailableError("the index is locked by another program")
    if isinstance(error, (apsw.NotADBError, apsw.CantOpenError)):
        return BackendError("the index is not a SQLite database that can be opened")
    return BackendError(f"SQLite: {type(error).__name__}")
