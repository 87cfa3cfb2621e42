"""Many instances, one transaction: whoever finds the database free commits for all who wait."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isocenter.errors import DatabaseUnavailableError, FullStorageError
from isocenter.index.port import Database, Transaction
from isocenter.index.records import NO_RULES, NewInstance, Rules, StoreResult
from isocenter.index.writing import store_instances

__all__ = ["GroupCommit"]

_log = logging.getLogger(__name__)

_LARGEST_GROUP = 64


AwaitBlobs = Callable[[], bool]


@dataclass(slots=True, eq=False)
class _Waiting:
    instance: NewInstance
    await_blobs: AwaitBlobs
    # None until the instance was in a transaction.
    result: StoreResult | Exception | None = None


class GroupCommit:
    """Stores instances that arrive together in one transaction. Thread-safe.

    A worker thread adds its instance to the queue and then waits for the lock. The one that gets it
    commits everything that is queued; the others find their own instance done. No thread hands
    over to another, so a lone instance pays nothing for the grouping.

    The blobs of the instances may still be on their way to the disk while the rows are written;
    they are waited for before the commit, so that nobody ever sees an instance that a power failure
    would take away.

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
        rules: Rules = NO_RULES,
        on_removals: Callable[[], None] | None = None,
    ) -> None:
        self._database = database
        self._rules = rules
        self._on_removals = on_removals
        self._queue: deque[_Waiting] = deque()
        self._lock = threading.Lock()

    def store(self, instance: NewInstance) -> StoreResult:
        """Write the rows of an instance whose blobs are durable; they are too when this returns.

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

    def store_many(
        self, instances: Sequence[NewInstance], await_blobs: AwaitBlobs = lambda: False
    ) -> list[StoreResult | Exception]:
        """Write the rows of some instances; a power failure does not lose them when this returns.

        Parameters
        ----------
        await_blobs
            Waits until the blobs of these instances are durable, or raises why they are not. Tells
            whether the rows can be written again after a crash, so that they need no sync of their
            own (Decision 0010). May be called several times.

        Returns
        -------
        list of StoreResult or Exception
            One for each instance, in their order: what became of it, or why it was not stored.
        """
        mine = [_Waiting(instance, await_blobs) for instance in instances]
        self._queue.extend(mine)
        for waiting in mine:
            while waiting.result is None:
                with self._lock:
                    if waiting.result is None:
                        self._commit_group()
        return [waiting.result for waiting in mine if waiting.result is not None]

    def store_jointly(self, instances: Sequence[NewInstance]) -> list[StoreResult]:
        """Write the rows of all instances or of none; their blobs are durable, and so are they.

        Raises
        ------
        ServerError
            What the database raised; `FullStorageError` also if the limits of storage leave no
            room for all of them.
        """

        def change(tx: Transaction) -> list[StoreResult]:
            results = store_instances(tx, instances, self._rules)
            for instance, result in zip(instances, results, strict=True):
                if result.is_full:
                    raise _refuse(instance)
            return results

        results = self._database.write(change)
        self._follow_up(results)
        return results

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
        if not self._database.is_exclusive:
            # Other servers must not wait for our disk.
            _await_blobs(group)

        def change(tx: Transaction) -> tuple[list[StoreResult], bool]:
            results = store_instances(tx, instances, self._rules)
            return results, _await_blobs(group)

        results, can_be_redone = self._database.write(change, can_be_redone=True)
        if not can_be_redone:
            self._database.sync()
        for waiting, result in zip(group, results, strict=True):
            waiting.result = _refuse(waiting.instance) if result.is_full else result
        _log.debug("a group of instances was committed", extra={"instances": len(group)})
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


def _await_blobs(group: list[_Waiting]) -> bool:
    """Wait until all blobs are durable; tell whether all rows can be written again."""
    # Each one has to be waited for, also behind one whose rows cannot.
    answers = [waiting.await_blobs() for waiting in group]
    return all(answers)
