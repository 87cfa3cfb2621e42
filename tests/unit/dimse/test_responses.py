import asyncio
from dataclasses import replace

import pytest

from isocenter.dimse.commands import Command, CommandField
from isocenter.dimse.responses import Response, ResponseQueue
from isocenter.errors import AssociationAbortedError


def build_response(status: int) -> Response:
    return Response(Command(command_field=CommandField.C_FIND_RSP, status=status))


class Connection:
    def __init__(self) -> None:
        self.holds = 0

    def hold(self) -> None:
        self.holds += 1

    def resume(self) -> None:
        self.holds -= 1


def build_queue() -> tuple[ResponseQueue, Connection]:
    connection = Connection()
    return ResponseQueue(
        connection.hold, connection.resume, command_field=CommandField.C_FIND_RSP
    ), connection


@pytest.mark.parametrize(
    ("status", "is_final"), [(0xFF00, False), (0xFF01, False), (0, True), (0xFE00, True)]
)
def test_response_pending_is_not_final(status: int, is_final: bool) -> None:
    assert build_response(status).is_final is is_final


async def test_queue_get_waits_for_put() -> None:
    queue, _ = build_queue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.put(build_response(7))
    assert (await waiting).status == 7


async def test_queue_fail_comes_after_what_arrived() -> None:
    queue, _ = build_queue()
    queue.put(build_response(7))
    queue.fail(AssociationAbortedError("gone"))
    assert (await queue.get()).status == 7
    with pytest.raises(AssociationAbortedError):
        await queue.get()


async def test_queue_full_holds_until_empty() -> None:
    queue, connection = build_queue()
    for status in range(80):
        queue.put(build_response(status))
    assert connection.holds == 1
    assert [(await queue.get()).status for _ in range(80)] == list(range(80))
    assert connection.holds == 0


async def test_queue_discard_resumes_and_ignores_the_rest() -> None:
    queue, connection = build_queue()
    for status in range(100):
        queue.put(build_response(status))
    queue.discard()
    queue.put(build_response(0))
    assert connection.holds == 0


async def test_queue_of_large_responses_holds_early() -> None:
    queue, connection = build_queue()
    large = replace(build_response(0xFF00), data=bytes(3_000_000))
    queue.put(large)
    assert connection.holds == 0
    queue.put(large)
    assert connection.holds == 1
    for _ in range(2):
        await queue.get()
    queue.put(large)
    assert connection.holds == 0
