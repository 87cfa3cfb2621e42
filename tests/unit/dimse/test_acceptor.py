import asyncio
import logging

import pytest
from tests.support.scripted_peer import (
    DEADLINE_S,
    FAST,
    RecordingHandler,
    ScriptedPeer,
    answer_success,
    build_command,
    build_request,
    encode_message,
    running_acceptor,
    wait_until,
)

from isocenter.dimse.acceptor import AcceptorOptions, AssociationAcceptor
from isocenter.dimse.commands import CommandField
from isocenter.dimse.data_sink import Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import (
    REJECT_APPLICATION_CONTEXT,
    REJECT_CALLING_AE_TITLE,
    REJECT_LOCAL_LIMIT,
    REJECT_NO_REASON,
)
from isocenter.dimse.pdu import (
    Abort,
    AssociateReject,
    AssociateRequest,
    ReleaseReply,
    ReleaseRequest,
)
from isocenter.dimse.protocol_error import AbortSource
from isocenter.dimse.transport import PeerAddress, Timeouts
from isocenter.dimse.user_information import OperationsWindow, UserIdentity, UserInformation
from isocenter.errors import BadParameterError

ECHO = encode_message(1, build_command(CommandField.C_ECHO_RQ))


async def test_association_echo_release_is_served() -> None:
    handler = RecordingHandler()
    async with running_acceptor(handler) as acceptor:
        peer = await ScriptedPeer.connect(acceptor.port)
        accept = await peer.associate()
        await peer.send(ECHO)
        response = await peer.read_command()
        await peer.send_pdu(ReleaseRequest())
        assert await peer.read_pdu() == ReleaseReply()
        await peer.close()
        await wait_until(lambda: acceptor.association_count == 0)
    assert [context.result for context in accept.contexts] == [0, 0, 0, 0]
    assert (response.command_field, response.status) == (CommandField.C_ECHO_RSP, 0)


async def test_association_tells_door_who_called() -> None:
    handler = RecordingHandler(user_identity_response=b"")
    identity = UserIdentity(2, b"name", b"secret", is_response_requested=True)
    information = UserInformation(
        implementation_class_uid="1.2.3",
        implementation_version_name="PEER_1",
        operations_window=OperationsWindow(5, 5),
        user_identity=identity,
    )
    async with running_acceptor(handler, maximum_length=32768) as acceptor:
        peer = await ScriptedPeer.connect(acceptor.port)
        accept = await peer.associate(build_request(user_information=information))
        await peer.send(ECHO)
        await peer.read_command()
        (association,) = handler.associations
        assert association.calling_ae_title == "PEER"
        assert association.called_ae_title == "ISOCENTER"
        assert association.peer.host == "127.0.0.1"
        assert association.peer.port > 0
        assert association.user_identity == identity
        assert association.peer_information == information
        assert association.is_open
        assert sorted(association.contexts) == [1, 3, 5, 7]
        await peer.close()
    assert accept.user_information.maximum_length == 32768
    assert accept.user_information.operations_window == OperationsWindow(1, 1)
    assert accept.user_information.user_identity_response == b""


async def test_association_door_rejects_is_rejected() -> None:
    async with running_acceptor(RecordingHandler(rejection=REJECT_CALLING_AE_TITLE)) as acceptor:
        peer = await ScriptedPeer.connect(acceptor.port)
        await peer.send_pdu(build_request())
        assert await peer.read_pdu() == REJECT_CALLING_AE_TITLE
        await peer.close()


async def test_association_other_application_context_is_rejected() -> None:
    async with running_acceptor(RecordingHandler()) as acceptor:
        peer = await ScriptedPeer.connect(acceptor.port)
        await peer.send_pdu(build_request(application_context_name="1.2.3"))
        assert await peer.read_pdu() == REJECT_APPLICATION_CONTEXT
        await peer.close()


class FailingHandler(RecordingHandler):
    def negotiate(self, request: AssociateRequest, peer: PeerAddress) -> AssociateReject:
        raise ValueError("broken door")


async def test_association_door_fails_is_rejected_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running_acceptor(FailingHandler()) as acceptor:
        peer = await ScriptedPeer.connect(acceptor.port)
        await peer.send_pdu(build_request())
        assert await peer.read_pdu() == REJECT_NO_REASON
        await peer.close()
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1


async def test_association_beyond_limit_is_rejected_until_one_ends() -> None:
    async with running_acceptor(RecordingHandler(), maximum_associations=1) as acceptor:
        first = await ScriptedPeer.connect(acceptor.port)
        await first.associate()
        second = await ScriptedPeer.connect(acceptor.port)
        await second.send_pdu(build_request())
        assert await second.read_pdu() == REJECT_LOCAL_LIMIT
        await second.close()
        await first.send_pdu(ReleaseRequest())
        assert await first.read_pdu() == ReleaseReply()
        third = await ScriptedPeer.connect(acceptor.port)
        await third.associate()
        await first.close()
        await third.close()


async def test_connections_far_beyond_limit_are_dropped() -> None:
    async with running_acceptor(RecordingHandler(), maximum_associations=1) as acceptor:
        peers = [await ScriptedPeer.connect(acceptor.port) for _ in range(129)]
        last = await ScriptedPeer.connect(acceptor.port)
        assert await last.read_pdu() is None
        for peer in [*peers, last]:
            await peer.close()


async def test_many_associations_in_sequence_leave_nothing_behind() -> None:
    async with running_acceptor(RecordingHandler(), maximum_associations=2) as acceptor:
        for _ in range(200):
            peer = await ScriptedPeer.connect(acceptor.port)
            await peer.associate()
            await peer.send_pdu(ReleaseRequest())
            assert await peer.read_pdu() == ReleaseReply()
            await peer.close()
        await wait_until(lambda: acceptor.association_count == 0)


async def test_connection_without_request_is_closed() -> None:
    async with running_acceptor(RecordingHandler(), timeouts=FAST) as acceptor:
        peer = await ScriptedPeer.connect(acceptor.port)
        assert await peer.read_pdu() is None
        await peer.close()


async def test_request_that_never_ends_is_closed() -> None:
    async with running_acceptor(RecordingHandler(), timeouts=FAST) as acceptor:
        peer = await ScriptedPeer.connect(acceptor.port)
        await peer.send(b"\x01\x00\x00\x00\x10\x00" + bytes(100))
        assert await peer.read_pdu() is None
        await peer.close()


async def test_web_browser_is_aborted_and_closed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "isocenter")
    async with running_acceptor(RecordingHandler(), timeouts=FAST) as acceptor:
        peer = await ScriptedPeer.connect(acceptor.port)
        await peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await peer.read_pdu() == Abort(AbortSource.SERVICE_USER)
        assert await peer.read_pdu() is None
        await peer.close()
    (record,) = caplog.records
    assert vars(record)["remote_host"] == "127.0.0.1"
    assert "PDU" in vars(record)["details"]


@pytest.mark.parametrize(
    ("sent", "is_closed"),
    [
        (b"\x04\x00\x00\x00\x00\x02??", False),
        (b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00", False),
        (encode_message(1, build_command(CommandField.C_STORE_RQ), bytes(5000))[:3000], True),
        (b"", True),
    ],
    ids=["garbage", "abort", "leaves in a data set", "leaves"],
)
async def test_association_that_ends_badly_is_logged_once(
    caplog: pytest.LogCaptureFixture, sent: bytes, is_closed: bool
) -> None:
    handler = RecordingHandler()
    async with running_acceptor(handler) as acceptor:
        peer = await ScriptedPeer.connect(acceptor.port)
        await peer.associate()
        caplog.set_level("INFO", "isocenter")
        await peer.send(sent)
        if is_closed:
            peer.drop()
        await wait_until(lambda: acceptor.association_count == 0)
        await peer.close()
    (record,) = caplog.records
    assert record.message == "association aborted"
    assert vars(record)["remote_aet"] == "PEER"
    assert not handler.messages


async def test_silent_association_is_aborted() -> None:
    timeouts = Timeouts(artim_s=DEADLINE_S, silence_s=0.05)
    async with running_acceptor(RecordingHandler(), timeouts=timeouts) as acceptor:
        peer = await ScriptedPeer.connect(acceptor.port)
        await peer.associate()
        assert await peer.read_pdu() == Abort(AbortSource.SERVICE_USER)
        await peer.close()


async def test_handler_longer_than_silence_is_not_aborted() -> None:
    proceed = asyncio.Event()
    times: list[float] = []

    async def behavior(association: DimseAssociation, message: Message) -> None:
        await proceed.wait()
        await answer_success(association, message)

    timeouts = Timeouts(artim_s=DEADLINE_S, silence_s=0.02)
    async with running_acceptor(RecordingHandler(behavior), timeouts=timeouts) as acceptor:
        peer = await ScriptedPeer.connect(acceptor.port)
        await peer.associate()
        await peer.send(ECHO)
        loop = asyncio.get_running_loop()
        start = loop.time()
        loop.call_later(0.1, proceed.set)
        assert (await peer.read_command()).status == 0
        times.append(loop.time() - start)
        await peer.close()
    assert times[0] > 0.05


async def test_stop_idle_association_is_aborted() -> None:
    async with running_acceptor(RecordingHandler()) as acceptor:
        peer = await ScriptedPeer.connect(acceptor.port)
        await peer.associate()
        await acceptor.stop(deadline_s=DEADLINE_S)
        assert await peer.read_pdu() == Abort(AbortSource.SERVICE_USER)
        assert await peer.read_pdu() is None
        await peer.close()


async def test_stop_connection_without_association_is_closed() -> None:
    async with running_acceptor(RecordingHandler()) as acceptor:
        peer = await ScriptedPeer.connect(acceptor.port)
        echo = await ScriptedPeer.connect(acceptor.port)
        await echo.associate()
        await acceptor.stop(deadline_s=DEADLINE_S)
        assert await peer.read_pdu() is None
        await peer.close()
        await echo.close()


async def test_stop_request_being_handled_is_finished() -> None:
    has_begun, proceed = asyncio.Event(), asyncio.Event()

    async def behavior(association: DimseAssociation, message: Message) -> None:
        has_begun.set()
        await proceed.wait()
        await answer_success(association, message)

    async with running_acceptor(RecordingHandler(behavior)) as acceptor:
        peer = await ScriptedPeer.connect(acceptor.port)
        await peer.associate()
        await peer.send(ECHO)
        await has_begun.wait()
        stopping = asyncio.create_task(acceptor.stop(deadline_s=DEADLINE_S))
        await asyncio.sleep(0)
        proceed.set()
        assert (await peer.read_command()).status == 0
        assert await peer.read_pdu() == Abort(AbortSource.SERVICE_USER)
        await stopping
        await peer.close()


async def test_stop_deadline_cancels_what_is_left() -> None:
    has_begun = asyncio.Event()
    endings: list[str] = []

    async def behavior(association: DimseAssociation, message: Message) -> None:
        has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            endings.append("cancelled")

    async with running_acceptor(RecordingHandler(behavior)) as acceptor:
        peer = await ScriptedPeer.connect(acceptor.port)
        await peer.associate()
        silent = await ScriptedPeer.connect(acceptor.port)
        await peer.send(ECHO)
        await has_begun.wait()
        await acceptor.stop(deadline_s=0)
        assert endings == ["cancelled"]
        assert await peer.read_pdu() is None
        await peer.close()
        await silent.close()


async def test_stop_refuses_new_connections() -> None:
    acceptor = AssociationAcceptor(RecordingHandler(), AcceptorOptions())
    await acceptor.start("127.0.0.1", 0)
    port = acceptor.port
    await acceptor.stop(deadline_s=0)
    with pytest.raises(ConnectionRefusedError):
        await ScriptedPeer.connect(port)
    assert acceptor.port == 0


async def test_stop_before_start_does_nothing() -> None:
    await AssociationAcceptor(RecordingHandler(), AcceptorOptions()).stop(deadline_s=0)


@pytest.mark.parametrize("maximum_length", [0, 4095, 131073])
def test_options_impossible_maximum_length_raises(maximum_length: int) -> None:
    with pytest.raises(BadParameterError):
        AcceptorOptions(maximum_length=maximum_length)
