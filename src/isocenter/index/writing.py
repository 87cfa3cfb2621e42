"""Changes of the index, each one transaction's work: storing, deleting, becoming stable.

Every function takes a writing transaction and uses a number of statements that does not depend on
how many instances are stored or deleted at once; only instances that replace an older version of
themselves add statements of their own.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from isocenter.dicom.levels import Level
from isocenter.index.port import Transaction
from isocenter.index.reading import measure_resource
from isocenter.index.records import (
    NEW_CHANGES,
    STABLE_CHANGES,
    Change,
    ChangeType,
    Deletion,
    NewInstance,
    NewResource,
    Overwrite,
    ResourceSize,
    StoreResult,
)

__all__ = [
    "Batch",
    "delete_resource",
    "forget_changes",
    "forget_removals",
    "settle",
    "store_instances",
]

_COUNTERS = ("patients", "studies", "series", "instances")


class Batch:
    """Rows gathered in Python, then written with one ``run_many`` a table.

    It begins with the lock that puts the writers in an order, and its numbers of changes follow it.

    Parameters
    ----------
    tx
        A writing transaction, which must do nothing else before.

    Attributes
    ----------
    counts
        What to add to the counters of the archive.
    """

    def __init__(self, tx: Transaction) -> None:
        row = tx.row("lock_archive")
        assert row is not None, "the row of the table archive is never deleted"  # noqa: S101
        self.tx = tx
        self.last_internal_id, self.last_change = row
        self.resources: list[dict[str, Any]] = []
        self.search: list[dict[str, Any]] = []
        self.attachments: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()

    def next_internal_id(self) -> int:
        """Give the key of a new row."""
        self.last_internal_id += 1
        return int(self.last_internal_id)

    def add_change(self, change_type: ChangeType, internal_id: int, changed_at: int) -> int:
        """Log a change of a resource and give its number."""
        self.last_change += 1
        self.changes.append(
            {
                "seq": self.last_change,
                "change_type": int(change_type),
                "resource_id": internal_id,
                "changed_at": changed_at,
            }
        )
        return int(self.last_change)

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

    def finish(self) -> None:
        """Write what is left and the counters; the last thing to do."""
        self.flush()
        self.tx.run(
            "update_archive",
            {
                "last_internal_id": self.last_internal_id,
                "last_change": self.last_change,
                "disk_size": self.counts["disk_size"],
                "uncompressed_size": self.counts["uncompressed_size"],
                **{counter: self.counts[counter] for counter in _COUNTERS},
            },
        )


class _Ancestor:
    """A patient, study or series that instances of the batch belong to."""

    __slots__ = ("expected_instances", "indexes", "internal_id", "is_dirty", "stored_at")

    def __init__(self, internal_id: int, expected_instances: int | None) -> None:
        self.internal_id = internal_id
        self.expected_instances = expected_instances
        self.stored_at = 0
        # True if its row still has to be told that an instance arrived.
        self.is_dirty = False
        # Numbers of the instances of a series; ``None`` until they are read.
        self.indexes: list[int] | None = None


class _Storing:
    """One group of instances on its way into the index."""

    def __init__(self, tx: Transaction, instances: Sequence[NewInstance]) -> None:
        self.tx = tx
        self.batch = Batch(tx)
        self.instances = instances
        self.known = {
            public_id: (internal_id, md5, attachment_uuid)
            for public_id, internal_id, md5, attachment_uuid in tx.rows(
                "find_instances", {"public_ids": [i.public_ids[3] for i in instances]}
            )
        }
        self.ancestors: dict[tuple[int, str], _Ancestor] = {}
        self._find_ancestors()

    def _find_ancestors(self) -> None:
        public_ids = list({p for i in self.instances for p in i.public_ids[:3]})
        newest = max(instance.stored_at for instance in self.instances)
        for level, public_id, internal_id, last_update, is_stable, expected in self.tx.rows(
            "find_parents", {"public_ids": public_ids}
        ):
            ancestor = _Ancestor(internal_id, expected)
            ancestor.is_dirty = bool(is_stable) or last_update < newest
            self.ancestors[level, public_id] = ancestor

    def store(self, instance: NewInstance) -> StoreResult:
        public_id = instance.public_ids[Level.INSTANCE]
        existing = self.known.get(public_id)
        if existing is not None:
            if existing[2] == instance.attachments[0].attachment_uuid:
                # A transaction whose end we did not learn of has stored this very file.
                return StoreResult(is_stored=True)
            if not _is_to_replace(instance, existing[1]):
                return StoreResult(is_stored=False)
            self._remove(instance.public_ids, existing[0])
        self._insert(instance)
        return StoreResult(is_stored=True, has_replaced=existing is not None)

    def _insert(self, instance: NewInstance) -> None:
        created: list[tuple[Level, int]] = []
        parent_id: int | None = None
        for level in (Level.PATIENT, Level.STUDY, Level.SERIES):
            ancestor = self.ancestors.get((level, instance.public_ids[level]))
            if ancestor is None:
                internal_id, row = self._create(instance, level, parent_id)
                ancestor = _Ancestor(internal_id, row.expected_instances)
                ancestor.indexes = []
                self.ancestors[level, instance.public_ids[level]] = ancestor
                created.append((level, internal_id))
            ancestor.stored_at = instance.stored_at
            parent_id = ancestor.internal_id
        instance_id, row = self._create(instance, Level.INSTANCE, parent_id)
        self._attach(instance, instance_id)
        created.append((Level.INSTANCE, instance_id))
        for level, internal_id in reversed(created):
            self.batch.add_change(NEW_CHANGES[level], internal_id, instance.stored_at)
        self._log_completion(
            self.ancestors[Level.SERIES, instance.public_ids[2]], row.index_in_series
        )

    def _create(
        self, instance: NewInstance, level: Level, parent_id: int | None
    ) -> tuple[int, NewResource]:
        row = instance.describe(level)
        internal_id = self.batch.next_internal_id()
        self.batch.resources.append(
            {
                "internal_id": internal_id,
                "level": int(level),
                "public_id": instance.public_ids[level],
                "parent_id": parent_id,
                "identifier": row.identifier,
                "main_tags": row.main_tags,
                "patient_tags": row.patient_tags,
                "metadata": row.metadata,
                "last_update": instance.stored_at,
                "is_stable": int(level is Level.INSTANCE),
                "index_in_series": row.index_in_series,
                "expected_instances": row.expected_instances,
            }
        )
        self.batch.search.extend(
            {"resource_id": internal_id, "tag": tag, "value": value} for tag, value in row.search
        )
        self.batch.counts[_COUNTERS[level]] += 1
        return internal_id, row

    def _attach(self, instance: NewInstance, internal_id: int) -> None:
        for attachment in instance.attachments:
            self.batch.attachments.append(
                {
                    "resource_id": internal_id,
                    "content_type": attachment.content_type,
                    "attachment_uuid": attachment.attachment_uuid,
                    "compression": attachment.compression,
                    "compressed_size": attachment.compressed_size,
                    "uncompressed_size": attachment.uncompressed_size,
                    "compressed_md5": attachment.compressed_md5,
                    "uncompressed_md5": attachment.uncompressed_md5,
                }
            )
            self.batch.counts["disk_size"] += attachment.compressed_size
            self.batch.counts["uncompressed_size"] += attachment.uncompressed_size
        dicom = instance.attachments[0]
        self.known[instance.public_ids[3]] = (
            internal_id,
            dicom.uncompressed_md5,
            dicom.attachment_uuid,
        )

    def _log_completion(self, series: _Ancestor, index_in_series: int | None) -> None:
        """Log `CompletedSeries` when every expected instance is there, each once.

        References
        ----------
        Orthanc REST: status of a series (behaviour manual §3.7)
        """
        expected = series.expected_instances
        if expected is None or index_in_series is None:
            return
        if series.indexes is None:
            # All of the series is written by now but this very instance.
            keys = {"internal_id": series.internal_id}
            series.indexes = [row[0] for row in self.tx.rows("list_indexes_in_series", keys)]
        series.indexes.append(index_in_series)
        is_full = len(series.indexes) == expected
        if is_full and set(series.indexes) == set(range(1, expected + 1)):
            self.batch.add_change(ChangeType.COMPLETED_SERIES, series.internal_id, series.stored_at)

    def _remove(self, public_ids: tuple[str, str, str, str], internal_id: int) -> None:
        """Delete the older version, with the ancestors that had no other child."""
        self.batch.flush()
        topmost = internal_id
        for level in (Level.SERIES, Level.STUDY, Level.PATIENT):
            parent = self.ancestors[level, public_ids[level]]
            if self._has_sibling(parent.internal_id, topmost):
                parent.indexes = None
                break
            topmost = parent.internal_id
            del self.ancestors[level, public_ids[level]]
        _delete_tree(self.batch, topmost)

    def _has_sibling(self, parent_id: int, internal_id: int) -> bool:
        keys = {"parent_id": parent_id, "internal_id": internal_id}
        return self.tx.row("has_sibling", keys) is not None

    def finish(self) -> None:
        touched = [
            {"internal_id": ancestor.internal_id, "last_update": ancestor.stored_at}
            for ancestor in self.ancestors.values()
            if ancestor.is_dirty and ancestor.stored_at
        ]
        if touched:
            # A fixed order of rows keeps concurrent servers free of deadlocks.
            touched.sort(key=lambda keys: keys["internal_id"])
            self.tx.run_many("touch", touched)
        self.batch.finish()


def store_instances(tx: Transaction, instances: Sequence[NewInstance]) -> list[StoreResult]:
    """Create the rows of a group of instances, with missing ancestors and changes.

    Parameters
    ----------
    tx
        A writing transaction.
    instances
        At least one; the same instance may occur twice.

    Returns
    -------
    list of StoreResult
        One for each instance, in their order.

    References
    ----------
    Orthanc REST: POST /instances, step 6 of the pipeline (behaviour manual §8.2)
    """
    storing = _Storing(tx, instances)
    results = [storing.store(instance) for instance in instances]
    storing.finish()
    return results


def _is_to_replace(instance: NewInstance, stored_md5: str) -> bool:
    if instance.overwrite is Overwrite.IF_CHANGED:
        return instance.attachments[0].uncompressed_md5 != stored_md5
    return instance.overwrite is Overwrite.ALWAYS


def _delete_tree(batch: Batch, internal_id: int) -> None:
    """Delete a resource and all below it; its blobs go to the list of removals."""
    size = _measure(batch.tx, internal_id)
    for level, count in size.counts.items():
        batch.counts[_COUNTERS[level]] -= count
    batch.counts["disk_size"] -= size.disk_size
    batch.counts["uncompressed_size"] -= size.uncompressed_size
    batch.tx.run("insert_removals_below", {"internal_id": internal_id})
    batch.tx.run("delete_resource", {"internal_id": internal_id})


def _measure(tx: Transaction, internal_id: int) -> ResourceSize:
    row = tx.row("public_id_of", {"internal_id": internal_id})
    assert row is not None, "a resource is measured in the transaction that found it"  # noqa: S101
    size = measure_resource(tx, Level(row[0]), row[1])
    assert size is not None, "a resource lies at least at itself"  # noqa: S101
    return size


def delete_resource(
    tx: Transaction, level: Level, public_id: str, *, deleted_at: int
) -> Deletion | None:
    """Delete a resource, all below it, and the ancestors that are left without a child.

    Returns
    -------
    Deletion or None
        ``None`` if there is no such resource.

    References
    ----------
    Orthanc REST: DELETE /{level}/{id} (behaviour manual §9.1)
    """
    batch = Batch(tx)
    lineage = tx.row("list_lineage", {"level": int(level), "public_id": public_id})
    if lineage is None:
        return None
    chain = [lineage[i : i + 3] for i in range(0, 3 * (level + 1), 3)]
    topmost, remaining = chain[0][1], None
    for ancestor in chain[1:]:
        if tx.row("has_sibling", {"parent_id": ancestor[1], "internal_id": topmost}) is not None:
            remaining = ancestor
            break
        topmost = ancestor[1]
    _delete_tree(batch, topmost)
    batch.finish()
    if remaining is None:
        return Deletion(None, None)
    touched = chain[chain.index(remaining) :]
    tx.run_many(
        "set_last_update", [{"internal_id": a[1], "last_update": deleted_at} for a in touched]
    )
    return Deletion(Level(remaining[0]), str(remaining[2]))


def forget_changes(tx: Transaction) -> None:
    """Empty the change log; numbering goes on (Orthanc REST: DELETE /changes)."""
    tx.run("delete_changes")


def forget_removals(tx: Transaction, attachment_uuids: Sequence[str]) -> None:
    """Forget blobs that are gone from the storage area."""
    tx.run("delete_removals", {"attachment_uuids": list(attachment_uuids)})


def settle(tx: Transaction, *, before: int, now: int, limit: int) -> list[Change]:
    """Make the resources stable that were last touched at or before a time, and log it.

    Parameters
    ----------
    before, now
        Seconds since 1970, UTC.
    limit
        The most resources of one call; call again while as many come back.

    References
    ----------
    Orthanc REST: stability (behaviour manual §9.3)
    """
    if tx.row("find_settled", {"before": before, "limit": 1}) is None:
        return []
    batch = Batch(tx)
    rows = tx.rows("find_settled", {"before": before, "limit": limit})
    changes = []
    for internal_id, level, public_id, _ in rows:
        change_type = STABLE_CHANGES[Level(level)]
        seq = batch.add_change(change_type, internal_id, now)
        changes.append(Change(seq, change_type, Level(level), public_id, now))
    tx.run_many("settle", [{"internal_id": row[0]} for row in rows])
    batch.finish()
    return changes
