"""What clients attach to resources: what metadata, attachments and labels have in common.

Changes are functions of a `Batch`; `run_changes` makes one transaction of many. Each raises what is
wrong with it before it writes anything, so that it can fail without the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from isocenter.dicom.levels import Level
from isocenter.errors import (
    BackendError,
    RevisionConflictError,
    ServerError,
    UnknownResourceError,
)
from isocenter.index.batch import Batch
from isocenter.index.port import Transaction

__all__ = ["Address", "Condition", "find_values", "get_row", "run_changes"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Address:
    """Names a resource."""

    level: Level
    public_id: str

    @property
    def keys(self) -> dict[str, Any]:
        """The parameters of a statement that finds it.

        Raises
        ------
        UnknownResourceError
            If no resource can have that identifier, as PostgreSQL takes no NUL as text.
        """
        if "\0" in self.public_id:
            raise UnknownResourceError
        return {"level": int(self.level), "public_id": self.public_id}


class Tagged(Protocol):
    """A value that is in the index."""

    @property
    def tag(self) -> str:
        """Its entity tag, without quotes."""
        ...


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold for a change.

    Attributes
    ----------
    tag
        The entity tag that the present value must have, ``None`` for any.
    is_required
        A value that is there may only be changed with its entity tag.

    References
    ----------
    Orthanc REST: revisions (behaviour manual §13)
    """

    tag: str | None = None
    is_required: bool = False

    def demand(self) -> None:
        """Make sure that there is an entity tag if one is required.

        Raises
        ------
        RevisionConflictError
            If there is none.
        """
        if self.is_required and self.tag is None:
            message = 'the header "If-Match" is needed, as "CheckRevisions" is true'
            raise RevisionConflictError(message)

    def check(self, present: Tagged) -> None:
        """Compare with the entity tag of the present value.

        Raises
        ------
        RevisionConflictError
            If the change must not be made.
        """
        self.demand()
        if self.tag is not None and self.tag != present.tag:
            raise RevisionConflictError


def run_changes(tx: Transaction, changes: Sequence[Callable[[Batch], T]]) -> list[T | ServerError]:
    """Make several changes in one transaction.

    Returns
    -------
    list
        What each change returned, or the error for which it was not made.

    Raises
    ------
    BackendError
        If the database fails; nothing of all is changed then.
    """
    batch = Batch(tx)
    results: list[T | ServerError] = []
    for change in changes:
        try:
            results.append(change(batch))
        except BackendError:
            raise
        except ServerError as error:
            results.append(error)
    batch.finish()
    return results


def get_row(tx: Transaction, statement: str, keys: dict[str, Any]) -> tuple[Any, ...]:
    """Run a statement that answers one row for every resource there is."""
    row = tx.row(statement, keys)
    if row is None:
        raise UnknownResourceError
    return row


def find_values(tx: Transaction, statement: str, address: Address) -> list[Any]:
    """Run a statement that answers a row for each value, or one without a value."""
    rows = tx.rows(statement, address.keys)
    if not rows:
        raise UnknownResourceError
    return [row[0] for row in rows if row[0] is not None]
