"""Routing: which rules there are, and which of them what is stored fulfils, and why.

References
----------
Decision 0020
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from isocenter.archive.modalities import Modalities
from isocenter.archive.peers import Peers
from isocenter.archive.periodic import Periodic
from isocenter.archive.workers import Workers
from isocenter.config.routing_rules import RoutingRule, format_routing_rule, parse_routing_rule
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import MainTags
from isocenter.dicom.matching import build_matcher
from isocenter.dicom.query import parse_criterion
from isocenter.dicom.tags import TagDictionary
from isocenter.errors import (
    BadParameterError,
    ConfigurationError,
    DuplicateResourceError,
    RequestError,
    UnknownItemError,
    UnknownResourceError,
)
from isocenter.index.port import Transaction
from isocenter.index.routing import (
    Fingerprint,
    Routed,
    delete_rule,
    find_fingerprints,
    find_routed,
    list_rules,
    set_rule,
)

__all__ = ["Condition", "Destinations", "Routing", "RuleMatcher"]

_MOST_RULES = 1_000
_REFRESH_S = 5.0
_LEVELS = (Level.SERIES, Level.STUDY, Level.PATIENT)
_ORIGIN, _MODALITY = "OriginAet", "Modality"
_MODALITY_TAG = 0x00080060

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

Matcher = Callable[[str | None], bool]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a rule, looked at for one series or instance.

    Attributes
    ----------
    name
        ``Modality``, ``OriginAet`` or the name of a tag.
    value
        What it is; ``None`` if it is absent.
    """

    name: str
    expected: str
    value: str | None
    is_met: bool


class RuleMatcher:
    """The conditions of one rule.

    Raises
    ------
    BadParameterError
        If a tag is not kept by the index, or a pattern is wrong.
    """

    def __init__(self, rule: RoutingRule, dictionary: TagDictionary, main_tags: MainTags) -> None:
        self.rule = rule
        self._conditions: list[tuple[str, str, Callable[[Routed], str | None], Matcher]] = []
        if rule.modalities:
            self._add(_MODALITY, "\\".join(rule.modalities), _MODALITY_TAG, "CS")
        if rule.origin_aets:
            test = _build_test(_MODALITY_TAG, "AE", "\\".join(rule.origin_aets))
            expected = "\\".join(rule.origin_aets)
            self._conditions.append((_ORIGIN, expected, lambda routed: routed.remote_aet, test))
        stored = {tag for level in _LEVELS for tag in main_tags.get_stored(level)}
        for name, text in rule.tags.items():
            tag = _parse_tag(name, dictionary)
            if tag not in stored:
                raise BadParameterError(
                    f"Tags: {name[:64]} is no main tag of patients, studies or series; see the "
                    "option ExtraMainDicomTags"
                )
            self._add(name, text, tag, dictionary.lookup_vr(tag))

    def _add(self, name: str, expected: str, tag: int, vr: str) -> None:
        key = TagDictionary.get_key(_DICTIONARY, tag)

        def read(routed: Routed) -> str | None:
            value = routed.values.get(key)
            return value if isinstance(value, str) else None

        self._conditions.append((name, expected, read, _build_test(tag, vr, expected)))

    def explain(self, routed: Routed) -> list[Condition]:
        """Look at each condition."""
        found = []
        for name, expected, read, test in self._conditions:
            value = read(routed)
            found.append(Condition(name, expected, value, test(value)))
        return found

    def matches(self, routed: Routed) -> bool:
        """Tell whether all conditions are met."""
        return all(test(read(routed)) for _, _, read, test in self._conditions)


_DICTIONARY = TagDictionary()


def _fold(ae_title: str) -> str:
    return ae_title.strip().upper()


def _build_test(tag: int, vr: str, text: str) -> Matcher:
    try:
        return build_matcher(parse_criterion(tag, vr, text))
    except RequestError as error:
        raise BadParameterError(error.details or error.message) from error


def _parse_tag(name: str, dictionary: TagDictionary) -> int:
    try:
        return dictionary.parse_tag(name)
    except RequestError as error:
        raise BadParameterError(f"Tags: nobody knows {name[:64]}") from error


@dataclass(frozen=True, slots=True)
class Destinations:
    """Where rules may send to."""

    modalities: Modalities
    peers: Peers

    def choose(self, rule: RoutingRule) -> Modalities | Peers:
        """Choose those among which the destination of a rule is."""
        return self.peers if rule.is_to_peer else self.modalities

    def get_ae_title(self, rule: RoutingRule) -> str:
        """Tell the title of the destination; empty if it is not known, or a peer."""
        if rule.is_to_peer:
            return ""
        modality = self.modalities.get(rule.destination)
        return "" if modality is None else modality.ae_title

    def get_address(self, rule: RoutingRule) -> tuple[str, ...]:
        """Tell who really receives what a rule sends: nothing if the destination is not known."""
        if rule.is_to_peer:
            peer = self.peers.get(rule.destination)
            return () if peer is None else (peer.url,)
        modality = self.modalities.get(rule.destination)
        if modality is None:
            return ()
        return modality.host, str(modality.port), modality.ae_title


class Routing:
    """The rules, by their names. For the event loop's thread.

    Those of the configuration always hold; those of clients are in the database.

    Raises
    ------
    ConfigurationError
        If a rule of the configuration is wrong.
    """

    def __init__(
        self,
        workers: Workers,
        destinations: Destinations,
        configured: Mapping[str, RoutingRule],
        *,
        dictionary: TagDictionary,
        main_tags: MainTags,
        is_shared: bool,
    ) -> None:
        self._workers = workers
        self._destinations = destinations
        self._dictionary = dictionary
        self._main_tags = main_tags
        self._configured = {name: self._check(name, rule) for name, rule in configured.items()}
        self._kept: dict[str, RuleMatcher] = {}
        self._refreshing = (
            Periodic("routing rules", _REFRESH_S, self._refresh) if is_shared else None
        )

    def _check(self, name: str, rule: RoutingRule) -> RuleMatcher:
        try:
            return self.build_matcher(rule)
        except BadParameterError as error:
            message = f'option "Isocenter.Routing": {name}: {error.details}'
            raise ConfigurationError(message) from error

    async def start(self) -> None:
        """Read the rules of the database, and follow what other servers change."""
        await self._refresh()
        if self._refreshing is not None:
            self._refreshing.start()

    async def stop(self) -> None:
        """Stop following."""
        if self._refreshing is not None:
            await self._refreshing.stop()

    async def _refresh(self) -> bool:
        documents = await self._workers.read_long(list_rules)
        kept = {}
        for name, document in documents.items():
            try:
                kept[name] = self.build_matcher(parse_routing_rule(_decode(document)))
            except (ConfigurationError, BadParameterError):
                # Written by a newer version, or by a server that keeps other tags.
                continue
        self._kept = kept
        return False

    def build_matcher(self, rule: RoutingRule) -> RuleMatcher:
        """Prepare a rule.

        Raises
        ------
        BadParameterError
            If one of its conditions is wrong.
        """
        return RuleMatcher(rule, self._dictionary, self._main_tags)

    def list_matchers(self) -> dict[str, RuleMatcher]:
        """List all rules, in the order of their names."""
        return dict(sorted({**self._kept, **self._configured}.items()))

    def is_configured(self, name: str) -> bool:
        """Tell whether a rule comes from the configuration."""
        return name in self._configured

    def get(self, name: str) -> RoutingRule:
        """Find a rule.

        Raises
        ------
        UnknownItemError
            If there is none of that name.
        """
        found = self._configured.get(name) or self._kept.get(name)
        if found is None:
            raise UnknownItemError(f"there is no routing rule of the name {name[:64]}")
        return found.rule

    async def put(self, name: str, rule: RoutingRule) -> None:
        """Create or replace a rule.

        Raises
        ------
        BadParameterError
            If a condition is wrong, the destination is not known, or there are too many rules.
        DuplicateResourceError
            If the configuration has a rule of that name.
        """
        self._refuse_configured(name)
        matcher = self.build_matcher(rule)
        if rule.destination not in await self._destinations.choose(rule).list_known():
            kind = "peer" if rule.is_to_peer else "modality"
            raise BadParameterError(f"No {kind} with symbolic name: {rule.destination[:100]}")
        if name not in self._kept and len(self._kept) >= _MOST_RULES:
            raise BadParameterError(f"more than {_MOST_RULES} routing rules")
        document = _encode(format_routing_rule(rule)).decode()
        await self._workers.write(lambda tx: set_rule(tx, name, document))
        self._kept[name] = matcher

    async def delete(self, name: str) -> None:
        """Forget a rule.

        Raises
        ------
        UnknownItemError
            If there is none of that name.
        DuplicateResourceError
            If it comes from the configuration.
        """
        self.get(name)
        self._refuse_configured(name)
        await self._workers.write(lambda tx: delete_rule(tx, name))
        self._kept.pop(name, None)

    def _refuse_configured(self, name: str) -> None:
        if name in self._configured:
            raise DuplicateResourceError("the rule belongs to the configuration")

    async def find_series(self, level: Level, public_id: str) -> list[Routed]:
        """Describe the series of a study, or one series.

        Raises
        ------
        UnknownResourceError
            If there is none.
        """
        found = await self.describe(level, [public_id])
        if not found:
            raise UnknownResourceError("there is no such study or series")
        return found

    async def describe(self, level: Level, public_ids: Sequence[str]) -> list[Routed]:
        """Describe what rules look at: series or instances, or all series of studies."""

        def query(tx: Transaction) -> list[Routed]:
            return find_routed(tx, level, public_ids)

        return await self._workers.read_long(query)

    def choose(self, matcher: RuleMatcher, found: Sequence[Routed]) -> list[Routed]:
        """Choose what a rule sends: what fulfils it, unless the destination itself has sent it."""
        return [one for one in found if not self._is_back(matcher, one) and matcher.matches(one)]

    def _is_back(self, matcher: RuleMatcher, routed: Routed) -> bool:
        """Tell whether something would go back to where it came from, in a circle perhaps."""
        ae_title = self._destinations.get_ae_title(matcher.rule)
        return bool(ae_title) and _fold(ae_title) == _fold(routed.remote_aet)

    def is_destination_known(self, rule: RoutingRule) -> bool:
        """Tell whether the modality or the peer of a rule is known."""
        return rule.destination in self._destinations.choose(rule)

    def get_address(self, rule: RoutingRule) -> tuple[str, ...]:
        """Tell who really receives what a rule sends (see `Destinations.get_address`)."""
        return self._destinations.get_address(rule)

    async def select_news(self, news: Sequence[Fingerprint]) -> list[Fingerprint]:
        """Leave out what the same rule has sent with the same content to the same destination."""
        if not news:
            return []
        rule, public_ids = news[0].rule, [one.public_id for one in news]
        sent = await self._workers.read_long(lambda tx: find_fingerprints(tx, rule, public_ids))
        return [one for one in news if sent.get(one.public_id) != one.value]

    def _explain_origin(self, matcher: RuleMatcher, routed: Routed) -> list[Condition]:
        if not self._is_back(matcher, routed):
            return []
        expected = f"not {self._destinations.get_ae_title(matcher.rule)}"
        return [Condition(_ORIGIN, expected, routed.remote_aet, is_met=False)]

    def explain(self, matcher: RuleMatcher, found: Sequence[Routed]) -> list[dict[str, Any]]:
        """Say for each series whether a rule fulfils it, and why."""
        chosen = {routed.public_id for routed in self.choose(matcher, found)}
        return [
            {
                "ID": routed.public_id,
                "Matches": routed.public_id in chosen,
                "Conditions": [
                    {
                        "Condition": condition.name,
                        "Expected": condition.expected,
                        "Value": condition.value,
                        "Matches": condition.is_met,
                    }
                    for condition in (
                        *matcher.explain(routed),
                        *self._explain_origin(matcher, routed),
                    )
                ],
            }
            for routed in found
        ]
