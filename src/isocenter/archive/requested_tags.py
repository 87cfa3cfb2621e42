"""Tags that a client asks for besides the main tags: from the index, computed, or from a file.

References
----------
Orthanc REST: requested tags (behaviour manual §4.4)
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import msgspec

from isocenter.archive.computed_tags import COMPUTED_TAGS, find_computed
from isocenter.archive.file_headers import open_header
from isocenter.archive.settings import Settings
from isocenter.archive.warning_log import WarningCode, WarningLog
from isocenter.archive.workers import Workers
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import MainTags
from isocenter.dicom.reader import read_values
from isocenter.dicom.tags import DEFAULT_DICTIONARY, format_tag
from isocenter.errors import ServerError
from isocenter.index.port import Transaction
from isocenter.index.records import DicomAttachment, MetadataCode, Part, ResourceRow
from isocenter.index.relatives import AncestorRow, find_ancestors, find_samples
from isocenter.storage.port import Storage

__all__ = ["Findings", "RequestedTagOptions", "RequestedTagReader"]

_log = logging.getLogger(__name__)

# The files of so many resources are read in one hop to a thread; so many such hops at once.
_FILES_OF_A_HOP = 32
_HOPS_AT_ONCE = 4

_SOP_CLASS_UID = 0x00080016
_SOP_CLASS = str(int(MetadataCode.SOP_CLASS_UID))
_SIGNATURE = str(int(MetadataCode.MAIN_DICOM_TAGS_SIGNATURE))

_decode = msgspec.json.Decoder(dict[str, Any]).decode

_Lineages = Mapping[int, Sequence[ResourceRow | AncestorRow]]
"""Row of a resource to the resource itself and those above, from the bottom up."""


@dataclass(frozen=True, slots=True)
class RequestedTagOptions:
    """What the configuration says of requested tags.

    Attributes
    ----------
    may_open_files
        Whether tags that the index lacks may be read from files.
    settings
        Tell the character set of files that name none.
    """

    main_tags: MainTags
    may_open_files: bool = True
    settings: Settings = field(default_factory=Settings)


@dataclass(slots=True)
class Findings:
    """What is known of the requested tags of some resources.

    Attributes
    ----------
    values
        Row to tag to value; ``None`` for a tag that the files lack.
    missing
        Row to the tags that only a file can tell.
    samples
        Row to the file that is to be read for them.
    """

    values: dict[int, dict[int, Any]]
    missing: dict[int, list[int]] = field(default_factory=dict)
    samples: dict[int, DicomAttachment] = field(default_factory=dict)


class _MainTags:
    """The main tags of one resource, decoded once."""

    __slots__ = ("level", "main", "patient", "signature", "sop_class_uid")

    def __init__(self, row: ResourceRow | AncestorRow) -> None:
        self.level = row.level
        self.main = _decode(row.main_tags)
        self.patient = _decode(row.patient_tags) if row.patient_tags else {}
        metadata = _decode(row.metadata)
        self.signature: str | None = metadata.get(_SIGNATURE)
        # Of instances only.
        self.sop_class_uid: str | None = metadata.get(_SOP_CLASS)


class RequestedTagReader:
    """Finds requested tags: main tags of the level and those above, computed tags, one child file.

    What the index knows is found with a number of statements that does not depend on the number of
    resources. Files are read in worker threads, a bounded number at once.
    """

    parts = Part.MAIN_TAGS | Part.METADATA
    """What must have been read of the resources."""

    def __init__(
        self, workers: Workers, storage: Storage, options: RequestedTagOptions, warnings: WarningLog
    ) -> None:
        self._workers = workers
        self._storage = storage
        self._options = options
        self._warnings = warnings
        self._hops = asyncio.Semaphore(_HOPS_AT_ONCE)

    def find(
        self, tx: Transaction, level: Level, rows: Sequence[ResourceRow], tags: Sequence[int]
    ) -> Findings:
        """Find what the index knows.

        Parameters
        ----------
        rows
            Resources of one level, read with `parts`.
        tags
            Computed tags that describe a level below are left out, as nothing can answer them.
        """
        findings = Findings({row.internal_id: {} for row in rows})
        computed = [tag for tag in tags if tag in COMPUTED_TAGS and COMPUTED_TAGS[tag] <= level]
        stored = [tag for tag in tags if tag not in COMPUTED_TAGS]
        highest = self._find_highest(level, [*computed, *stored])
        lineages = _find_lineages(tx, rows, highest)
        for tag in computed:
            _add_computed(tx, findings, lineages, tag)
        known = self._add_stored(findings, lineages, stored)
        if findings.missing and self._options.may_open_files:
            findings.samples = find_samples(tx, level, list(findings.missing))
        # Behind the last statement: a read that proves long is begun again.
        self._warn_of_signatures(known, stored)
        if findings.missing:
            self._warn_of_files(level, findings)
        return findings

    def _find_highest(self, level: Level, tags: Sequence[int]) -> Level:
        """Find the highest level, from the given one upwards, that may know one of the tags."""
        by_level = self._options.main_tags.by_level
        for at in Level:
            if at >= level or any(t in by_level[at] or COMPUTED_TAGS.get(t) is at for t in tags):
                return at
        return level

    def _add_stored(
        self, findings: Findings, lineages: _Lineages, tags: Sequence[int]
    ) -> Collection[_MainTags]:
        """Look the tags up among the main tags, which are returned."""
        if not tags:
            return ()
        keys = [(tag, DEFAULT_DICTIONARY.get_key(tag)) for tag in tags]
        rows = {row.internal_id: row for row in chain.from_iterable(lineages.values())}
        known = {internal_id: _MainTags(row) for internal_id, row in rows.items()}
        for internal_id, lineage in lineages.items():
            above = [known[row.internal_id] for row in lineage]
            for tag, key in keys:
                found = self._look_up(above, tag, key)
                if found is None:
                    findings.missing.setdefault(internal_id, []).append(tag)
                else:
                    findings.values[internal_id][tag] = found[0]
        return known.values()

    def _look_up(self, above: Sequence[_MainTags], tag: int, key: str) -> tuple[Any] | None:
        """Find the value of a tag, ``(None,)`` if the files are known to lack it.

        The signature tells which tags the index would hold if the file had them.
        """
        by_level = self._options.main_tags.by_level
        is_absent = False
        for tags in above:
            if tag == _SOP_CLASS_UID and tags.sop_class_uid is not None:
                return (tags.sop_class_uid,)
            if tag in by_level[tags.level]:
                if key in tags.main:
                    return (tags.main[key],)
                is_absent |= format_tag(tag) in (tags.signature or "")
            elif key in tags.patient:
                return (tags.patient[key],)
        return (None,) if is_absent else None

    def _warn_of_signatures(self, known: Iterable[_MainTags], tags: Sequence[int]) -> None:
        by_level = self._options.main_tags.by_level
        unsigned, outdated = 0, 0
        counts = Counter((one.level, one.signature) for one in known)
        for (level, signature), count in counts.items():
            asked = [tag for tag in tags if tag in by_level[level]]
            if asked and signature is None:
                unsigned += count
            elif any(format_tag(tag) not in (signature or "") for tag in asked):
                outdated += count
        if unsigned:
            self._warnings.add(WarningCode.NO_SIGNATURE, resources=unsigned)
        if outdated:
            self._warnings.add(WarningCode.INCONSISTENT_TAGS, resources=outdated)

    def _warn_of_files(self, level: Level, findings: Findings) -> None:
        counts = Counter(chain.from_iterable(findings.missing.values()))
        if not self._options.may_open_files:
            self._warnings.add(WarningCode.TAGS_NOT_READ, counts, resources=len(findings.missing))
            return
        by_level = self._options.main_tags.by_level
        lower = [t for t in counts if any(t in by_level[at] for at in Level if at > level)]
        if lower:
            self._warnings.add(
                WarningCode.TAG_OF_LOWER_LEVEL, lower, resources=max(counts[t] for t in lower)
            )
        self._warnings.add(
            WarningCode.TAGS_READ_FROM_FILES, counts, resources=len(findings.samples)
        )

    async def complete(self, findings: Findings) -> Mapping[int, Mapping[int, Any]]:
        """Read from files what the index lacks; a tag that cannot be read is left out.

        Returns
        -------
        Mapping
            Row to tag to value; ``None`` for a tag that the file lacks.
        """
        asked = [
            (internal_id, sample, findings.missing[internal_id])
            for internal_id, sample in findings.samples.items()
        ]
        parts = [asked[at : at + _FILES_OF_A_HOP] for at in range(0, len(asked), _FILES_OF_A_HOP)]
        for read in await asyncio.gather(*map(self._read_part, parts)):
            for internal_id, values in read:
                findings.values[internal_id].update(values)
        return findings.values

    async def _read_part(
        self, part: Sequence[tuple[int, DicomAttachment, Sequence[int]]]
    ) -> list[tuple[int, dict[int, Any]]]:
        async with self._hops:
            return await self._workers.run(self._read_files, part)

    def _read_files(
        self, part: Sequence[tuple[int, DicomAttachment, Sequence[int]]]
    ) -> list[tuple[int, dict[int, Any]]]:
        return [(internal_id, self._read_file(sample, tags)) for internal_id, sample, tags in part]

    def _read_file(self, sample: DicomAttachment, tags: Sequence[int]) -> dict[int, Any]:
        try:
            with open_header(self._storage, sample) as buffer:
                values, sequences = read_values(
                    buffer,
                    wanted=frozenset(tags),
                    default_encoding=self._options.settings.default_encoding,
                )
        except ServerError as error:
            # One damaged file must not withhold the answer about all others.
            about = {"attachment": sample.attachment.attachment_uuid, "error": str(error)}
            _log.warning("a file cannot be read for its tags", extra=about)
            return {}
        return {tag: values.get(tag, sequences.get(tag)) for tag in tags}


def _find_lineages(tx: Transaction, rows: Sequence[ResourceRow], highest: Level) -> _Lineages:
    ancestors: Mapping[int, AncestorRow] = {}
    if rows and highest < rows[0].level:
        parent_ids = {row.parent_id for row in rows if row.parent_id is not None}
        ancestors = find_ancestors(tx, parent_ids, highest)
    lineages: dict[int, list[ResourceRow | AncestorRow]] = {}
    for row in rows:
        lineage: list[ResourceRow | AncestorRow] = [row]
        while above := ancestors.get(lineage[-1].parent_id or 0):
            lineage.append(above)
        lineages[row.internal_id] = lineage
    return lineages


def _add_computed(tx: Transaction, findings: Findings, lineages: _Lineages, tag: int) -> None:
    """Compute a tag for each resource, or for the resource above that it describes."""
    level = COMPUTED_TAGS[tag]
    described = {
        internal_id: next(row.internal_id for row in lineage if row.level is level)
        for internal_id, lineage in lineages.items()
    }
    values = find_computed(tx, tag, sorted(set(described.values())))
    for internal_id, described_id in described.items():
        findings.values[internal_id][tag] = values[described_id]
