"""What lies above and below many resources at once; each query is one statement, or one a level."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from isocenter.dicom.levels import Level
from isocenter.index.port import Transaction
from isocenter.index.reading import build_dicom_attachment
from isocenter.index.records import DicomAttachment

__all__ = [
    "AncestorRow",
    "count_below",
    "find_ancestors",
    "find_modalities",
    "find_relatives",
    "find_rows",
    "find_samples",
    "find_sop_classes",
    "order_by_public_id",
]

_LEVELS = tuple(Level)
_COUNTS = {1: "count_children", 2: "count_grandchildren", 3: "count_great_grandchildren"}


class AncestorRow(msgspec.Struct, frozen=True):
    """What a descendant may want to know of a resource above it."""

    internal_id: int
    level: Level
    parent_id: int | None
    main_tags: str
    patient_tags: str | None
    metadata: str


def find_ancestors(
    tx: Transaction, parent_ids: Iterable[int], highest: Level
) -> dict[int, AncestorRow]:
    """Read parents, and their parents, up to a level: one statement for each level.

    Parameters
    ----------
    parent_ids
        Rows of one level.
    """
    found: dict[int, AncestorRow] = {}
    wanted = set(parent_ids)
    while wanted:
        rows = tx.rows("list_ancestors", {"internal_ids": sorted(wanted)})
        ancestors = [AncestorRow(row[0], _LEVELS[row[1]], *row[2:]) for row in rows]
        found |= {ancestor.internal_id: ancestor for ancestor in ancestors}
        wanted = {a.parent_id for a in ancestors if a.parent_id is not None and a.level > highest}
    return found


def count_below(tx: Transaction, internal_ids: Iterable[int], depth: int) -> dict[int, int]:
    """Count what lies so many levels below each resource; those with nothing are left out."""
    rows = tx.rows(_COUNTS[depth], {"internal_ids": list(internal_ids)})
    return {internal_id: int(count) for internal_id, count in rows}


def find_modalities(tx: Transaction, study_ids: Iterable[int]) -> dict[int, list[str]]:
    """List the modalities of the series of studies, each once and in order."""
    return _collect(tx.rows("list_modalities", {"internal_ids": list(study_ids)}))


def find_sop_classes(tx: Transaction, study_ids: Iterable[int]) -> dict[int, list[str]]:
    """List the SOP classes of the instances of studies, each once and in order."""
    return _collect(tx.rows("list_sop_classes", {"internal_ids": list(study_ids)}))


def _collect(rows: Iterable[tuple[Any, ...]]) -> dict[int, list[str]]:
    collected: dict[int, set[str]] = defaultdict(set)
    for internal_id, value in rows:
        if value:
            collected[internal_id].add(value)
    return {internal_id: sorted(values) for internal_id, values in collected.items()}


def find_samples(
    tx: Transaction, level: Level, internal_ids: Sequence[int]
) -> dict[int, DicomAttachment]:
    """Find the file of one instance below each of some resources of a level.

    It is the first instance of the first series of the first study, by their identifiers.
    """
    rows = tx.rows(f"list_samples_of_{level.plural}", {"internal_ids": list(internal_ids)})
    return {row[0]: build_dicom_attachment(row[1:]) for row in rows}


def find_rows(tx: Transaction, public_ids: Iterable[str]) -> dict[str, tuple[int, Level]]:
    """Find the row and the level of resources of any level; unknown ones are left out."""
    rows = tx.rows("find_public_ids", {"public_ids": list(public_ids)})
    return {public_id: (internal_id, _LEVELS[level]) for internal_id, level, public_id in rows}


def find_relatives(tx: Transaction, rows: Iterable[tuple[int, Level]], level: Level) -> set[int]:
    """Find the ancestors and the descendants of some resources at a level.

    Parameters
    ----------
    rows
        Row and level of each; those of the level itself are among the result.
    """
    by_level: dict[Level, set[int]] = defaultdict(set)
    for internal_id, row_level in rows:
        by_level[row_level].add(internal_id)
    return _climb(tx, by_level, level) | _descend(tx, by_level, level)


def _climb(tx: Transaction, by_level: dict[Level, set[int]], level: Level) -> set[int]:
    """Go up from the deepest level, a statement for each."""
    found: set[int] = set()
    for at in reversed(Level):
        if at < level:
            break
        found |= by_level[at]
        if at > level and found:
            parents = tx.rows("list_parents", {"internal_ids": sorted(found)})
            found = {row[0] for row in parents}
    return found


def _descend(tx: Transaction, by_level: dict[Level, set[int]], level: Level) -> set[int]:
    """Go down from the highest level, a statement for each."""
    found: set[int] = set()
    for at in Level:
        if at >= level:
            break
        found |= by_level[at]
        if found:
            children = tx.rows("list_children_of", {"internal_ids": sorted(found)})
            found = {row[0] for row in children}
    return found


def order_by_public_id(tx: Transaction, internal_ids: Iterable[int]) -> list[int]:
    """Put rows into the order of their identifiers."""
    rows = tx.rows("order_by_public_id", {"internal_ids": list(internal_ids)})
    return [row[0] for row in rows]
