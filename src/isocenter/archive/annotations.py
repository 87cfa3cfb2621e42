"""Metadata and labels of resources, as clients read and change them."""

import re
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from isocenter.archive.group_writes import GroupWrites
from isocenter.archive.registry import is_user_code
from isocenter.archive.workers import Workers
from isocenter.clock import now
from isocenter.errors import BadParameterError, ForbiddenError
from isocenter.index.annotations import Address, Condition
from isocenter.index.labels import (
    add_label,
    delete_label,
    find_all_labels,
    find_labels,
    has_label,
)
from isocenter.index.metadata import (
    LongValueError,
    MetadataValue,
    delete_metadata,
    find_metadata,
    find_metadata_codes,
    lookup_metadata,
    write_metadata,
)

__all__ = ["Annotations"]

T = TypeVar("T")

# Values up to this size, in bytes, are read on the event loop.
_SHORT = 64 * 1024
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Annotations:
    """Reads and changes the metadata and the labels of resources.

    Every method but `list_all_labels` raises `UnknownResourceError` if there is no such resource.

    Parameters
    ----------
    has_checked_revisions
        What is there may only be changed with its entity tag (option ``CheckRevisions``).

    References
    ----------
    Orthanc REST: metadata, revisions, labels (behaviour manual §11, §13, §14)
    """

    def __init__(
        self, workers: Workers, writes: GroupWrites, *, has_checked_revisions: bool
    ) -> None:
        self._workers = workers
        self._writes = writes
        self._has_checked_revisions = has_checked_revisions

    async def list_metadata(self, address: Address) -> dict[int, str]:
        """Read all metadata, in the order of their codes."""
        return await self._read(partial(find_metadata, address=address))

    async def list_metadata_codes(self, address: Address) -> list[int]:
        """List the codes of all metadata, in their order."""
        return await self._read(partial(find_metadata_codes, address=address))

    async def lookup_metadata(self, address: Address, code: int) -> MetadataValue | None:
        """Read one metadata, or ``None`` if it is not set."""
        return await self._read(partial(lookup_metadata, address=address, code=code))

    async def _read(self, query: Callable[..., T]) -> T:
        """Read values on the event loop, unless they are long."""
        try:
            return await self._workers.read(lambda tx: query(tx, longest=_SHORT))
        except LongValueError:
            return await self._workers.read_long(query)

    async def set_metadata(
        self, address: Address, code: int, value: str, *, tag: str | None = None
    ) -> str:
        """Set a metadata of the user's own and return its new entity tag.

        Parameters
        ----------
        tag
            The entity tag that the present value must have, if there is one.

        Raises
        ------
        ForbiddenError
            If the code is the system's.
        RevisionConflictError
            If the value is another one by now, or the entity tag is missing.
        BadParameterError
            If the value holds NUL, which no database takes as text.
        """
        _check_is_user(code)
        if "\0" in value:
            message = "a metadata is text and holds no NUL"
            raise BadParameterError(message)
        condition = Condition(tag, self._has_checked_revisions)
        return await self._writes.run(
            lambda batch: write_metadata(
                batch, address, code, value, condition=condition, now=now()
            )
        )

    async def remove_metadata(self, address: Address, code: int, *, tag: str | None = None) -> None:
        """Remove a metadata of the user's own.

        Raises
        ------
        ForbiddenError, RevisionConflictError
            As for `set_metadata`.
        UnknownResourceError
            Also if it is not set.
        """
        _check_is_user(code)
        condition = Condition(tag, self._has_checked_revisions)
        await self._writes.run(
            lambda batch: delete_metadata(batch, address, code, condition=condition, now=now())
        )

    async def list_labels(self, address: Address) -> list[str]:
        """List the labels of a resource, sorted."""
        return await self._workers.read(lambda tx: find_labels(tx, address))

    async def has_label(self, address: Address, label: str) -> bool:
        """Tell whether a resource has a label."""
        # No resource has what is no label, and PostgreSQL does not take all of it as text.
        possible = label if _LABEL.fullmatch(label) else ""
        return await self._workers.read(lambda tx: has_label(tx, address, possible))

    async def list_all_labels(self) -> list[str]:
        """List the labels in use, sorted."""
        return await self._workers.read_long(find_all_labels)

    async def add_label(self, address: Address, label: str) -> None:
        """Give a label to a resource; harmless if it has it.

        Raises
        ------
        BadParameterError
            If the label has other characters, or another length, than it may have.
        BadRequestError
            If the resource has too many labels.
        """
        _check_label(label)
        await self._writes.run(lambda batch: add_label(batch, address, label))

    async def remove_label(self, address: Address, label: str) -> None:
        """Take a label from a resource; harmless if it has it not.

        Raises
        ------
        BadParameterError
            As for `add_label`.
        """
        _check_label(label)
        await self._writes.run(lambda batch: delete_label(batch, address, label))


def _check_is_user(code: int) -> None:
    if not is_user_code(code):
        raise ForbiddenError


def _check_label(label: str) -> None:
    if _LABEL.fullmatch(label) is None:
        message = "a label has 1 to 64 letters, digits, '_' or '-'"
        raise BadParameterError(message)
