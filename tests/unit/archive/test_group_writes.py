import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.unit.archive.parts import REST, Parts, build_numbered, wait_until

from isocenter.archive.group_writes import GroupWrites
from isocenter.dicom.levels import Level
from isocenter.errors import (
    BackendError,
    DatabaseUnavailableError,
    InternalError,
    UnknownResourceError,
)
from isocenter.index.annotations import Address
from isocenter.index.batch import Batch
from isocenter.index.labels import add_label, find_labels
from isocenter.index.sqlite import SQLiteDatabase


class WatchedDatabase:
    """Counts the transactions, and makes some of them fail or wait."""

    def __init__(self, database: SQLiteDatabase) -> None:
        self._database = database
        self.count = 0
        self.errors: list[Exception] = []
        self.is_open = threading.Event()
        self.is_open.set()

    def write(self, change: Callable[[Any], Any]) -> Any:
        self.is_open.wait(10)
        self.count += 1
        if self.errors:
            raise self.errors.pop(0)
        return self._database.write(change)


@pytest.fixture
def database(parts: Parts) -> WatchedDatabase:
    return WatchedDatabase(parts.database)


@pytest.fixture
def writes(database: WatchedDatabase) -> Iterator[GroupWrites]:
    writes = GroupWrites(database)  # type: ignore[arg-type]
    yield writes
    database.is_open.set()
    writes.close()


@pytest.fixture
def study(parts: Parts) -> Address:
    stored = parts.new_ingest().store_blocking(build_numbered(1), REST)
    return Address(Level.STUDY, stored.public_ids.study)


def list_labels(parts: Parts, study: Address) -> list[str]:
    return parts.database.read(lambda tx: find_labels(tx, study))


def label(study: Address, name: str) -> Callable[[Batch], None]:
    return lambda batch: add_label(batch, study, name)


async def test_run_alone_writes_at_once(
    parts: Parts, database: WatchedDatabase, writes: GroupWrites, study: Address
) -> None:
    await writes.run(label(study, "a"))
    await writes.run(label(study, "b"))

    assert list_labels(parts, study) == ["a", "b"]
    assert database.count == 2


async def test_run_many_at_once_shares_transactions(
    parts: Parts, database: WatchedDatabase, writes: GroupWrites, study: Address
) -> None:
    await asyncio.gather(*(writes.run(label(study, f"l{n:03}")) for n in range(200)))

    assert list_labels(parts, study) == [f"l{n:03}" for n in range(200)]
    # 64 of them at once.
    assert database.count == 4


async def test_run_tells_each_caller_what_became_of_its_change(
    writes: GroupWrites, study: Address
) -> None:
    unknown = Address(Level.STUDY, "x")

    results = await asyncio.gather(
        writes.run(lambda _: 1),
        writes.run(label(unknown, "a")),
        writes.run(lambda _: 2),
        return_exceptions=True,
    )

    assert [results[0], results[2]] == [1, 2]
    assert isinstance(results[1], UnknownResourceError)


async def test_run_in_a_failing_group_is_tried_again_alone(
    parts: Parts, database: WatchedDatabase, writes: GroupWrites, study: Address
) -> None:
    def break_database(batch: Batch) -> None:
        batch.tx.run("insert_label", {"resource_id": 4711, "label": "orphan"})

    results = await asyncio.gather(
        writes.run(label(study, "a")),
        writes.run(break_database),
        writes.run(label(study, "b")),
        return_exceptions=True,
    )

    assert [results[0], results[2]] == [None, None]
    assert isinstance(results[1], BackendError)
    assert list_labels(parts, study) == ["a", "b"]
    assert database.count == 4


async def test_run_is_not_tried_again_while_the_database_is_away(
    database: WatchedDatabase, writes: GroupWrites, study: Address
) -> None:
    database.errors = [DatabaseUnavailableError()]

    results = await asyncio.gather(
        *(writes.run(label(study, name)) for name in "abc"), return_exceptions=True
    )

    assert [type(result) for result in results] == [DatabaseUnavailableError] * 3
    assert database.count == 1
    await writes.run(label(study, "a"))


async def test_run_that_nobody_waits_for_any_more_is_made(
    parts: Parts, database: WatchedDatabase, writes: GroupWrites, study: Address
) -> None:
    database.is_open.clear()
    tasks = [asyncio.create_task(writes.run(label(study, name))) for name in "ab"]
    await asyncio.sleep(0)
    tasks[0].cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await tasks[0]
    database.is_open.set()

    await tasks[1]

    assert list_labels(parts, study) == ["a", "b"]


async def test_run_after_the_others_are_done_starts_anew(
    parts: Parts, writes: GroupWrites, study: Address
) -> None:
    for name in "abc":
        await writes.run(label(study, name))
        await wait_until(lambda: not writes._is_busy)

    assert list_labels(parts, study) == ["a", "b", "c"]


async def test_run_while_the_disk_is_busy_waits_for_the_next_transaction(
    parts: Parts, database: WatchedDatabase, writes: GroupWrites, study: Address
) -> None:
    database.is_open.clear()
    first = asyncio.create_task(writes.run(label(study, "a")))
    await wait_until(lambda: writes._is_busy and not writes._queue)
    others = [asyncio.create_task(writes.run(label(study, name))) for name in "bcde"]
    await asyncio.sleep(0)
    database.is_open.set()

    await asyncio.gather(first, *others)

    assert list_labels(parts, study) == ["a", "b", "c", "d", "e"]
    assert database.count == 2


async def test_close_makes_what_was_begun_and_refuses_what_waits(
    parts: Parts, database: WatchedDatabase, writes: GroupWrites, study: Address
) -> None:
    database.is_open.clear()
    begun = asyncio.create_task(writes.run(label(study, "a")))
    await wait_until(lambda: writes._is_busy and not writes._queue)
    waiting = asyncio.create_task(writes.run(label(study, "c")))
    await asyncio.sleep(0)
    database.is_open.set()

    writes.close()

    results = await asyncio.gather(begun, waiting, return_exceptions=True)
    assert results[0] is None
    assert isinstance(results[1], InternalError)
    with pytest.raises(InternalError):
        await writes.run(label(study, "d"))
    assert list_labels(parts, study) == ["a"]
