"""Operations that come together share a hop to a thread."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from isocenter.errors import InternalError
from isocenter.jobs.grouping import GroupedCalls

_DEADLINE_S = 20.0


class Case:
    """Runs groups on the event loop, when the gate is open."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.calls = GroupedCalls(self.run_together, self.run_blocking)

    def run_together(self, operations: Sequence[Callable[[], Any]]) -> list[Any]:
        self.groups.append(len(operations))
        results: list[Any] = []
        for operation in operations:
            try:
                results.append(operation())
            except ValueError as error:
                results.append(error)
        return results

    async def run_blocking(self, operation: Callable[..., Any], /, *arguments: Any) -> Any:
        await self.gate.wait()
        return operation(*arguments)


async def test_what_comes_meanwhile_is_the_next_group() -> None:
    case = Case()
    async with asyncio.timeout(_DEADLINE_S):
        case.gate.clear()
        first = asyncio.ensure_future(case.calls(str, 1))
        await asyncio.sleep(0)
        others = [asyncio.ensure_future(case.calls(str, number)) for number in range(2, 70)]
        case.gate.set()
        assert await first == "1"
        assert await asyncio.gather(*others) == [str(number) for number in range(2, 70)]
        assert await case.calls(str, 70) == "70"
    assert case.groups == [1, 64, 4, 1]


async def test_failure_concerns_nobody_else() -> None:
    case = Case()
    async with asyncio.timeout(_DEADLINE_S):
        good, bad = case.calls(int, "1"), case.calls(int, "x")
        assert await good == 1
        with pytest.raises(ValueError, match="'x'"):
            await bad


async def test_cancelled_caller_does_not_stop_the_operation() -> None:
    case = Case()
    done: list[int] = []
    async with asyncio.timeout(_DEADLINE_S):
        case.gate.clear()
        left, stays = case.calls(done.append, 1), case.calls(done.append, 2)
        await asyncio.sleep(0)
        left.cancel()
        case.gate.set()
        await stays
    assert done == [1, 2]


async def test_error_of_the_thread_is_told_to_all() -> None:
    case = Case()

    async def refuse(*_: Any) -> Any:
        raise InternalError

    case.calls = GroupedCalls(case.run_together, refuse)
    async with asyncio.timeout(_DEADLINE_S):
        results = await asyncio.gather(
            case.calls(str, 1), case.calls(str, 2), return_exceptions=True
        )
    assert [type(result) for result in results] == [InternalError, InternalError]


async def test_nobody_waits_for_an_event_loop_that_ends() -> None:
    case = Case()
    case.gate.clear()
    first = case.calls(str, 1)
    await asyncio.sleep(0)
    second = case.calls(str, 2)
    assert case.calls._task is not None
    case.calls._task.cancel()
    async with asyncio.timeout(_DEADLINE_S):
        results = await asyncio.gather(first, second, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
