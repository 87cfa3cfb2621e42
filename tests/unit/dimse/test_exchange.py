import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.support.scripted_peer import (
    DEADLINE_S,
    EXPLICIT_VR,
    IMPLICIT_VR,
    MR_IMAGE_STORAGE,
    PATIENT,
    RecordingHandler,
    RecordingSink,
    ScriptedPeer,
    answer_success,
    build_command,
    build_request,
    encode_message,
    running_acceptor,
    wait_until,
)

from isocenter.dimse.commands import Command, CommandField, Priority
from isocenter.dimse.data_sink import Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.messages import encode_fragments
from isocenter.dimse.pdu import (
    Abort,
    PresentationDataValue,
    ReleaseReply,
    ReleaseRequest,
    encode_pdu,
)
from isocenter.dimse.pdu import DataTransfer as DataTransferPDU
from isocenter.dimse.protocol_error import AbortReason, AbortSource
from isocenter.dimse.sending import DataSource
from isocenter.dimse.transport import Timeouts
from isocenter.dimse.user_information import UserInformation
from isocenter.errors import (
    AssociationAbortedError,
    DeadlineExceededError,
    InternalError,
    NoPresentationContextError,
)

ECHO = encode_message(1, build_command(CommandField.C_ECHO_RQ))
STORE = build_command(CommandField.C_STORE_RQ)
FIND = build_command(CommandField.C_FIND_RQ)
ABORT_BY_USER = Abort(AbortSource.SERVICE_USER)


def count_errors(caplog: pytest.LogCaptureFixture) -> int:
    return sum(1 for record in caplog.records if record.levelno >= logging.ERROR)


def closed_counts(handler: RecordingHandler) -> list[int]:
    return [sink.close_count for sink in handler.sinks if isinstance(sink, RecordingSink)]


async def connect(port: int) -> ScriptedPeer:
    peer = await ScriptedPeer.connect(port)
    await peer.associate()
    return peer


@pytest.mark.parametrize("length", [0, 1, 16378, 16379, 400_000])
async def test_store_data_set_arrives_and_sink_is_closed(length: int) -> None:
    handler = RecordingHandler()
    data = bytes(range(256)) * (length // 256 + 1)
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(encode_message(3, STORE, data[:length]))
        response = await peer.read_command()
        assert response.affected_sop_instance_uid == STORE.affected_sop_instance_uid
        await wait_until(lambda: closed_counts(handler) == [1])
        await peer.close()
    assert handler.contents == [data[:length]]


async def test_store_byte_by_byte_arrives() -> None:
    handler = RecordingHandler()
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        for byte in encode_message(3, STORE, b"0123456789", size=4):
            await peer.send(bytes((byte,)))
        assert (await peer.read_command()).status == 0
        await peer.close()
    assert handler.contents == [b"0123456789"]


async def test_requests_sent_together_are_handled_one_after_another() -> None:
    running = 0
    order: list[int | None] = []

    async def behavior(association: DimseAssociation, message: Message) -> None:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0)
        order.append(message.command.message_id)
        await answer_success(association, message)
        running -= 1

    async with running_acceptor(RecordingHandler(behavior)) as acceptor:
        peer = await connect(acceptor.port)
        commands = [build_command(CommandField.C_STORE_RQ, message_id=n) for n in range(1, 21)]
        messages = [encode_message(3, command, b"x" * 10_000) for command in commands]
        await peer.send(b"".join(messages))
        answers = [(await peer.read_command()).message_id_being_responded_to for _ in messages]
        await peer.close()
    assert order == answers == list(range(1, 21))


async def test_release_sent_behind_request_waits_for_its_answer() -> None:
    async with running_acceptor(RecordingHandler()) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(ECHO + b"\x05\x00\x00\x00\x00\x04\x00\x00\x00\x00")
        assert (await peer.read_command()).status == 0
        assert await peer.read_pdu() == ReleaseReply()
        await peer.close()


async def test_cancel_reaches_running_handler() -> None:
    async def behavior(association: DimseAssociation, message: Message) -> None:
        pending = message.command.build_response(0xFF00)
        await association.send_response(5, pending, b"match")
        await wait_until(lambda: message.is_cancelled)
        await association.send_response(5, message.command.build_response(0xFE00))

    async with running_acceptor(RecordingHandler(behavior)) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(encode_message(5, FIND, b"identifier"))
        assert (await peer.read_command()).status == 0xFF00
        assert await peer.read_data_set() == b"match"
        for message_id in (99, FIND.message_id):
            cancel = Command(
                command_field=CommandField.C_CANCEL_RQ, message_id_being_responded_to=message_id
            )
            await peer.send(encode_message(5, cancel))
        assert (await peer.read_command()).status == 0xFE00
        await peer.close()


@pytest.mark.parametrize("is_dropped", [True, False])
async def test_end_of_association_reaches_running_handler(is_dropped: bool) -> None:
    told: list[bool] = []

    async def behavior(_: DimseAssociation, message: Message) -> None:
        message.on_cancel = lambda: told.append(message.is_cancelled)
        await wait_until(lambda: bool(told))

    handler = RecordingHandler(behavior)
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(encode_message(5, FIND, b"identifier"))
        await wait_until(lambda: bool(handler.messages))
        if is_dropped:
            peer.drop()
        else:
            await peer.send_pdu(Abort(0, 0))
        await wait_until(lambda: bool(told))
        await peer.close()
    assert told == [True]


async def test_cancel_of_nothing_is_ignored() -> None:
    async with running_acceptor(RecordingHandler()) as acceptor:
        peer = await connect(acceptor.port)
        cancel = Command(command_field=CommandField.C_CANCEL_RQ, message_id_being_responded_to=1)
        await peer.send(encode_message(5, cancel) + ECHO)
        assert (await peer.read_command()).status == 0
        await peer.close()


def iterate() -> Iterator[bytes]:
    yield from (b"a" * 5000, b"", b"b" * 60_000, b"c")


async def iterate_later() -> AsyncIterator[bytes]:
    for chunk in iterate():
        await asyncio.sleep(0)
        yield chunk


WHOLE = b"".join(iterate())


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(lambda: WHOLE, id="bytes"),
        pytest.param(lambda: bytearray(WHOLE), id="bytearray"),
        pytest.param(lambda: memoryview(WHOLE), id="memoryview"),
        pytest.param(iterate, id="iterator"),
        pytest.param(iterate_later, id="asynchronous iterator"),
        pytest.param(lambda: [WHOLE], id="list"),
    ],
)
async def test_response_data_of_any_kind_is_sent(source: object) -> None:
    assert callable(source)

    async def behavior(association: DimseAssociation, message: Message) -> None:
        data: DataSource = source()
        await association.send_response(5, message.command.build_response(0xFF00), data)
        await answer_success(association, message)

    information = UserInformation(maximum_length=4096)
    async with running_acceptor(RecordingHandler(behavior)) as acceptor:
        peer = await ScriptedPeer.connect(acceptor.port)
        await peer.associate(build_request(user_information=information))
        await peer.send(encode_message(5, FIND, b""))
        assert (await peer.read_command()).has_data_set
        assert await peer.read_data_set() == WHOLE
        assert not (await peer.read_command()).has_data_set
        await peer.close()


async def test_response_larger_than_all_buffers_waits_for_slow_peer() -> None:
    async def behavior(association: DimseAssociation, message: Message) -> None:
        data = bytes(20_000_000)
        await association.send_response(5, message.command.build_response(0xFF00), data)
        await answer_success(association, message)

    async with running_acceptor(RecordingHandler(behavior)) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(encode_message(5, FIND, b""))
        await peer.read_command()
        assert len(await peer.read_data_set()) == 20_000_000
        assert (await peer.read_command()).status == 0
        await peer.close()


async def test_response_peer_never_reads_connection_is_dropped() -> None:
    failures: list[Exception] = []

    async def behavior(association: DimseAssociation, message: Message) -> None:
        try:
            for _ in range(1000):
                pending = message.command.build_response(0xFF00)
                await association.send_response(5, pending, bytes(1_000_000))
        except AssociationAbortedError as error:
            failures.append(error)

    timeouts = Timeouts(artim_s=DEADLINE_S, silence_s=0.3)
    async with running_acceptor(RecordingHandler(behavior), timeouts=timeouts) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(encode_message(5, FIND, b""))
        await wait_until(lambda: bool(failures))
        await peer.close()


async def test_response_data_fails_association_is_aborted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise ValueError("cannot read")

    async def behavior(association: DimseAssociation, message: Message) -> None:
        await association.send_response(5, message.command.build_response(0xFF00), broken())

    async with running_acceptor(RecordingHandler(behavior)) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(encode_message(5, FIND, b""))
        await peer.read_command()
        while isinstance(pdu := await peer.read_pdu(), DataTransferPDU):
            assert not pdu.values[-1].is_last
        assert pdu == ABORT_BY_USER
        await peer.close()
    assert count_errors(caplog) == 1


async def test_handler_fails_association_is_aborted_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def behavior(association: DimseAssociation, message: Message) -> None:
        raise ValueError("broken service")

    handler = RecordingHandler(behavior)
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(encode_message(3, STORE, b"data") + ECHO)
        assert await peer.read_pdu() == ABORT_BY_USER
        await peer.close()
    assert count_errors(caplog) == 1
    assert closed_counts(handler) == [1]
    assert len(handler.messages) == 1


async def test_handler_sends_after_peer_is_gone_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    proceed = asyncio.Event()

    async def behavior(association: DimseAssociation, message: Message) -> None:
        await proceed.wait()
        await answer_success(association, message)

    handler = RecordingHandler(behavior)
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(encode_message(3, STORE, b"data"))
        await wait_until(lambda: bool(handler.messages))
        peer.drop()
        await wait_until(lambda: not handler.associations[0].is_open)
        assert acceptor.association_count == 1
        proceed.set()
        await wait_until(lambda: acceptor.association_count == 0)
    assert count_errors(caplog) == 0
    assert closed_counts(handler) == [1]


async def test_handler_fails_after_peer_is_gone_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    proceed = asyncio.Event()

    async def behavior(association: DimseAssociation, message: Message) -> None:
        await proceed.wait()
        raise ValueError("broken service")

    handler = RecordingHandler(behavior)
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(ECHO)
        await wait_until(lambda: bool(handler.messages))
        peer.drop()
        await wait_until(lambda: not handler.associations[0].is_open)
        proceed.set()
        await wait_until(lambda: acceptor.association_count == 0)
    assert count_errors(caplog) == 1


class FailingSink(RecordingSink):
    def write(self, fragment: memoryview | bytes) -> None:
        raise OSError("disk is gone")

    def close(self) -> None:
        super().close()
        raise OSError("disk is still gone")


async def test_sink_fails_association_is_aborted(caplog: pytest.LogCaptureFixture) -> None:
    handler = RecordingHandler(build_sink=FailingSink)
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(encode_message(3, STORE, bytes(100_000)))
        assert await peer.read_pdu() == ABORT_BY_USER
        await peer.close()
    assert closed_counts(handler) == [1]
    assert handler.messages == []
    # One for the failure, one for the failing clean-up.
    assert count_errors(caplog) == 2


def refuse_sink() -> RecordingSink:
    raise OSError("no room")


async def test_sink_cannot_be_opened_association_is_aborted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running_acceptor(RecordingHandler(build_sink=refuse_sink)) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(encode_message(3, STORE, bytes(100_000)))
        assert await peer.read_pdu() == ABORT_BY_USER
        await peer.close()
    assert count_errors(caplog) == 1


class SaturatedSink(RecordingSink):
    def __init__(self) -> None:
        super().__init__()
        self.drained = asyncio.Event()


async def test_sink_saturated_peer_waits_until_drained() -> None:
    handler = RecordingHandler(build_sink=SaturatedSink)
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(encode_message(3, STORE, b"x" * 100_000) + ECHO)
        await wait_until(lambda: bool(handler.sinks))
        (sink,) = handler.sinks
        assert isinstance(sink, SaturatedSink)
        await sink.has_begun_to_drain.wait()
        assert len(sink.get_content()) == 16378
        assert sink.drained is not None
        sink.drained.set()
        assert (await peer.read_command()).command_field == CommandField.C_STORE_RSP
        assert (await peer.read_command()).command_field == CommandField.C_ECHO_RSP
        await peer.close()
    assert handler.contents == [b"x" * 100_000, None]


async def test_sink_saturated_peer_drops_sink_is_closed() -> None:
    handler = RecordingHandler(build_sink=SaturatedSink)
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(encode_message(3, STORE, b"x" * 100_000))
        await wait_until(lambda: bool(handler.sinks))
        (sink,) = handler.sinks
        assert isinstance(sink, SaturatedSink)
        await sink.has_begun_to_drain.wait()
        await acceptor.stop(deadline_s=DEADLINE_S)
        await wait_until(lambda: closed_counts(handler) == [1])
        await peer.close()
    assert handler.messages == []


class UndrainableSink(SaturatedSink):
    async def drain(self) -> None:
        raise OSError("disk is gone")


async def test_sink_drain_fails_association_is_aborted(caplog: pytest.LogCaptureFixture) -> None:
    handler = RecordingHandler(build_sink=UndrainableSink)
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(encode_message(3, STORE, b"x" * 100_000))
        assert await peer.read_pdu() == ABORT_BY_USER
        await peer.close()
    assert closed_counts(handler) == [1]
    assert count_errors(caplog) == 1


@pytest.mark.parametrize("is_dropped", [True, False])
async def test_connection_breaks_in_data_set_sink_is_closed(is_dropped: bool) -> None:
    handler = RecordingHandler()
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(encode_message(3, STORE, bytes(100_000))[:-1])
        await wait_until(lambda: bool(handler.sinks))
        if is_dropped:
            peer.drop()
        else:
            await peer.close()
        await wait_until(lambda: closed_counts(handler) == [1])
    assert handler.messages == []


async def test_data_set_never_ends_is_aborted() -> None:
    handler = RecordingHandler()
    timeouts = Timeouts(artim_s=DEADLINE_S, silence_s=0.3)
    async with running_acceptor(handler, timeouts=timeouts) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(encode_message(3, STORE, bytes(100_000))[:-1])
        assert await peer.read_pdu() == ABORT_BY_USER
        await peer.close()
    assert closed_counts(handler) == [1]


DATA = encode_fragments(3, b"data", size=1000)
HALF = encode_message(3, STORE, b"data")[: -len(DATA)]
RESPONSE = encode_message(1, build_command(CommandField.C_ECHO_RQ).build_response(0))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(DATA, AbortReason.UNEXPECTED_PDU_PARAMETER, id="data without command"),
        pytest.param(HALF + ECHO, AbortReason.UNEXPECTED_PDU_PARAMETER, id="command in data"),
        pytest.param(
            encode_message(99, STORE), AbortReason.INVALID_PDU_PARAMETER_VALUE, id="context"
        ),
        pytest.param(
            b"\x04\0\0\0\x40\x01", AbortReason.INVALID_PDU_PARAMETER_VALUE, id="PDU too long"
        ),
        pytest.param(b"\x09", AbortReason.UNRECOGNIZED_PDU, id="unknown PDU"),
    ],
)
async def test_violation_is_aborted_by_provider(data: bytes, reason: AbortReason) -> None:
    handler = RecordingHandler()
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(data)
        assert await peer.read_pdu() == Abort(AbortSource.SERVICE_PROVIDER, reason)
        await peer.close()
        await wait_until(lambda: all(count == 1 for count in closed_counts(handler)))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(RESPONSE, id="response to nothing"),
        pytest.param(
            encode_message(
                5,
                Command(command_field=CommandField.C_CANCEL_RQ, message_id_being_responded_to=1),
                b"data",
            ),
            id="cancel with data",
        ),
    ],
)
async def test_message_without_meaning_is_aborted_by_user(data: bytes) -> None:
    async with running_acceptor(RecordingHandler()) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(data)
        assert await peer.read_pdu() == ABORT_BY_USER
        await peer.close()


async def test_values_behind_abort_in_same_pdu_are_ignored() -> None:
    handler = RecordingHandler()
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        command_set = bytes(RESPONSE[12:])
        echo_set = bytes(ECHO[12:])
        values = (
            PresentationDataValue(1, True, True, command_set),
            PresentationDataValue(1, True, True, echo_set),
        )
        await peer.send_pdu(DataTransferPDU(values))
        assert await peer.read_pdu() == ABORT_BY_USER
        await peer.close()
    assert handler.messages == []


async def test_abort_by_peer_ends_association() -> None:
    handler = RecordingHandler()
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(ECHO)
        await peer.read_command()
        await peer.send_pdu(Abort())
        assert await peer.read_pdu() is None
        with pytest.raises(AssociationAbortedError, match="the peer aborted"):
            await handler.associations[0].send_response(1, build_command(CommandField.C_ECHO_RSP))
        await peer.close()


async def test_sub_operations_over_the_same_association_are_answered() -> None:
    statuses: list[int] = []

    async def behavior(association: DimseAssociation, message: Message) -> None:
        context = association.get_context(MR_IMAGE_STORAGE)
        for _ in range(3):
            store = Command(
                command_field=CommandField.C_STORE_RQ,
                message_id=association.next_message_id(),
                affected_sop_class_uid=MR_IMAGE_STORAGE,
                affected_sop_instance_uid="1.2.3",
                priority=Priority.MEDIUM,
            )
            response = await association.send_request(context.context_id, store, b"instance")
            statuses.append(response.status)
        await answer_success(association, message)

    async with running_acceptor(RecordingHandler(behavior)) as acceptor:
        peer = await connect(acceptor.port)
        get = build_command(CommandField.C_GET_RQ)
        await peer.send(encode_message(7, get, b"identifier"))
        for _ in range(3):
            store = await peer.read_command()
            assert await peer.read_data_set() == b"instance"
            await peer.send(encode_message(3, store.build_response(0xB000)))
        assert (await peer.read_command()).command_field == CommandField.C_GET_RSP
        await peer.close()
    assert statuses == [0xB000] * 3


async def test_sub_operation_peer_is_silent_request_fails() -> None:
    failures: list[Exception] = []

    async def behavior(association: DimseAssociation, message: Message) -> None:
        try:
            await association.send_request(1, build_command(CommandField.C_ECHO_RQ))
        except DeadlineExceededError as error:
            failures.append(error)

    timeouts = Timeouts(artim_s=DEADLINE_S, silence_s=0.3)
    async with running_acceptor(RecordingHandler(behavior), timeouts=timeouts) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(ECHO)
        await peer.read_command()
        assert await peer.read_pdu() == ABORT_BY_USER
        await wait_until(lambda: len(failures) == 1)
        await peer.close()


@pytest.mark.parametrize("is_before", [False, True], ids=["behind", "before"])
@pytest.mark.parametrize("excess", [encode_pdu(ReleaseRequest()), ECHO], ids=["release", "request"])
async def test_sub_operation_peer_goes_on_instead_of_answering_is_aborted(
    excess: bytes, is_before: bool
) -> None:
    failures: list[Exception] = []

    async def behavior(association: DimseAssociation, _: Message) -> None:
        try:
            await association.send_request(1, build_command(CommandField.C_ECHO_RQ))
        except AssociationAbortedError as error:
            failures.append(error)

    handler = RecordingHandler(behavior)
    async with running_acceptor(handler, timeouts=PATIENT) as acceptor:
        peer = await connect(acceptor.port)
        if is_before:
            await peer.send(ECHO + excess)
        else:
            await peer.send(ECHO)
            await peer.read_command()
            await peer.send(excess)
        assert await peer.read_pdu() == ABORT_BY_USER
        await wait_until(lambda: len(failures) == 1 and acceptor.association_count == 0)
        await peer.close()


async def test_sub_operation_answered_as_another_is_aborted() -> None:
    failures: list[Exception] = []

    async def behavior(association: DimseAssociation, _: Message) -> None:
        try:
            await association.send_request(3, STORE, b"instance")
        except AssociationAbortedError as error:
            failures.append(error)

    async with running_acceptor(RecordingHandler(behavior), timeouts=PATIENT) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(ECHO)
        await peer.read_command()
        await peer.read_data_set()
        echo = build_command(CommandField.C_ECHO_RQ, message_id=STORE.message_id or 0)
        await peer.send(encode_message(3, echo.build_response(0)))
        assert await peer.read_pdu() == ABORT_BY_USER
        await wait_until(lambda: len(failures) == 1)
        await peer.close()


async def test_release_by_acceptor_is_agreed() -> None:
    handler = RecordingHandler()
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(ECHO)
        await peer.read_command()
        (association,) = handler.associations
        releasing = asyncio.create_task(association.release())
        assert await peer.read_pdu() == ReleaseRequest()
        with pytest.raises(AssociationAbortedError, match="being released"):
            await association.send_response(1, build_command(CommandField.C_ECHO_RSP))
        await peer.send_pdu(ReleaseReply())
        await releasing
        await peer.close()


async def test_release_collision_is_survived() -> None:
    handler = RecordingHandler()
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(ECHO)
        await peer.read_command()
        releasing = asyncio.create_task(handler.associations[0].release())
        assert await peer.read_pdu() == ReleaseRequest()
        await peer.send_pdu(ReleaseRequest())
        await peer.send_pdu(ReleaseReply())
        assert await peer.read_pdu() == ReleaseReply()
        await peer.close()
        await releasing


async def test_release_unanswered_drops_connection() -> None:
    handler = RecordingHandler()
    timeouts = Timeouts(artim_s=0.3, silence_s=None)
    async with running_acceptor(handler, timeouts=timeouts) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(ECHO)
        await peer.read_command()
        await handler.associations[0].release()
        assert await peer.read_pdu() == ReleaseRequest()
        assert await peer.read_pdu() is None
        await peer.close()


async def test_get_context_chooses_by_transfer_syntax() -> None:
    handler = RecordingHandler()
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(ECHO)
        await peer.read_command()
        (association,) = handler.associations
        assert association.get_context(MR_IMAGE_STORAGE).context_id == 3
        assert association.get_context(MR_IMAGE_STORAGE, EXPLICIT_VR).context_id == 3
        with pytest.raises(NoPresentationContextError, match=IMPLICIT_VR):
            association.get_context(MR_IMAGE_STORAGE, IMPLICIT_VR)
        with pytest.raises(NoPresentationContextError):
            association.get_context("1.2.3")
        assert [context.context_id for context in association.find_contexts("1.2.3")] == []
        await peer.close()


async def test_request_without_own_message_identifier_is_our_error() -> None:
    handler = RecordingHandler()
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(ECHO)
        await peer.read_command()
        with pytest.raises(InternalError):
            await handler.associations[0].send_request(
                1, Command(command_field=CommandField.C_ECHO_RQ)
            )
        await peer.close()


async def test_message_identifiers_start_again_after_the_last() -> None:
    handler = RecordingHandler()
    async with running_acceptor(handler) as acceptor:
        peer = await connect(acceptor.port)
        await peer.send(ECHO)
        await peer.read_command()
        (association,) = handler.associations
        identifiers = [association.next_message_id() for _ in range(65536)]
        await peer.close()
    assert identifiers[:2] == [1, 2]
    assert identifiers[-2:] == [65535, 1]
