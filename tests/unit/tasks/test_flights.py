"""What is under way at once: most of them, most bytes, and how it ends."""

import asyncio

import pytest

from isocenter.tasks import flights
from isocenter.tasks.flights import run_flights


class Flights:
    """Lands each when the test says so."""

    def __init__(self) -> None:
        self.under_way: dict[int, asyncio.Future[int]] = {}
        self.cancelled: list[int] = []
        self.may_start = True

    async def send(self, index: int) -> int:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.under_way[index] = future
        try:
            return await future
        except asyncio.CancelledError:
            self.cancelled.append(index)
            raise
        finally:
            del self.under_way[index]

    def start(self, *sizes: int, most: int = 3) -> asyncio.Task[dict[int, int]]:
        return asyncio.create_task(
            run_flights(enumerate(sizes), self.send, most=most, may_start=lambda: self.may_start)
        )

    async def list_under_way(self) -> list[int]:
        for _ in range(5):
            await asyncio.sleep(0)
        return sorted(self.under_way)


async def test_next_one_starts_when_any_has_landed() -> None:
    control = Flights()
    task = control.start(1, 1, 1, 1, 1)
    assert await control.list_under_way() == [0, 1, 2]
    control.under_way[1].set_result(10)
    assert await control.list_under_way() == [0, 2, 3]
    for index in (3, 2, 0):
        control.under_way[index].set_result(index)
    assert await control.list_under_way() == [4]
    control.under_way[4].set_result(4)
    assert await task == {0: 0, 1: 10, 2: 2, 3: 3, 4: 4}


async def test_large_one_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "_MOST_BYTES", 10)
    control = Flights()
    task = control.start(4, 6, 99, 1)
    assert await control.list_under_way() == [0, 1]
    control.under_way[0].set_result(0)
    assert await control.list_under_way() == [1]
    for index in (1, 2, 3):
        control.under_way[index].set_result(0)
        await control.list_under_way()
    assert len(await task) == 4


async def test_those_under_way_end_when_none_may_start() -> None:
    control = Flights()
    task = control.start(1, 1, 1, 1)
    assert await control.list_under_way() == [0, 1, 2]
    control.may_start = False
    for index in (2, 0, 1):
        control.under_way[index].set_result(0)
        await control.list_under_way()
    assert sorted(await task) == [0, 1, 2]


async def test_first_one_needs_no_leave() -> None:
    control = Flights()
    control.may_start = False
    task = control.start(1, 1)
    assert await control.list_under_way() == [0]
    control.under_way[0].set_result(7)
    assert await task == {0: 7}


async def test_unforeseen_error_cancels_the_others() -> None:
    control = Flights()
    task = control.start(1, 1, 1)
    await control.list_under_way()
    control.under_way[1].set_exception(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await task
    assert sorted(control.cancelled) == [0, 2]


async def test_cancellation_reaches_all() -> None:
    control = Flights()
    task = control.start(1, 1, 1)
    await control.list_under_way()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(control.cancelled) == [0, 1, 2]


async def test_nothing_to_send_is_no_error() -> None:
    assert await Flights().start() == {}
