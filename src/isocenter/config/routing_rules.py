"""Rules of routing as configuration and clients write them.

References
----------
Decision 0020
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from isocenter.config.values import BooleanKind, ChoiceKind, IntegerKind, Kind, ListKind, TextKind
from isocenter.errors import ConfigurationError

__all__ = [
    "RULE_NAME",
    "RoutingRule",
    "Trigger",
    "format_destination",
    "format_routing_rule",
    "parse_routing_rule",
]

RULE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a rule may be called."""

Trigger = ("StableStudy", "StableSeries", "NewInstance")
"""When rules are looked at: the types of changes."""

_LONGEST_TEXT = 1024
_MOST_TEXTS = 100
_LONGEST_S = 366 * 86_400
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_TEXT = TextKind(re.compile(f"[^\\0]{{1,{_LONGEST_TEXT}}}"), "text that is not empty")
_TEXTS = ListKind(_TEXT)
_SIMPLE: dict[str, tuple[str, Kind]] = {
    "Enabled": ("is_enabled", BooleanKind()),
    "Trigger": ("trigger", ChoiceKind(Trigger)),
    "Modality": ("modalities", _TEXTS),
    "OriginAet": ("origin_aets", _TEXTS),
    "Delay": ("delay_s", IntegerKind(0, _LONGEST_S)),
    "Retries": ("retries", IntegerKind(0, 1_000_000)),
    "Priority": ("priority", IntegerKind(-(2**31), 2**31 - 1)),
    "Permissive": ("is_permissive", BooleanKind()),
}
_MODALITY, _PEER = _DESTINATIONS = ("Modality", "Peer")
_OTHERS = ("Destination", "Tags", "QuietHours")


@dataclass(frozen=True, slots=True)
class RoutingRule:
    """What is sent where, and when.

    Attributes
    ----------
    destination
        Symbolic name of a remote modality or, if ``is_to_peer``, of a peer.
    trigger
        One of `Trigger`.
    modalities, origin_aets
        Of the series, whatever their case; empty for all. May hold the wildcards ``*`` and ``?``.
    tags
        Names of tags and what they must be, as in searches.
    delay_s
        How long to wait after the event.
    quiet_hours
        Local times of the day, in minutes, from which and until when nothing is sent.
    retries
        ``None`` for the option ``Isocenter.TransferRetries``.
    """

    destination: str
    trigger: str = "StableStudy"
    modalities: tuple[str, ...] = ()
    origin_aets: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    delay_s: int = 0
    quiet_hours: tuple[tuple[int, int], ...] = ()
    retries: int | None = None
    priority: int = 0
    is_permissive: bool = False
    is_enabled: bool = True
    is_to_peer: bool = False


def parse_routing_rule(value: object) -> RoutingRule:
    """Read a rule.

    Raises
    ------
    ConfigurationError
        If something of it is wrong; ``details`` is the reason alone.
    """
    if not isinstance(value, Mapping):
        raise ConfigurationError("must be an object")
    for name in value:
        if name not in _SIMPLE and name not in _OTHERS:
            raise ConfigurationError(f"has the unknown entry {str(name)[:64]!r}")
    is_to_peer, destination = _parse_destination(value.get("Destination"))
    attributes: dict[str, Any] = {"destination": destination, "is_to_peer": is_to_peer}
    for name, (attribute, kind) in _SIMPLE.items():
        if name in value:
            try:
                attributes[attribute] = kind.check(value[name])
            except ConfigurationError as error:
                raise ConfigurationError(f"{name} {error.details}") from None
            _check_length(name, attributes[attribute])
    attributes["tags"] = _parse_tags(value.get("Tags", {}))
    attributes["quiet_hours"] = _parse_quiet_hours(value.get("QuietHours", []))
    return RoutingRule(**attributes)


def _check_length(name: str, value: object) -> None:
    if isinstance(value, tuple) and len(value) > _MOST_TEXTS:
        raise ConfigurationError(f"{name} may have {_MOST_TEXTS} entries")


def _parse_destination(value: object) -> tuple[bool, str]:
    """Tell whether it is a peer, and its name."""
    if isinstance(value, Mapping) and len(value) == 1:
        ((kind, name),) = value.items()
        if kind in _DESTINATIONS and isinstance(name, str) and name:
            return kind == _PEER, name
    raise ConfigurationError('Destination must be {"Modality": name} or {"Peer": name}')


def _parse_tags(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or len(value) > _MOST_TEXTS:
        raise ConfigurationError(f"Tags must be an object of at most {_MOST_TEXTS} tags")
    for name, text in value.items():
        if not isinstance(text, str) or len(text) > _LONGEST_TEXT:
            raise ConfigurationError(f"Tags: {str(name)[:64]} must be a text that is not too long")
    return dict(value)


def _parse_quiet_hours(value: object) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, list | tuple) or len(value) > _MOST_TEXTS:
        raise ConfigurationError("QuietHours must be an array")
    hours = []
    for entry in value:
        if not isinstance(entry, list | tuple) or len(entry) != 2:
            raise ConfigurationError('QuietHours must hold pairs such as ["07:00", "19:00"]')
        start, stop = (_parse_time(text) for text in entry)
        if start == stop:
            raise ConfigurationError("QuietHours must not begin when they end")
        hours.append((start, stop))
    return tuple(hours)


def _parse_time(text: object) -> int:
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ConfigurationError("QuietHours must be times of the form HH:MM")
    return int(match[1]) * 60 + int(match[2])


def format_routing_rule(rule: RoutingRule) -> dict[str, Any]:
    """Write a rule in the form that `parse_routing_rule` understands."""
    form: dict[str, Any] = {}
    for name, (attribute, _) in _SIMPLE.items():
        value = getattr(rule, attribute)
        if value is not None:
            form[name] = list(value) if isinstance(value, tuple) else value
    form["Destination"] = format_destination(rule)
    form["Tags"] = dict(rule.tags)
    form["QuietHours"] = [[_format_time(at) for at in pair] for pair in rule.quiet_hours]
    return form


def format_destination(rule: RoutingRule) -> dict[str, str]:
    """Write where a rule sends to."""
    return {_PEER if rule.is_to_peer else _MODALITY: rule.destination}


def _format_time(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
