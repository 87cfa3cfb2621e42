"""What a database must offer: transactions over the named statements.

The port is synchronous. A short indexed read on SQLite takes 9 µs and runs on the event loop, where
a hop to a thread would cost thirty times as much; every other call runs in a worker thread, whole
operation at a time (Decision 0003).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

__all__ = ["Database", "Parameters", "Transaction"]

T = TypeVar("T")
Parameters = Mapping[str, Any]


class Transaction(Protocol):
    """Statements of one transaction, called by the names of ``sql/``. Not thread-safe."""

    def rows(self, statement: str, parameters: Parameters = ...) -> list[tuple[Any, ...]]:
        """Run a query and fetch all its rows."""
        ...

    def row(self, statement: str, parameters: Parameters = ...) -> tuple[Any, ...] | None:
        """Run a query and fetch its first row, or ``None``."""
        ...

    def run(self, statement: str, parameters: Parameters = ...) -> None:
        """Run a statement that answers nothing."""
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
        Grows before and after each transaction, so what was read while it stayed the same is still
        true. Only where ``reads_inline`` is true: elsewhere other servers write as well.
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

    def write(self, change: Callable[[Transaction], T]) -> T:
        """Run a change in one transaction; it is durable when this returns.

        The change may be run again if the database asks for it, so it must have no other effect.

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

    def maintain(self) -> None:
        """Do the housekeeping that is due; to be called every second or so, in a worker thread."""
        ...

    def close(self) -> None:
        """Close all connections; calls that are under way fail."""
        ...
