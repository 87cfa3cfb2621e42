"""The job kind ``ResourceModification``: modified and anonymized copies of stored resources.

References
----------
Orthanc REST: modification and anonymization (behaviour manual §18, §19), job types (§17)
"""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from isocenter.archive.edit_requests import EditRequest, parse_anonymization, parse_modification
from isocenter.archive.modifications import ModificationOptions, Modifications, list_locks
from isocenter.archive.received import Origin
from isocenter.archive.workers import Workers
from isocenter.dicom.levels import Level
from isocenter.errors import BadParameterError
from isocenter.index.job_rows import set_arguments
from isocenter.index.port import Transaction
from isocenter.index.staging import Source
from isocenter.jobs.records import Apply, FailedItem, Job, NewJob
from isocenter.jobs.records import Step as JobStep
from isocenter.tasks.editing import EditOutcome, EditPlan, StagedEdits, build_abandon

__all__ = [
    "ModificationCall",
    "ModificationKind",
    "build_modification_job",
    "build_modification_question",
    "parse_edit_request",
    "parse_resources",
]

_KIND = "ResourceModification"
_KEY_BYTES = 32
# Arguments that do not come from the client.
_DRAWN = ("key", "number", "locks")


@dataclass(frozen=True, slots=True)
class ModificationCall:
    """What a client wants.

    Attributes
    ----------
    resources
        Pairs of level and public identifier.
    level
        Of the route; ``None`` for a bulk route, whose resources are of any levels.
    body
        Of the request, as far as it tells what is to be done.
    has_key
        The client has given a key, which is not in the body.
    """

    resources: tuple[tuple[Level, str], ...]
    level: Level | None
    is_anonymization: bool
    body: Mapping[str, Any]
    origin: Origin
    is_permissive: bool = False
    has_key: bool = False

    @property
    def public_ids(self) -> list[str]:
        """Identifiers of the resources."""
        return [public_id for _, public_id in self.resources]


def parse_edit_request(call: ModificationCall, options: ModificationOptions) -> EditRequest:
    """Read the body of a call.

    Raises
    ------
    ServerError
        If it makes no sense.
    """
    if call.is_anonymization:
        request = parse_anonymization(
            call.body, private_creator=options.private_creator, dictionary=options.dictionary
        )
    else:
        request = parse_modification(
            call.body,
            _get_level(call.body) if call.level is None else call.level,
            private_creator=options.private_creator,
            dictionary=options.dictionary,
        )
    return replace(request, has_key=call.has_key)


def _get_level(body: Mapping[str, Any]) -> Level | None:
    """Read the level that a bulk call names; without it, the replaced identifiers tell."""
    title = body.get("Level")
    if title is None:
        return None
    level = Level.lookup_title(title) if isinstance(title, str) else None
    if level is None:
        raise BadParameterError("the field 'Level' is one of Patient, Study, Series and Instance")
    return level


def build_modification_job(
    call: ModificationCall, sources: Sequence[Source], *, number: int, key: bytes | None = None
) -> NewJob:
    """Build a job.

    Parameters
    ----------
    sources
        The instances that are concerned now.
    number
        What `Modifications.draw_number` gave.
    key
        The client's, ``None`` to draw one.
    """
    key = key or secrets.token_bytes(_KEY_BYTES)
    locks = list_locks(sources)
    return NewJob(
        _KIND,
        msgspec.to_builtins(call),
        _describe(call, len(sources), EditOutcome()),
        drawn={"key": key.hex(), "number": number, "locks": sorted(locks)},
        locks=locks,
    )


def build_modification_question(call: ModificationCall) -> NewJob:
    """Build what finds the job of the same call (see `JobStore.lookup_same`)."""
    return NewJob(_KIND, msgspec.to_builtins(call), drawn=dict.fromkeys(_DRAWN))


def parse_resources(job: Job) -> tuple[tuple[Level, str], ...]:
    """Read levels and identifiers of what a job was submitted for."""
    return msgspec.convert(job.arguments, ModificationCall).resources


class ModificationKind:
    """Modifies and anonymizes (see `JobKind`)."""

    name = _KIND

    def __init__(self, workers: Workers, modifications: Modifications, edits: StagedEdits) -> None:
        self._workers = workers
        self._modifications = modifications
        self._edits = edits

    async def run(self, job: Job) -> AsyncIterator[JobStep]:
        """Edit, stage and publish (see `JobKind.run`)."""
        plan = await self._plan(job)
        async with aclosing(self._edits.run(job, plan)) as steps:
            async for step in steps:
                yield step

    async def _plan(self, job: Job) -> EditPlan:
        call = msgspec.convert(job.arguments, ModificationCall)
        modifications = self._modifications
        request = parse_edit_request(call, modifications.options)
        sources = await modifications.find_sources(call.public_ids, request)
        key = bytes.fromhex(job.arguments["key"])
        number = job.arguments["number"]

        def finish(tx: Transaction, outcome: EditOutcome) -> None:
            """Forget what links new to old identifiers, unless it is wanted for failed items."""
            if not outcome.failed:
                kept = {name: value for name, value in job.arguments.items() if name != "key"}
                set_arguments(tx, job.job_id, kept)

        def build() -> EditPlan:
            made_at = job.created_at // 1_000_000
            edit = modifications.build_edit(request, sources, key, number, made_at)
            return EditPlan(
                pairs=[(source, edit) for source in sources],
                publication=modifications.build_publication(request, sources),
                origin=call.origin,
                is_permissive=call.is_permissive,
                describe=lambda outcome: _describe(call, len(sources), outcome),
                finish=finish,
                target=request.target,
            )

        # There may be many sources, and nothing may keep the event loop from its work.
        return await self._workers.run(build)

    def abandon(self, job: Job) -> Apply | None:
        """Remove what was staged (see `JobKind.abandon`)."""
        return build_abandon(job)

    def build_retry(self, job: Job, failed: list[FailedItem]) -> NewJob:
        """Build a job for the failed instances, which gives the same new identifiers."""
        call = msgspec.convert(job.arguments, ModificationCall)
        resources = tuple((Level.INSTANCE, item.name) for item in failed)
        again = replace(call, resources=resources)
        return NewJob(
            _KIND,
            msgspec.to_builtins(again),
            _describe(again, len(resources), EditOutcome()),
            drawn={name: job.arguments[name] for name in _DRAWN},
            locks=frozenset(job.arguments["locks"]),
        )


def _describe(call: ModificationCall, count: int, outcome: EditOutcome) -> dict[str, Any]:
    """Describe a job for clients (behaviour manual §17, §18.6)."""
    content: dict[str, Any] = {
        "Description": "REST API",
        "FailedInstancesCount": outcome.failed,
        "InstancesCount": count,
        "IsAnonymization": call.is_anonymization,
        "ParentResources": call.public_ids,
        "Resources": [
            {"ID": public_id, "Type": level.title} for level, public_id in call.resources
        ],
    }
    if "Transcode" in call.body:
        content["Transcode"] = call.body["Transcode"]
    if not outcome.is_complete:
        return content
    if call.level is None:
        content["Resources"] = [
            {"ID": public_id, "Path": f"/{level.plural}/{public_id}", "Type": level.title}
            for level in reversed(Level)
            for public_id in sorted(outcome.created[level])
        ]
    elif outcome.created[call.level]:
        public_id = next(iter(outcome.created[call.level]))
        content |= {
            "ID": public_id,
            "Path": f"/{call.level.plural}/{public_id}",
            "PatientID": next(iter(outcome.created[Level.PATIENT])),
            "Type": call.level.title,
        }
    return content
