"""What all services with identifiers share: reading them, sending answers, refusing.

References
----------
PS3.4 §C.4.1 (C-FIND), Tables C.4-1 to C.4-3 (statuses); PS3.7 §9.1.2
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from isocenter.archive.settings import Settings
from isocenter.archive.workers import Workers
from isocenter.dicom.data_sets import DataSet, get_layout, read_data_set
from isocenter.dimse.data_sink import MemorySink, Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.status import Status
from isocenter.errors import (
    BackendError,
    BadRequestError,
    DeadlineExceededError,
    RequestError,
    ServerError,
)

__all__ = [
    "LARGEST_IDENTIFIER",
    "choose_status",
    "get_content",
    "read_identifier",
    "refuse",
    "send_answers",
]

_log = logging.getLogger(__name__)

LARGEST_IDENTIFIER = 4 * 1024 * 1024
"""A longer identifier aborts the association; lists of 50,000 UIDs fit."""

# A longer identifier is read in a thread.
_SHORT_IDENTIFIER = 8 * 1024
# Between so many answers others get their turn.
_ANSWERS_OF_A_TURN = 25


def get_content(message: Message) -> bytes:
    """Give the bytes of the data set of a request.

    Raises
    ------
    BadRequestError
        If it has none.
    """
    if not isinstance(message.sink, MemorySink):
        reason = "the request has no identifier"
        raise BadRequestError(reason)
    return message.sink.get_content()


async def read_identifier(message: Message, settings: Settings, workers: Workers) -> DataSet:
    """Read the data set of a request.

    Raises
    ------
    BadRequestError
        If it has none.
    BadFileFormatError
        If it is malformed.
    """
    content = get_content(message)
    layout = get_layout(message.context.transfer_syntax_uid)

    def read() -> DataSet:
        return read_data_set(content, layout, default_encoding=settings.default_encoding)

    return read() if len(content) <= _SHORT_IDENTIFIER else await workers.run(read)


def choose_status(error: ServerError) -> Status:
    """Choose the status of a query or retrieval that failed.

    References
    ----------
    PS3.4 Tables C.4-1 to C.4-3; Orthanc answers 0xC000 to all of them (behaviour manual §25.3)
    """
    if isinstance(error, BackendError | DeadlineExceededError):
        return Status.OUT_OF_RESOURCES
    return Status.CANNOT_UNDERSTAND


async def refuse(association: DimseAssociation, message: Message, error: ServerError) -> None:
    """Answer a request that cannot be served with a final status."""
    status = choose_status(error)
    reason = error.details or error.message
    _log.warning(
        "a request is refused",
        extra={
            "remote_aet": association.calling_ae_title,
            "status": f"{status:04X}H",
            # What a client wrote may be about a patient.
            "reason": error.message if isinstance(error, RequestError) else reason,
        },
    )
    response = message.command.build_response(status, error_comment=reason)
    await association.send_response(message.context.context_id, response)


async def send_answers(
    association: DimseAssociation, message: Message, pages: AsyncGenerator[Sequence[bytes], None]
) -> int:
    """Send the answers to a C-FIND and its final status; give their number.

    A page is asked for when the peer has taken the one before.

    References
    ----------
    PS3.7 §9.1.2.2, §9.3.2.3 (cancel); PS3.4 §C.4.1.3
    """
    context_id = message.context.context_id
    pending = message.command.build_response(Status.PENDING)
    count = 0
    status = Status.SUCCESS
    try:
        async with aclosing(pages):
            async for page in pages:
                for start in range(0, len(page), _ANSWERS_OF_A_TURN):
                    part = page[start : start + _ANSWERS_OF_A_TURN]
                    await association.send_responses(context_id, pending, part)
                    count += len(part)
                    if count > _ANSWERS_OF_A_TURN:
                        await asyncio.sleep(0)  # Where a cancellation would arrive.
                    if message.is_cancelled:
                        break
                if message.is_cancelled:
                    status = Status.CANCEL
                    break
    except (RequestError, BackendError, DeadlineExceededError) as error:
        await refuse(association, message, error)
        return count
    await association.send_response(context_id, message.command.build_response(status))
    return count
