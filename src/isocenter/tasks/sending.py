"""What jobs share that send instances: steps, resumption, new attempts, waiting.

What a receiver has confirmed is never sent again. Confirmed instances are noted together, a tenth
of a second at a time; nothing is under way while they are. While the receiver cannot be reached,
the job is put aside and goes on where it stopped.

References
----------
Decisions 0020, 0021
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from isocenter.archive.outgoing import Outgoing, OutgoingInstance
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
from isocenter.jobs.records import FailedItem, Job, Step
from isocenter.tasks.flights import run_flights
from isocenter.tasks.retries import RetryPolicy, is_transient
from isocenter.tasks.routed import build_confirmation, build_withdrawal
from isocenter.tasks.schedules import get_wait_s

__all__ = ["Courier", "Sender"]

_log = logging.getLogger(__name__)

# What was confirmed in so much time is noted in one transaction; a crash repeats no more than that.
_STEP_S = 0.1
# So many instances are looked up in the index at once.
_PAGE = 256
# What may be wrong with one instance, or with the receiver.
_OF_AN_INSTANCE = (
    RemoteError,
    DeadlineExceededError,
    FullStorageError,
    BackendError,
    BadFileFormatError,
    TranscodingError,
)
# After so many instances in a row that a receiver has not answered, with all their attempts, a
# permissive job passes over the others, too: each would take as long.
_MOST_SILENCES = 2
# What clients see while a job waits.
_WAITING = ("RetriesCount", "LastError", "WaitsUntil")
_MIB = 1024 * 1024


class Courier(Protocol):
    """What takes instances to one receiver, in one run of a job.

    Attributes
    ----------
    most_at_once
        So many calls of `send` may be made at the same time, once one has succeeded.
    """

    @property
    def most_at_once(self) -> int:
        """See above."""
        ...

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

    def is_single(self, error: ServerError) -> bool:
        """Tell whether what the last `send` raised concerns its instance alone."""
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
            yield _build_waiting_step(job.content, wait_s)
            return
        async with open_courier() as courier:
            sending = _Sending(job, self._outgoing, courier)
            while not sending.is_over and not _get_wait_s(job):
                try:
                    await sending.advance()
                except asyncio.CancelledError:
                    # What was confirmed stays so, whatever becomes of the job.
                    if sending.has_progress:
                        yield sending.build_step()
                    raise
                if sending.has_progress and not sending.is_complete:
                    yield sending.build_step()
        if sending.obstacle is None and (wait_s := _get_wait_s(job)) and not sending.is_over:
            yield _build_waiting_step(sending.describe(), wait_s)
            return
        if sending.obstacle is None and conclude is not None:
            # What was sent is noted, whatever the receiver answers.
            yield sending.build_step()
            sending.obstacle = await conclude()
        if sending.obstacle is not None:
            yield self._build_retry_step(job, sending, sending.obstacle)
        else:
            build = build_withdrawal if sending.has_missed else build_confirmation
            yield replace(sending.build_step(is_last=True), apply=build(job))

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


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why an instance was not confirmed, and whether that concerns it alone."""

    error: ServerError
    is_single: bool


class _Sending:
    """One run of a job.

    All instances before `_done` were dealt with, and of those behind it the ones `_ahead`: some
    were confirmed while one before them was not.

    Attributes
    ----------
    obstacle
        What keeps all further instances from being sent.
    attempts
        Failed attempts since something was achieved.
    has_missed
        Whether something was passed over that might have been taken at another time.
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
        self._ahead: set[int] = set(checkpoint.get("Ahead", ()))
        self.has_missed = bool(checkpoint.get("Missed"))
        self._silences = int(checkpoint.get("Silences", 0))
        self._saved = self._settled
        self._failed: list[FailedItem] = []
        self._page: Mapping[str, OutgoingInstance] = {}
        self._page_stop = self._done
        self._is_confirming = False
        self._is_failing = False
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
    def _settled(self) -> int:
        return self._done + len(self._ahead)

    @property
    def has_progress(self) -> bool:
        """Whether there is something to be noted."""
        return self._settled > self._saved

    @property
    def progress(self) -> int:
        """How far it is, 0 to 100."""
        return 100 * self._settled // max(1, len(self._instances))

    def build_step(self, *, is_last: bool = False) -> Step:
        """Note what was dealt with since the last step."""
        failed, self._failed = self._failed, []
        self._saved = self._settled
        return Step(
            self.build_checkpoint(),
            self.progress,
            self.describe(),
            failed_items=failed,
            is_last=is_last,
        )

    def build_checkpoint(self) -> dict[str, Any]:
        """Say where to go on."""
        place: dict[str, Any] = {"Done": self._done, "Failed": self._failed_count}
        place["Attempts"] = self.attempts
        if self._ahead:
            place["Ahead"] = sorted(self._ahead)
        if self.has_missed:
            place["Missed"] = 1
        if self._silences:
            place["Silences"] = self._silences
        if self._sent_bytes:
            place["Bytes"] = self._sent_bytes
        return place

    def describe(self) -> dict[str, Any]:
        """Give the content of the job as it is now."""
        kept = {k: v for k, v in self._content.items() if k not in _WAITING}
        if "Size" in kept:
            kept |= {"Size": str(self._sent_bytes), "SizeMB": self._sent_bytes // _MIB}
        return {**kept, "FailedInstancesCount": self._failed_count}

    async def advance(self) -> None:
        """Send instances for a while, up to the first obstacle; then nothing is under way."""
        stop_at = time.monotonic() + _STEP_S
        await self._send(stop_at)
        while not self.is_over and time.monotonic() < stop_at:
            await self._send(stop_at)

    async def _send(self, stop_at: float) -> None:
        """Deal with the next instance, and with more if they may go together."""
        try:
            await self._look_up()
        except _OF_AN_INSTANCE as error:
            self._settle({self._done: _Failure(error, is_single=False)})
            return
        waiting = (i for i in range(self._done, self._page_stop) if i not in self._ahead)
        # A receiver that refuses us, or that is not there, is to notice it once.
        most = self._courier.most_at_once if self._is_confirming else 1
        self._is_failing = False
        if most == 1:
            index = next(waiting)
            self._settle({index: await self._try_to_send(index)})
            return
        results: dict[int, int | _Failure] = {}

        async def send(index: int) -> None:
            results[index] = await self._try_to_send(index)

        try:
            await run_flights(
                ((index, self._get_size(index)) for index in waiting),
                send,
                most=most,
                may_start=lambda: not self._is_failing and time.monotonic() < stop_at,
            )
        finally:
            # What was confirmed counts, even if we are cancelled.
            self._settle(results)

    async def _look_up(self) -> None:
        if self._done < self._page_stop:
            return
        page = self._instances[self._done : self._done + _PAGE]
        self._page = await _find(self._outgoing, page)
        self._page_stop = self._done + len(page)
        self._courier.expect(self._page.values())

    def _get_size(self, index: int) -> int:
        instance = self._page.get(self._instances[index])
        return 0 if instance is None else instance.attachment.uncompressed_size

    async def _try_to_send(self, index: int) -> int | _Failure:
        """Send an instance; return how many bytes it took, or what went wrong."""
        instance = self._page.get(self._instances[index])
        following = None
        if index + 1 < self._page_stop:
            following = self._page.get(self._instances[index + 1])
        try:
            if instance is not None:
                return await self._outgoing.use_present(
                    instance, lambda present: self._courier.send(present, following)
                )
        except _OF_AN_INSTANCE as error:
            self._is_failing = True
            return _Failure(error, self._courier.is_single(error))
        self._is_failing = True
        return _Failure(
            MissingFileError("an instance was deleted, or its file was not kept"), is_single=True
        )

    def _settle(self, results: Mapping[int, int | _Failure]) -> None:
        """Take account of what came of some instances, in whatever order it came."""
        for index, result in results.items():
            if not isinstance(result, _Failure):
                self._sent_bytes += result
                self._ahead.add(index)
                self._is_confirming = True
                self.attempts = self._silences = 0
        for index in sorted(results):
            result = results[index]
            if isinstance(result, _Failure) and self.obstacle is None:
                self._take_failure(index, result)
        while self._done in self._ahead:
            self._ahead.remove(self._done)
            self._done += 1

    def _take_failure(self, index: int, failure: _Failure) -> None:
        may_retry = self.attempts < self._retries and is_transient(failure.error)
        if may_retry or not self._is_permissive or _is_ours(failure):
            self.obstacle = failure.error
            return
        # Not that our codecs are too slow, which is another class.
        self._silences += type(failure.error) is DeadlineExceededError
        # Without a connection the others need not even be tried.
        is_single = failure.is_single and self._silences < _MOST_SILENCES
        stop = index + 1 if is_single else len(self._instances)
        self._fail(failure.error, [i for i in range(index, stop) if i not in self._ahead])
        self.attempts = 0

    def _fail(self, error: ServerError, indices: Sequence[int]) -> None:
        """Pass over some instances."""
        reason = error.details or error.message
        self._failed += (FailedItem(self._instances[i], error.code, reason) for i in indices)
        self._failed_count += len(indices)
        self.has_missed |= is_transient(error)
        self._ahead.update(indices)


def _is_ours(failure: _Failure) -> bool:
    """Tell whether our own database is to blame: no instance fails because of it."""
    if isinstance(failure.error, DatabaseUnavailableError | SerializationFailureError):
        return True
    return isinstance(failure.error, BackendError | FullStorageError) and not failure.is_single


async def _find(outgoing: Outgoing, public_ids: Sequence[str]) -> Mapping[str, OutgoingInstance]:
    try:
        return await outgoing.find(public_ids)
    except DeadlineExceededError as error:
        # The receiver has nothing to do with it.
        raise DatabaseUnavailableError(error.details) from error


def _get_wait_s(job: Job) -> int:
    """Tell how long to wait before anything may be sent."""
    arguments = job.arguments
    if "NotBefore" not in arguments:
        return 0
    return get_wait_s(arguments["NotBefore"], arguments["QuietHours"], now())


def _build_waiting_step(content: Mapping[str, Any], wait_s: int) -> Step:
    """Put a job aside until a better time; the checkpoint stays."""
    waits_until = format_timestamp(now() + wait_s)
    return Step(content={**content, "WaitsUntil": waits_until}, retry_after_s=wait_s)
