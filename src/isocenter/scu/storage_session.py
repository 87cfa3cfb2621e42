"""Many instances for one remote modality, over as few associations as it takes.

References
----------
PS3.4 §B.3.2 (negotiation), PS3.8 §9.3.2.2 (at most 128 presentation contexts)
"""

import sys
from collections.abc import Iterable
from contextlib import AsyncExitStack
from itertools import islice
from types import TracebackType
from typing import Self

from isocenter.dimse.negotiation import MAXIMUM_CONTEXTS
from isocenter.dimse.requestor import AssociationProposal, AssociationTarget
from isocenter.errors import (
    AssociationAbortedError,
    DeadlineExceededError,
    NoPresentationContextError,
)
from isocenter.scu.association_pool import AssociationPool
from isocenter.scu.store import (
    InstanceToStore,
    MoveOriginator,
    StorageSCU,
    StoreResult,
    build_storage_contexts,
)

__all__ = ["Combination", "StorageSession"]

Combination = tuple[str, str]
"""SOP class and transfer syntax."""


class StorageSession:
    """Stores instances one after another; an asynchronous context manager.

    The first association proposes each combination in a presentation context of its own, as many as
    fit. Another one takes its place when an instance needs a combination that it lacks. What was
    refused among others is proposed once alone, since some archives count contexts; then it counts
    as refused.

    Parameters
    ----------
    target
        Whom to call.
    combinations
        What will probably be sent, in that order; others may follow.
    pool
        Where an association may come from, and goes to at the end.

    References
    ----------
    Orthanc: C-STORE SCU (behaviour manual §23.2, §28.3)
    """

    def __init__(
        self,
        target: AssociationTarget,
        combinations: Iterable[Combination] = (),
        pool: AssociationPool | None = None,
    ) -> None:
        self._target = target
        self._pool = pool or AssociationPool()
        # Whether the association was used before, and has not answered since.
        self._is_doubtful = False
        self._expected = list(dict.fromkeys(combinations))
        self._proposed: frozenset[Combination] = frozenset()
        self._refused: set[Combination] = set()
        self._scu: StorageSCU | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._scu = None
        await self._stack.__aexit__(kind, error, traceback)

    def expect(self, combinations: Iterable[Combination]) -> None:
        """Tell of further combinations that will probably be sent; for the next association."""
        self._expected = list(dict.fromkeys([*self._expected, *combinations]))

    async def prepare(self, combination: Combination) -> None:
        """Make sure that instances of a combination can be sent.

        Raises
        ------
        NoPresentationContextError
            If the remote modality does not want them; the session stays usable.
        RemoteError, DeadlineExceededError
            If there is no association; the next call tries again.
        """
        if combination in self._refused:
            raise self._refuse(combination)
        if self._can_store(combination):
            return
        if self._scu is None or not self._scu.is_open or combination not in self._proposed:
            await self._open(combination)
        if not self._can_store(combination):
            if len(self._proposed) > 1:
                await self._open(combination, is_alone=True)
            if not self._can_store(combination):
                self._refused.add(combination)
                raise self._refuse(combination)

    async def store(
        self, instance: InstanceToStore, *, move_originator: MoveOriginator | None = None
    ) -> StoreResult:
        """Send one instance and wait for the answer, over a new association if need be.

        Raises
        ------
        NoPresentationContextError
            If the remote modality does not want it; the session stays usable.
        RemoteError, DeadlineExceededError
            If the association cannot be opened or ends first; the next call opens another one.
        """
        combination = (instance.sop_class_uid, instance.transfer_syntax_uid)
        await self.prepare(combination)
        if self._is_doubtful and not isinstance(instance.data_set, bytes | memoryview):
            # A stream can be read only once, so it gets an association that is new.
            await self._open(combination, is_new=True)
            await self.prepare(combination)
        assert self._scu is not None, "prepared"  # noqa: S101
        is_doubtful, self._is_doubtful = self._is_doubtful, False
        try:
            return await self._scu.store(instance, move_originator=move_originator)
        except (AssociationAbortedError, DeadlineExceededError):
            await self._drop()
            if not is_doubtful:
                raise
        except BaseException:
            await self._drop()
            raise
        # Its peer had closed it meanwhile, or was about to, or a firewall had forgotten it.
        return await self.store(instance, move_originator=move_originator)

    async def close(self) -> None:
        """Release the association, if there is one; the next instance opens another."""
        self._scu = None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    def _can_store(self, combination: Combination) -> bool:
        scu = self._scu
        return scu is not None and scu.is_open and scu.can_store(*combination)

    async def _open(
        self, combination: Combination, *, is_alone: bool = False, is_new: bool = False
    ) -> None:
        await self.close()
        self._is_doubtful = False
        proposed = [combination] if is_alone else self._choose(combination)
        self._proposed = frozenset(proposed)
        proposal = AssociationProposal(build_storage_contexts(proposed))
        leasing = self._pool.lease(
            self._target,
            proposal,
            lambda found: not is_new and StorageSCU(found).can_store(*combination),
        )
        try:
            lease = await self._stack.enter_async_context(leasing)
        except NoPresentationContextError:
            # Nothing at all was accepted; the caller sees it from what cannot be stored.
            self._scu = None
            return
        self._scu = StorageSCU(lease.association)
        self._is_doubtful = lease.is_reused
        self._proposed = frozenset(
            (context.abstract_syntax, syntax)
            for context in lease.proposal.contexts
            for syntax in context.transfer_syntaxes
        )

    def _choose(self, combination: Combination) -> list[Combination]:
        """Choose what to propose: what is needed now, and what will probably be needed next."""
        expected = self._expected
        start = expected.index(combination) if combination in expected else 0
        upcoming = [combination, *expected[start:], *expected[:start]]
        wanted = (pair for pair in dict.fromkeys(upcoming) if pair not in self._refused)
        return list(islice(wanted, MAXIMUM_CONTEXTS))

    async def _drop(self) -> None:
        """Abort the association because of the error that is being handled."""
        self._scu = None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.__aexit__(*sys.exc_info())

    def _refuse(self, combination: Combination) -> NoPresentationContextError:
        sop_class_uid, transfer_syntax_uid = combination
        return NoPresentationContextError(
            f"{self._target.called_ae_title} accepted no presentation context for "
            f"{sop_class_uid} with transfer syntax {transfer_syntax_uid}"
        )
