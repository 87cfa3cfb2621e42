"""The job kind ``DicomModalityStore``: instances are sent to a remote modality by C-STORE.

References
----------
Orthanc REST: POST /modalities/{id}/store (behaviour manual §23.2), job types (§17)
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from isocenter.archive.modalities import CallOptions
from isocenter.archive.outgoing import Outgoing, OutgoingInstance, OutgoingPlan
from isocenter.archive.recoding import Recoding
from isocenter.archive.remotes import Remotes
from isocenter.clock import format_timestamp, now
from isocenter.dicom.uids import build_uid
from isocenter.dimse.requestor import AssociationTarget
from isocenter.errors import (
    BackendError,
    BadFileFormatError,
    DatabaseUnavailableError,
    DeadlineExceededError,
    MissingFileError,
    NoPresentationContextError,
    RemoteError,
    SerializationFailureError,
    ServerError,
)
from isocenter.jobs.records import Apply, FailedItem, Job, NewJob, Step
from isocenter.scu.failures import build_status_error
from isocenter.scu.storage_session import StorageSession
from isocenter.scu.store import InstanceToStore, MoveOriginator
from isocenter.tasks.retries import RetryPolicy, is_transient
from isocenter.tasks.schedules import get_wait_s

__all__ = ["ModalityStoreKind", "StoreOrder", "build_store_job"]

_log = logging.getLogger(__name__)

_KIND = "DicomModalityStore"
# What was confirmed in so much time is noted in one transaction; a crash repeats no more than that.
_STEP_S = 0.1
# What clients see while a job waits.
_WAITING = ("RetriesCount", "LastError", "WaitsUntil")
# So many instances are looked up in the index at once.
_PAGE = 256


@dataclass(frozen=True, slots=True)
class StoreOrder:
    """How to send.

    Attributes
    ----------
    modality
        Symbolic name of the receiver.
    options
        What differs from its configuration.
    description
        Who asked for it.
    move_originator
        The C-MOVE that caused it.
    is_permissive
        Go on after an instance that cannot be sent.
    retries
        Most new attempts in a row while the receiver cannot be reached.
    commitment_uid
        Ask for storage commitment afterwards, in this transaction; empty if not.
    not_before, quiet_hours
        When not to send, see `get_wait_s`.
    """

    modality: str
    options: CallOptions = field(default_factory=CallOptions)
    description: str = "REST API"
    move_originator: MoveOriginator | None = None
    is_permissive: bool = False
    retries: int = 0
    commitment_uid: str = ""
    not_before: int = 0
    quiet_hours: Sequence[tuple[int, int]] = ()


def build_store_job(plan: OutgoingPlan, order: StoreOrder, target: AssociationTarget) -> NewJob:
    """Build a job that sends instances.

    Parameters
    ----------
    target
        As `Calling.build_target` gives it now; the job asks again when it runs.
    """
    originator = order.move_originator
    arguments: dict[str, Any] = {
        "Modality": order.modality,
        "Options": asdict(order.options),
        "Instances": list(plan.instances),
        "Combinations": [list(pair) for pair in plan.combinations],
        "Permissive": order.is_permissive,
        "Retries": order.retries,
    }
    content: dict[str, Any] = {
        "Description": order.description,
        "InstancesCount": len(plan.instances),
        "FailedInstancesCount": 0,
        "LocalAet": target.calling_ae_title,
        "RemoteAet": target.called_ae_title,
        "ParentResources": [public_id for _, public_id in plan.resources],
        "Resources": [{"ID": name, "Type": level.title} for level, name in plan.resources],
    }
    if originator is not None:
        arguments["MoveOriginator"] = [originator.ae_title, originator.message_id]
        content["MoveOriginatorAET"] = originator.ae_title
        content["MoveOriginatorID"] = originator.message_id
    if order.not_before or order.quiet_hours:
        quiet_hours = [list(pair) for pair in order.quiet_hours]
        arguments |= {"NotBefore": order.not_before, "QuietHours": quiet_hours}
    if order.commitment_uid:
        arguments["CommitmentUid"] = order.commitment_uid
        content["StorageCommitmentTransactionUID"] = order.commitment_uid
    return NewJob(_KIND, arguments, content, destination=order.modality)


class ModalityStoreKind:
    """Sends instance after instance; what the receiver has confirmed is never sent again.

    Confirmed instances are noted together, some tenths of a second at a time. While the receiver
    cannot be reached, the job is put aside and goes on where it stopped.
    """

    name = _KIND

    def __init__(self, remotes: Remotes, recoding: Recoding, policy: RetryPolicy) -> None:
        self._remotes = remotes
        self._recoding = recoding
        self._policy = policy

    async def run(self, job: Job) -> AsyncIterator[Step]:
        """Send what was not sent yet (see `JobKind.run`)."""
        if wait_s := _get_wait_s(job):
            yield _build_waiting_step(job, wait_s)
            return
        options = CallOptions(**job.arguments["Options"])
        modality = await self._remotes.modalities.get_known(job.arguments["Modality"])
        target = self._remotes.calling.build_target(modality, options)
        may_recode = modality.allow_transcoding and self._recoding.files is not None
        recoding = self._recoding if may_recode else Recoding(None, "")
        sending = _Sending(job, self._remotes.outgoing, target, recoding)
        try:
            async with StorageSession(target, sending.combinations) as session:
                while not sending.is_over and not _get_wait_s(job):
                    await sending.advance(session)
                    if sending.has_progress and not sending.is_complete:
                        yield sending.build_step()
        finally:
            sending.close()
        if sending.obstacle is None and (wait_s := _get_wait_s(job)) and not sending.is_over:
            yield _build_waiting_step(job, wait_s)
            return
        if sending.obstacle is None and job.arguments.get("CommitmentUid"):
            # What was sent is noted, whatever the receiver answers.
            yield sending.build_step()
            sending.obstacle = await self._ask_commitment(job, target)
        if sending.obstacle is not None:
            yield self._build_retry_step(job, sending, sending.obstacle)
        else:
            yield sending.build_step(is_last=True)

    async def _ask_commitment(self, job: Job, target: AssociationTarget) -> ServerError | None:
        """Ask the receiver to keep what was sent; return what went wrong."""
        transaction_uid = job.arguments["CommitmentUid"]
        instances = await self._remotes.commitment_reports.identify(job.arguments["Instances"])
        try:
            await self._remotes.commitment_reports.ask(target, transaction_uid, instances)
        except (RemoteError, DeadlineExceededError) as error:
            return error
        return None

    def _build_retry_step(self, job: Job, sending: "_Sending", error: ServerError) -> Step:
        """Put the job aside after a failed attempt, unless there were too many.

        Raises
        ------
        ServerError
            What went wrong, if there is no attempt left.
        """
        attempts = sending.attempts + 1
        if attempts > job.arguments["Retries"] or not is_transient(error):
            raise error
        delay_s = self._policy.get_delay_s(attempts)
        _log.info(
            "a transfer will be tried again",
            extra={"job": job.job_id, "attempts": attempts, "delay_s": delay_s},
        )
        sending.attempts = attempts
        reason = error.details or error.message
        content = {**sending.describe(), "RetriesCount": attempts, "LastError": reason}
        return Step(sending.build_checkpoint(), sending.progress, content, retry_after_s=delay_s)

    def abandon(self, job: Job) -> Apply | None:  # noqa: ARG002 - the port's signature
        """Leave nothing: there is nothing in the database (see `JobKind.abandon`)."""
        return None

    def build_retry(self, job: Job, failed: list[FailedItem]) -> NewJob:
        """Build a job that sends what failed (see `JobKind.build_retry`)."""
        arguments = {**job.arguments, "Instances": [item.name for item in failed]}
        content = {**job.content, "InstancesCount": len(failed), "FailedInstancesCount": 0}
        if arguments.get("CommitmentUid"):
            # A transaction is asked for once only (PS3.4 §J.3.2.1.1).
            arguments["CommitmentUid"] = build_uid()
            content["StorageCommitmentTransactionUID"] = arguments["CommitmentUid"]
        return NewJob(_KIND, arguments, content, destination=job.destination)


class _Sending:
    """One run of a job.

    Attributes
    ----------
    obstacle
        What keeps all further instances from being sent.
    attempts
        Failed attempts since something was achieved.
    """

    def __init__(
        self, job: Job, outgoing: Outgoing, target: AssociationTarget, recoding: Recoding
    ) -> None:
        arguments, checkpoint = job.arguments, job.checkpoint or {}
        self._content = job.content
        self._outgoing = outgoing
        self._target = target
        self._recoding = recoding
        self._instances: list[str] = arguments["Instances"]
        self._is_permissive = bool(arguments["Permissive"])
        self._retries = int(arguments["Retries"])
        self._originator = _read_originator(arguments)
        self._done = int(checkpoint.get("Done", 0))
        self._failed_count = int(checkpoint.get("Failed", 0))
        self._saved = self._done
        self._failed: list[FailedItem] = []
        self._page: Mapping[str, OutgoingInstance] = {}
        self._page_stop = self._done
        self._is_reached = False
        # Public identifier of what is read ahead.
        self._ahead: tuple[str, asyncio.Task[InstanceToStore]] | None = None
        own = [(pair[0], pair[1]) for pair in arguments["Combinations"]]
        self.combinations = [*own, *recoding.list_alternatives(own)]
        self.attempts = int(checkpoint.get("Attempts", 0))
        self.obstacle: ServerError | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be sent."""
        return self.obstacle is not None or self._done == len(self._instances)

    @property
    def is_complete(self) -> bool:
        """Whether every instance was dealt with."""
        return self.obstacle is None and self._done == len(self._instances)

    @property
    def has_progress(self) -> bool:
        """Whether there is something to be noted."""
        return self._done > self._saved

    @property
    def progress(self) -> int:
        """How far it is, 0 to 100."""
        return 100 * self._done // max(1, len(self._instances))

    def build_step(self, *, is_last: bool = False) -> Step:
        """Note what was dealt with since the last step."""
        failed, self._failed = self._failed, []
        self._saved = self._done
        return Step(
            self.build_checkpoint(),
            self.progress,
            self.describe(),
            failed_items=failed,
            is_last=is_last,
        )

    def build_checkpoint(self) -> dict[str, Any]:
        """Say where to go on."""
        return {"Done": self._done, "Failed": self._failed_count, "Attempts": self.attempts}

    def describe(self) -> dict[str, Any]:
        """Give the content of the job as it is now."""
        kept = {k: v for k, v in self._content.items() if k not in _WAITING}
        return {**kept, "FailedInstancesCount": self._failed_count}

    def close(self) -> None:
        """Forget what was read ahead."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return
        _, task = ahead
        if not task.cancel() and not task.cancelled():
            # Who opens the instance in its turn meets the error again.
            task.exception()

    async def advance(self, session: StorageSession) -> None:
        """Send instances for a while, up to the first obstacle."""
        stop_at = time.monotonic() + _STEP_S
        await self._send(session)
        while not self.is_over and time.monotonic() < stop_at:
            await self._send(session)

    async def _send(self, session: StorageSession) -> None:
        """Deal with the next instance."""
        self._is_reached = False
        try:
            await self._try_to_send(session)
        except (RemoteError, DeadlineExceededError, BackendError, BadFileFormatError) as error:
            may_retry = self.attempts < self._retries and is_transient(error)
            if may_retry or not self._is_permissive or self._is_ours(error):
                self.obstacle = error
                return
            # Without a connection the others need not even be tried.
            stop = self._done + 1 if self._is_reached else len(self._instances)
            self._fail(error, stop)
        else:
            self._done += 1
        self.attempts = 0

    def _is_ours(self, error: ServerError) -> bool:
        """Tell whether our own database is to blame: no instance fails because of it."""
        if isinstance(error, DatabaseUnavailableError | SerializationFailureError):
            return True
        return isinstance(error, BackendError) and not self._is_reached

    def _fail(self, error: ServerError, stop: int) -> None:
        """Pass over the instances before an index."""
        failed = self._instances[self._done : stop]
        reason = error.details or error.message
        self._failed += (FailedItem(public_id, error.code, reason) for public_id in failed)
        self._failed_count += len(failed)
        self._done = stop

    async def _try_to_send(self, session: StorageSession) -> None:
        instance = await self._look_up(session)
        try:
            own = (instance.sop_class_uid, instance.transfer_syntax_uid)
            transfer_syntax_uid = await self._recoding.choose_syntax(session, own)
        except NoPresentationContextError:
            self._is_reached = True
            raise
        self._is_reached = True
        opened = await self._open(instance, transfer_syntax_uid)
        result = await session.store(opened, move_originator=self._originator)
        if not result.is_stored:
            raise build_status_error(
                "C-STORE", self._target.called_ae_title, result.status, result.error_comment
            )

    async def _open(self, instance: OutgoingInstance, transfer_syntax_uid: str) -> InstanceToStore:
        """Open an instance, and begin to open the next one, to be ready in its turn."""
        if transfer_syntax_uid != instance.transfer_syntax_uid and self._recoding.files:
            self.close()
            return await self._recoding.files.open(instance, transfer_syntax_uid)
        opened = await self._open_as_stored(instance)
        following = self._done + 1
        if following < self._page_stop:
            found = self._page.get(self._instances[following])
            if found is not None:
                opening = asyncio.ensure_future(self._outgoing.open(found))
                self._ahead = (found.public_id, opening)
        return opened

    async def _open_as_stored(self, instance: OutgoingInstance) -> InstanceToStore:
        """Open an instance; what was read ahead may belong to one that was passed over."""
        if self._ahead is not None and self._ahead[0] == instance.public_id:
            (_, opening), self._ahead = self._ahead, None
            return await opening
        self.close()
        return await self._outgoing.open(instance)

    async def _look_up(self, session: StorageSession) -> OutgoingInstance:
        if self._done >= self._page_stop:
            page = self._instances[self._done : self._done + _PAGE]
            self._page = await self._outgoing.find(page)
            self._page_stop = self._done + len(page)
            session.expect(
                (found.sop_class_uid, found.transfer_syntax_uid) for found in self._page.values()
            )
        instance = self._page.get(self._instances[self._done])
        if instance is None:
            self._is_reached = True
            raise MissingFileError("an instance was deleted, or its file was not kept")
        return instance


def _get_wait_s(job: Job) -> int:
    """Tell how long to wait before anything may be sent."""
    arguments = job.arguments
    if "NotBefore" not in arguments:
        return 0
    return get_wait_s(arguments["NotBefore"], arguments["QuietHours"], now())


def _build_waiting_step(job: Job, wait_s: int) -> Step:
    """Put the job aside until a better time; the checkpoint stays."""
    content = {**job.content, "WaitsUntil": format_timestamp(now() + wait_s)}
    return Step(content=content, retry_after_s=wait_s)


def _read_originator(arguments: Mapping[str, Any]) -> MoveOriginator | None:
    originator = arguments.get("MoveOriginator")
    return None if originator is None else MoveOriginator(originator[0], originator[1])
