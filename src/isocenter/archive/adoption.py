"""Adopting the archive of an Orthanc: files and rows, batch after batch.

A batch is a thousand instances with those of their ancestors that were not met yet. Their files
are linked or copied, all are made durable together, and one transaction writes their rows. A killed
adoption leaves whole batches and files without rows; run again, it finds out what is there and goes
on, and takes over the same files under the same names.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from isocenter.archive.adopted_rows import AdoptedRows, AttachmentRow, read_start_summary
from isocenter.archive.adoption_trial import (
    AdoptionReport,
    Finding,
    OnFinding,
    OnProgress,
    find_fault,
)
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import MainTags
from isocenter.dicom.reader import FileSummary, build_identity
from isocenter.errors import CorruptedBlobError, MissingFileError, ServerError
from isocenter.index.adopting import (
    adopt_changes,
    adopt_exports,
    adopt_resources,
    begin_adoption,
    find_present_resources,
)
from isocenter.index.foreign import (
    AdoptedResource,
    AdoptionState,
    ForeignAttachment,
    ForeignInstance,
    ForeignResource,
    PresentResource,
)
from isocenter.index.orthanc import OrthancIndex
from isocenter.index.port import Database
from isocenter.storage.compression import iter_decompressed
from isocenter.storage.taking import FileTaker

__all__ = ["Adoption", "AdoptionOptions"]

_BATCH = 1_000
_LOG_BATCH = 5_000
_THREADS = 4
# Ancestors that are not looked at again; to forget them costs time, nothing else.
_MOST_MET = 200_000
_DICOM = 1
_ZLIB = 1

_Key = tuple[Level, str]


@dataclass(frozen=True, slots=True)
class AdoptionOptions:
    """How headers are read.

    Attributes
    ----------
    default_encoding
        Character set of files that name none.
    """

    main_tags: MainTags
    default_encoding: str


@dataclass(slots=True)
class _Taken:
    """What became of the files of one resource."""

    attachments: list[AttachmentRow] = field(default_factory=list)
    linked: int = 0
    findings: list[Finding] = field(default_factory=list)
    summary: FileSummary | None = None
    is_lost: bool = False


class Adoption:
    """Adopts all that an Orthanc stored, or what is missing of it.

    Parameters
    ----------
    database
        Ours, which no server uses meanwhile.
    """

    def __init__(
        self,
        source: OrthancIndex,
        files: FileTaker,
        database: Database,
        options: AdoptionOptions,
        *,
        on_finding: OnFinding,
        on_progress: OnProgress = lambda _: None,
    ) -> None:
        self._source = source
        self._files = files
        self._database = database
        self._options = options
        self._on_finding = on_finding
        self._on_progress = on_progress
        self._report = AdoptionReport()
        self._met: set[int | None] = set()

    def run(self) -> AdoptionReport:
        """Adopt instances with their ancestors, then the logs of changes and exports. Blocks.

        Raises
        ------
        BackendError, DatabaseUnavailableError
            If one of the two indexes fails, or somebody writes to the other server's.
        FullStorageError, StorageUnavailableError
            If our folder cannot take more. Run again, it goes on.
        """
        name = _name_source(self._source)
        last = self._source.get_last_numbers()
        state = self._database.write(lambda tx: begin_adoption(tx, name, last))
        after = -1
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="adoption") as threads:
            while True:
                instances, following = self._source.read_instances(after, _BATCH)
                if following == after:
                    break
                after = following
                self._adopt_batch(instances, state, threads)
                self._finish_step()
        state = self._adopt_changes(name, state)
        self._adopt_exports(name, state)
        return self._report

    def _finish_step(self) -> None:
        self._source.check_unchanged()
        self._on_progress(self._report)

    def _adopt_batch(
        self, instances: list[ForeignInstance], state: AdoptionState, threads: ThreadPoolExecutor
    ) -> None:
        sound = self._leave_out_unsound(instances)
        names = {public_id for instance in sound for public_id in instance.public_ids}
        present = self._database.read(lambda tx: find_present_resources(tx, names))
        new = [i for i in sound if (Level.INSTANCE, i.public_ids[3]) not in present]
        self._report.present += len(sound) - len(new)

        ancestors = self._choose_ancestors(sound)
        ids = {i.internal_ids[level] or 0 for (level, _), i in ancestors.items()}
        known = self._source.read_resources(ids | {i.internal_ids[3] or 0 for i in new})
        batch = _Batch(self._files, self._options, known, present)
        kept = batch.take_instances(new, threads)
        met = batch.take_ancestors(ancestors, kept, threads)
        rows = batch.build_rows(kept, state.recycling_base)
        self._note(batch)
        if rows:
            self._files.sync()
            self._database.write(lambda tx: adopt_resources(tx, rows))
        for row in rows:
            self._report.counts[row.level] += row.row is not None
        if len(self._met) > _MOST_MET:
            self._met.clear()
        self._met |= met

    def _leave_out_unsound(self, instances: Iterable[ForeignInstance]) -> list[ForeignInstance]:
        sound: dict[str, ForeignInstance] = {}
        for instance in instances:
            public_id = instance.public_ids[3]
            if not instance.is_sound:
                reason = "the index lacks one of its ancestors"
            elif public_id in sound:
                reason = "the index has two instances of this identifier"
            else:
                sound[public_id] = instance
                continue
            self._tell(Finding(f"/instances/{public_id}", reason))
        return list(sound.values())

    def _choose_ancestors(
        self, instances: Iterable[ForeignInstance]
    ) -> dict[_Key, ForeignInstance]:
        """Choose the ancestors that were not met yet, with an instance of each."""
        chosen: dict[_Key, ForeignInstance] = {}
        for instance in instances:
            for level in (Level.PATIENT, Level.STUDY, Level.SERIES):
                if instance.internal_ids[level] not in self._met:
                    chosen.setdefault((level, instance.public_ids[level]), instance)
        return chosen

    def _note(self, batch: "_Batch") -> None:
        for taken in batch.taken.values():
            for finding in taken.findings:
                self._tell(finding)
            self._report.attachments += len(taken.attachments)
            self._report.linked += taken.linked
            self._report.bytes += sum(a.compressed_size for a, _ in taken.attachments)

    def _tell(self, finding: Finding) -> None:
        self._report.note(finding)
        self._on_finding(finding)

    def _adopt_changes(self, name: str, state: AdoptionState) -> AdoptionState:
        while changes := self._source.read_changes(state.changes, _LOG_BATCH):
            before = state
            state = self._database.write(
                lambda tx, c=changes, s=before: adopt_changes(tx, name, s, c)  # type: ignore[misc]
            )
            self._report.changes += len(changes)
            self._finish_step()
        return state

    def _adopt_exports(self, name: str, state: AdoptionState) -> None:
        while exports := self._source.read_exports(state.exports, _LOG_BATCH):
            before = state
            state = self._database.write(
                lambda tx, e=exports, s=before: adopt_exports(tx, name, s, e)  # type: ignore[misc]
            )
            self._report.exports += len(exports)
            self._finish_step()


@dataclass(slots=True)
class _Batch:
    """The resources of one batch and what is known of them."""

    files: FileTaker
    options: AdoptionOptions
    known: Mapping[int, ForeignResource]
    present: Mapping[_Key, PresentResource]
    taken: dict[_Key, _Taken] = field(default_factory=dict)
    # The instance by which an ancestor is described.
    describing: dict[_Key, ForeignInstance] = field(default_factory=dict)

    def take_instances(
        self, instances: list[ForeignInstance], threads: ThreadPoolExecutor
    ) -> list[ForeignInstance]:
        """Take over the files of instances, and list those whose DICOM file is sound."""
        keys = [(Level.INSTANCE, instance.public_ids[3]) for instance in instances]
        self.taken.update(zip(keys, threads.map(self._take, keys, instances), strict=True))
        return [
            instance
            for key, instance in zip(keys, instances, strict=True)
            if not self.taken[key].is_lost
        ]

    def take_ancestors(
        self,
        ancestors: Mapping[_Key, ForeignInstance],
        kept: list[ForeignInstance],
        threads: ThreadPoolExecutor,
    ) -> set[int | None]:
        """Take over the files of ancestors, unless no instance below them is left.

        Returns
        -------
        set of int
            The internal numbers of those that are done.
        """
        first: dict[_Key, ForeignInstance] = {}
        for instance in kept:
            for level in (Level.PATIENT, Level.STUDY, Level.SERIES):
                first.setdefault((level, instance.public_ids[level]), instance)
        for key, instance in sorted(ancestors.items(), key=lambda item: item[0]):
            if key in first or key in self.present:
                self.describing[key] = first.get(key, instance)
        keys, instances = list(self.describing), list(self.describing.values())
        self.taken.update(zip(keys, threads.map(self._take, keys, instances), strict=True))
        return {instance.internal_ids[key[0]] for key, instance in self.describing.items()}

    def build_rows(self, kept: list[ForeignInstance], recycling_base: int) -> list[AdoptedResource]:
        """Build what is to be written, parents before children."""
        due = [*self.describing.items(), *(((Level.INSTANCE, i.public_ids[3]), i) for i in kept)]
        rows = []
        for key, instance in due:
            described = self.taken.get((Level.INSTANCE, instance.public_ids[3]))
            rows.append(
                AdoptedRows(
                    self.options.main_tags,
                    instance,
                    self.known,
                    described.summary if described else None,
                    recycling_base,
                ).build(
                    key[0],
                    tuple(self.taken[key].attachments),
                    is_present=key in self.present,
                )
            )
        return rows

    def _take(self, key: _Key, instance: ForeignInstance) -> _Taken:
        """Take over the files of one resource, the DICOM file first; in a thread."""
        level, public_id = key
        foreign = self.known[instance.internal_ids[level] or 0]
        present = self.present.get(key)
        taken = _Taken()
        for attachment in foreign.attachments:
            content_type = attachment.attachment.content_type
            if present is not None and content_type in present.content_types:
                continue
            self._take_file(f"/{level.plural}/{public_id}", attachment, taken)
            if taken.is_lost:
                return taken
        if level is Level.INSTANCE:
            taken.findings += self._find_oddities(public_id, taken)
        return taken

    def _take_file(self, address: str, foreign: ForeignAttachment, taken: _Taken) -> None:
        attachment = foreign.attachment
        name, is_dicom = attachment.attachment_uuid, attachment.content_type == _DICOM
        reason = find_fault(self.files, foreign)
        try:
            if reason is None:
                if is_dicom:
                    taken.summary = self._read_summary(foreign)
                taken.linked += self.files.take(name, attachment.compressed_size)
        except (CorruptedBlobError, MissingFileError) as error:
            reason = str(error)
        if reason is None:
            taken.attachments.append((attachment, foreign.revision))
        else:
            taken.findings.append(Finding(address, reason, name))
            taken.is_lost = is_dicom

    def _read_summary(self, foreign: ForeignAttachment) -> FileSummary | None:
        attachment = foreign.attachment
        pieces = self.files.iter_pieces(attachment.attachment_uuid)
        if attachment.compression == _ZLIB:
            pieces = iter_decompressed(pieces, attachment.uncompressed_size)
        return read_start_summary(
            pieces,
            wanted=self.options.main_tags.wanted,
            default_encoding=self.options.default_encoding,
        )

    @staticmethod
    def _find_oddities(public_id: str, taken: _Taken) -> list[Finding]:
        """Tell what a person should know of an instance that was adopted all the same."""
        address = f"/instances/{public_id}"
        if taken.summary is None:
            reason = "its header cannot be read; the main tags are those of Orthanc's index"
            return [Finding(address, reason, is_damage=False)]
        try:
            identifier = build_identity(taken.summary).public_ids.instance
        except ServerError:
            identifier = ""
        if identifier == public_id:
            return []
        reason = "it keeps its identifier, although Isocenter would make another one of its file"
        return [Finding(address, reason, is_damage=False)]


def _name_source(source: OrthancIndex) -> str:
    path = os.fsencode(os.path.realpath(source.path))
    return hashlib.sha1(path, usedforsecurity=False).hexdigest()
