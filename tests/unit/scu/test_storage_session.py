import pytest
from tests.support.receiving import Receiver, run_receiver
from tests.support.scripted_peer import DEADLINE_S, EXPLICIT_VR, IMPLICIT_VR, MR_IMAGE_STORAGE

from isocenter.dimse.requestor import AssociationTarget
from isocenter.errors import AssociationAbortedError, NoPresentationContextError, RemoteError
from isocenter.scu.storage_session import Combination, StorageSession
from isocenter.scu.store import InstanceToStore

CT = "1.2.840.10008.5.1.4.1.1.2"
JPEG = "1.2.840.10008.1.2.4.50"
MANY = [(f"1.2.{number}", EXPLICIT_VR) for number in range(200)]


def target(port: int) -> AssociationTarget:
    return AssociationTarget("127.0.0.1", port, "REMOTE", "LOCAL", DEADLINE_S)


def instance(combination: Combination, uid: str = "1.2.3") -> InstanceToStore:
    return InstanceToStore(*combination[:1], uid, combination[1], b"data")


async def test_session_proposes_all_combinations_at_once() -> None:
    receiver = Receiver()
    combinations = [(CT, EXPLICIT_VR), (CT, JPEG), (MR_IMAGE_STORAGE, IMPLICIT_VR)]
    async with (
        run_receiver(receiver) as port,
        StorageSession(target(port), combinations) as session,
    ):
        for combination in combinations:
            assert (await session.store(instance(combination))).is_stored
    assert [sorted(proposed) for proposed in receiver.proposals] == [sorted(combinations)]


async def test_session_opens_another_association_beyond_128_contexts() -> None:
    receiver = Receiver()
    async with run_receiver(receiver) as port, StorageSession(target(port), MANY) as session:
        for combination in MANY:
            assert (await session.store(instance(combination))).is_stored
    assert [len(proposed) for proposed in receiver.proposals] == [128, 128]
    assert len(receiver.confirmed) == 200


async def test_session_opens_another_association_for_what_was_not_expected() -> None:
    receiver = Receiver()
    async with run_receiver(receiver) as port, StorageSession(target(port)) as session:
        await session.store(instance((CT, EXPLICIT_VR)))
        session.expect([(CT, EXPLICIT_VR)])
        await session.store(instance((CT, JPEG)))
        await session.store(instance((CT, EXPLICIT_VR)))
    assert receiver.proposals == [[(CT, EXPLICIT_VR)], [(CT, JPEG), (CT, EXPLICIT_VR)]]


async def test_session_proposes_alone_what_was_refused_among_others() -> None:
    receiver = Receiver(accepts=lambda proposed: proposed[:1])
    combinations = [(CT, EXPLICIT_VR), (CT, JPEG)]
    async with (
        run_receiver(receiver) as port,
        StorageSession(target(port), combinations) as session,
    ):
        for combination in combinations:
            assert (await session.store(instance(combination))).is_stored
    assert receiver.proposals == [combinations, [(CT, JPEG)]]


@pytest.mark.parametrize("count", [1, 3])
async def test_session_asks_once_for_what_is_refused(count: int) -> None:
    receiver = Receiver(accepts=lambda proposed: [c for c in proposed if c[1] != JPEG])
    combinations = [(CT, JPEG), (CT, EXPLICIT_VR)]
    async with (
        run_receiver(receiver) as port,
        StorageSession(target(port), combinations) as session,
    ):
        for _ in range(count):
            with pytest.raises(NoPresentationContextError, match=JPEG):
                await session.store(instance((CT, JPEG)))
        assert (await session.store(instance((CT, EXPLICIT_VR)))).is_stored
    assert len(receiver.proposals) == 3


async def test_session_with_peer_that_accepts_nothing_stays_usable() -> None:
    receiver = Receiver(accepts=lambda _: [])
    async with run_receiver(receiver) as port, StorageSession(target(port), MANY[:2]) as session:
        for combination in MANY[:2]:
            with pytest.raises(NoPresentationContextError):
                await session.store(instance(combination))
        receiver.accepts = lambda proposed: proposed
        assert (await session.store(instance((CT, EXPLICIT_VR)))).is_stored


async def test_session_goes_on_after_an_abort() -> None:
    receiver = Receiver(answer=lambda uid: None if uid == "1.9" else 0)
    async with run_receiver(receiver) as port, StorageSession(target(port)) as session:
        await session.store(instance((CT, EXPLICIT_VR), "1.1"))
        with pytest.raises(AssociationAbortedError):
            await session.store(instance((CT, EXPLICIT_VR), "1.9"))
        await session.store(instance((CT, EXPLICIT_VR), "1.2"))
    assert receiver.confirmed == ["1.1", "1.2"]
    assert len(receiver.proposals) == 2


async def test_session_without_peer_raises_each_time() -> None:
    async with run_receiver(Receiver()) as port:
        pass
    async with StorageSession(target(port)) as session:
        for _ in range(2):
            with pytest.raises(RemoteError, match="no connection"):
                await session.prepare((CT, EXPLICIT_VR))
