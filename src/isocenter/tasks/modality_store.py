"""The job kind ``DicomModalityStore``: instances are sent to a remote modality by C-STORE.

References
----------
Orthanc REST: POST /modalities/{id}/store (behaviour manual §23.2), job types (§17)
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from isocenter.archive.modalities import CallOptions
from isocenter.archive.outgoing import Outgoing, OutgoingInstance, OutgoingPlan
from isocenter.archive.recoding import Recoding
from isocenter.archive.remotes import Remotes
from isocenter.dicom.uids import build_uid
from isocenter.dimse.requestor import AssociationTarget
from isocenter.errors import (
    DeadlineExceededError,
    NoPresentationContextError,
    RemoteError,
    ServerError,
)
from isocenter.jobs.records import Apply, FailedItem, Job, NewJob, Step
from isocenter.scu.failures import build_status_error
from isocenter.scu.storage_session import StorageSession
from isocenter.scu.store import InstanceToStore, MoveOriginator
from isocenter.tasks.retries import RetryPolicy
from isocenter.tasks.routed import build_withdrawal
from isocenter.tasks.sending import Sender
from isocenter.tasks.sending_orders import SendingOrder, build_sending_job, build_sending_retry

__all__ = ["ModalityStoreKind", "StoreOrder", "build_store_job"]

_KIND = "DicomModalityStore"


@dataclass(frozen=True, slots=True)
class StoreOrder(SendingOrder):
    """How to send to a modality.

    Attributes
    ----------
    modality
        Symbolic name of the receiver.
    options
        What differs from its configuration.
    move_originator
        The C-MOVE that caused it.
    commitment_uid
        Ask for storage commitment afterwards, in this transaction; empty if not.
    """

    modality: str
    options: CallOptions = field(default_factory=CallOptions)
    move_originator: MoveOriginator | None = None
    commitment_uid: str = ""


def build_store_job(plan: OutgoingPlan, order: StoreOrder, target: AssociationTarget) -> NewJob:
    """Build a job that sends instances.

    Parameters
    ----------
    target
        As `Calling.build_target` gives it now; the job asks again when it runs.
    """
    new = build_sending_job(_KIND, plan, order, order.modality)
    originator = order.move_originator
    arguments: dict[str, Any] = {
        **new.arguments,
        "Modality": order.modality,
        "Options": asdict(order.options),
        "Combinations": [list(pair) for pair in plan.combinations],
    }
    content: dict[str, Any] = {
        **new.content,
        "LocalAet": target.calling_ae_title,
        "RemoteAet": target.called_ae_title,
    }
    if originator is not None:
        arguments["MoveOriginator"] = [originator.ae_title, originator.message_id]
        content["MoveOriginatorAET"] = originator.ae_title
        content["MoveOriginatorID"] = originator.message_id
    drawn = {}
    if order.commitment_uid:
        arguments["StorageCommitment"] = True
        drawn["CommitmentUid"] = order.commitment_uid
        content["StorageCommitmentTransactionUID"] = order.commitment_uid
    return replace(new, arguments=arguments, content=content, drawn=drawn)


class ModalityStoreKind:
    """Sends instance after instance (see `Sender`), and asks for storage commitment at the end."""

    name = _KIND

    def __init__(self, remotes: Remotes, recoding: Recoding, policy: RetryPolicy) -> None:
        self._remotes = remotes
        self._recoding = recoding
        self._sender = Sender(remotes.outgoing, policy)

    async def run(self, job: Job) -> AsyncIterator[Step]:
        """Send what was not sent yet (see `JobKind.run`)."""

        async def ask_commitment() -> ServerError | None:
            return await self._ask_commitment(job)

        conclude = ask_commitment if job.arguments.get("CommitmentUid") else None
        steps = self._sender.run(job, lambda: self._open_courier(job), conclude)
        async with aclosing(steps):
            async for step in steps:
                yield step

    async def _build_target(self, job: Job) -> tuple[AssociationTarget, bool]:
        """Say whom to call, and whether it may get other transfer syntaxes."""
        options = CallOptions(**job.arguments["Options"])
        modality = await self._remotes.modalities.get_known(job.arguments["Modality"])
        return self._remotes.calling.build_target(modality, options), modality.allow_transcoding

    @asynccontextmanager
    async def _open_courier(self, job: Job) -> AsyncIterator["_StoreCourier"]:
        target, may_recode = await self._build_target(job)
        may_recode = may_recode and self._recoding.files is not None
        recoding = self._recoding if may_recode else Recoding(None, "")
        own = [(pair[0], pair[1]) for pair in job.arguments["Combinations"]]
        combinations = [*own, *recoding.list_alternatives(own)]
        pool = self._remotes.associations
        async with StorageSession(target, combinations, pool) as session:
            courier = _StoreCourier(session, self._remotes.outgoing, recoding, target)
            courier.originator = _read_originator(job.arguments)
            try:
                yield courier
            finally:
                courier.close()

    async def _ask_commitment(self, job: Job) -> ServerError | None:
        """Ask the receiver to keep what was sent; return what went wrong."""
        transaction_uid = job.arguments["CommitmentUid"]
        instances = await self._remotes.commitment_reports.identify(job.arguments["Instances"])
        target, _ = await self._build_target(job)
        try:
            await self._remotes.commitment_reports.ask(target, transaction_uid, instances)
        except (RemoteError, DeadlineExceededError) as error:
            return error
        return None

    def abandon(self, job: Job) -> Apply | None:
        """Let a routing rule send it anew when it comes again (see `JobKind.abandon`)."""
        return build_withdrawal(job)

    def build_retry(self, job: Job, failed: list[FailedItem]) -> NewJob:
        """Build a job that sends what failed (see `JobKind.build_retry`)."""
        new = build_sending_retry(job, failed)
        if not new.arguments.get("CommitmentUid"):
            return new
        # A transaction is asked for once only (PS3.4 §J.3.2.1.1).
        uid = build_uid()
        return replace(
            new,
            arguments={**new.arguments, "CommitmentUid": uid},
            content={**new.content, "StorageCommitmentTransactionUID": uid},
        )


class _StoreCourier:
    """Sends by C-STORE; the next instance is opened while one is sent (see `Courier`)."""

    most_at_once = 1

    def __init__(
        self,
        session: StorageSession,
        outgoing: Outgoing,
        recoding: Recoding,
        target: AssociationTarget,
    ) -> None:
        self._session = session
        self._outgoing = outgoing
        self._recoding = recoding
        self._target = target
        # Public identifier of what is read ahead.
        self._ahead: tuple[str, asyncio.Task[InstanceToStore]] | None = None
        self._is_reached = False
        self.originator: MoveOriginator | None = None

    def close(self) -> None:
        """Forget what was read ahead."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return
        _, task = ahead
        if not task.cancel() and not task.cancelled():
            # Who opens the instance in its turn meets the error again.
            task.exception()

    def expect(self, instances: Iterable[OutgoingInstance]) -> None:
        self._session.expect(
            (instance.sop_class_uid, instance.transfer_syntax_uid) for instance in instances
        )

    async def send(self, instance: OutgoingInstance, following: OutgoingInstance | None) -> int:
        self._is_reached = False
        own = (instance.sop_class_uid, instance.transfer_syntax_uid)
        try:
            transfer_syntax_uid = await self._recoding.choose_syntax(self._session, own)
        except NoPresentationContextError:
            self._is_reached = True
            raise
        self._is_reached = True
        opened = await self._open(instance, transfer_syntax_uid, following)
        result = await self._session.store(opened, move_originator=self.originator)
        if not result.is_stored:
            raise build_status_error(
                "C-STORE", self._target.called_ae_title, result.status, result.error_comment
            )
        return 0

    def is_single(self, error: ServerError) -> bool:  # noqa: ARG002 - the protocol's signature
        return self._is_reached

    async def _open(
        self,
        instance: OutgoingInstance,
        transfer_syntax_uid: str,
        following: OutgoingInstance | None,
    ) -> InstanceToStore:
        """Open an instance, and begin to open the next one, to be ready in its turn."""
        if transfer_syntax_uid != instance.transfer_syntax_uid and self._recoding.files:
            self.close()
            return await self._recoding.files.open(instance, transfer_syntax_uid)
        opened = await self._open_as_stored(instance)
        if following is not None:
            opening = asyncio.ensure_future(self._outgoing.open(following))
            self._ahead = (following.public_id, opening)
        return opened

    async def _open_as_stored(self, instance: OutgoingInstance) -> InstanceToStore:
        """Open an instance; what was read ahead may belong to one that was passed over."""
        if self._ahead is not None and self._ahead[0] == instance.public_id:
            (_, opening), self._ahead = self._ahead, None
            return await opening
        self.close()
        return await self._outgoing.open(instance)


def _read_originator(arguments: Mapping[str, Any]) -> MoveOriginator | None:
    originator = arguments.get("MoveOriginator")
    return None if originator is None else MoveOriginator(originator[0], originator[1])
