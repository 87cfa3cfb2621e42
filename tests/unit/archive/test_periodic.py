import asyncio
import logging

import pytest

from isocenter.archive.periodic import Periodic
from isocenter.errors import DatabaseUnavailableError

NEVER_S = 3600.0


class Operation:
    """Counts its calls, and does at each what a script says."""

    def __init__(self, *script: bool | Exception) -> None:
        self.script = list(script)
        self.calls = 0
        self._called = asyncio.Condition()

    async def __call__(self) -> bool:
        async with self._called:
            self.calls += 1
            self._called.notify_all()
        step = self.script.pop(0) if self.script else False
        if isinstance(step, Exception):
            raise step
        return step

    async def wait_for(self, calls: int) -> None:
        async with asyncio.timeout(10), self._called:
            await self._called.wait_for(lambda: self.calls >= calls)


async def test_start_calls_at_once() -> None:
    operation = Operation()
    periodic = Periodic("test", NEVER_S, operation)

    periodic.start()
    await operation.wait_for(1)
    await periodic.stop()

    assert operation.calls == 1


async def test_more_to_do_calls_again_at_once() -> None:
    operation = Operation(True, True, False)
    periodic = Periodic("test", NEVER_S, operation)

    periodic.start()
    await operation.wait_for(3)
    await periodic.stop()

    assert operation.calls == 3


async def test_interval_passed_calls_again() -> None:
    operation = Operation()
    periodic = Periodic("test", 0.001, operation)

    periodic.start()
    await operation.wait_for(5)
    await periodic.stop()


async def test_wake_calls_before_the_interval() -> None:
    operation = Operation()
    periodic = Periodic("test", NEVER_S, operation)
    periodic.start()
    await operation.wait_for(1)

    periodic.wake()
    await operation.wait_for(2)
    await periodic.stop()


async def test_wake_during_a_call_calls_again() -> None:
    calls = 0
    done = asyncio.Event()

    async def operation() -> bool:
        nonlocal calls
        calls += 1
        if calls == 1:
            periodic.wake()
        else:
            done.set()
        return False

    periodic = Periodic("test", NEVER_S, operation)
    periodic.start()
    async with asyncio.timeout(10):
        await done.wait()
    await periodic.stop()


@pytest.mark.parametrize(
    ("error", "level"),
    [(DatabaseUnavailableError("away"), logging.WARNING), (ValueError("bug"), logging.ERROR)],
)
async def test_failing_call_is_logged_and_repeated(
    caplog: pytest.LogCaptureFixture, error: Exception, level: int
) -> None:
    operation = Operation(error)
    periodic = Periodic("test", NEVER_S, operation)
    periodic.start()
    await operation.wait_for(1)

    periodic.wake()
    await operation.wait_for(2)
    await periodic.stop()

    assert [record.levelno for record in caplog.records] == [level]


async def test_stop_before_start_is_harmless() -> None:
    periodic = Periodic("test", NEVER_S, Operation())

    await periodic.stop()


async def test_stop_then_start_begins_again() -> None:
    operation = Operation()
    periodic = Periodic("test", NEVER_S, operation)
    periodic.start()
    await operation.wait_for(1)
    await periodic.stop()

    periodic.start()
    await operation.wait_for(2)
    await periodic.stop()
