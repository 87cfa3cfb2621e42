import pytest
from tests.support.scripted_peer import (
    DEADLINE_S,
    RecordingHandler,
    ScriptedPeer,
    accept_association,
    encode_message,
    running_acceptor,
    scripted_acceptor,
)

from isocenter.dimse.commands import CommandField
from isocenter.dimse.negotiation import REJECT_CALLED_AE_TITLE
from isocenter.dimse.pdu import NegotiatedContext, ReleaseReply, ReleaseRequest
from isocenter.dimse.requestor import AssociationTarget
from isocenter.errors import (
    AssociationRejectedError,
    NoPresentationContextError,
    RemoteError,
)
from isocenter.scu.echo import VERIFICATION_SOP_CLASS_UID, send_echo


def target(port: int) -> AssociationTarget:
    return AssociationTarget("127.0.0.1", port, "REMOTE", "LOCAL", DEADLINE_S)


@pytest.mark.parametrize("status", [0, 0x0211])
async def test_send_echo_returns_status(status: int) -> None:
    async def script(peer: ScriptedPeer) -> None:
        await accept_association(peer)
        echo = await peer.read_command()
        assert echo.command_field == CommandField.C_ECHO_RQ
        assert echo.affected_sop_class_uid == VERIFICATION_SOP_CLASS_UID
        response = echo.build_response(status)
        await peer.send(encode_message(1, response))
        assert await peer.read_pdu() == ReleaseRequest()
        await peer.send_pdu(ReleaseReply())

    async with scripted_acceptor(script) as port:
        assert await send_echo(target(port)) == status


@pytest.mark.parametrize("host", ["a\0b", "x" * 300, "..", "é" * 100, "127.0.0.1:80"])
async def test_send_echo_to_impossible_host_raises(host: str) -> None:
    with pytest.raises(RemoteError):
        await send_echo(AssociationTarget(host, 104, "REMOTE", "LOCAL", DEADLINE_S))


async def test_send_echo_to_own_acceptor_succeeds() -> None:
    async with running_acceptor(RecordingHandler()) as acceptor:
        assert await send_echo(target(acceptor.port)) == 0


async def test_send_echo_rejected_raises() -> None:
    handler = RecordingHandler(rejection=REJECT_CALLED_AE_TITLE)
    async with running_acceptor(handler) as acceptor:
        with pytest.raises(AssociationRejectedError):
            await send_echo(target(acceptor.port))


async def test_send_echo_service_not_accepted_raises() -> None:
    async def script(peer: ScriptedPeer) -> None:
        await accept_association(peer, contexts=(NegotiatedContext(1, 3, ""),))
        await peer.read_pdu()

    async with scripted_acceptor(script) as port:
        with pytest.raises(NoPresentationContextError):
            await send_echo(target(port))
