"""Rules of routing in the database, what they look at, and how far they have come."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from isocenter.dicom.levels import Level
from isocenter.index.port import Transaction
from isocenter.index.records import MetadataCode

__all__ = [
    "Fingerprint",
    "Routed",
    "add_fingerprints",
    "delete_fingerprints",
    "delete_rule",
    "delete_rule_fingerprints",
    "find_fingerprints",
    "find_routed",
    "forget_position",
    "list_rules",
    "list_rules_with_fingerprints",
    "lock_position",
    "lookup_position",
    "read_last_change",
    "set_fingerprints",
    "set_position",
    "set_rule",
]

_POSITION = "RoutingPosition"
_REMOTE_AET = str(int(MetadataCode.REMOTE_AET))
_STATEMENTS = {
    Level.STUDY: "list_routed_of_studies",
    Level.SERIES: "list_routed_series",
    Level.INSTANCE: "list_routed_instances",
}

_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class Routed:
    """A series or an instance, as far as rules look at it.

    Attributes
    ----------
    public_id
        Of itself.
    values
        Main tags of the series, its study and its patient, by their keys.
    remote_aet
        Who sent it; empty if it did not come by DICOM.
    """

    public_id: str
    series: str
    study: str
    values: Mapping[str, Any]
    remote_aet: str


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a rule has sent of a resource.

    Attributes
    ----------
    public_id
        Of the study, series or instance that the rule looked at.
    value
        A sum over the content and the destination.
    """

    public_id: str
    rule: str
    value: str


def list_rules(tx: Transaction) -> dict[str, str]:
    """Read all rules: name to JSON document, in the order of names."""
    return {str(name): str(document) for name, document in tx.rows("list_routing_rules")}


def set_rule(tx: Transaction, name: str, document: str) -> None:
    """Create or replace a rule."""
    tx.run("set_routing_rule", {"name": name, "document": document})


def delete_rule(tx: Transaction, name: str) -> None:
    """Forget a rule; it is no error if there is none."""
    tx.run("delete_routing_rule", {"name": name})
    delete_rule_fingerprints(tx, name)


def delete_rule_fingerprints(tx: Transaction, rule: str) -> None:
    """Forget what a rule has sent."""
    tx.run("delete_fingerprints_of_rule", {"rule": rule})


def find_routed(tx: Transaction, level: Level, public_ids: Sequence[str]) -> list[Routed]:
    """Describe series or instances, or all series of studies: one statement."""
    return [
        Routed(
            public_id=row[0],
            series=row[1],
            study=row[2],
            values={**_decode(row[5]), **_decode(row[4]), **_decode(row[3])},
            remote_aet=str(_decode(row[6] or "{}").get(_REMOTE_AET, "")),
        )
        for row in tx.rows(_STATEMENTS[level], {"public_ids": list(public_ids)})
    ]


def find_fingerprints(tx: Transaction, rule: str, public_ids: Sequence[str]) -> dict[str, str]:
    """Tell what a rule has sent already: public identifier to fingerprint; others are left out."""
    keys = {"rule": rule, "public_ids": list(public_ids)}
    return {str(row[0]): str(row[1]) for row in tx.rows("list_fingerprints", keys)}


def set_fingerprints(tx: Transaction, sent: Iterable[Fingerprint]) -> None:
    """Note what rules send from now on, in the place of what they have sent."""
    _run_with_each(tx, "set_fingerprint", sent)


def add_fingerprints(tx: Transaction, sent: Iterable[Fingerprint]) -> None:
    """Note what rules have sent, unless it was deleted or something newer is sent already."""
    _run_with_each(tx, "add_fingerprint", sent)


def delete_fingerprints(tx: Transaction, unsent: Iterable[Fingerprint]) -> None:
    """Note what rules have not sent after all."""
    _run_with_each(tx, "delete_fingerprint", unsent)


def _run_with_each(tx: Transaction, statement: str, prints: Iterable[Fingerprint]) -> None:
    tx.run_many(
        statement,
        [
            {"public_id": one.public_id, "rule": one.rule, "fingerprint": one.value}
            for one in sorted(prints, key=lambda one: (one.public_id, one.rule))
        ],
    )


def list_rules_with_fingerprints(tx: Transaction) -> list[str]:
    """List the rules that have sent something, also those that are gone."""
    return [str(row[0]) for row in tx.rows("list_rules_with_fingerprints")]


def lookup_position(tx: Transaction) -> int | None:
    """Tell the last change that was dealt with; ``None`` if there were no rules yet."""
    row = tx.row("read_property", {"name": _POSITION})
    return None if row is None else int(row[0])


def lock_position(tx: Transaction) -> int | None:
    """Tell the same in a transaction that will change it; others wait for its end."""
    # The row of the archive orders the writers of all servers, also for a first position.
    tx.row("lock_archive")
    return lookup_position(tx)


def set_position(tx: Transaction, seq: int) -> None:
    """Note the last change that was dealt with."""
    tx.run("set_property", {"name": _POSITION, "value": str(seq)})


def forget_position(tx: Transaction) -> None:
    """Note that there are no rules."""
    tx.run("delete_property", {"name": _POSITION})


def read_last_change(tx: Transaction) -> int:
    """Tell the number of the newest change."""
    row = tx.row("read_last_change")
    return 0 if row is None else int(row[0])
