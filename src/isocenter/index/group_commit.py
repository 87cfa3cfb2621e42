"""Many instances, one transaction: whoever finds the database free commits for all who wait."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isocenter.errors import DatabaseUnavailableError, FullStorageError
from isocenter.index.port import Database
from isocenter.index.records import NewInstance, Rules, StoreResult
from isocenter.index.writing import store_instances

__all__ = ["GroupCommit"]

_log = logging.getLogger(__name__)

_LARGEST_GROUP = 64
_NO_RULES = Rules()


@dataclass(slots=True, eq=False)
class _Waiting:
    instance: NewInstance
    # None until the instance was in a transaction.
    result: StoreResult | Exception | None = None


class GroupCommit:
    """Stores instances that arrive together in one transaction. Thread-safe.

    A worker thread adds its instance to the queue and then waits for the lock. The one that gets it
    commits everything that is queued; the others find their own instance done. No thread hands
    over to another, so a lone instance pays nothing for the grouping.

    Parameters
    ----------
    rules
        Limits of storage, and what else the configuration says.
    on_removals
        Called, on any thread, when files of others are to be removed from the storage area.
    """

    def __init__(
        self,
        database: Database,
        rules: Rules = _NO_RULES,
        on_removals: Callable[[], None] | None = None,
    ) -> None:
        self._database = database
        self._rules = rules
        self._on_removals = on_removals
        self._queue: deque[_Waiting] = deque()
        self._lock = threading.Lock()

    def store(self, instance: NewInstance) -> StoreResult:
        """Write the rows of an instance; they are durable when this returns.

        Raises
        ------
        ServerError
            What the database raised for this instance; `FullStorageError` also if the limits of
            storage leave no room.
        """
        result = self.store_many([instance])[0]
        if isinstance(result, Exception):
            raise result
        return result

    def store_many(self, instances: Sequence[NewInstance]) -> list[StoreResult | Exception]:
        """Write the rows of some instances; they are durable when this returns.

        Returns
        -------
        list of StoreResult or Exception
            One for each instance, in their order: what became of it, or why it was not stored.
        """
        mine = [_Waiting(instance) for instance in instances]
        self._queue.extend(mine)
        for waiting in mine:
            while waiting.result is None:
                with self._lock:
                    if waiting.result is None:
                        self._commit_group()
        return [waiting.result for waiting in mine if waiting.result is not None]

    def _commit_group(self) -> None:
        group = [self._queue.popleft() for _ in range(min(len(self._queue), _LARGEST_GROUP))]
        try:
            self._commit(group)
        except DatabaseUnavailableError as error:
            # The commit may have succeeded, and trying again would keep everybody waiting.
            for waiting in group:
                waiting.result = error
        except Exception as error:  # noqa: BLE001 - every waiting thread must learn of it
            self._commit_one_by_one(group, error)

    def _commit(self, group: list[_Waiting]) -> None:
        instances = [waiting.instance for waiting in group]
        results = self._database.write(lambda tx: store_instances(tx, instances, self._rules))
        for waiting, result in zip(group, results, strict=True):
            waiting.result = _refuse(waiting.instance) if result.is_full else result
        self._follow_up(results)

    def _follow_up(self, results: Sequence[StoreResult]) -> None:
        """See to what the instances have replaced."""
        recycled = sum(result.recycled_patients for result in results)
        if recycled:
            _log.info("the oldest patients were deleted to make room", extra={"patients": recycled})
        if self._on_removals is not None and any(result.has_removed for result in results):
            self._on_removals()

    def _commit_one_by_one(self, group: list[_Waiting], error: Exception) -> None:
        """Keep one instance that cannot be stored from taking the others with it."""
        if len(group) == 1:
            group[0].result = error
            return
        for waiting in group:
            try:
                self._commit([waiting])
            except Exception as own_error:  # noqa: BLE001 - told to the thread that waits
                waiting.result = own_error


def _refuse(instance: NewInstance) -> FullStorageError:
    return FullStorageError(
        "the limits of storage leave no room for the instance", public_ids=instance.public_ids
    )
