"""Deleting resources, and removing their files afterwards."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from isocenter.archive.periodic import Periodic
from isocenter.archive.workers import Workers
from isocenter.clock import now
from isocenter.dicom.levels import Level
from isocenter.errors import ServerError
from isocenter.index.deletion import Named, delete_resource, delete_resources, forget_removals
from isocenter.index.port import Database
from isocenter.index.reading import find_removals
from isocenter.index.records import NO_RULES, Deletion, Rules
from isocenter.index.recycling import recycle_excess
from isocenter.storage.port import Storage

__all__ = ["Deleter"]

_log = logging.getLogger(__name__)

_REMOVALS_AT_ONCE = 500
# Resources of a bulk deletion that go in one transaction.
_DELETIONS_AT_ONCE = 500
_INTERVAL_S = 60.0
# Jobs that end one after the other share a round.
_SOON_S = 0.1


class Deleter:
    """Deletes resources in one transaction; their files go after it.

    The transaction also notes which files are to go, so that a crash in between only delays their
    removal until the next start.

    Parameters
    ----------
    on_removed
        Called, on any thread, when files are gone: nobody may know what stood in them any longer.

    References
    ----------
    Orthanc REST: DELETE /{level}/{id} (behaviour manual §9.1)
    """

    def __init__(
        self,
        workers: Workers,
        database: Database,
        storage: Storage,
        rules: Rules = NO_RULES,
        on_removed: Callable[[], None] = lambda: None,
    ) -> None:
        self._workers = workers
        self._database = database
        self._storage = storage
        self._rules = rules
        self._on_removed = on_removed
        # Where files are removed; ``None`` while they are not.
        self._loop: asyncio.AbstractEventLoop | None = None
        # A call that is to wake the removal.
        self._later: asyncio.TimerHandle | None = None
        # Where the next round goes on.
        self._after = ""
        self._removal = Periodic("removal of files", _INTERVAL_S, self._remove_some)

    def start(self) -> None:
        """Begin to remove files that nothing refers to any more."""
        self._loop = asyncio.get_running_loop()
        self._removal.start()

    async def stop(self) -> None:
        """Stop removing files; the rest waits for the next start."""
        self._loop = None
        if self._later is not None:
            self._later.cancel()
            self._later = None
        await self._removal.stop()

    def wake(self) -> None:
        """Tell that there are files to remove."""
        self._removal.wake()

    def wake_soon(self) -> None:
        """Tell that there may be files to remove, and that others tell the same all the time."""
        if self._loop is not None and self._later is None:
            self._later = self._loop.call_later(_SOON_S, self._wake_later)

    def _wake_later(self) -> None:
        self._later = None
        self.wake()

    def wake_from_thread(self) -> None:
        """Tell the same from any thread."""
        loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(self.wake)

    async def delete(self, level: Level, public_id: str) -> Deletion | None:
        """Delete a resource, all below it, and ancestors that are left without a child.

        Returns
        -------
        Deletion or None
            ``None`` if there is no such resource.
        """
        deletion = await self._workers.write(
            lambda tx: delete_resource(
                tx,
                level,
                public_id,
                deleted_at=now(),
                rules=self._rules,
            )
        )
        if deletion is not None:
            self.wake()
        return deletion

    async def delete_many(self, named: Sequence[Named]) -> None:
        """Delete some resources as `delete` does; unknown ones are skipped.

        Some hundred go in each transaction, so that what arrives meanwhile is stored between them.
        A failure leaves the later ones; to ask again deletes them.

        References
        ----------
        Orthanc REST: POST /tools/bulk-delete (behaviour manual §9.1)
        """
        for start in range(0, len(named), _DELETIONS_AT_ONCE):
            some = named[start : start + _DELETIONS_AT_ONCE]
            deletions = await self._workers.write(
                lambda tx, some=some: delete_resources(  # type: ignore[misc]
                    tx, some, deleted_at=now(), rules=self._rules
                )
            )
            if deletions:
                self.wake()

    def recycle_excess(self) -> None:
        """Delete the oldest patients until the limits of storage are kept, on the calling thread.

        For the start, when the limits may be lower than before; few patients go at a time.
        """
        count = 0
        while some := self._database.write(
            lambda tx: recycle_excess(tx, self._rules, recycled_at=now())
        ):
            count += some
        if count:
            _log.warning(
                "patients were deleted to keep the limits of storage", extra={"patients": count}
            )

    async def _remove_some(self) -> bool:
        return await self._workers.run(self.remove_files) == _REMOVALS_AT_ONCE

    def remove_files(self) -> int:
        """Remove some of the files that are to go, on the calling thread; tell how many there were.

        A file that cannot be removed keeps none of the others; it is tried again at the next round.
        """
        uuids = self._database.read(
            lambda tx: find_removals(tx, _REMOVALS_AT_ONCE, after=self._after)
        )
        self._after = uuids[-1] if len(uuids) == _REMOVALS_AT_ONCE else ""
        # A file goes only when nothing can bring its row back: the transaction that took it away
        # may not be durable yet if it also stored something.
        if uuids:
            self._database.sync()
        removed = [uuid for uuid in uuids if self._remove(uuid)]
        if removed:
            self._on_removed()
            self._database.write(lambda tx: forget_removals(tx, removed))
        return len(uuids)

    def _remove(self, attachment_uuid: str) -> bool:
        try:
            self._storage.remove(attachment_uuid)
        except ServerError as error:
            _log.warning("a deleted file cannot be removed yet", extra={"error": str(error)})
            return False
        return True
