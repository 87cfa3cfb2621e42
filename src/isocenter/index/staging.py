"""New instances that a job prepares unseen, and publishes together in one transaction.

Whatever changes or copies stored instances (modification, anonymization, split, merge) stages its
results here first: their files are in the storage area, their rows wait in the table ``staged``.
`publish_staged` makes instances of them, if their sources are still what they were; until then a
crash, a cancel or a failure leaves nothing behind.

References
----------
Decision 0014; Orthanc REST: results of a modification (behaviour manual §18.6)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from isocenter.dicom.levels import Level
from isocenter.errors import FullStorageError, SourceChangedError, UnstorableInstanceError
from isocenter.index.carrying import carry_annotations
from isocenter.index.deletion import delete_resources, find_doomed
from isocenter.index.packaging import resolve_resources
from isocenter.index.port import Transaction
from isocenter.index.rebuilding import RebuiltResource, rebuild_resources
from isocenter.index.records import (
    NO_RULES,
    Attachment,
    MetadataCode,
    NewInstance,
    NewResource,
    Overwrite,
    Rules,
    StoreResult,
)
from isocenter.index.writing import store_instances

__all__ = [
    "Publication",
    "Source",
    "Staged",
    "add_staged",
    "discard_staged",
    "find_existing_instances",
    "find_sources",
    "list_staged",
    "publish_staged",
]

_DICOM = 1
_PARENTS = (Level.PATIENT, Level.STUDY, Level.SERIES)

PublicIdsOfLevels = tuple[str, str, str, str]


class Source(msgspec.Struct, frozen=True, gc=False):
    """An instance that is to be copied or changed.

    Attributes
    ----------
    public_ids
        Of the patient, the study, the series and the instance.
    uids
        Study, Series and SOP Instance UID.
    attachment
        Its file; ``None`` if it was not kept.
    """

    public_ids: PublicIdsOfLevels
    uids: tuple[str, str, str]
    attachment: Attachment | None

    @property
    def public_id(self) -> str:
        """Identifier of the instance."""
        return self.public_ids[Level.INSTANCE]


class Staged(msgspec.Struct, frozen=True, gc=False):
    """A new instance that nobody sees yet.

    Attributes
    ----------
    source_ids, public_ids
        Of the patient, the study, the series and the instance: those it was made of, its own.
    source_attachment
        Name of the file that was read.
    attachment
        Its own file, which is durable.
    rows
        What its levels get, by their numbers; that of a patient, study or series may be left out
        if another staged instance of the job has it.
    stored_at
        Seconds since 1970, UTC.
    """

    source_ids: PublicIdsOfLevels
    source_attachment: str
    public_ids: PublicIdsOfLevels
    attachment: Attachment
    rows: Mapping[int, NewResource]
    stored_at: int


@dataclass(frozen=True, slots=True)
class Publication:
    """How staged instances become visible.

    Attributes
    ----------
    level
        The highest level that is changed; whatever exists at or below it is described anew.
    source_code
        Metadata that names what a resource was made of.
    keep_source
        False to delete the sources in the same transaction.
    keep_labels
        Copy labels of all levels.
    renews_existing
        False to leave the description of patients, studies and series alone that existed before.
    carries_annotations
        What users have added to resources that go with the sources moves to those that take their
        place.
    overwrite
        What to do with an instance that exists already.
    allows_existing
        Leave instances alone that exist already and may not be overwritten, as long as the sources
        stay; else they are an error.
    rules
        Limits of storage, and what else holds for storing.
    """

    level: Level
    source_code: MetadataCode
    keep_source: bool = True
    keep_labels: bool = False
    renews_existing: bool = True
    carries_annotations: bool = False
    overwrite: Overwrite = Overwrite.NEVER
    allows_existing: bool = False
    rules: Rules = NO_RULES


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Staged).decode


def find_sources(tx: Transaction, public_ids: Sequence[str], *, limit: int) -> list[Source]:
    """List all instances at and below some resources: two statements.

    Returns
    -------
    list of Source
        By patient, study and series; in each the one that arrived first comes first.

    Raises
    ------
    UnknownResourceError
        If one of the resources does not exist.
    """
    internal_ids = [key for _, _, key in resolve_resources(tx, public_ids)]
    keys = {"internal_ids": internal_ids, "limit": limit}
    return [
        Source(row[:4], row[4:7], None if row[7] is None else Attachment(_DICOM, *row[7:13]))
        for row in tx.rows("list_sources", keys)
    ]


def find_existing_instances(tx: Transaction, public_ids: Sequence[str]) -> set[str]:
    """Keep those of some identifiers whose instances exist: one statement."""
    keys = {"public_ids": list(public_ids), "first_kept": 0}
    return {row[0] for row in tx.rows("find_instances", keys)}


def add_staged(tx: Transaction, job_id: str, staged: Iterable[tuple[int, Staged]]) -> None:
    """Keep new instances of a job, each with the position of its source in the job's plan."""
    tx.run_many(
        "insert_staged",
        [
            {
                "job_id": job_id,
                "position": position,
                "source_id": one.source_ids[Level.INSTANCE],
                "source_attachment": one.source_attachment,
                "attachment_uuid": one.attachment.attachment_uuid,
                "size": one.attachment.compressed_size,
                "document": _encode(one).decode(),
            }
            for position, one in staged
        ],
    )


def list_staged(tx: Transaction, job_id: str) -> list[tuple[int, Staged]]:
    """List the new instances of a job by the positions of their sources."""
    rows = tx.rows("list_staged", {"job_id": job_id})
    return [(position, _decode(document)) for position, document in rows]


def discard_staged(tx: Transaction, job_id: str, more: Iterable[str] = ()) -> None:
    """Forget the new instances of a job; their files go to the list of removals.

    Parameters
    ----------
    more
        Names of files that go as well, if they exist at all.
    """
    tx.run("insert_removals_of_staged", {"job_id": job_id})
    tx.run("delete_staged", {"job_id": job_id})
    names = [{"attachment_uuid": name} for name in more]
    if names:
        tx.run_many("add_possible_removal", names)


def publish_staged(
    tx: Transaction, job_id: str, publication: Publication, *, published_at: int
) -> None:
    """Make instances of all that a job has staged, as if they were received now.

    The number of statements does not depend on the number of instances, unless some replace an
    older version of themselves.

    Parameters
    ----------
    tx
        A writing transaction; whatever is raised must undo it.
    published_at
        Seconds since 1970, UTC.

    Raises
    ------
    SourceChangedError
        If a source is gone or has another file than when it was read.
    UnstorableInstanceError
        If a new instance exists already, or two of them are the same.
    AnnotationConflictError
        If what users have added to the sources cannot go to what takes their place.
    FullStorageError
        If the limits of storage leave no room.

    References
    ----------
    Orthanc REST: results of a modification (behaviour manual §18.6)
    """
    tx.row("lock_archive")
    staged = [one for _, one in list_staged(tx, job_id)]
    _check_sources(tx, job_id)
    if staged:
        _Publishing(tx, staged, publication, published_at).run()
    tx.run("delete_staged", {"job_id": job_id})


def _check_sources(tx: Transaction, job_id: str) -> None:
    changed = tx.row("find_changed_source", {"job_id": job_id})
    if changed is not None:
        message = f"instance {changed[0]} was deleted or replaced while it was edited"
        raise SourceChangedError(message)


class _Publishing:
    """The work of one transaction."""

    def __init__(
        self,
        tx: Transaction,
        staged: Sequence[Staged],
        publication: Publication,
        published_at: int,
    ) -> None:
        self._tx = tx
        self._staged = staged
        self._publication = publication
        self._now = published_at
        # The rows of patients, studies and series, by their identifiers; the first one counts.
        self._rows: dict[tuple[Level, str], NewResource] = {}
        # What each of them was made of.
        self._sources: dict[tuple[Level, str], str] = {}
        for one in staged:
            for level in _PARENTS:
                key = (level, one.public_ids[level])
                self._sources.setdefault(key, one.source_ids[level])
                if key not in self._rows and int(level) in one.rows:
                    self._rows[key] = one.rows[int(level)]

    def run(self) -> None:
        """Store, describe anew what was there before, copy labels, delete the sources."""
        before = self._find_parents()
        self._store()
        after = self._find_parents()
        if self._publication.renews_existing:
            self._renew({key: row for key, row in after.items() if before.get(key) == row})
        if self._publication.keep_labels:
            self._copy_labels()
        if not self._publication.keep_source:
            self._delete_sources()

    def _find_parents(self) -> dict[tuple[Level, str], int]:
        keys = {"public_ids": sorted({public_id for _, public_id in self._sources})}
        rows = self._tx.rows("find_parents", keys)
        found = {(Level(level), public_id): int(key) for level, public_id, key, *_ in rows}
        return {key: row for key, row in found.items() if key in self._sources}

    def _store(self) -> None:
        instances = [self._build(one) for one in self._staged]
        results = store_instances(self._tx, instances, self._publication.rules)
        for one, result in zip(self._staged, results, strict=True):
            if result.is_full:
                message = "the limits of storage leave no room for the new instances"
                raise FullStorageError(message, public_ids=one.public_ids)
        unused = self._find_unused(results)
        if unused:
            names = [{"attachment_uuid": one.attachment.attachment_uuid} for one in unused]
            self._tx.run_many("add_removal", names)

    def _build(self, one: Staged) -> NewInstance:
        def describe(level: Level) -> NewResource:
            if level is Level.INSTANCE:
                return one.rows[int(level)]
            return self._rows[level, one.public_ids[level]]

        return NewInstance(
            one.public_ids, describe, (one.attachment,), self._publication.overwrite, self._now
        )

    def _find_unused(self, results: Sequence[StoreResult]) -> list[Staged]:
        """List what was not stored because the same instance exists already."""
        own = {one.public_ids[Level.INSTANCE] for one in self._staged}
        if len(own) < len(self._staged):
            message = "two of the new instances have the same identifiers"
            raise UnstorableInstanceError(message)
        pairs = zip(self._staged, results, strict=True)
        unused = [one for one, result in pairs if not result.is_stored]
        publication = self._publication
        if unused and not (publication.allows_existing and publication.keep_source):
            message = f"instance {unused[0].public_ids[Level.INSTANCE]} exists already"
            raise UnstorableInstanceError(message)
        return unused

    def _renew(self, existing: Mapping[tuple[Level, str], int]) -> None:
        """Describe parents anew that existed before, and note what they were made of."""
        changed = {
            key: row
            for key, row in existing.items()
            if key[0] >= self._publication.level or self._sources[key] != key[1]
        }
        rebuilt = [RebuiltResource(row, self._rows[key]) for key, row in changed.items()]
        if rebuilt:
            rebuild_resources(self._tx, rebuilt)
        copied = [
            {
                "resource_id": row,
                "code": int(self._publication.source_code),
                "value": self._sources[key],
            }
            for key, row in changed.items()
            if self._sources[key] != key[1]
        ]
        if copied:
            self._tx.run_many("renew_metadata", copied)

    def _list_renamed(self) -> set[tuple[Level, str, str]]:
        """List levels, identifiers of sources, and what was made of them."""
        return {
            (level, one.source_ids[level], one.public_ids[level])
            for one in self._staged
            for level in Level
            if one.source_ids[level] != one.public_ids[level]
        }

    def _copy_labels(self) -> None:
        pairs = self._list_renamed()
        if pairs:
            self._tx.run_many(
                "copy_labels",
                [
                    {"level": int(level), "source": source, "target": target}
                    for level, source, target in sorted(pairs)
                ],
            )

    def _delete_sources(self) -> None:
        new = {one.public_ids[Level.INSTANCE] for one in self._staged}
        old = {one.source_ids[Level.INSTANCE] for one in self._staged} - new
        named = [(Level.INSTANCE, public_id) for public_id in sorted(old)]
        if self._publication.carries_annotations:
            doomed = find_doomed(self._tx, named)
            carry_annotations(
                self._tx, (pair for pair in self._list_renamed() if pair[:2] in doomed)
            )
        delete_resources(self._tx, named, deleted_at=self._now, rules=self._publication.rules)
