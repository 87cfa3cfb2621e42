"""Deleting resources, and removing their files afterwards."""

import logging

from isocenter.archive.periodic import Periodic
from isocenter.archive.workers import Workers
from isocenter.clock import now
from isocenter.dicom.levels import Level
from isocenter.errors import ServerError
from isocenter.index.port import Database
from isocenter.index.reading import find_removals
from isocenter.index.records import Deletion
from isocenter.index.writing import delete_resource, forget_removals
from isocenter.storage.port import Storage

__all__ = ["Deleter"]

_log = logging.getLogger(__name__)

_REMOVALS_AT_ONCE = 500
_INTERVAL_S = 60.0


class Deleter:
    """Deletes resources in one transaction; their files go after it.

    The transaction also notes which files are to go, so that a crash in between only delays their
    removal until the next start.

    References
    ----------
    Orthanc REST: DELETE /{level}/{id} (behaviour manual §9.1)
    """

    def __init__(self, workers: Workers, database: Database, storage: Storage) -> None:
        self._workers = workers
        self._database = database
        self._storage = storage
        # Where the next round goes on.
        self._after = ""
        self._removal = Periodic("removal of files", _INTERVAL_S, self._remove_some)

    def start(self) -> None:
        """Begin to remove files that nothing refers to any more."""
        self._removal.start()

    async def stop(self) -> None:
        """Stop removing files; the rest waits for the next start."""
        await self._removal.stop()

    def wake(self) -> None:
        """Tell that there are files to remove."""
        self._removal.wake()

    async def delete(self, level: Level, public_id: str) -> Deletion | None:
        """Delete a resource, all below it, and ancestors that are left without a child.

        Returns
        -------
        Deletion or None
            ``None`` if there is no such resource.
        """
        deletion = await self._workers.write(
            lambda tx: delete_resource(tx, level, public_id, deleted_at=now())
        )
        if deletion is not None:
            self._removal.wake()
        return deletion

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
            self._database.write(lambda tx: forget_removals(tx, removed))
        return len(uuids)

    def _remove(self, attachment_uuid: str) -> bool:
        try:
            self._storage.remove(attachment_uuid)
        except ServerError as error:
            _log.warning("a deleted file cannot be removed yet", extra={"error": str(error)})
            return False
        return True
