"""Associations that are kept for a while: who gets them, and what if their peer is gone."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.receiving import Receiver, run_receiver
from tests.support.scripted_peer import DEADLINE_S, EXPLICIT_VR, MR_IMAGE_STORAGE

from isocenter.dimse.commands import Command, CommandField
from isocenter.dimse.data_sink import Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.requestor import AssociationTarget
from isocenter.errors import AssociationAbortedError, DeadlineExceededError
from isocenter.scu import association_pool
from isocenter.scu.association_pool import AssociationPool
from isocenter.scu.echo import check_services
from isocenter.scu.storage_session import Combination, StorageSession
from isocenter.scu.store import InstanceToStore

CT = ("1.2.840.10008.5.1.4.1.1.2", EXPLICIT_VR)
MR = (MR_IMAGE_STORAGE, EXPLICIT_VR)
LONG_S = 60.0


def target(port: int, title: str = "REMOTE", *, timeout_s: float = DEADLINE_S) -> AssociationTarget:
    return AssociationTarget("127.0.0.1", port, title, "LOCAL", timeout_s)


async def store(
    pool: AssociationPool,
    port: int,
    combination: Combination = CT,
    *,
    title: str = "REMOTE",
    timeout_s: float = DEADLINE_S,
) -> None:
    instance = InstanceToStore(combination[0], "1.2.3", combination[1], b"data")
    async with StorageSession(target(port, title, timeout_s=timeout_s), (), pool) as session:
        assert (await session.store(instance)).is_stored


async def test_association_is_used_again_for_what_it_can_do() -> None:
    receiver, pool = Receiver(), AssociationPool(LONG_S)
    async with run_receiver(receiver) as port:
        for _ in range(3):
            await store(pool, port)
        assert (receiver.proposals, pool.idle_count) == ([[CT]], 1)
        # For what it cannot do another one takes its place.
        await store(pool, port, MR)
        assert (receiver.proposals, pool.idle_count) == ([[CT], [MR]], 1)
        await store(pool, port, title="OTHER")
        assert (len(receiver.proposals), pool.idle_count) == (3, 2)
        await pool.close()
    assert pool.idle_count == 0


async def test_echo_is_sent_over_the_same_association() -> None:
    receiver, pool = Receiver(), AssociationPool(LONG_S)
    async with run_receiver(receiver) as port:
        await check_services(target(port), "", {}, pool)
        await check_services(target(port), "", {}, pool)
        assert len(receiver.proposals) == 1
        await pool.close()


async def test_association_is_released_after_its_time() -> None:
    receiver, pool = Receiver(), AssociationPool(0.01)
    async with run_receiver(receiver) as port, asyncio.timeout(DEADLINE_S):
        await store(pool, port)
        while pool.idle_count:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)
        await store(pool, port)
        assert len(receiver.proposals) == 2
        await pool.close()


async def test_nothing_is_kept_without_a_delay() -> None:
    receiver, pool = Receiver(), AssociationPool()
    async with run_receiver(receiver) as port:
        await store(pool, port)
        assert pool.idle_count == 0
        await store(pool, port)
    assert len(receiver.proposals) == 2


async def test_peer_that_went_and_came_back_is_called_anew() -> None:
    receiver, pool = Receiver(), AssociationPool(LONG_S)
    async with run_receiver(receiver) as port:
        await store(pool, port)
    async with run_receiver(receiver, port=port):
        await store(pool, port)
        await check_services(target(port), "", {}, pool)
        await pool.close()
    assert receiver.confirmed == ["1.2.3"] * 2


async def test_kept_association_that_breaks_is_replaced_at_once() -> None:
    answers = iter([0, None, 0])
    receiver, pool = Receiver(answer=lambda _: next(answers)), AssociationPool(LONG_S)
    async with run_receiver(receiver) as port:
        await store(pool, port)
        await store(pool, port)
        assert len(receiver.proposals) == 2
        await pool.close()


class Forgetful(Receiver):
    """Answers the first request of the first association, and nothing else that comes over it."""

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Answer, or not."""
        if len(self.proposals) > 1 or not self.commands:
            await super().handle(association, message)


async def test_kept_association_that_is_silent_is_replaced() -> None:
    pool = AssociationPool(LONG_S)
    receiver = Forgetful()
    async with run_receiver(receiver) as port:
        for _ in range(2):
            await store(pool, port, timeout_s=0.5)
        assert len(receiver.proposals) == 2
        await pool.close()
    receiver = Forgetful()
    async with run_receiver(receiver) as port:
        for _ in range(2):
            await check_services(target(port, timeout_s=0.5), "", {}, pool)
        assert len(receiver.proposals) == 2
        await pool.close()


async def test_new_association_that_is_silent_is_an_error() -> None:
    pool = AssociationPool(LONG_S)
    receiver = Forgetful(commands=[Command(command_field=CommandField.C_ECHO_RQ)])
    async with run_receiver(receiver) as port:
        with pytest.raises(DeadlineExceededError):
            await store(pool, port, timeout_s=0.5)
        assert len(receiver.proposals) == 1


async def test_new_association_that_breaks_is_an_error() -> None:
    receiver, pool = Receiver(answer=lambda _: None), AssociationPool(LONG_S)
    async with run_receiver(receiver) as port:
        with pytest.raises(AssociationAbortedError):
            await store(pool, port)
        assert (len(receiver.proposals), pool.idle_count) == (1, 0)


async def test_stream_gets_a_new_association() -> None:
    receiver, pool = Receiver(), AssociationPool(LONG_S)

    async def stream() -> AsyncIterator[bytes]:
        yield b"data"

    async with run_receiver(receiver) as port:
        await store(pool, port)
        async with StorageSession(target(port), (), pool) as session:
            for uid in ("1.2.4", "1.2.5"):
                await session.store(InstanceToStore(CT[0], uid, CT[1], stream()))
        assert (len(receiver.proposals), pool.idle_count) == (2, 1)
        await pool.close()
    assert receiver.confirmed == ["1.2.3", "1.2.4", "1.2.5"]


async def test_oldest_is_released_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(association_pool, "_MOST_IDLE", 2)
    receiver, pool = Receiver(), AssociationPool(LONG_S)
    async with run_receiver(receiver) as port:
        for title in ("A", "B", "C"):
            await store(pool, port, title=title)
        assert pool.idle_count == 2
        await store(pool, port, title="C")
        assert len(receiver.proposals) == 3
        await pool.close()


async def test_nothing_is_released_below_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(association_pool, "_MOST_IDLE", 4)
    receiver, pool = Receiver(), AssociationPool(LONG_S)
    async with run_receiver(receiver) as port:
        for number, title in enumerate(("A", "B", "C", "D"), 1):
            await store(pool, port, title=title)
            assert pool.idle_count == number
        await pool.close()
