"""Where imported files go: the archive of this process, or another server."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from isocenter.archive.ingest import Ingest
from isocenter.archive.received import Content, Origin, OriginKind, StoreStatus
from isocenter.errors import (
    AccessError,
    DatabaseUnavailableError,
    FullStorageError,
    RemoteError,
    ServerError,
    StorageUnavailableError,
)
from isocenter.index.adopting import find_existing_instances
from isocenter.index.port import Database

__all__ = ["ImportTarget", "LocalTarget"]

# After these, no other file would fare better.
_FATAL = (
    AccessError,
    DatabaseUnavailableError,
    FullStorageError,
    RemoteError,
    StorageUnavailableError,
)


class ImportTarget(Protocol):
    """Takes what is imported; for one event loop."""

    async def find_stored(self, public_ids: Sequence[str]) -> set[str]:
        """Tell which instances are stored and would not be replaced.

        Raises
        ------
        ServerError
            If the target does not answer.
        """
        ...

    async def store(self, content: Content) -> StoreStatus | ServerError:
        """Store a file, whose content is closed in any case.

        Returns
        -------
        StoreStatus or ServerError
            The error says why this very file is refused.

        Raises
        ------
        ServerError
            If no other file would be stored either.
        """
        ...


class LocalTarget:
    """The archive of this process.

    Parameters
    ----------
    has_overwriting
        Stored instances may be replaced, so all are handed to the pipeline.
    """

    def __init__(self, ingest: Ingest, database: Database, *, has_overwriting: bool) -> None:
        self._ingest = ingest
        self._database = database
        self._has_overwriting = has_overwriting

    async def find_stored(self, public_ids: Sequence[str]) -> set[str]:
        """Look the instances up in the index (see `ImportTarget.find_stored`)."""
        if self._has_overwriting or not public_ids:
            return set()
        return await asyncio.to_thread(
            self._database.read, lambda tx: find_existing_instances(tx, public_ids)
        )

    async def store(self, content: Content) -> StoreStatus | ServerError:
        """Hand a file to the pipeline (see `ImportTarget.store`)."""
        try:
            outcome = await self._ingest.store(content, Origin(OriginKind.UNKNOWN))
        except _FATAL:
            raise
        except ServerError as error:
            return error
        return outcome.status
