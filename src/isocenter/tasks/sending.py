"""What jobs share that send instances: order, steps, resumption, new attempts, waiting.

What a receiver has confirmed is never sent again. Confirmed instances are noted together, some
tenths of a second at a time. While the receiver cannot be reached, the job is put aside and goes on
where it stopped.

References
----------
Decision 0020
"""

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from isocenter.archive.outgoing import Outgoing, OutgoingInstance, OutgoingPlan
from isocenter.clock import format_timestamp, now
from isocenter.errors import (
    BackendError,
    BadFileFormatError,
    DatabaseUnavailableError,
    DeadlineExceededError,
    FullStorageError,
    MissingFileError,
    RemoteError,
    SerializationFailureError,
    ServerError,
    TranscodingError,
)
from isocenter.jobs.records import FailedItem, Job, NewJob, Step
from isocenter.tasks.retries import RetryPolicy, is_transient
from isocenter.tasks.schedules import get_wait_s

__all__ = [
    "Courier",
    "Sender",
    "SendingOrder",
    "build_sending_job",
    "build_sending_retry",
]

_log = logging.getLogger(__name__)

# What was confirmed in so much time is noted in one transaction; a crash repeats no more than that.
_STEP_S = 0.1
# So many instances are looked up in the index at once.
_PAGE = 256
# So often an instance may get another file while it is sent.
_MOST_REPLACEMENTS = 3
# What may be wrong with one instance, or with the receiver.
_OF_AN_INSTANCE = (
    RemoteError,
    DeadlineExceededError,
    FullStorageError,
    BackendError,
    BadFileFormatError,
    TranscodingError,
)
# What clients see while a job waits.
_WAITING = ("RetriesCount", "LastError", "WaitsUntil")
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingOrder:
    """How to send, whoever the receiver is.

    Attributes
    ----------
    description
        Who asked for it.
    is_permissive
        Go on after an instance that cannot be sent.
    retries
        Most new attempts in a row while the receiver cannot be reached.
    not_before, quiet_hours
        When not to send, see `get_wait_s`.
    """

    description: str = "REST API"
    is_permissive: bool = False
    retries: int = 0
    not_before: int = 0
    quiet_hours: Sequence[tuple[int, int]] = ()


def build_sending_job(
    kind: str, plan: OutgoingPlan, order: SendingOrder, destination: str
) -> NewJob:
    """Build a job that sends instances; its kind adds what only it needs."""
    arguments: dict[str, Any] = {
        "Instances": list(plan.instances),
        "Permissive": order.is_permissive,
        "Retries": order.retries,
    }
    content: dict[str, Any] = {
        "Description": order.description,
        "InstancesCount": len(plan.instances),
        "FailedInstancesCount": 0,
        "ParentResources": [public_id for _, public_id in plan.resources],
        "Resources": [{"ID": name, "Type": level.title} for level, name in plan.resources],
    }
    if order.not_before or order.quiet_hours:
        quiet_hours = [list(pair) for pair in order.quiet_hours]
        arguments |= {"NotBefore": order.not_before, "QuietHours": quiet_hours}
    return NewJob(kind, arguments, content, destination=destination)


def build_sending_retry(job: Job, failed: Sequence[FailedItem]) -> NewJob:
    """Build a job that sends what failed (see `JobKind.build_retry`)."""
    arguments = {**job.arguments, "Instances": [item.name for item in failed]}
    content = {**job.content, "InstancesCount": len(failed), "FailedInstancesCount": 0}
    return NewJob(job.kind, arguments, content, destination=job.destination)


class Courier(Protocol):
    """What takes instances to one receiver, in one run of a job.

    Attributes
    ----------
    is_reached
        Whether the failure of `send` concerns its instance alone. The courier sets it; it is false
        when `send` begins.
    """

    is_reached: bool

    def expect(self, instances: Iterable[OutgoingInstance]) -> None:
        """Tell of instances that will probably be sent."""
        ...

    async def send(self, instance: OutgoingInstance, following: OutgoingInstance | None) -> int:
        """Send an instance; return only when the receiver has confirmed it.

        Parameters
        ----------
        following
            What will probably be sent next.

        Returns
        -------
        int
            How many bytes it took, for jobs that tell their size.

        Raises
        ------
        ServerError
            If it was not confirmed.
        """
        ...


class Sender:
    """Runs jobs that send.

    Parameters
    ----------
    policy
        How long jobs wait for a receiver.
    """

    def __init__(self, outgoing: Outgoing, policy: RetryPolicy) -> None:
        self._outgoing = outgoing
        self._policy = policy

    async def run(
        self,
        job: Job,
        open_courier: Callable[[], AbstractAsyncContextManager[Courier]],
        conclude: Callable[[], Awaitable[ServerError | None]] | None = None,
    ) -> AsyncGenerator[Step, None]:
        """Send what was not sent yet (see `JobKind.run`).

        Parameters
        ----------
        open_courier
            Finds the receiver; called when there is something to do now.
        conclude
            What is to be done when all was sent and noted; returns what went wrong.
        """
        if wait_s := _get_wait_s(job):
            yield _build_waiting_step(job, wait_s)
            return
        async with open_courier() as courier:
            sending = _Sending(job, self._outgoing, courier)
            while not sending.is_over and not _get_wait_s(job):
                await sending.advance()
                if sending.has_progress and not sending.is_complete:
                    yield sending.build_step()
        if sending.obstacle is None and (wait_s := _get_wait_s(job)) and not sending.is_over:
            yield _build_waiting_step(job, wait_s)
            return
        if sending.obstacle is None and conclude is not None:
            # What was sent is noted, whatever the receiver answers.
            yield sending.build_step()
            sending.obstacle = await conclude()
        if sending.obstacle is not None:
            yield self._build_retry_step(job, sending, sending.obstacle)
        else:
            yield sending.build_step(is_last=True)

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


class _Sending:
    """One run of a job.

    Attributes
    ----------
    obstacle
        What keeps all further instances from being sent.
    attempts
        Failed attempts since something was achieved.
    """

    def __init__(self, job: Job, outgoing: Outgoing, courier: Courier) -> None:
        arguments, checkpoint = job.arguments, job.checkpoint or {}
        self._content = job.content
        self._outgoing = outgoing
        self._courier = courier
        self._instances: list[str] = arguments["Instances"]
        self._is_permissive = bool(arguments["Permissive"])
        self._retries = int(arguments["Retries"])
        self._done = int(checkpoint.get("Done", 0))
        self._failed_count = int(checkpoint.get("Failed", 0))
        self._sent_bytes = int(checkpoint.get("Bytes", 0))
        self._saved = self._done
        self._failed: list[FailedItem] = []
        self._page: Mapping[str, OutgoingInstance] = {}
        self._page_stop = self._done
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
        place = {"Done": self._done, "Failed": self._failed_count, "Attempts": self.attempts}
        return {**place, "Bytes": self._sent_bytes} if self._sent_bytes else place

    def describe(self) -> dict[str, Any]:
        """Give the content of the job as it is now."""
        kept = {k: v for k, v in self._content.items() if k not in _WAITING}
        if "Size" in kept:
            kept |= {"Size": str(self._sent_bytes), "SizeMB": self._sent_bytes // _MIB}
        return {**kept, "FailedInstancesCount": self._failed_count}

    async def advance(self) -> None:
        """Send instances for a while, up to the first obstacle."""
        stop_at = time.monotonic() + _STEP_S
        await self._send()
        while not self.is_over and time.monotonic() < stop_at:
            await self._send()

    async def _send(self) -> None:
        """Deal with the next instance."""
        self._courier.is_reached = False
        try:
            self._sent_bytes += await self._try_to_send()
        except _OF_AN_INSTANCE as error:
            may_retry = self.attempts < self._retries and is_transient(error)
            if may_retry or not self._is_permissive or self._is_ours(error):
                self.obstacle = error
                return
            # Without a connection the others need not even be tried.
            stop = self._done + 1 if self._courier.is_reached else len(self._instances)
            self._fail(error, stop)
        else:
            self._done += 1
        self.attempts = 0

    def _is_ours(self, error: ServerError) -> bool:
        """Tell whether our own database is to blame: no instance fails because of it."""
        if isinstance(error, DatabaseUnavailableError | SerializationFailureError):
            return True
        return isinstance(error, BackendError) and not self._courier.is_reached

    def _fail(self, error: ServerError, stop: int) -> None:
        """Pass over the instances before an index."""
        failed = self._instances[self._done : stop]
        reason = error.details or error.message
        self._failed += (FailedItem(public_id, error.code, reason) for public_id in failed)
        self._failed_count += len(failed)
        self._done = stop

    async def _try_to_send(self) -> int:
        instance = await self._look_up()
        following = self._done + 1
        expected = None
        if following < self._page_stop:
            expected = self._page.get(self._instances[following])
        return await _send_present_file(self._outgoing, self._courier, instance, expected)

    async def _look_up(self) -> OutgoingInstance:
        if self._done >= self._page_stop:
            page = self._instances[self._done : self._done + _PAGE]
            self._page = await self._outgoing.find(page)
            self._page_stop = self._done + len(page)
            self._courier.expect(self._page.values())
        instance = self._page.get(self._instances[self._done])
        if instance is None:
            self._courier.is_reached = True
            raise MissingFileError("an instance was deleted, or its file was not kept")
        return instance


async def _send_present_file(
    outgoing: Outgoing,
    courier: Courier,
    instance: OutgoingInstance,
    following: OutgoingInstance | None,
) -> int:
    """Send an instance whose file may have been replaced since it was looked up (see `Courier`).

    An instance that is overwritten, or compressed where it is, gets another file; the older one is
    removed.
    """
    for _ in range(_MOST_REPLACEMENTS):
        try:
            return await courier.send(instance, following)
        except MissingFileError:
            found = (await outgoing.find([instance.public_id])).get(instance.public_id)
            if found is None or _get_file(found) == _get_file(instance):
                raise
            instance, following = found, None
    return await courier.send(instance, following)


def _get_file(instance: OutgoingInstance) -> str:
    return instance.attachment.attachment_uuid


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
