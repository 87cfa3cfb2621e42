import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest
from tests.unit.archive.parts import Parts

from isocenter.archive.workers import Workers
from isocenter.index.port import NotBriefError, Transaction
from isocenter.index.reading import get_statistics
from isocenter.index.sqlite import SQLiteDatabase

T = TypeVar("T")
PAGE = {"level": 0, "since": 0, "limit": 1}


def get_thread(_: Transaction) -> int:
    return threading.get_ident()


async def test_run_operation_is_in_another_thread(parts: Parts) -> None:
    assert await parts.workers.run(threading.get_ident) != threading.get_ident()


async def test_run_arguments_are_passed(parts: Parts) -> None:
    def join(*texts: str, separator: str = " ") -> str:
        return separator.join(texts)

    assert await parts.workers.run(join, "a", "b") == "a b"
    assert await parts.workers.run(join, "a", "b", separator="-") == "a-b"


async def test_run_failing_operation_raises_its_error(parts: Parts) -> None:
    with pytest.raises(ZeroDivisionError):
        await parts.workers.run(lambda: 1 / 0)


async def test_read_inline_database_stays_on_the_loop(parts: Parts) -> None:
    assert await parts.workers.read(get_thread) == threading.get_ident()


async def test_read_remote_database_leaves_the_loop(parts: Parts) -> None:
    class Remote(SQLiteDatabase):
        reads_inline = False

        def __init__(self) -> None:
            """Stand for a database behind a socket, which this one reads through."""

        def read(self, query: Callable[[Transaction], T]) -> T:
            return parts.database.read(query)

    workers = Workers(Remote(), 1)
    try:
        assert await workers.read(get_thread) != threading.get_ident()
    finally:
        workers.close()


async def test_read_long_and_write_leave_the_loop(parts: Parts) -> None:
    assert await parts.workers.read_long(get_thread) != threading.get_ident()
    assert await parts.workers.write(get_thread) != threading.get_ident()
    assert (await parts.workers.read_long(get_statistics)).instances == 0


async def test_run_more_than_threads_waits_for_its_turn(parts: Parts) -> None:
    workers = Workers(parts.database, 2)
    running, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1

    await asyncio.gather(*(workers.run(work) for _ in range(50)))
    workers.close()

    assert 1 <= most <= 2


async def test_close_waits_for_what_runs(parts: Parts) -> None:
    workers = Workers(parts.database, 1)
    begun, proceed, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        proceed.wait(10)
        ended.set()

    running = asyncio.ensure_future(workers.run(work))
    waiting = asyncio.ensure_future(workers.run(work))
    await asyncio.to_thread(begun.wait, 10)

    closing = asyncio.ensure_future(asyncio.to_thread(workers.close))
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    proceed.set()
    await closing
    await running

    assert ended.is_set()


async def test_read_soon_short_query_stays_on_the_loop(parts: Parts) -> None:
    assert await parts.workers.read_soon(get_thread) == threading.get_ident()


async def test_read_soon_long_query_goes_on_in_a_thread(parts: Parts) -> None:
    threads: list[int] = []

    def count(tx: Transaction) -> int:
        threads.append(threading.get_ident())
        endless = (
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :most) "
            "SELECT COUNT(*) FROM n"
        )
        return int(next(tx.iter_built(endless, {"most": 1_000_000}))[0])

    assert await parts.workers.read_soon(count) == 1_000_000

    assert threads[0] == threading.get_ident()
    assert len(threads) == 2
    assert threads[1] != threads[0]
    # The next short query is not taken for a long one.
    assert await parts.workers.read_soon(get_thread) == threading.get_ident()


async def test_read_soon_query_may_give_itself_up(parts: Parts) -> None:
    def give_up(_: Transaction) -> int:
        raise NotBriefError

    assert await parts.workers.read_soon(get_thread, brief=give_up) != threading.get_ident()
    assert await parts.workers.read_soon(lambda _: 1, brief=lambda _: 2) == 2


async def test_read_soon_repeated_short_query_is_never_given_up(parts: Parts) -> None:
    for _ in range(2000):
        parts.database.read_briefly(lambda tx: tx.rows("list_public_ids", PAGE))
