import asyncio
import contextlib

import msgspec
import pytest
from tests.support.scripted_peer import (
    DEADLINE_S,
    EXPLICIT_VR,
    MR_IMAGE_STORAGE,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    RecordingHandler,
    ScriptedPeer,
    accept_association,
    build_command,
    encode_message,
    scripted_acceptor,
)

from isocenter.dimse.commands import Command, CommandField
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import REJECT_CALLED_AE_TITLE, build_proposals
from isocenter.dimse.pdu import Abort, NegotiatedContext, ReleaseReply, ReleaseRequest
from isocenter.dimse.protocol_error import AbortReason, AbortSource
from isocenter.dimse.requestor import AssociationProposal, AssociationTarget, open_association
from isocenter.dimse.transport import AssociationTransport
from isocenter.dimse.user_information import RoleSelection, UserIdentity
from isocenter.errors import (
    AssociationAbortedError,
    AssociationRejectedError,
    DeadlineExceededError,
    NoPresentationContextError,
    RemoteError,
)

PROPOSAL = AssociationProposal(
    build_proposals(
        (uid, (EXPLICIT_VR,)) for uid in (STUDY_ROOT_FIND, STUDY_ROOT_GET, MR_IMAGE_STORAGE)
    ),
    roles=(RoleSelection(MR_IMAGE_STORAGE, is_scu=False, is_scp=True),),
    user_identity=UserIdentity(1, b"name"),
)


def target(port: int, *, timeout_s: float | None = DEADLINE_S) -> AssociationTarget:
    return AssociationTarget("127.0.0.1", port, "REMOTE", "LOCAL", timeout_s)


def request(command_field: CommandField, message_id: int) -> Command:
    return Command(
        command_field=command_field, message_id=message_id, affected_sop_class_uid=STUDY_ROOT_FIND
    )


async def agree_to_release(peer: ScriptedPeer) -> None:
    assert await peer.read_pdu() == ReleaseRequest()
    await peer.send_pdu(ReleaseReply())
    assert await peer.read_pdu() is None


async def test_open_association_proposes_and_releases() -> None:
    async def script(peer: ScriptedPeer) -> None:
        request = await accept_association(peer)
        assert request.called_ae_title == "REMOTE"
        assert request.calling_ae_title == "LOCAL"
        assert request.contexts == PROPOSAL.contexts
        assert request.user_information.roles == PROPOSAL.roles
        assert request.user_information.user_identity == PROPOSAL.user_identity
        await agree_to_release(peer)

    async with (
        scripted_acceptor(script) as port,
        open_association(target(port), PROPOSAL) as association,
    ):
        assert sorted(association.contexts) == [1, 3, 5]
        assert association.peer.port == port


async def test_open_association_nobody_listens_raises() -> None:
    async with scripted_acceptor(lambda peer: peer.close()) as port:
        pass
    with pytest.raises(RemoteError, match="no connection to REMOTE"):
        await open_association(target(port), PROPOSAL).__aenter__()


async def test_open_association_rejected_raises_with_reason() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await peer.read_pdu()
        await peer.send_pdu(REJECT_CALLED_AE_TITLE)
        assert await peer.read_pdu() is None

    async with scripted_acceptor(script) as port:
        with pytest.raises(AssociationRejectedError, match="called AE title not recognized"):
            await open_association(target(port), PROPOSAL).__aenter__()


@pytest.mark.parametrize("is_aborted", [True, False])
async def test_open_association_refused_otherwise_raises(is_aborted: bool) -> None:
    async def script(peer: ScriptedPeer) -> None:
        await peer.read_pdu()
        if is_aborted:
            await peer.send_pdu(Abort(AbortSource.SERVICE_PROVIDER))

    async with scripted_acceptor(script) as port:
        with pytest.raises(AssociationAbortedError):
            await open_association(target(port), PROPOSAL).__aenter__()


async def test_open_association_no_answer_raises_in_time() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await peer.read_pdu()
        assert await peer.read_pdu() is None

    async with scripted_acceptor(script) as port:
        with pytest.raises(DeadlineExceededError):
            await open_association(target(port, timeout_s=0.05), PROPOSAL).__aenter__()


async def test_open_association_given_up_as_it_is_accepted_is_aborted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(peer: ScriptedPeer) -> None:
        await accept_association(peer)
        assert await peer.read_pdu() == Abort(AbortSource.SERVICE_USER)

    async def establish(port: int) -> None:
        await open_association(target(port), PROPOSAL).__aenter__()

    def build(transport: AssociationTransport, handler: None) -> DimseAssociation:
        # Comes before the task is woken by the answer, but when the answer is known already.
        asyncio.get_running_loop().call_soon(establishing.cancel)
        return DimseAssociation(transport, handler)

    monkeypatch.setattr("isocenter.dimse.requestor.DimseAssociation", build)
    async with scripted_acceptor(script) as port:
        establishing = asyncio.create_task(establish(port))
        with pytest.raises(asyncio.CancelledError):
            await establishing


async def test_open_association_no_context_accepted_raises() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await accept_association(peer, contexts=(NegotiatedContext(1, 3, ""),))
        assert await peer.read_pdu() == Abort(AbortSource.SERVICE_USER)

    async with scripted_acceptor(script) as port:
        with pytest.raises(NoPresentationContextError):
            await open_association(target(port), PROPOSAL).__aenter__()


async def test_open_association_exception_inside_aborts() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await accept_association(peer)
        assert await peer.read_pdu() == Abort(AbortSource.SERVICE_USER)
        assert await peer.read_pdu() is None

    async with scripted_acceptor(script) as port:
        with pytest.raises(ValueError, match="mine"):
            async with open_association(target(port), PROPOSAL):
                raise ValueError("mine")


async def test_open_association_garbage_as_answer_raises() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await peer.read_pdu()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        abort = Abort(AbortSource.SERVICE_PROVIDER, AbortReason.UNRECOGNIZED_PDU)
        assert await peer.read_pdu() == abort

    async with scripted_acceptor(script) as port:
        with pytest.raises(AssociationAbortedError, match="no PDU"):
            await open_association(target(port), PROPOSAL).__aenter__()


async def test_iter_responses_yields_pending_and_final() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await accept_association(peer)
        find = await peer.read_command()
        assert await peer.read_data_set() == b"identifier"
        answers = [
            encode_message(1, find.build_response(0xFF00), b"match %03d" % n) for n in range(200)
        ]
        await peer.send(b"".join(answers) + encode_message(1, find.build_response(0)))
        await agree_to_release(peer)

    async with (
        scripted_acceptor(script) as port,
        open_association(target(port), PROPOSAL) as association,
    ):
        find = request(CommandField.C_FIND_RQ, association.next_message_id())
        responses = [item async for item in association.iter_responses(1, find, b"identifier")]
    assert [item.data for item in responses] == [b"match %03d" % n for n in range(200)] + [None]
    assert responses[-1].status == 0


async def test_iter_responses_cancelled_ends_with_cancel_status() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await accept_association(peer)
        find = await peer.read_command()
        await peer.read_data_set()
        await peer.send(encode_message(1, find.build_response(0xFF00), b"match"))
        cancel = await peer.read_command()
        assert cancel.command_field == CommandField.C_CANCEL_RQ
        assert cancel.message_id_being_responded_to == find.message_id
        await peer.send(encode_message(1, find.build_response(0xFE00)))
        await agree_to_release(peer)

    statuses = []
    async with (
        scripted_acceptor(script) as port,
        open_association(target(port), PROPOSAL) as association,
    ):
        find = request(CommandField.C_FIND_RQ, association.next_message_id())
        async for response in association.iter_responses(1, find, b""):
            statuses.append(response.status)
            if not response.is_final:
                assert find.message_id is not None
                await association.send_cancel(1, find.message_id)
    assert statuses == [0xFF00, 0xFE00]


async def test_iter_responses_left_early_association_stays_usable() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await accept_association(peer)
        find = await peer.read_command()
        await peer.read_data_set()
        answers = [encode_message(1, find.build_response(0xFF00), b"match")] * 200
        await peer.send(b"".join(answers) + encode_message(1, find.build_response(0)))
        echo = await peer.read_command()
        await peer.send(encode_message(1, echo.build_response(0)))
        await agree_to_release(peer)

    async with (
        scripted_acceptor(script) as port,
        open_association(target(port), PROPOSAL) as association,
    ):
        find = request(CommandField.C_FIND_RQ, association.next_message_id())
        async with contextlib.aclosing(association.iter_responses(1, find, b"")) as responses:
            assert (await anext(responses)).data == b"match"
        echo = request(CommandField.C_ECHO_RQ, association.next_message_id())
        assert (await association.send_request(1, echo)).status == 0


async def test_requests_of_peer_during_get_are_served() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await accept_association(peer)
        get = await peer.read_command()
        await peer.read_data_set()
        store = msgspec.structs.replace(
            build_command(CommandField.C_STORE_RQ), affected_sop_class_uid=MR_IMAGE_STORAGE
        )
        await peer.send(encode_message(5, store, b"instance"))
        assert (await peer.read_command()).command_field == CommandField.C_STORE_RSP
        await peer.send(encode_message(3, get.build_response(0)))
        await agree_to_release(peer)

    handler = RecordingHandler()
    async with (
        scripted_acceptor(script) as port,
        open_association(target(port), PROPOSAL, handler=handler) as association,
    ):
        get = request(CommandField.C_GET_RQ, association.next_message_id())
        assert (await association.send_request(3, get, b"identifier")).status == 0
    assert handler.contents == [b"instance"]


async def test_request_of_peer_without_handler_is_aborted() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await accept_association(peer)
        await peer.read_command()
        await peer.send(encode_message(1, build_command(CommandField.C_ECHO_RQ)))
        assert await peer.read_pdu() == Abort(AbortSource.SERVICE_USER)

    async with (
        scripted_acceptor(script) as port,
        open_association(target(port), PROPOSAL) as association,
    ):
        echo = request(CommandField.C_ECHO_RQ, association.next_message_id())
        with pytest.raises(AssociationAbortedError):
            await association.send_request(1, echo)


async def test_request_peer_is_silent_raises_and_aborts() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await accept_association(peer)
        await peer.read_command()
        assert await peer.read_pdu() == Abort(AbortSource.SERVICE_USER)

    async with (
        scripted_acceptor(script) as port,
        open_association(target(port, timeout_s=0.5), PROPOSAL) as association,
    ):
        echo = request(CommandField.C_ECHO_RQ, association.next_message_id())
        with pytest.raises(DeadlineExceededError):
            await association.send_request(1, echo)
        with pytest.raises(DeadlineExceededError):
            await association.send_request(
                1, request(CommandField.C_ECHO_RQ, association.next_message_id())
            )


async def test_idle_association_of_ours_is_not_aborted() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await accept_association(peer)
        await agree_to_release(peer)

    async with (
        scripted_acceptor(script) as port,
        open_association(target(port, timeout_s=0.5), PROPOSAL) as association,
    ):
        passed = asyncio.Event()
        asyncio.get_running_loop().call_later(0.7, passed.set)
        await passed.wait()
        assert association.is_open


async def test_peer_closes_while_request_waits_raises() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await accept_association(peer)
        await peer.read_command()

    async with (
        scripted_acceptor(script) as port,
        open_association(target(port), PROPOSAL) as association,
    ):
        echo = request(CommandField.C_ECHO_RQ, association.next_message_id())
        with pytest.raises(AssociationAbortedError, match="closed without a release"):
            await association.send_request(1, echo)


async def test_response_data_too_long_is_aborted(caplog: pytest.LogCaptureFixture) -> None:
    async def script(peer: ScriptedPeer) -> None:
        await accept_association(peer)
        find = await peer.read_command()
        await peer.read_data_set()
        with contextlib.suppress(ConnectionError):
            await peer.send(encode_message(1, find.build_response(0xFF00), bytes(8 << 20)))

    async with (
        scripted_acceptor(script) as port,
        open_association(target(port), PROPOSAL) as association,
    ):
        find = request(CommandField.C_FIND_RQ, association.next_message_id())
        with pytest.raises(AssociationAbortedError):
            await association.send_request(1, find, b"")
    assert "a data sink failed" in caplog.messages


async def test_release_requested_by_peer_is_agreed() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await accept_association(peer)
        await peer.send_pdu(ReleaseRequest())
        assert await peer.read_pdu() == ReleaseReply()

    async with (
        scripted_acceptor(script) as port,
        open_association(target(port), PROPOSAL) as association,
    ):
        echo = request(CommandField.C_ECHO_RQ, association.next_message_id())
        await association.release()
        with pytest.raises(AssociationAbortedError):
            await association.send_request(1, echo)


async def test_release_collision_is_survived() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await accept_association(peer)
        assert await peer.read_pdu() == ReleaseRequest()
        # Both have asked; the requestor answers first (PS3.8 Table 9-10, states 9 and 11).
        await peer.send_pdu(ReleaseRequest())
        assert await peer.read_pdu() == ReleaseReply()
        await peer.send_pdu(ReleaseReply())
        assert await peer.read_pdu() is None

    async with (
        scripted_acceptor(script) as port,
        open_association(target(port), PROPOSAL) as association,
    ):
        assert association.is_open
