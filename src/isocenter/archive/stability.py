"""Resources become stable when nothing has arrived below them for a while."""

from isocenter.archive.periodic import Periodic
from isocenter.archive.workers import Workers
from isocenter.clock import now
from isocenter.index.port import Database
from isocenter.index.writing import settle

__all__ = ["Stability"]

_INTERVAL_S = 1.0
_AT_ONCE = 1000


class Stability:
    """Watches for resources that became stable, and does the index's housekeeping.

    What is unstable stands in the index, so a restart forgets nothing.

    Parameters
    ----------
    stable_age_s
        Quiet seconds after which a resource is stable (option ``StableAge``).

    References
    ----------
    Orthanc REST: stability (behaviour manual §9.3, quirk 25)
    """

    def __init__(self, workers: Workers, database: Database, stable_age_s: int) -> None:
        self._workers = workers
        self._database = database
        self._stable_age_s = stable_age_s
        self._periodic = Periodic("stability", _INTERVAL_S, self._look)

    def start(self) -> None:
        """Begin to watch."""
        self._periodic.start()

    async def stop(self) -> None:
        """Stop watching."""
        await self._periodic.stop()

    async def _look(self) -> bool:
        return await self._workers.run(self.settle_some) == _AT_ONCE

    def settle_some(self) -> int:
        """Mark what became stable, on the calling thread; tell how many resources."""
        self._database.maintain()
        instant = now()
        changes = self._database.write(
            lambda tx: settle(tx, before=instant - self._stable_age_s, now=instant, limit=_AT_ONCE)
        )
        return len(changes)
