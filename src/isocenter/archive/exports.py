"""The log of exports: what was sent to which remote modality."""

from collections.abc import Sequence
from dataclasses import dataclass

from isocenter.archive.workers import Workers
from isocenter.clock import now
from isocenter.dicom.levels import Level
from isocenter.index.exports import add_exports, find_exports, find_last_export, forget_exports
from isocenter.index.port import Transaction
from isocenter.index.records import ExportEntry

__all__ = ["ExportLog", "ExportPage"]

# A page up to this size is read on the event loop.
_SHORT_PAGE = 200


@dataclass(frozen=True, slots=True)
class ExportPage:
    """Some entries in the order of their numbers.

    Attributes
    ----------
    is_done
        True if nothing follows.
    last
        The number to go on from.
    """

    entries: list[ExportEntry]
    is_done: bool
    last: int


class ExportLog:
    """Writes, reads and empties the log of exports.

    Parameters
    ----------
    is_enabled
        Write entries (option ``LogExportedResources``); what is there is read in any case.

    References
    ----------
    Orthanc REST: GET /exports (behaviour manual §10.2)
    """

    def __init__(self, workers: Workers, *, is_enabled: bool) -> None:
        self._workers = workers
        self._is_enabled = is_enabled

    async def add(self, resources: Sequence[tuple[Level, str]], *, remote_modality: str) -> None:
        """Note that resources are sent, before they are; does nothing unless it is asked for.

        Parameters
        ----------
        resources
            Unknown ones are skipped.
        remote_modality
            Symbolic name of the receiver.
        """
        if not self._is_enabled or not resources:
            return
        exported_at = now()
        await self._workers.write(
            lambda tx: add_exports(
                tx, resources, remote_modality=remote_modality, exported_at=exported_at
            )
        )

    async def find(self, *, since: int, limit: int) -> ExportPage:
        """Read a page of the log.

        Parameters
        ----------
        since
            Number to start after.
        limit
            The most entries to read; with 0 the page is empty, and done only if nothing follows.
        """

        def query(tx: Transaction) -> ExportPage:
            entries = find_exports(tx, since=since, limit=limit + 1)
            is_done = len(entries) <= limit
            del entries[limit:]
            return ExportPage(entries, is_done, entries[-1].seq if entries else since)

        if limit > _SHORT_PAGE:
            return await self._workers.read_long(query)
        return await self._workers.read(query)

    async def find_last(self) -> ExportPage:
        """Read the newest entry alone."""
        entry = await self._workers.read(find_last_export)
        if entry is None:
            return ExportPage([], is_done=True, last=0)
        return ExportPage([entry], is_done=True, last=entry.seq)

    async def clear(self) -> None:
        """Empty the log; numbering goes on."""
        await self._workers.write(forget_exports)
