"""Counting sub-operations (PS3.4 Tables C.4-2 and C.4-3)."""

from typing import Any, cast

import pytest

from isocenter.dicom.data_sets import get_layout, get_text, read_data_set
from isocenter.dimse.commands import Command, CommandField
from isocenter.dimse.data_sink import Message
from isocenter.dimse.negotiation import PresentationContext
from isocenter.scp.sub_operations import SubOperations

EXPLICIT = "1.2.840.10008.1.2.1"
CONTEXT = PresentationContext(1, "1.2.840.10008.5.1.4.1.2.2.3", EXPLICIT)
SUCCESS, WARNING, FAILURE = 0x0000, 0xB000, 0xA700


class Recorder:
    """Stands for an association that keeps what is sent."""

    calling_ae_title = "ASKER"

    def __init__(self) -> None:
        self.sent: list[tuple[Command, bytes | None]] = []

    async def send_response(
        self, context_id: int, command: Command, data: bytes | None = None
    ) -> None:
        """Keep a response."""
        assert context_id == 1
        self.sent.append((command, data))


def begin(total: int) -> tuple[SubOperations, Message, Recorder]:
    command = Command(command_field=CommandField.C_GET_RQ, message_id=7)
    message, recorder = Message(CONTEXT, command), Recorder()
    return SubOperations(cast(Any, recorder), message, total), message, recorder


def read_counters(command: Command) -> tuple[int | None, ...]:
    return (
        command.remaining_suboperations,
        command.completed_suboperations,
        command.failed_suboperations,
        command.warning_suboperations,
    )


@pytest.mark.parametrize(
    ("statuses", "final", "counters"),
    [
        ([], 0x0000, (None, 0, 0, 0)),
        ([SUCCESS, SUCCESS], 0x0000, (None, 2, 0, 0)),
        ([SUCCESS, WARNING], 0xB000, (None, 1, 0, 1)),
        ([SUCCESS, FAILURE], 0xB000, (None, 1, 1, 0)),
        ([WARNING, FAILURE], 0xB000, (None, 0, 1, 1)),
        ([FAILURE, FAILURE], 0xA702, (None, 0, 2, 0)),
    ],
)
async def test_final_status_tells_what_became_of_all(
    statuses: list[int], final: int, counters: tuple[int | None, ...]
) -> None:
    progress, _, recorder = begin(len(statuses))
    for number, status in enumerate(statuses):
        progress.note(status, f"1.2.{number}")
    await progress.send_final()
    ((command, data),) = recorder.sent
    assert (command.status, read_counters(command)) == (final, counters)
    assert (data is None) == (FAILURE not in statuses)


async def test_cancelled_request_tells_what_is_left() -> None:
    progress, message, recorder = begin(3)
    progress.note(SUCCESS, "1.2.1")
    progress.note_failure("1.2.2", "gone")
    await progress.send_pending()
    message.cancel()
    assert not progress.is_wanted
    await progress.send_final()
    (pending, _), (final, data) = recorder.sent
    assert (pending.status, read_counters(pending)) == (0xFF00, (1, 1, 1, 0))
    assert (final.status, read_counters(final)) == (0xFE00, (1, 1, 1, 0))
    assert get_text(read_data_set(data or b"", get_layout(EXPLICIT)), 0x00080058) == "1.2.2"


async def test_cancelling_behind_the_last_one_changes_nothing() -> None:
    progress, message, recorder = begin(1)
    progress.note(SUCCESS, "1.2.1")
    message.cancel()
    await progress.send_final()
    assert recorder.sent[0][0].status == 0


async def test_failures_are_logged_once_with_their_number_and_the_first_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    progress, _, _ = begin(1000)
    progress.note(SUCCESS, "1.2.0")
    progress.note(0xA700, "1.2.1")
    for number in range(2, 1000):
        progress.note_failure(f"1.2.{number}", "not tried")
    await progress.send_final()
    (record,) = caplog.records
    logged = {key: vars(record)[key] for key in ("remote_aet", "failed", "total", "reason")}
    assert logged == {
        "remote_aet": "ASKER",
        "failed": 999,
        "total": 1000,
        "reason": "refused with status A700H",
    }


async def test_list_of_failures_fits_into_an_element() -> None:
    progress, _, recorder = begin(5000)
    for number in range(5000):
        progress.note_failure(f"1.2.840.{number:020}", "gone")
    await progress.send_final()
    command, data = recorder.sent[0]
    assert read_counters(command) == (None, 0, 5000, 0)
    listed = get_text(read_data_set(data or b"", get_layout(EXPLICIT)), 0x00080058).split("\\")
    assert 2000 < len(listed) < 5000
