"""A database that refuses every change."""

from collections.abc import Callable
from typing import TypeVar

from isocenter.errors import ReadOnlyError
from isocenter.index.port import Database, Transaction

__all__ = ["ReadOnlyDatabase"]

T = TypeVar("T")


class ReadOnlyDatabase:
    """Reads another database; implements `isocenter.index.port.Database`.

    The last guard of a read-only server: whatever a door or a periodic task forgets, nothing in the
    index changes.

    References
    ----------
    Orthanc: ReadOnly (behaviour manual §2.7)
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reads_inline = database.reads_inline
        self.is_exclusive = database.is_exclusive
        # Nothing that was read through this one ever becomes untrue by a change of ours.
        self.generation = database.generation

    def read(self, query: Callable[[Transaction], T]) -> T:
        """Run a query on a consistent snapshot (see `Database.read`)."""
        return self._database.read(query)

    def read_inline(self, query: Callable[[Transaction], T]) -> T:
        """Run a short query on the calling thread (see `Database.read_inline`)."""
        return self._database.read_inline(query)

    def write(self, change: Callable[[Transaction], T]) -> T:  # noqa: ARG002 - never run
        """Refuse.

        Raises
        ------
        ReadOnlyError
            Always.
        """
        raise ReadOnlyError

    def maintain(self) -> None:
        """Nothing is due where nothing changes."""

    def close(self) -> None:
        """Close the other database."""
        self._database.close()
