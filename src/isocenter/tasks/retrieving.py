"""The job kinds ``DicomMoveScu`` and ``DicomGetScu``: remote modalities send what we name.

References
----------
Orthanc REST: retrieves (behaviour manual §23.2, §24), job types (§17)
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from isocenter.archive.modalities import Calling, CallOptions, Modalities
from isocenter.archive.retrieval import Retrieval, Retrieved
from isocenter.dicom.levels import Level
from isocenter.dicom.remote_query import QUERY_RETRIEVE_LEVEL, format_level
from isocenter.dicom.tags import format_tag
from isocenter.dimse.requestor import AssociationTarget
from isocenter.errors import (
    BadJobStateError,
    DeadlineExceededError,
    RemoteError,
    ServerError,
)
from isocenter.jobs.records import Apply, FailedItem, Job, NewJob, Step
from isocenter.scu.failures import build_status_error
from isocenter.tasks.retries import RetryPolicy, is_transient

__all__ = ["GetKind", "MoveKind", "RetrieveOrder", "build_retrieve_job"]

_log = logging.getLogger(__name__)

_Detail: TypeAlias = Mapping[str, Any]
"""What a job tells of a request that was answered."""

_MOVE = "DicomMoveScu"
_GET = "DicomGetScu"
# So often a job that waits for its request can be canceled or paused.
_STEP_S = 1.0
# What clients see while a job waits for its next attempt.
_WAITING = ("RetriesCount", "LastError")


@dataclass(frozen=True, slots=True)
class RetrieveOrder:
    """What to retrieve, and how.

    Attributes
    ----------
    modality
        Symbolic name of the sender.
    items
        For each request its level and unique keys, and what else is known of it.
    options
        What differs from the configuration of the modality.
    destination
        AE title to which a C-MOVE sends; ``None`` for a C-GET.
    sop_class_uids
        What will come by a C-GET; empty if nobody knows.
    is_permissive
        Go on after a request that fails.
    retries
        Most new attempts in a row while the modality cannot be reached.
    """

    modality: str
    items: Sequence[tuple[Level, Mapping[int, str], Mapping[int, str]]]
    options: CallOptions = field(default_factory=CallOptions)
    destination: str | None = None
    sop_class_uids: Sequence[str] = ()
    is_permissive: bool = False
    retries: int = 0


def build_retrieve_job(order: RetrieveOrder, target: AssociationTarget) -> NewJob:
    """Build a job that retrieves."""
    arguments: dict[str, Any] = {
        "Modality": order.modality,
        "Options": asdict(order.options),
        "Items": [
            {"Level": int(level), "Keys": {str(tag): text for tag, text in keys.items()}}
            for level, keys, _ in order.items
        ],
        "Destination": order.destination,
        "SopClasses": list(order.sop_class_uids),
        "Permissive": order.is_permissive,
        "Retries": order.retries,
    }
    content: dict[str, Any] = {
        "Description": "REST API",
        "LocalAet": target.calling_ae_title,
        "RemoteAet": target.called_ae_title,
        "Query": [_describe(level, {**more, **keys}) for level, keys, more in order.items],
        "Details": [],
    }
    if order.destination is not None:
        content["TargetAet"] = order.destination
    kind = _GET if order.destination is None else _MOVE
    return NewJob(kind, arguments, content, destination=order.modality)


def _describe(level: Level, values: Mapping[int, str]) -> dict[str, str]:
    """Write a request in the short shape (behaviour manual §24)."""
    complete = {**values, QUERY_RETRIEVE_LEVEL: format_level(level)}
    return {format_tag(tag): complete[tag] for tag in sorted(complete)}


class _RetrieveKind(ABC):
    """Sends one request after another; what has come stays, whatever happens to the job."""

    name: str
    service: str

    def __init__(
        self, retrieval: Retrieval, modalities: Modalities, calling: Calling, policy: RetryPolicy
    ) -> None:
        self._retrieval = retrieval
        self._modalities = modalities
        self._calling = calling
        self._policy = policy

    @abstractmethod
    async def _retrieve(
        self, job: Job, target: AssociationTarget, level: Level, keys: Mapping[int, str]
    ) -> Retrieved:
        """Send one request."""

    async def run(self, job: Job) -> AsyncIterator[Step]:
        """Send the requests that were not sent yet (see `JobKind.run`)."""
        checkpoint = job.checkpoint or {}
        done = int(checkpoint.get("Done", 0))
        items = job.arguments["Items"]
        details = list(job.content["Details"])[:done]
        attempts = int(checkpoint.get("Attempts", 0))
        while done < len(items):
            request = asyncio.ensure_future(self._retrieve_item(job, done))
            try:
                while not await _is_over(request):
                    # Between two steps the job can be canceled or paused.
                    yield Step()
                detail, error = request.result()
            except (RemoteError, DeadlineExceededError) as unanswered:
                detail, error = None, unanswered
            finally:
                await _withdraw(request)
            if error is not None and (detail is None or not job.arguments["Permissive"]):
                if attempts >= job.arguments["Retries"] or not is_transient(error):
                    raise _add_details(error, details, detail)
                yield self._build_retry_step(job, error, done, details, attempts + 1)
                return
            failed = [] if error is None else [FailedItem(str(done), error.code, error.details)]
            details.append(detail)
            done, attempts = done + 1, 0
            yield Step(
                {"Done": done, "Attempts": 0},
                100 * done // len(items),
                _describe_content(job, details),
                failed_items=failed,
            )

    async def _retrieve_item(
        self, job: Job, index: int
    ) -> tuple[_Detail | None, ServerError | None]:
        """Send one request; describe what it brought, and what went wrong, if anything did.

        Raises
        ------
        RemoteError, DeadlineExceededError
            If it was not answered.
        """
        item = job.arguments["Items"][index]
        modality = await self._modalities.get_known(job.arguments["Modality"])
        target = self._calling.build_target(modality, CallOptions(**job.arguments["Options"]))
        keys = {int(tag): text for tag, text in item["Keys"].items()}
        retrieved = await self._retrieve(job, target, Level(item["Level"]), keys)
        result = retrieved.result
        detail = {
            "DimseErrorStatus": result.status,
            "Query": job.content["Query"][index],
            "ReceivedInstancesIds": list(retrieved.public_ids),
        }
        if result.is_complete:
            return detail, None
        reason = result.comment or (f"{result.failed} instances failed" if result.failed else "")
        error = build_status_error(
            self.service, target.called_ae_title, result.status, reason or None
        )
        return detail, error

    def _build_retry_step(
        self,
        job: Job,
        error: ServerError,
        done: int,
        details: Sequence[_Detail],
        attempts: int,
    ) -> Step:
        """Put the job aside after a failed attempt."""
        delay_s = self._policy.get_delay_s(attempts)
        _log.info(
            "a retrieve will be tried again",
            extra={"job": job.job_id, "attempts": attempts, "delay_s": delay_s},
        )
        waiting = dict(zip(_WAITING, (attempts, error.details or error.message), strict=True))
        return Step(
            {"Done": done, "Attempts": attempts},
            content={**_describe_content(job, details), **waiting},
            retry_after_s=delay_s,
        )

    def abandon(self, job: Job) -> Apply | None:  # noqa: ARG002 - the port's signature
        """Leave nothing: there is nothing in the database (see `JobKind.abandon`)."""
        return None

    def build_retry(self, job: Job, failed: list[FailedItem]) -> NewJob:
        """Build a job that sends the requests that failed (see `JobKind.build_retry`)."""
        indexes = sorted(int(item.name) for item in failed)
        items = job.arguments["Items"]
        if not all(0 <= index < len(items) for index in indexes):
            raise BadJobStateError("the failed requests of the job are not known any more")
        arguments = {**job.arguments, "Items": [items[index] for index in indexes]}
        queries = [job.content["Query"][index] for index in indexes]
        content = {**job.content, "Query": queries, "Details": []}
        return NewJob(self.name, arguments, content, destination=job.destination)


def _add_details(
    error: ServerError, details: Sequence[_Detail], last: _Detail | None
) -> ServerError:
    """Let an error tell of all requests, if the last one was answered (behaviour manual §17)."""
    if last is not None:
        error.payload = {"Type": "RetrieveJob", "Content": [*details, last]}
    return error


async def _is_over(request: "asyncio.Future[Any]") -> bool:
    """Wait for a request, for a while."""
    over, _ = await asyncio.wait([request], timeout=_STEP_S)
    return bool(over)


async def _withdraw(request: "asyncio.Future[Any]") -> None:
    """End a request whose result nobody wants any more; its association ends with it."""
    if not request.done():
        request.cancel()
        await asyncio.wait([request])
    if not request.cancelled():
        # Whoever wanted to know has asked already.
        request.exception()


def _describe_content(job: Job, details: Sequence[_Detail]) -> dict[str, Any]:
    kept = {key: value for key, value in job.content.items() if key not in _WAITING}
    return {**kept, "Details": list(details)}


class MoveKind(_RetrieveKind):
    """Retrieves by C-MOVE."""

    name = _MOVE
    service = "C-MOVE"

    async def _retrieve(
        self, job: Job, target: AssociationTarget, level: Level, keys: Mapping[int, str]
    ) -> Retrieved:
        destination = job.arguments["Destination"]
        return await self._retrieval.move(target, level, keys, destination=destination)


class GetKind(_RetrieveKind):
    """Retrieves by C-GET."""

    name = _GET
    service = "C-GET"

    async def _retrieve(
        self, job: Job, target: AssociationTarget, level: Level, keys: Mapping[int, str]
    ) -> Retrieved:
        return await self._retrieval.get(
            target, level, keys, sop_class_uids=job.arguments["SopClasses"]
        )
