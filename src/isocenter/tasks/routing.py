"""The follower of the log of changes that routes: it turns events into jobs, each exactly once.

References
----------
Decision 0020
"""

import hashlib
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from isocenter.archive.archive import Archive
from isocenter.archive.outgoing import OutgoingPlan
from isocenter.archive.periodic import Periodic
from isocenter.archive.routing import RuleMatcher
from isocenter.clock import now
from isocenter.config.remote_modalities import RemoteModality
from isocenter.config.routing_rules import RoutingRule, format_destination
from isocenter.dicom.levels import Level
from isocenter.errors import RequestError, UnknownItemError, UnknownResourceError
from isocenter.index.change_log import find_changes
from isocenter.index.job_rows import insert_job
from isocenter.index.port import Transaction
from isocenter.index.records import Change, ChangeType
from isocenter.index.routing import (
    Fingerprint,
    Routed,
    delete_rule_fingerprints,
    forget_position,
    list_rules,
    list_rules_with_fingerprints,
    lock_position,
    lookup_position,
    read_last_change,
    set_fingerprints,
    set_position,
)
from isocenter.jobs.engine import Engine
from isocenter.jobs.records import NewJob
from isocenter.tasks.modality_store import StoreOrder, build_store_job
from isocenter.tasks.peer_store import PeerOrder, build_peer_job
from isocenter.tasks.routed import note_routed
from isocenter.tasks.sending_orders import SendingOrder

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


@dataclass(frozen=True, slots=True)
class _Routing:
    """A job, and what it will have sent."""

    job: NewJob
    sent: Sequence[Fingerprint]


class Router:
    """Looks at each new event once and submits a job for each rule that it fulfils.

    What a rule has sent with the same content to the same destination is not sent again until it is
    deleted here, so what comes back in a circle of servers that overwrite comes to rest. What a job
    could not send counts as not sent.

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
        self._has_tidied = False
        self._following = Periodic("routing", _INTERVAL_S, self.follow)

    def start(self) -> None:
        """Begin to follow the log."""
        self._following.start()

    async def stop(self) -> None:
        """Stop; what happens meanwhile is dealt with at the next start."""
        await self._following.stop()

    async def follow(self) -> bool:
        """Deal with some events; true if there may be more."""
        if not self._has_tidied:
            await self._forget_gone_rules()
            self._has_tidied = True
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
            _log.info("rules of routing hold for what comes from now on")
            return False
        return await self._deal_with(position, matchers)

    async def _forget_gone_rules(self) -> None:
        """Forget what rules have sent that the configuration had and has no more."""
        known = set(self._routing.list_matchers())

        def list_gone(tx: Transaction) -> list[str]:
            return sorted({*list_rules_with_fingerprints(tx)} - known - {*list_rules(tx)})

        def forget(tx: Transaction) -> None:
            for name in list_gone(tx):
                delete_rule_fingerprints(tx, name)

        if await self._workers.read_long(list_gone):
            await self._workers.write(forget)

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
            routings = await self._build_jobs(changes, matchers)
        except UnknownResourceError:
            # Something was deleted meanwhile; the next look at these events is without it.
            return False
        is_first = await self._workers.write(
            lambda tx: _submit(tx, routings, position, changes[-1].seq)
        )
        if is_first and routings:
            self._engine.wake()
            await self._note_exports([routing.job for routing in routings])
            _log.info("instances are routed", extra={"jobs": len(routings)})
        return len(changes) == _BATCH

    async def _note_exports(self, jobs: Sequence[NewJob]) -> None:
        for new in jobs:
            named = [(Level.lookup_title(r["Type"]), r["ID"]) for r in new.content["Resources"]]
            resources = [(level, public_id) for level, public_id in named if level is not None]
            await self._exports.add(resources, remote_modality=new.destination)

    async def _build_jobs(
        self, changes: Sequence[Change], matchers: Mapping[str, RuleMatcher]
    ) -> list[_Routing]:
        jobs: list[_Routing] = []
        for trigger, (change_type, level) in _TRIGGERS.items():
            events = [change for change in changes if change.change_type is change_type]
            rules = {name: m for name, m in matchers.items() if m.rule.trigger == trigger}
            if not events or not rules:
                continue
            names = list(dict.fromkeys(event.public_id for event in events))
            found = await self._routing.describe(level, names)
            for group in self._group(level, names, found):
                read: dict[str, str] = {}
                for name, matcher in rules.items():
                    jobs += await self._build_job(name, matcher, level, group, read)
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
        self,
        name: str,
        matcher: RuleMatcher,
        level: Level,
        found: Sequence[Routed],
        read: dict[str, str],
    ) -> list[_Routing]:
        chosen = self._routing.choose(matcher, found)
        if not chosen:
            return []
        plan = await self._remotes.outgoing.plan(select_resources(level, found, chosen))
        contents = await self._remotes.outgoing.sum_up(plan, read)
        news = await self._routing.select_news(
            self._sum_up(name, matcher.rule, level, chosen, contents)
        )
        if level is Level.INSTANCE and len(news) < len(chosen):
            plan = await self._remotes.outgoing.plan([one.public_id for one in news])
        if not news:
            _log.info("nothing is new for a routing rule", extra={"rule": name})
            return []
        try:
            new = await self._complete(name, matcher.rule, plan)
            return [_Routing(note_routed(new, news), news)]
        except RequestError as error:
            _log.warning(
                "a routing rule cannot be followed",
                extra={"rule": name, "reason": error.details or error.message},
            )
            return []

    def _sum_up(
        self,
        name: str,
        rule: RoutingRule,
        level: Level,
        chosen: Sequence[Routed],
        contents: Mapping[str, str],
    ) -> list[Fingerprint]:
        """Tell what a rule is about to send: each instance for itself, or all of a resource."""
        receiver = (*format_destination(rule), rule.destination, *self._routing.get_address(rule))
        destination = "\n".join(receiver)
        if level is Level.INSTANCE:
            return [
                Fingerprint(one.public_id, name, _hash(destination, [contents[one.public_id]]))
                for one in chosen
                if one.public_id in contents
            ]
        public_id = chosen[0].study if level is Level.STUDY else chosen[0].series
        pairs = sorted(f"{instance} {digest}" for instance, digest in contents.items())
        return [Fingerprint(public_id, name, _hash(destination, pairs))]

    async def _complete(self, name: str, rule: RoutingRule, plan: OutgoingPlan) -> NewJob:
        order = SendingOrder(
            description=f"Routing: {name}",
            is_permissive=rule.is_permissive,
            retries=self._retries if rule.retries is None else rule.retries,
            not_before=now() + rule.delay_s if rule.delay_s else 0,
            quiet_hours=rule.quiet_hours,
        )
        build = self._build_peer_job if rule.is_to_peer else self._build_store_job
        return replace(await build(rule.destination, plan, order), priority=rule.priority)

    async def _build_store_job(
        self, destination: str, plan: OutgoingPlan, order: SendingOrder
    ) -> NewJob:
        try:
            modality = await self._remotes.modalities.get_known(destination)
        except UnknownItemError:
            # The job will fail, visibly, and can be resubmitted when the modality is known again.
            modality = RemoteModality("", "", 0)
        # Only the titles are needed here, for which no certificates are.
        target = self._remotes.calling.build_target(replace(modality, use_dicom_tls=False))
        return build_store_job(plan, StoreOrder(destination, **_list_values(order)), target)

    async def _build_peer_job(
        self, destination: str, plan: OutgoingPlan, order: SendingOrder
    ) -> NewJob:
        # As above, if it is not known.
        peer = self._remotes.peers.get(destination)
        return build_peer_job(plan, PeerOrder(destination, **_list_values(order)), peer)


def _list_values(order: SendingOrder) -> dict[str, Any]:
    return {field.name: getattr(order, field.name) for field in fields(order)}


def _hash(destination: str, contents: Sequence[str]) -> str:
    return hashlib.sha256("\n".join((destination, *contents)).encode()).hexdigest()


def select_resources(level: Level, found: Sequence[Routed], chosen: Sequence[Routed]) -> list[str]:
    """Name what is sent: the whole study if all of its series are chosen, else what is chosen."""
    if level is Level.STUDY and len(chosen) == len(found):
        return [chosen[0].study]
    return [routed.public_id for routed in chosen]


def _begin(tx: Transaction) -> None:
    if lock_position(tx) is None:
        set_position(tx, read_last_change(tx))


def _submit(tx: Transaction, routings: Sequence[_Routing], position: int, reached: int) -> bool:
    """Write jobs, what they send, and the position; false if another server was first."""
    if lock_position(tx) != position:
        return False
    for routing in routings:
        insert_job(tx, str(uuid.uuid4()), routing.job)
    set_fingerprints(tx, (one for routing in routings for one in routing.sent))
    set_position(tx, reached)
    return True
