"""Changes of the index, each one transaction's work: storing and becoming stable.

Every function takes a writing transaction and uses a number of statements that does not depend on
how many instances are stored at once; only instances that replace an older version of themselves,
or for which others must go, add statements of their own.
"""

from collections.abc import Sequence

import msgspec

from isocenter.config.codes import FIRST_USER_CODE, LAST_USER_CODE
from isocenter.dicom.levels import Level
from isocenter.index.batch import COUNTERS, Batch, delete_trees, measure_trees
from isocenter.index.port import Transaction
from isocenter.index.records import (
    NEW_CHANGES,
    NO_RULES,
    STABLE_CHANGES,
    Change,
    ChangeType,
    NewInstance,
    NewResource,
    Overwrite,
    Rules,
    StoreResult,
)
from isocenter.index.recycling import find_victims

__all__ = ["settle", "store_instances"]

_STORED = StoreResult(is_stored=True)
_REFUSED = StoreResult(is_stored=False)
_FULL = StoreResult(is_stored=False, is_full=True)


class _Ancestor:
    """A patient, study or series that instances of the batch belong to."""

    __slots__ = (
        "expected_instances",
        "indexes",
        "internal_id",
        "is_dirty",
        "recycling_order",
        "stored_at",
    )

    def __init__(
        self, internal_id: int, expected_instances: int | None, recycling_order: int | None
    ) -> None:
        self.internal_id = internal_id
        self.expected_instances = expected_instances
        # Of a patient that is not protected.
        self.recycling_order = recycling_order
        self.stored_at = 0
        # True if its row still has to be told that an instance arrived.
        self.is_dirty = False
        # Numbers of the instances of a series; ``None`` until they are read.
        self.indexes: list[int] | None = None


class _Known(msgspec.Struct, frozen=True, gc=False):
    """An instance that is stored already.

    Attributes
    ----------
    attachment_uuid
        ``None`` if the file was not kept.
    disk_size
        Bytes that become free if it is replaced.
    """

    internal_id: int
    md5: str
    attachment_uuid: str | None
    disk_size: int


class _Storing:
    """One group of instances on its way into the index."""

    def __init__(self, tx: Transaction, instances: Sequence[NewInstance], rules: Rules) -> None:
        self.tx = tx
        self.rules = rules
        self.is_limited = not rules.quota.is_unlimited
        self.batch = Batch(tx, rules)
        self.instances = instances
        self.known = {
            public_id: _Known(internal_id, md5 or "", attachment_uuid, int(disk_size))
            for public_id, internal_id, md5, attachment_uuid, disk_size in tx.rows(
                "find_instances",
                {
                    "public_ids": [i.public_ids[3] for i in instances],
                    "first_kept": FIRST_USER_CODE if rules.keeps_replaced else LAST_USER_CODE + 1,
                },
            )
        }
        self.ancestors: dict[tuple[int, str], _Ancestor] = {}
        # Patients that are deleted only to be created anew, and stay protected.
        self.protected: set[str] = set()
        self._find_ancestors()

    def _find_ancestors(self) -> None:
        public_ids = list({p for i in self.instances for p in i.public_ids[:3]})
        newest = max(instance.stored_at for instance in self.instances)
        for level, public_id, internal_id, last_update, is_stable, expected, order in self.tx.rows(
            "find_parents", {"public_ids": public_ids}
        ):
            ancestor = _Ancestor(internal_id, expected, order)
            ancestor.is_dirty = bool(is_stable) or last_update < newest
            self.ancestors[level, public_id] = ancestor

    def store(self, instance: NewInstance) -> StoreResult:
        existing = self.known.get(instance.public_ids[Level.INSTANCE])
        if existing is not None:
            if _is_same_file(instance, existing):
                # A transaction whose end we did not learn of has stored this very file.
                return _STORED
            if not _is_to_replace(instance, existing.md5):
                return _REFUSED
        recycled = self._make_room(instance, existing) if self.is_limited else 0
        if recycled is None:
            return _FULL
        if existing is None:
            self._insert(instance)
            return StoreResult(is_stored=True, recycled_patients=recycled) if recycled else _STORED
        if self.rules.keeps_replaced:
            self._replace(instance, existing)
        else:
            self._remove(instance, existing.internal_id)
            self._insert(instance)
        return StoreResult(is_stored=True, has_replaced=True, recycled_patients=recycled)

    def _make_room(self, instance: NewInstance, existing: _Known | None) -> int | None:
        """Delete the oldest patients as far as needed: how many, or ``None`` if that is no use."""
        patient = self.ancestors.get((Level.PATIENT, instance.public_ids[0]))
        victims = find_victims(
            self.batch,
            disk_size=instance.disk_size - (existing.disk_size if existing else 0),
            patients=int(patient is None),
            kept=patient.internal_id if patient else 0,
        )
        if victims is None:
            return None
        if victims.sizes:
            delete_trees(self.batch, victims.sizes, deleted_at=instance.stored_at)
            self._forget(victims.public_ids)
        return len(victims.sizes)

    def _forget(self, patients: set[str]) -> None:
        """Drop what is known of patients that are gone."""
        for instance in self.instances:
            if instance.public_ids[Level.PATIENT] in patients:
                self.known.pop(instance.public_ids[Level.INSTANCE], None)
                for level in (Level.PATIENT, Level.STUDY, Level.SERIES):
                    self.ancestors.pop((level, instance.public_ids[level]), None)

    def _insert(self, instance: NewInstance) -> None:
        created: list[tuple[Level, int]] = []
        parent_id: int | None = None
        for level in (Level.PATIENT, Level.STUDY, Level.SERIES):
            ancestor = self.ancestors.get((level, instance.public_ids[level]))
            if ancestor is None:
                ancestor = self._create_ancestor(instance, level, parent_id)
                created.append((level, ancestor.internal_id))
            ancestor.stored_at = instance.stored_at
            parent_id = ancestor.internal_id
        self._move_to_end(self.ancestors[Level.PATIENT, instance.public_ids[0]])
        row = instance.describe(Level.INSTANCE)
        instance_id = self._create(instance, Level.INSTANCE, row, parent_id)
        self._attach(instance, instance_id)
        created.append((Level.INSTANCE, instance_id))
        for level, internal_id in reversed(created):
            self.batch.add_change(NEW_CHANGES[level], internal_id, instance.stored_at)
        self._log_completion(
            self.ancestors[Level.SERIES, instance.public_ids[2]], row.index_in_series
        )

    def _create_ancestor(
        self, instance: NewInstance, level: Level, parent_id: int | None
    ) -> _Ancestor:
        row = instance.describe(level)
        public_id = instance.public_ids[level]
        order = None
        if level is Level.PATIENT and public_id not in self.protected:
            order = self.batch.next_recycling()
        internal_id = self._create(instance, level, row, parent_id, order)
        ancestor = _Ancestor(internal_id, row.expected_instances, order)
        ancestor.indexes = []
        self.ancestors[level, public_id] = ancestor
        return ancestor

    def _move_to_end(self, patient: _Ancestor) -> None:
        """Make a patient the last one to be recycled."""
        if patient.recycling_order not in (None, self.batch.last_recycling):
            patient.recycling_order = self.batch.next_recycling()
            self.batch.moved[patient.internal_id] = patient.recycling_order

    def _create(
        self,
        instance: NewInstance,
        level: Level,
        row: NewResource,
        parent_id: int | None,
        recycling_order: int | None = None,
    ) -> int:
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
                "recycling_order": recycling_order,
            }
        )
        if row.search:
            self._index(internal_id, row)
        self.batch.counts[COUNTERS[level]] += 1
        return internal_id

    def _index(self, internal_id: int, row: NewResource) -> None:
        self.batch.search.extend(
            {"resource_id": internal_id, "tag": tag, "value": value} for tag, value in row.search
        )

    def _attach(self, instance: NewInstance, internal_id: int) -> None:
        disk_size = 0
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
            disk_size += attachment.compressed_size
            self.batch.counts["uncompressed_size"] += attachment.uncompressed_size
        self.batch.counts["disk_size"] += disk_size
        dicom = instance.dicom
        self.known[instance.public_ids[3]] = _Known(
            internal_id,
            dicom.uncompressed_md5 if dicom else "",
            dicom.attachment_uuid if dicom else None,
            disk_size,
        )

    def _log_completion(
        self, series: _Ancestor, index_in_series: int | None, *, is_written: bool = False
    ) -> None:
        """Log `CompletedSeries` when every expected instance is there, each once.

        Parameters
        ----------
        is_written
            The row of this very instance is written, as are those of the others.

        References
        ----------
        Orthanc REST: status of a series (behaviour manual §3.7)
        """
        expected = series.expected_instances
        if expected is None or index_in_series is None:
            return
        if series.indexes is None:
            keys = {"internal_id": series.internal_id}
            series.indexes = [row[0] for row in self.tx.rows("list_indexes_in_series", keys)]
        if not is_written:
            series.indexes.append(index_in_series)
        is_full = len(series.indexes) == expected
        if is_full and set(series.indexes) == set(range(1, expected + 1)):
            self.batch.add_change(ChangeType.COMPLETED_SERIES, series.internal_id, series.stored_at)

    def _remove(self, instance: NewInstance, internal_id: int) -> None:
        """Delete the older version, with the ancestors that had no other child."""
        public_ids = instance.public_ids
        self.batch.flush()
        topmost = internal_id
        for level in (Level.SERIES, Level.STUDY, Level.PATIENT):
            parent = self.ancestors[level, public_ids[level]]
            keys = {"parent_ids": [parent.internal_id], "doomed": [topmost]}
            if self.tx.row("list_survivors", keys) is not None:
                parent.indexes = None
                break
            topmost = parent.internal_id
            if level is Level.PATIENT and parent.recycling_order is None:
                self.protected.add(public_ids[level])
            del self.ancestors[level, public_ids[level]]
        sizes = measure_trees(self.tx, [topmost])
        delete_trees(self.batch, sizes, deleted_at=instance.stored_at, is_replacement=True)

    def _replace(self, instance: NewInstance, existing: _Known) -> None:
        """Put the new version in the place of the older one, which keeps what users added.

        References
        ----------
        Decision of quirk 37 (behaviour manual §41)
        """
        self.batch.flush()
        internal_id = existing.internal_id
        keys = {"internal_id": internal_id}
        size = self.tx.row("measure_system_attachments", keys) or (0, 0)
        for statement in (
            "insert_removals_of_system_attachments",
            "delete_system_attachments",
            "delete_system_metadata",
            "delete_search",
        ):
            self.tx.run(statement, keys)
        self.batch.counts["disk_size"] -= int(size[0])
        self.batch.counts["uncompressed_size"] -= int(size[1])
        row = instance.describe(Level.INSTANCE)
        self.tx.run(
            "replace_instance",
            {
                "internal_id": internal_id,
                "identifier": row.identifier,
                "main_tags": row.main_tags,
                "metadata": row.metadata,
                "last_update": instance.stored_at,
                "index_in_series": row.index_in_series,
            },
        )
        self._index(internal_id, row)
        self._attach(instance, internal_id)
        self.batch.add_change(ChangeType.NEW_INSTANCE, internal_id, instance.stored_at)
        for level in (Level.PATIENT, Level.STUDY, Level.SERIES):
            self.ancestors[level, instance.public_ids[level]].stored_at = instance.stored_at
        self._move_to_end(self.ancestors[Level.PATIENT, instance.public_ids[0]])
        series = self.ancestors[Level.SERIES, instance.public_ids[2]]
        series.indexes = None
        self._log_completion(series, row.index_in_series, is_written=True)

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


def store_instances(
    tx: Transaction, instances: Sequence[NewInstance], rules: Rules = NO_RULES
) -> list[StoreResult]:
    """Create the rows of a group of instances, with missing ancestors and changes.

    The limits of storage are kept as if the instances came one after another. Where they are full,
    statements are added for each instance that needs room, never for one that finds some.

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
    storing = _Storing(tx, instances, rules)
    results = [storing.store(instance) for instance in instances]
    storing.finish()
    return results


def _is_same_file(instance: NewInstance, existing: _Known) -> bool:
    dicom = instance.dicom
    return dicom is not None and dicom.attachment_uuid == existing.attachment_uuid


def _is_to_replace(instance: NewInstance, stored_md5: str) -> bool:
    if instance.overwrite is Overwrite.IF_CHANGED:
        return instance.dicom is None or instance.dicom.uncompressed_md5 != stored_md5
    return instance.overwrite is Overwrite.ALWAYS


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
