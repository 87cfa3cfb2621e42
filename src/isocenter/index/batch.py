"""The rows of one writing transaction, gathered in Python and written a table at a time."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from isocenter.dicom.levels import Level
from isocenter.index.port import Transaction
from isocenter.index.records import NO_RULES, ChangeType, ResourceSize, Rules

__all__ = ["COUNTERS", "Batch", "delete_trees", "measure_trees"]

COUNTERS = ("patients", "studies", "series", "instances")
"""Columns of the table ``archive`` that count resources, by level."""


class Batch:
    """Rows gathered in Python, then written with one ``run_many`` a table.

    Making one locks the archive against the writing transactions of other servers; `finish` must be
    the last call.

    Parameters
    ----------
    tx
        A writing transaction, which must do nothing else before.
    rules
        Limits of storage, and what else holds for whatever is written.

    Attributes
    ----------
    counts
        What to add to the counters of the archive.
    """

    def __init__(self, tx: Transaction, rules: Rules = NO_RULES) -> None:
        row = tx.row("lock_archive")
        assert row is not None, "the row of the table archive is never deleted"  # noqa: S101
        self.tx = tx
        self.rules = rules
        self.last_internal_id: int = row[0]
        self.last_change: int = row[1]
        self.last_recycling: int = row[2]
        self._patients: int = row[3]
        self._disk_size: int = row[4]
        self.resources: list[dict[str, Any]] = []
        self.search: list[dict[str, Any]] = []
        self.attachments: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []
        # New places of patients in the recycling list, by the keys of their rows.
        self.moved: dict[int, int] = {}
        self.counts: Counter[str] = Counter()

    @property
    def patients(self) -> int:
        """How many patients there are, those that this batch adds or deletes considered."""
        return self._patients + self.counts["patients"]

    @property
    def disk_size(self) -> int:
        """Bytes of all attachments, those that this batch adds or deletes considered."""
        return self._disk_size + self.counts["disk_size"]

    def next_internal_id(self) -> int:
        """Number a new row."""
        self.last_internal_id += 1
        return self.last_internal_id

    def next_recycling(self) -> int:
        """Give the place behind the end of the recycling list."""
        self.last_recycling += 1
        return self.last_recycling

    def add_change(self, change_type: ChangeType, internal_id: int, changed_at: int) -> int:
        """Log a change and give its number."""
        self.last_change += 1
        self.changes.append(
            {
                "seq": self.last_change,
                "change_type": int(change_type),
                "resource_id": internal_id,
                "changed_at": changed_at,
            }
        )
        return self.last_change

    def flush(self) -> None:
        """Write the rows, parents before children."""
        for statement, rows in (
            ("insert_resource", self.resources),
            ("insert_search", self.search),
            ("insert_attachment", self.attachments),
            ("insert_change", self.changes),
        ):
            if rows:
                self.tx.run_many(statement, rows)
                rows.clear()
        if self.moved:
            places = [
                {"internal_id": internal_id, "recycling_order": place}
                for internal_id, place in sorted(self.moved.items())
            ]
            self.tx.run_many("set_recycling_order", places)
            self.moved.clear()

    def finish(self) -> None:
        """Write the rows and the counters."""
        self.flush()
        self.tx.run(
            "update_archive",
            {
                "last_internal_id": self.last_internal_id,
                "last_change": self.last_change,
                "last_recycling": self.last_recycling,
                "disk_size": self.counts["disk_size"],
                "uncompressed_size": self.counts["uncompressed_size"],
                **{counter: self.counts[counter] for counter in COUNTERS},
            },
        )


def measure_trees(tx: Transaction, roots: Iterable[int]) -> dict[int, ResourceSize]:
    """Add up what lies at and below some resources, none of them below another: one statement."""
    sizes: dict[int, ResourceSize] = defaultdict(ResourceSize)
    for root, level, count, disk, uncompressed in tx.rows("measure_trees", {"roots": list(roots)}):
        size = sizes[root]
        size.counts[Level(level)] = int(count)
        size.disk_size += int(disk)
        size.uncompressed_size += int(uncompressed)
    return dict(sizes)


def delete_trees(
    batch: Batch,
    sizes: Mapping[int, ResourceSize],
    *,
    deleted_at: int,
    is_replacement: bool = False,
) -> None:
    """Delete some resources and all below them; their blobs go to the list of removals.

    Parameters
    ----------
    batch
        With nothing left to flush that lies below the resources.
    sizes
        What `measure_trees` found for them.
    is_replacement
        They come back at once, so that routing remembers what it has sent of them.
    """
    if not sizes:
        return
    keys: dict[str, Any] = {"roots": list(sizes)}
    if not is_replacement and batch.tx.row("has_fingerprints") is not None:
        batch.tx.run("delete_fingerprints_below", keys)
    batch.tx.run("insert_removals_below", keys)
    rows = sum(sum(size.counts.values()) for size in sizes.values())
    if batch.rules.logs_deletions:
        numbers = {"last_change": batch.last_change, "deleted_at": deleted_at}
        batch.tx.run("insert_deletions_below", keys | numbers)
        batch.last_change += rows
    batch.tx.run("delete_resources", keys)
    for size in sizes.values():
        for level, count in size.counts.items():
            batch.counts[COUNTERS[level]] -= count
        batch.counts["disk_size"] -= size.disk_size
        batch.counts["uncompressed_size"] -= size.uncompressed_size
