import pytest
from tests.support.scripted_peer import (
    DEADLINE_S,
    EXPLICIT_VR,
    IMPLICIT_VR,
    MR_IMAGE_STORAGE,
    RecordingHandler,
    running_acceptor,
)

from isocenter.dimse.data_sink import Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.pdu import ProposedContext
from isocenter.dimse.requestor import AssociationTarget
from isocenter.errors import AssociationAbortedError, BadParameterError, NoPresentationContextError
from isocenter.scu.store import (
    InstanceToStore,
    MoveOriginator,
    StoreResult,
    build_storage_contexts,
    open_storage_association,
)

CONTEXTS = build_storage_contexts(
    [(MR_IMAGE_STORAGE, EXPLICIT_VR), (MR_IMAGE_STORAGE, IMPLICIT_VR)]
)


def target(port: int) -> AssociationTarget:
    return AssociationTarget("127.0.0.1", port, "REMOTE", "LOCAL", DEADLINE_S)


def instance(data: bytes, *, transfer_syntax_uid: str = EXPLICIT_VR) -> InstanceToStore:
    return InstanceToStore(MR_IMAGE_STORAGE, "1.2.3.4", transfer_syntax_uid, data)


async def test_store_many_instances_over_one_association() -> None:
    handler = RecordingHandler()
    async with (
        running_acceptor(handler) as acceptor,
        open_storage_association(target(acceptor.port), CONTEXTS) as scu,
    ):
        for size in (0, 100, 1_000_000):
            assert await scu.store(instance(bytes(size))) == StoreResult(0)
        implicit = instance(b"x", transfer_syntax_uid=IMPLICIT_VR)
        assert (await scu.store(implicit)).is_stored
        assert scu.can_store(MR_IMAGE_STORAGE, IMPLICIT_VR)
        assert not scu.can_store(MR_IMAGE_STORAGE, "1.2.840.10008.1.2.4.50")
    assert [len(content or b"") for content in handler.contents] == [0, 100, 1_000_000, 1]
    assert [message.context.context_id for message in handler.messages] == [1, 1, 1, 3]
    assert handler.messages[0].command.affected_sop_instance_uid == "1.2.3.4"
    assert len(set(map(id, handler.associations))) == 1


async def test_store_for_move_names_its_originator() -> None:
    handler = RecordingHandler()
    async with (
        running_acceptor(handler) as acceptor,
        open_storage_association(target(acceptor.port), CONTEXTS) as scu,
    ):
        await scu.store(instance(b""), move_originator=MoveOriginator("MOVER", 77))
    command = handler.messages[0].command
    assert command.move_originator_ae_title == "MOVER"
    assert command.move_originator_message_id == 77


@pytest.mark.parametrize(
    ("status", "is_stored"), [(0, True), (0xB000, True), (0xA700, False), (0x0122, False)]
)
async def test_store_returns_answer_of_peer(status: int, is_stored: bool) -> None:
    async def behavior(association: DimseAssociation, message: Message) -> None:
        response = message.command.build_response(status, error_comment="why")
        await association.send_response(message.context.context_id, response)

    async with (
        running_acceptor(RecordingHandler(behavior)) as acceptor,
        open_storage_association(target(acceptor.port), CONTEXTS) as scu,
    ):
        result = await scu.store(instance(b"data"))
    assert result == StoreResult(status, "why")
    assert result.is_stored is is_stored


async def test_store_unaccepted_syntax_raises_and_association_stays() -> None:
    async with (
        running_acceptor(RecordingHandler()) as acceptor,
        open_storage_association(target(acceptor.port), CONTEXTS) as scu,
    ):
        with pytest.raises(NoPresentationContextError):
            await scu.store(instance(b"", transfer_syntax_uid="1.2.840.10008.1.2.4.50"))
        assert (await scu.store(instance(b""))).is_stored


async def test_store_peer_aborts_raises() -> None:
    async def behavior(association: DimseAssociation, message: Message) -> None:
        association.abort()

    async with running_acceptor(RecordingHandler(behavior)) as acceptor:
        with pytest.raises(AssociationAbortedError):
            async with open_storage_association(target(acceptor.port), CONTEXTS) as scu:
                await scu.store(instance(b"data"))


def test_build_storage_contexts_proposes_each_combination_once() -> None:
    combinations = [("1.1", "a"), ("1.1", "b"), ("1.1", "a"), ("1.2", "a")]
    assert build_storage_contexts(combinations) == (
        ProposedContext(1, "1.1", ("a",)),
        ProposedContext(3, "1.1", ("b",)),
        ProposedContext(5, "1.2", ("a",)),
    )


def test_build_storage_contexts_too_many_raises() -> None:
    with pytest.raises(BadParameterError):
        build_storage_contexts((f"1.{number}", "a") for number in range(129))
