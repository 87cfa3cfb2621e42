"""The follower of the log of changes that routes: it turns events into jobs, each exactly once.

References
----------
Decision 0020
"""

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace

from isocenter.archive.archive import Archive
from isocenter.archive.modalities import CallOptions
from isocenter.archive.outgoing import OutgoingPlan
from isocenter.archive.periodic import Periodic
from isocenter.archive.routing import RuleMatcher
from isocenter.clock import now
from isocenter.config.remote_modalities import RemoteModality
from isocenter.config.routing_rules import RoutingRule
from isocenter.dicom.levels import Level
from isocenter.errors import RequestError, UnknownItemError, UnknownResourceError
from isocenter.index.change_log import find_changes
from isocenter.index.job_rows import insert_job
from isocenter.index.port import Transaction
from isocenter.index.records import Change, ChangeType
from isocenter.index.routing import (
    Routed,
    forget_position,
    lock_position,
    lookup_position,
    read_last_change,
    set_position,
)
from isocenter.jobs.engine import Engine
from isocenter.jobs.records import NewJob
from isocenter.tasks.modality_store import StoreOrder, build_store_job

__all__ = ["Router", "select_resources"]

_log = logging.getLogger(__name__)

_INTERVAL_S = 1.0
# So many events are dealt with in a transaction.
_BATCH = 200
_TRIGGERS = {
    "StableStudy": (ChangeType.STABLE_STUDY, Level.STUDY),
    "StableSeries": (ChangeType.STABLE_SERIES, Level.SERIES),
    "NewInstance": (ChangeType.NEW_INSTANCE, Level.INSTANCE),
}


class Router:
    """Looks at each new event once and submits a job for each rule that it fulfils.

    Jobs and the position in the log are written in one transaction, so a crash neither loses a job
    nor makes one twice. Of servers that share a database the first one deals with an event.

    Parameters
    ----------
    retries
        Option ``Isocenter.TransferRetries``.
    """

    def __init__(self, archive: Archive, engine: Engine, *, retries: int) -> None:
        self._workers = archive.workers
        self._remotes = archive.remotes
        self._routing = archive.remotes.routing
        self._exports = archive.exports
        self._engine = engine
        self._retries = retries
        # Whether the database is known to hold no position.
        self._is_idle = False
        self._following = Periodic("routing", _INTERVAL_S, self.follow)

    def start(self) -> None:
        """Begin to follow the log."""
        self._following.start()

    async def stop(self) -> None:
        """Stop; what happens meanwhile is dealt with at the next start."""
        await self._following.stop()

    async def follow(self) -> bool:
        """Deal with some events; true if there may be more."""
        matchers = {
            name: matcher
            for name, matcher in self._routing.list_matchers().items()
            if matcher.rule.is_enabled
        }
        if not matchers:
            if not self._is_idle:
                await self._workers.write(forget_position)
                self._is_idle = True
            return False
        self._is_idle = False
        position = await self._workers.read_long(lookup_position)
        if position is None:
            # What came before the first rule is not sent.
            await self._workers.write(_begin)
            return False
        return await self._deal_with(position, matchers)

    async def _deal_with(self, position: int, matchers: Mapping[str, RuleMatcher]) -> bool:
        wanted = {_TRIGGERS[matcher.rule.trigger][0] for matcher in matchers.values()}
        changes = await self._workers.read_long(
            lambda tx: find_changes(
                tx, since=position, until=None, limit=_BATCH, types=sorted(wanted)
            )
        )
        if not changes:
            return False
        try:
            jobs = await self._build_jobs(changes, matchers)
        except UnknownResourceError:
            # Something was deleted meanwhile; the next look at these events is without it.
            return False
        is_first = await self._workers.write(
            lambda tx: _submit(tx, jobs, position, changes[-1].seq)
        )
        if is_first and jobs:
            self._engine.wake()
            await self._note_exports(jobs)
            _log.info("instances are routed", extra={"jobs": len(jobs)})
        return len(changes) == _BATCH

    async def _note_exports(self, jobs: Sequence[NewJob]) -> None:
        for new in jobs:
            named = [(Level.lookup_title(r["Type"]), r["ID"]) for r in new.content["Resources"]]
            resources = [(level, public_id) for level, public_id in named if level is not None]
            await self._exports.add(resources, remote_modality=new.destination)

    async def _build_jobs(
        self, changes: Sequence[Change], matchers: Mapping[str, RuleMatcher]
    ) -> list[NewJob]:
        jobs: list[NewJob] = []
        for trigger, (change_type, level) in _TRIGGERS.items():
            events = [change for change in changes if change.change_type is change_type]
            rules = {name: m for name, m in matchers.items() if m.rule.trigger == trigger}
            if not events or not rules:
                continue
            names = list(dict.fromkeys(event.public_id for event in events))
            found = await self._routing.describe(level, names)
            for group in self._group(level, names, found):
                for name, matcher in rules.items():
                    jobs += await self._build_job(name, matcher, level, group)
        return jobs

    def _group(
        self, level: Level, names: Sequence[str], found: Sequence[Routed]
    ) -> list[list[Routed]]:
        """Put together what goes into a job: a study, a series, or all new instances."""
        if level is Level.INSTANCE:
            return [list(found)]
        members: dict[str, list[Routed]] = {name: [] for name in names}
        for routed in found:
            parent = routed.study if level is Level.STUDY else routed.series
            if parent in members:
                members[parent].append(routed)
        return [group for group in members.values() if group]

    async def _build_job(
        self, name: str, matcher: RuleMatcher, level: Level, found: Sequence[Routed]
    ) -> list[NewJob]:
        chosen = self._routing.choose(matcher, found)
        if not chosen:
            return []
        plan = await self._remotes.outgoing.plan(select_resources(level, found, chosen))
        try:
            return [await self._complete(name, matcher.rule, plan)]
        except RequestError as error:
            _log.warning(
                "a routing rule cannot be followed",
                extra={"rule": name, "reason": error.details or error.message},
            )
            return []

    async def _complete(self, name: str, rule: RoutingRule, plan: OutgoingPlan) -> NewJob:
        try:
            modality = await self._remotes.modalities.get_known(rule.destination)
        except UnknownItemError:
            # The job will fail, visibly, and can be resubmitted when the modality is known again.
            modality = RemoteModality("", "", 0)
        # Only the titles are needed here, for which no certificates are.
        target = self._remotes.calling.build_target(replace(modality, use_dicom_tls=False))
        order = StoreOrder(
            rule.destination,
            CallOptions(),
            description=f"Routing: {name}",
            is_permissive=rule.is_permissive,
            retries=self._retries if rule.retries is None else rule.retries,
            not_before=now() + rule.delay_s if rule.delay_s else 0,
            quiet_hours=rule.quiet_hours,
        )
        return replace(build_store_job(plan, order, target), priority=rule.priority)


def select_resources(level: Level, found: Sequence[Routed], chosen: Sequence[Routed]) -> list[str]:
    """Name what is sent: the whole study if all of its series are chosen, else what is chosen."""
    if level is Level.STUDY and len(chosen) == len(found):
        return [chosen[0].study]
    return [routed.public_id for routed in chosen]


def _begin(tx: Transaction) -> None:
    if lock_position(tx) is None:
        set_position(tx, read_last_change(tx))


def _submit(tx: Transaction, jobs: Sequence[NewJob], position: int, reached: int) -> bool:
    """Write jobs and position; false if another server was first."""
    if lock_position(tx) != position:
        return False
    for new in jobs:
        insert_job(tx, str(uuid.uuid4()), new)
    set_position(tx, reached)
    return True
