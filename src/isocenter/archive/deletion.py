"""Deleting resources, and removing their files afterwards."""

from isocenter.archive.periodic import Periodic
from isocenter.archive.workers import Workers
from isocenter.clock import now
from isocenter.dicom.levels import Level
from isocenter.index.port import Database
from isocenter.index.reading import find_removals
from isocenter.index.records import Deletion
from isocenter.index.writing import delete_resource, forget_removals
from isocenter.storage.port import Storage

__all__ = ["Deleter"]

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
        """Remove some of the files that are to go, on the calling thread; tell how many."""
        uuids = self._database.read(lambda tx: find_removals(tx, _REMOVALS_AT_ONCE))
        for attachment_uuid in uuids:
            self._storage.remove(attachment_uuid)
        if uuids:
            self._database.write(lambda tx: forget_removals(tx, uuids))
        return len(uuids)
