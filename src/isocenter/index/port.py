"""What a database must offer: transactions over the named statements.

The port is synchronous. A short indexed read on SQLite takes 9 µs and runs on the event loop, where
a hop to a thread would cost thirty times as much; every other call runs in a worker thread, whole
operation at a time (Decision 0003).
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from isocenter.index.statements import Dialect

__all__ = ["BUILT_TIMEOUT_S", "Database", "NotBriefError", "Parameters", "Transaction"]

T = TypeVar("T")

BUILT_TIMEOUT_S = 300
"""How long a query that was built may take."""

Parameters = Mapping[str, Any]


class NotBriefError(Exception):
    """A query turned out to be too long for the event loop.

    Never an answer: whoever tried it there runs it again in a thread.
    """


class Transaction(Protocol):
    """Statements of one transaction, called by the names of ``sql/``. Not thread-safe.

    Attributes
    ----------
    dialect
        The words in which `iter_built` understands a query.
    """

    @property
    def dialect(self) -> Dialect:
        """The words of the database."""
        ...

    def rows(self, statement: str, parameters: Parameters = ...) -> list[tuple[Any, ...]]:
        """Run a query and fetch all its rows."""
        ...

    def row(self, statement: str, parameters: Parameters = ...) -> tuple[Any, ...] | None:
        """Run a query and fetch its first row, or ``None``."""
        ...

    def run(self, statement: str, parameters: Parameters = ...) -> None:
        """Run a statement that answers nothing."""
        ...

    def iter_built(self, text: str, parameters: Parameters) -> Generator[tuple[Any, ...]]:
        """Run a query that `sql_builder` wrote, and fetch its rows as they are asked for.

        The iterator must be used up or closed before the next statement.

        Raises
        ------
        DeadlineExceededError
            If the database works on it for longer than `BUILT_TIMEOUT_S`.
        """
        ...

    def run_many(self, statement: str, parameter_sets: Iterable[Parameters]) -> None:
        """Run a statement once for each set of parameters, in one round trip."""
        ...


class Database(Protocol):
    """A database of resources. Thread-safe.

    Attributes
    ----------
    reads_inline
        True if a short read may run on the event loop.
    is_exclusive
        True if no other server can use the database meanwhile.
    generation
        Grows before and after each transaction that changes a row, so what was read while it stayed
        the same is still true. Only where ``reads_inline`` is true: elsewhere other servers write
        as well.
    """

    reads_inline: bool
    is_exclusive: bool
    generation: int

    def read(self, query: Callable[[Transaction], T]) -> T:
        """Run a query on a consistent snapshot, for worker threads.

        Raises
        ------
        DatabaseUnavailableError
            If the database does not answer in time.
        """
        ...

    def read_inline(self, query: Callable[[Transaction], T]) -> T:
        """Run a short query on the calling thread, which is the event loop's.

        Only where ``reads_inline`` is true.
        """
        ...

    def read_briefly(self, query: Callable[[Transaction], T]) -> T:
        """Run a query as `read_inline` does, and give it up as soon as it proves to be long.

        Raises
        ------
        NotBriefError
            If it would take more than a few milliseconds; it can be run again with `read`.
        """
        ...

    def write(self, change: Callable[[Transaction], T], *, can_be_redone: bool = False) -> T:
        """Run a change in one transaction; it is durable when this returns.

        The change may be run again if the database asks for it, so it must have no other effect.

        Parameters
        ----------
        can_be_redone
            It need not be durable before the next `write` or `sync`, because it can be written
            again. What is durable is always a beginning of the sequence of transactions.

        Raises
        ------
        DatabaseUnavailableError
            If the database does not answer; the change may have been made or not.
        FullStorageError
            If the disk is full.
        SerializationFailureError
            If other servers' transactions collided too often.
        """
        ...

    def sync(self) -> None:
        """Make everything durable that was written before.

        Raises
        ------
        DatabaseUnavailableError
            If the disk fails.
        """
        ...

    def maintain(self) -> None:
        """Do the housekeeping that is due; to be called every second or so, in a worker thread."""
        ...

    def close(self) -> None:
        """Close all connections; calls that are under way fail."""
        ...
