"""The retrieval service to a third party, or to the requestor's own door: C-MOVE.

References
----------
PS3.4 §C.4.2; PS3.7 §9.1.4; Orthanc: C-MOVE (behaviour manual §25.4)
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from isocenter.archive.modalities import Calling, Modalities
from isocenter.archive.outgoing import Outgoing, OutgoingInstance, OutgoingPlan
from isocenter.archive.recoding import Recoding
from isocenter.config.remote_modalities import RemoteModality
from isocenter.dimse.data_sink import Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.status import Status
from isocenter.errors import (
    BackendError,
    BadFileFormatError,
    DeadlineExceededError,
    FullStorageError,
    MissingFileError,
    NoPresentationContextError,
    RemoteError,
    ServerError,
    TranscodingError,
    UnknownItemError,
)
from isocenter.jobs.engine import Engine
from isocenter.scp.permissions import Permissions
from isocenter.scp.retrieval import RetrievePlanner, refuse_retrieval
from isocenter.scp.sub_operations import SubOperations
from isocenter.scu.storage_session import Combination, StorageSession
from isocenter.scu.store import InstanceToStore, MoveOriginator
from isocenter.tasks.modality_store import StoreOrder, build_store_job

__all__ = ["Destinations", "MoveSCP"]

_DESCRIPTION = "C-MOVE"
# The instance under way has so much time when nobody wants the others any more.
_CANCEL_S = 1.0
# After so many instances in a row that a destination has not answered, it gets no more.
_MOST_SILENCES = 2


@dataclass(frozen=True, slots=True)
class Destinations:
    """Where instances may be moved to: the known modalities, by their AE titles.

    Attributes
    ----------
    permissions
        Compare titles and addresses.
    """

    modalities: Modalities
    calling: Calling
    permissions: Permissions

    def get(self, ae_title: str) -> tuple[str, RemoteModality]:
        """Find the symbolic name and the modality of a title.

        Raises
        ------
        UnknownItemError
            If none has it.
        """
        for name, modality in self.modalities.items():
            if self.permissions.are_same_title(modality.ae_title, ae_title):
                return name, modality
        raise _unknown(ae_title)

    def get_caller(self, ae_title: str, address: str) -> tuple[str, RemoteModality]:
        """Find whom a report to a caller goes to: of some with its title, the one at its address.

        Several modalities may share a title. If hosts are checked, the address has to be right;
        otherwise the first one with the title counts where none has the address.

        Raises
        ------
        UnknownItemError
            If there is none.
        """
        callers = self.permissions.find_callers(ae_title, address)
        named = [(name, known) for name, known in self.modalities.items() if known in callers]
        if not named:
            raise _unknown(ae_title)
        return min(named, key=lambda item: item[1].host != address)


def _unknown(ae_title: str) -> UnknownItemError:
    return UnknownItemError(f"no modality has the AE title {ae_title[:16]!r}")


class MoveSCP:
    """Sends what is asked for to a known modality.

    Parameters
    ----------
    jobs
        Does the work after the answer; ``None`` to do it at once (option ``SynchronousCMove``).
    retries
        Option ``Isocenter.TransferRetries``, for the work after the answer.
    recoding
        What is done at once with files whose transfer syntax the modality refuses.
    """

    def __init__(
        self,
        retrieval: RetrievePlanner,
        destinations: Destinations,
        jobs: Engine | None,
        *,
        retries: int,
        recoding: Recoding,
    ) -> None:
        self._retrieval = retrieval
        self._destinations = destinations
        self._jobs = jobs
        self._retries = retries
        self._recoding = recoding

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Serve a C-MOVE request."""
        try:
            name, modality = self._destinations.get(message.command.move_destination or "")
        except UnknownItemError as error:
            status = Status.MOVE_DESTINATION_UNKNOWN
            await refuse_retrieval(association, message, error, status)
            return
        originator = MoveOriginator(association.calling_ae_title, message.command.message_id or 0)
        try:
            plan = await self._retrieval.plan(association, message, "C-MOVE")
            target = self._destinations.calling.build_target(modality)
            if self._jobs is not None:
                order = StoreOrder(
                    name,
                    description=_DESCRIPTION,
                    move_originator=originator,
                    is_permissive=True,
                    retries=self._retries,
                )
                await self._jobs.submit(build_store_job(plan, order, target))
        except ServerError as error:
            await refuse_retrieval(association, message, error)
            return
        progress = SubOperations(association, message, len(plan.instances))
        if self._jobs is None:
            recoding = self._recoding if modality.allow_transcoding else Recoding(None, "")
            combinations = [*plan.combinations, *recoding.list_alternatives(plan.combinations)]
            async with StorageSession(target, combinations) as session:
                sender = _Sender(session, self._retrieval.outgoing, recoding, originator)
                async with _while_wanted(message):
                    await self._move(plan, sender, progress)
        else:
            await _announce(len(plan.instances), progress)
        await progress.send_final()

    async def _move(self, plan: OutgoingPlan, sender: "_Sender", progress: SubOperations) -> None:
        opening = self._retrieval.iter_opened(plan.instances, sender.open)
        async with aclosing(opening) as opened_files:
            sent = 0
            async for sop_instance_uid, opened in opened_files:
                if not progress.is_wanted:
                    return
                if isinstance(opened, ServerError):
                    progress.note_failure(sop_instance_uid, opened.details or opened.message)
                elif not await sender.store(plan.instances[sent], opened, progress):
                    await self._give_up(plan.instances[sent + 1 :], progress)
                    return
                sent += 1
                if progress.remaining:
                    await progress.send_pending()

    async def _give_up(self, instances: Sequence[str], progress: SubOperations) -> None:
        """Note the failure of all that need not even be tried."""
        async for sop_instance_uid in self._retrieval.iter_sop_instance_uids(instances):
            progress.note_failure(sop_instance_uid, "not tried")


class _Sender:
    """Sends the instances of one C-MOVE, in another transfer syntax if need be."""

    def __init__(
        self,
        session: StorageSession,
        outgoing: Outgoing,
        recoding: Recoding,
        originator: MoveOriginator,
    ) -> None:
        self._session = session
        self._outgoing = outgoing
        self._recoding = recoding
        self._originator = originator
        # What was accepted instead of combinations that were refused.
        self._chosen: dict[Combination, str] = {}
        self._silences = 0

    async def open(self, instance: OutgoingInstance) -> InstanceToStore:
        """Open an instance in the transfer syntax in which others like it were accepted."""
        own = (instance.sop_class_uid, instance.transfer_syntax_uid)
        if own in self._chosen and self._recoding.files is not None:
            return await self._recoding.files.open(instance, self._chosen[own])
        return await self._outgoing.open(instance)

    async def store(
        self, public_id: str, instance: InstanceToStore, progress: SubOperations
    ) -> bool:
        """Send one instance; tell whether the others need to be tried.

        A file that proves damaged or missing while it is sent costs its association, as a data set
        that was begun cannot be taken back; the session opens another one for the next.
        """
        is_reached = False
        try:
            own = (instance.sop_class_uid, instance.transfer_syntax_uid)
            chosen = await self._recoding.choose_syntax(self._session, own)
            is_reached = True
            if chosen != instance.transfer_syntax_uid:
                self._chosen[own] = chosen
                instance = await self._open_again(public_id)
            result = await self._session.store(instance, move_originator=self._originator)
        except (
            RemoteError,
            DeadlineExceededError,
            FullStorageError,
            BackendError,
            BadFileFormatError,
            TranscodingError,
        ) as error:
            progress.note_failure(instance.sop_instance_uid, error.details or error.message)
            # Not that our codecs are too slow, which is another class.
            self._silences += type(error) is DeadlineExceededError
            if self._silences == _MOST_SILENCES:
                return False
            return is_reached or isinstance(error, NoPresentationContextError)
        progress.note(result.status, instance.sop_instance_uid)
        self._silences = 0
        return True

    async def _open_again(self, public_id: str) -> InstanceToStore:
        found = (await self._outgoing.find([public_id])).get(public_id)
        if found is None:
            raise MissingFileError("an instance was deleted just now")
        return await self.open(found)


@asynccontextmanager
async def _while_wanted(message: Message) -> AsyncIterator[None]:
    """Cut off what is being done a moment after the requestor has cancelled it, or has gone.

    A destination may be silent for as long as its time limit, if it has one.

    References
    ----------
    PS3.4 §C.4.2.3.1
    """
    try:
        async with asyncio.timeout(None) as limit:

            def expire_soon() -> None:
                message.on_cancel = None
                limit.reschedule(asyncio.get_running_loop().time() + _CANCEL_S)

            message.on_cancel = expire_soon
            try:
                yield
            finally:
                message.on_cancel = None
    except TimeoutError:
        if not message.is_cancelled:
            raise


async def _announce(count: int, progress: SubOperations) -> None:
    """Answer as if all had been sent; the job does it.

    References
    ----------
    Orthanc configuration: ``SynchronousCMove`` false (behaviour manual §25.4)
    """
    for _ in range(count):
        progress.note(Status.SUCCESS, "")
        if progress.remaining:
            await progress.send_pending()
