"""Remote systems that several servers change in one database."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from tests.unit.archive.parts import Parts

from isocenter.archive.modalities import Modalities
from isocenter.archive.workers import Workers
from isocenter.config.remote_modalities import RemoteModality
from isocenter.errors import UnknownItemError
from isocenter.index.port import Transaction

T = TypeVar("T")
DEADLINE_S = 10
OLD, NEW, NEWEST = (RemoteModality("CT", host, 104) for host in ("old", "new", "newest"))


def build_table(parts: Parts) -> Modalities:
    return Modalities(parts.workers, {}, is_kept=True, is_shared=True)


async def test_changes_of_other_servers_count_at_once(parts: Parts) -> None:
    here, elsewhere = build_table(parts), build_table(parts)
    await here.put("ct", OLD)
    await elsewhere.put("ct", NEW)
    assert here["ct"] == OLD
    assert await here.get_known("ct") == NEW
    assert here["ct"] == NEW
    await elsewhere.delete("ct")
    with pytest.raises(UnknownItemError):
        await here.get_known("ct")
    assert "ct" not in here
    await elsewhere.put("mr", OLD)
    assert await here.list_known() == {"mr": OLD}


@pytest.mark.parametrize("is_list", [True, False])
async def test_read_that_a_change_overtakes_does_not_undo_it(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, is_list: bool
) -> None:
    table = build_table(parts)
    await table.put("ct", OLD)
    has_read, may_end = threading.Event(), threading.Event()
    read_long = Workers.read_long

    async def read_slowly(workers: Workers, query: Callable[[Transaction], T]) -> T:
        def read(tx: Transaction) -> T:
            found = query(tx)
            has_read.set()
            assert may_end.wait(DEADLINE_S)
            return found

        return await read_long(workers, read)

    monkeypatch.setattr(Workers, "read_long", read_slowly)
    async with asyncio.timeout(DEADLINE_S):
        read: Coroutine[Any, Any, object]
        read = table.list_known() if is_list else table.get_known("ct")
        reading = asyncio.create_task(read)
        await asyncio.to_thread(has_read.wait, DEADLINE_S)
        await table.put("ct", NEW)
        may_end.set()
        assert await reading == ({"ct": NEW} if is_list else NEW)
    assert table["ct"] == NEW


async def test_changes_come_into_the_database_and_the_mapping_in_the_same_order(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = build_table(parts)
    is_first_written, may_end = asyncio.Event(), asyncio.Event()
    write = Workers.write

    async def write_slowly(workers: Workers, change: Callable[[Transaction], T]) -> T:
        done = await write(workers, change)
        if not is_first_written.is_set():
            is_first_written.set()
            await may_end.wait()
        return done

    monkeypatch.setattr(Workers, "write", write_slowly)
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
        group.create_task(table.put("ct", NEW))
        await is_first_written.wait()
        second = group.create_task(table.put("ct", NEWEST))
        # It waits for the first one, else it would end here.
        await asyncio.wait([second], timeout=0.1)
        may_end.set()
    assert table["ct"] == NEWEST == await table.get_known("ct")
