"""The job kinds ``SplitStudy`` and ``MergeStudy``: instances that go to another study.

References
----------
Orthanc REST: split and merge (behaviour manual §20), job types (§17)
"""

import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import msgspec

from isocenter.archive.modifications import list_locks
from isocenter.archive.received import Origin
from isocenter.archive.regrouping import (
    MergeRequest,
    Moved,
    Regroupings,
    SplitRequest,
    parse_merge,
    parse_split,
)
from isocenter.dicom.levels import Level
from isocenter.dicom.pseudonyms import Pseudonyms
from isocenter.errors import SourceChangedError
from isocenter.index.job_rows import set_arguments
from isocenter.index.port import Transaction
from isocenter.index.reading import lookup_dicom_attachment
from isocenter.jobs.kind import JobKind
from isocenter.jobs.records import Apply, FailedItem, Job, NewJob
from isocenter.jobs.records import Step as JobStep
from isocenter.tasks.editing import EditOutcome, EditPlan, StagedEdits, build_abandon

__all__ = [
    "Direction",
    "RegroupingCall",
    "RegroupingKind",
    "build_regrouping_job",
    "build_regrouping_kinds",
    "build_regrouping_question",
]

_KEY_BYTES = 32
# Arguments that do not come from the client.
_DRAWN = ("key", "locks", "sample")


class Direction(Enum):
    """Where the instances go, by the names of the job kinds."""

    SPLIT = "SplitStudy"
    """Out of the study, into a new one."""
    MERGE = "MergeStudy"
    """Into the study."""


@dataclass(frozen=True, slots=True)
class RegroupingCall:
    """What a client wants.

    Attributes
    ----------
    study
        Public identifier of the study of the route.
    body
        Of the request, as far as it tells what is to be done.
    """

    direction: Direction
    study: str
    body: Mapping[str, Any]
    origin: Origin
    is_permissive: bool = False


def parse_request(call: RegroupingCall, regroupings: Regroupings) -> SplitRequest | MergeRequest:
    """Read the body of a call.

    Raises
    ------
    RequestError
        If it makes no sense.
    """
    if call.direction is Direction.SPLIT:
        return parse_split(call.body, regroupings.options.dictionary)
    return parse_merge(call.body)


async def build_regrouping_job(call: RegroupingCall, regroupings: Regroupings) -> NewJob:
    """Build a job, if the call can be fulfilled now.

    Raises
    ------
    ServerError
        If it cannot.
    """
    request = parse_request(call, regroupings)
    moved = await _find(call, request, regroupings)
    locks = list_locks(moved.sources) | {f"study {call.study}"}
    drawn: dict[str, Any] = {"key": secrets.token_hex(_KEY_BYTES), "locks": sorted(locks)}
    if call.direction is Direction.MERGE:
        drawn["sample"] = await regroupings.choose_sample(call.study)
    return NewJob(
        call.direction.value,
        msgspec.to_builtins(call),
        _describe(call, moved, drawn["key"], EditOutcome()),
        drawn=drawn,
        locks=locks,
    )


def build_regrouping_question(call: RegroupingCall) -> NewJob:
    """Build what finds the job of the same call (see `JobStore.lookup_same`)."""
    arguments = msgspec.to_builtins(call)
    return NewJob(call.direction.value, arguments, drawn=dict.fromkeys(_DRAWN))


async def _find(
    call: RegroupingCall, request: SplitRequest | MergeRequest, regroupings: Regroupings
) -> Moved:
    if isinstance(request, SplitRequest):
        return await regroupings.find_split(call.study, request)
    return await regroupings.find_merge(call.study, request)


def build_regrouping_kinds(
    regroupings: Regroupings, build_edits: Callable[[str], StagedEdits]
) -> list[JobKind]:
    """Build the kinds for both directions.

    Parameters
    ----------
    build_edits
        Builds what runs the jobs of a kind.
    """
    return [
        RegroupingKind(direction, regroupings, build_edits(direction.value))
        for direction in Direction
    ]


class RegroupingKind:
    """Moves instances to another study, all of them or none (see `JobKind`)."""

    def __init__(self, direction: Direction, regroupings: Regroupings, edits: StagedEdits) -> None:
        self.name = direction.value
        self._regroupings = regroupings
        self._edits = edits

    async def run(self, job: Job) -> AsyncGenerator[JobStep]:
        """Edit, stage and publish (see `JobKind.run`)."""
        plan = await self._plan(job)
        async with aclosing(self._edits.run(job, plan)) as steps:
            async for step in steps:
                yield step

    async def _plan(self, job: Job) -> EditPlan:
        call = msgspec.convert(job.arguments, RegroupingCall)
        regroupings = self._regroupings
        request = parse_request(call, regroupings)
        moved = await _find(call, request, regroupings)
        key = job.arguments["key"]
        sample: str = job.arguments.get("sample", "")
        if isinstance(request, SplitRequest):
            pairs = regroupings.build_split(request, moved, bytes.fromhex(key))
        else:
            elements = await regroupings.read_sample(sample)
            pairs = regroupings.build_merge(elements, moved, bytes.fromhex(key))

        def finish(tx: Transaction, outcome: EditOutcome) -> None:
            if sample and lookup_dicom_attachment(tx, sample) is None:
                raise SourceChangedError("the study was changed while others were merged into it")
            if not outcome.failed:
                kept = {name: value for name, value in job.arguments.items() if name != "key"}
                set_arguments(tx, job.job_id, kept)

        return EditPlan(
            pairs=pairs,
            publication=regroupings.build_publication(
                keep_source=request.keep_source, keep_labels=request.keep_labels
            ),
            origin=call.origin,
            is_permissive=call.is_permissive,
            describe=lambda outcome: _describe(call, moved, key, outcome),
            finish=finish,
        )

    def abandon(self, job: Job) -> Apply | None:
        """Remove what was staged (see `JobKind.abandon`)."""
        return build_abandon(job)

    def build_retry(self, job: Job, failed: list[FailedItem]) -> NewJob:
        """Build a job for the failed instances, which go to the same study."""
        call = msgspec.convert(job.arguments, RegroupingCall)
        names = [item.name for item in failed]
        if call.direction is Direction.SPLIT:
            body = {**call.body, "Series": [], "Instances": names}
        else:
            body = {**call.body, "Resources": names}
        drawn = {name: job.arguments[name] for name in _DRAWN if name in job.arguments}
        content = {**job.content, "InstancesCount": len(names), "FailedInstancesCount": 0}
        arguments = msgspec.to_builtins(replace(call, body=body))
        locks = frozenset(job.arguments.get("locks", ()))
        return NewJob(self.name, arguments, content, drawn=drawn, locks=locks)


def _describe(call: RegroupingCall, moved: Moved, key: str, outcome: EditOutcome) -> dict[str, Any]:
    """Describe a job for clients (behaviour manual §20)."""
    content: dict[str, Any] = {
        "Description": "REST API",
        "FailedInstancesCount": outcome.failed,
        "InstancesCount": len(moved.sources),
    }
    if call.direction is Direction.MERGE:
        return {**content, "TargetStudy": call.study}
    old = moved.sources[0].uids[0]
    content["TargetStudyUID"] = Pseudonyms(bytes.fromhex(key)).replace_uid(old)
    if outcome.is_complete and outcome.created[Level.STUDY]:
        content["TargetStudy"] = next(iter(outcome.created[Level.STUDY]))
    return content
