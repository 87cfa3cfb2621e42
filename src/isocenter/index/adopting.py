"""Taking over the resources of another server's index, with their identifiers and numbers.

Each function is one transaction's work and may be repeated: what is there stays as it is. The
number of statements does not depend on how much is adopted at once.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from isocenter.dicom.levels import Level
from isocenter.index.foreign import (
    AdoptedResource,
    AdoptionState,
    ForeignChange,
    ForeignExport,
    LastNumbers,
    PresentResource,
)
from isocenter.index.port import Transaction
from isocenter.index.records import ChangeType

__all__ = [
    "adopt_changes",
    "adopt_exports",
    "adopt_resources",
    "begin_adoption",
    "find_existing_instances",
    "find_present_resources",
]

_PROPERTY = "adoption "
_COUNTERS = ("patients", "studies", "series", "instances")
_CHANGE_TYPES = frozenset(map(int, ChangeType))


def find_existing_instances(tx: Transaction, public_ids: Sequence[str]) -> set[str]:
    """Tell which instances are stored; the identifiers must have their form."""
    keys = {"public_ids": list(public_ids)}
    return {row[0] for row in tx.rows("existing_instances", keys)}


def find_present_resources(
    tx: Transaction, public_ids: Iterable[str]
) -> dict[tuple[Level, str], PresentResource]:
    """Tell which resources are there, and which attachments they have."""
    keys = {"public_ids": list(public_ids)}
    return {
        (Level(level), public_id): PresentResource(
            internal_id, frozenset(map(int, types.split(","))) if types else frozenset()
        )
        for level, public_id, internal_id, types in tx.rows("present_resources", keys)
    }


def begin_adoption(tx: Transaction, source: str, last: LastNumbers) -> AdoptionState:
    """Begin, or go on after an interruption: keep room for the numbers of the other index.

    An empty archive gives the entries of the adopted logs the very numbers that they had, so that
    clients who follow the changes go on where they are. Else they follow what is there, in their
    order.

    Parameters
    ----------
    source
        Names the other index.
    last
        The last numbers that it gave.
    """
    state = _read_state(tx, source)
    if state is not None and state.reserved == last:
        return state
    row = tx.row("read_last_numbers")
    assert row is not None, "the row of the table archive is never deleted"  # noqa: S101
    change, export, recycling = row
    known = state or AdoptionState(0, 0, 0, LastNumbers(0, 0, 0))
    state = AdoptionState(
        change_base=change - known.changes,
        export_base=export - known.exports,
        recycling_base=recycling - known.reserved.recycling,
        reserved=last,
        changes=known.changes,
        exports=known.exports,
    )
    _write_state(tx, source, state)
    reserved = {
        "change": max(change, state.change_base + last.change),
        "export": max(export, state.export_base + last.export),
        "recycling": max(recycling, state.recycling_base + last.recycling),
    }
    tx.run("set_last_numbers", reserved)
    return state


def _read_state(tx: Transaction, source: str) -> AdoptionState | None:
    row = tx.row("lookup_adoption", {"name": _PROPERTY + source})
    return None if row is None else msgspec.json.decode(row[0], type=AdoptionState)


def _write_state(tx: Transaction, source: str, state: AdoptionState) -> None:
    value = msgspec.json.encode(state).decode()
    tx.run("set_adoption", {"name": _PROPERTY + source, "value": value})


class _Adopting:
    """Rows gathered in Python, then written with one ``run_many`` a table."""

    def __init__(self, tx: Transaction, resources: Sequence[AdoptedResource]) -> None:
        row = tx.row("lock_archive")
        assert row is not None, "the row of the table archive is never deleted"  # noqa: S101
        self.last_internal_id = row[0]
        names = {r.public_id for r in resources} | {
            r.parent_public_id for r in resources if r.parent_public_id is not None
        }
        self.present = find_present_resources(tx, names)
        self.rows: dict[str, list[dict[str, Any]]] = {
            "adopt_resource": [],
            "insert_search": [],
            "adopt_attachment": [],
            "adopt_metadata": [],
            "adopt_label": [],
        }
        self.counts: Counter[str] = Counter()

    def add(self, resource: AdoptedResource) -> None:
        present = self.present.get((resource.level, resource.public_id))
        if present is None:
            present = self._create(resource)
        for attachment, revision in resource.attachments:
            if attachment.content_type not in present.content_types:
                self.rows["adopt_attachment"].append(
                    {
                        "resource_id": present.internal_id,
                        "revision": revision,
                        **{name: getattr(attachment, name) for name in _ATTACHMENT_COLUMNS},
                    }
                )
                self.counts["disk_size"] += attachment.compressed_size
                self.counts["uncompressed_size"] += attachment.uncompressed_size
        self.rows["adopt_metadata"] += [
            {"resource_id": present.internal_id, "code": code, "value": value, "revision": revision}
            for code, value, revision in resource.metadata
        ]
        self.rows["adopt_label"] += [
            {"resource_id": present.internal_id, "label": label} for label in resource.labels
        ]

    def _create(self, resource: AdoptedResource) -> PresentResource:
        row, level = resource.row, resource.level
        assert row is not None, "a resource without a row must be there"  # noqa: S101
        self.last_internal_id += 1
        parent_id = None
        if resource.parent_public_id is not None:
            parent_id = self.present[Level(level - 1), resource.parent_public_id].internal_id
        self.rows["adopt_resource"].append(
            {
                "internal_id": self.last_internal_id,
                "level": int(level),
                "public_id": resource.public_id,
                "parent_id": parent_id,
                "identifier": row.identifier,
                "main_tags": row.main_tags,
                "patient_tags": row.patient_tags,
                "metadata": row.metadata,
                "last_update": resource.last_update,
                "index_in_series": row.index_in_series,
                "expected_instances": row.expected_instances,
                "recycling_order": resource.recycling_order,
            }
        )
        self.rows["insert_search"] += [
            {"resource_id": self.last_internal_id, "tag": tag, "value": value}
            for tag, value in row.search
        ]
        self.counts[_COUNTERS[level]] += 1
        created = PresentResource(self.last_internal_id, frozenset())
        self.present[level, resource.public_id] = created
        return created

    def finish(self, tx: Transaction) -> None:
        for statement, rows in self.rows.items():
            if rows:
                tx.run_many(statement, rows)
        names = (*_COUNTERS, "disk_size", "uncompressed_size")
        counts = {name: self.counts[name] for name in names}
        tx.run("adopt_counts", {"last_internal_id": self.last_internal_id, **counts})


_ATTACHMENT_COLUMNS = (
    "content_type",
    "attachment_uuid",
    "compression",
    "compressed_size",
    "uncompressed_size",
    "compressed_md5",
    "uncompressed_md5",
)


def adopt_resources(tx: Transaction, resources: Sequence[AdoptedResource]) -> None:
    """Make resources, or add what they lack: attachments, metadata, labels.

    Parameters
    ----------
    tx
        A writing transaction.
    resources
        Parents before children, each once; a parent may also be in the index already.
    """
    adopting = _Adopting(tx, resources)
    for resource in resources:
        adopting.add(resource)
    adopting.finish(tx)


def adopt_changes(
    tx: Transaction, source: str, state: AdoptionState, changes: Sequence[ForeignChange]
) -> AdoptionState:
    """Append entries of the other change log, and note how far it was adopted.

    Parameters
    ----------
    changes
        In their order, at least one; those of resources that are not there are left out, as are
        kinds of changes that we do not know.

    Returns
    -------
    AdoptionState
        To go on with.
    """
    present = find_present_resources(tx, {change.public_id for change in changes})
    by_name = {public_id: found.internal_id for (_, public_id), found in present.items()}
    rows = [
        {
            "seq": state.change_base + change.seq,
            "change_type": change.change_type,
            "resource_id": by_name[change.public_id],
            "changed_at": change.changed_at,
        }
        for change in changes
        if change.public_id in by_name and change.change_type in _CHANGE_TYPES
    ]
    if rows:
        tx.run_many("adopt_change", rows)
    state = replace(state, changes=changes[-1].seq)
    _write_state(tx, source, state)
    return state


def adopt_exports(
    tx: Transaction, source: str, state: AdoptionState, exports: Sequence[ForeignExport]
) -> AdoptionState:
    """Append entries of the other log of exports, as `adopt_changes` does for changes."""
    rows = [
        {
            "seq": state.export_base + export.seq,
            "level": int(export.level),
            **{name: getattr(export, name) for name in _EXPORT_COLUMNS},
        }
        for export in exports
    ]
    if rows:
        tx.run_many("adopt_export", rows)
    state = replace(state, exports=exports[-1].seq)
    _write_state(tx, source, state)
    return state


_EXPORT_COLUMNS = (
    "public_id",
    "remote_modality",
    "patient_id",
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
    "exported_at",
)
