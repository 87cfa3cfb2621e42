"""Associations that nobody uses now, kept open for a while to be used again.

References
----------
Orthanc configuration: ``DicomAssociationCloseDelay`` (behaviour manual §38)
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.requestor import AssociationProposal, AssociationTarget, open_association

__all__ = ["AssociationPool", "Lease"]

# More than so many are not kept; the oldest one is released.
_MOST_IDLE = 100


@dataclass(frozen=True, slots=True)
class Lease:
    """An association that somebody uses.

    Attributes
    ----------
    proposal
        With which it was opened.
    is_reused
        It was used before, so its peer may be about to close it.
    """

    association: DimseAssociation
    proposal: AssociationProposal
    is_reused: bool


@dataclass(frozen=True, slots=True)
class _Idle:
    association: DimseAssociation
    proposal: AssociationProposal
    stack: AsyncExitStack
    timer: asyncio.TimerHandle


class AssociationPool:
    """Opens associations, or gives those that were used before. For the event loop's thread.

    Of each target one is kept at most, and it is released before another one is opened: many
    receivers serve one caller at a time.

    Parameters
    ----------
    idle_s
        How long an association stays open without use; 0 to keep none.
    """

    def __init__(self, idle_s: float = 0.0) -> None:
        self._idle_s = idle_s
        # The oldest first.
        self._idle: dict[AssociationTarget, _Idle] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def idle_count(self) -> int:
        """Associations that wait to be used."""
        return len(self._idle)

    @asynccontextmanager
    async def lease(
        self,
        target: AssociationTarget,
        proposal: AssociationProposal,
        is_suitable: Callable[[DimseAssociation], bool],
    ) -> AsyncIterator[Lease]:
        """Get an association; it is kept or released at the end, or aborted after an exception.

        Parameters
        ----------
        proposal
            What to propose if another one must be opened.
        is_suitable
            Tells whether an association that is there will do.

        Raises
        ------
        RemoteError, DeadlineExceededError
            As `open_association` does.
        """
        async with AsyncExitStack() as stack:
            idle = self._take(target)
            if idle is not None:
                stack.push_async_exit(idle.stack)
                if not (idle.association.is_open and is_suitable(idle.association)):
                    await stack.aclose()
                    idle = None
            if idle is None:
                opened = await stack.enter_async_context(open_association(target, proposal))
                lease = Lease(opened, proposal, is_reused=False)
            else:
                lease = Lease(idle.association, idle.proposal, is_reused=True)
            yield lease
            if self._idle_s and lease.association.is_open:
                self._keep(target, lease, stack.pop_all())

    def _take(self, target: AssociationTarget) -> _Idle | None:
        idle = self._idle.pop(target, None)
        if idle is not None:
            idle.timer.cancel()
        return idle

    def _keep(self, target: AssociationTarget, lease: Lease, stack: AsyncExitStack) -> None:
        self._release(target)
        for superfluous in list(self._idle)[: max(0, len(self._idle) - _MOST_IDLE + 1)]:
            self._release(superfluous)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._idle_s, self._release, target)
        self._idle[target] = _Idle(lease.association, lease.proposal, stack, timer)

    def _release(self, target: AssociationTarget) -> None:
        idle = self._take(target)
        if idle is not None:
            task = asyncio.create_task(idle.stack.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Release all that wait; what is in use is released by its users."""
        self._idle_s = 0.0
        for target in list(self._idle):
            self._release(target)
        await asyncio.gather(*self._closing, return_exceptions=True)
