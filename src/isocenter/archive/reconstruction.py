"""Building main tags, metadata and search values anew from the stored files.

References
----------
Orthanc REST: reconstruction (behaviour manual §4.6)
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from isocenter.archive.blobs import Blobs
from isocenter.archive.conversion import StoredConverter
from isocenter.archive.description import FileDescription
from isocenter.archive.file_headers import open_header
from isocenter.archive.received import Origin, OriginKind
from isocenter.archive.record_spool import RecordSpool
from isocenter.archive.settings import Settings
from isocenter.archive.workers import Workers
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import MainTags
from isocenter.dicom.reader import FileSummary, build_identity, read_summary
from isocenter.errors import (
    BadFileFormatError,
    CorruptedBlobError,
    DatabaseUnavailableError,
    MissingFileError,
    ServerError,
)
from isocenter.index.port import Database, Transaction
from isocenter.index.reading import list_internal_ids
from isocenter.index.rebuilding import (
    RebuiltResource,
    ReplacedFile,
    StoredInstance,
    find_all_below,
    find_first_instances,
    find_lineage_rows,
    find_stored_instances,
    rebuild_resources,
    replace_files,
)
from isocenter.index.records import Attachment, DicomAttachment
from isocenter.storage.port import Storage

__all__ = ["Reconstruction", "ReconstructionOptions"]

_log = logging.getLogger(__name__)

# The files of so many instances are read, or stored anew, in one hop to a thread.
_FILES_OF_A_HOP = 32
# So many rows are written in one transaction.
_ROWS_OF_A_TRANSACTION = 500
# What was replaced while files were read is read again, but not for ever.
_ROUNDS = 3

_NO_ORIGIN = Origin(OriginKind.UNKNOWN)


@dataclass(frozen=True, slots=True)
class ReconstructionOptions:
    """How resources are built.

    Attributes
    ----------
    settings
        Tell the character set of files that name none.
    is_compressed
        Whether files are to be kept compressed.
    folder
        Where to collect rows that are too many for the memory.
    converter
        Brings files into another transfer syntax.
    """

    main_tags: MainTags
    settings: Settings
    is_compressed: bool
    folder: Path
    converter: StoredConverter | None = None


@dataclass(slots=True)
class _Plan:
    """What is to be built.

    Attributes
    ----------
    built
        Instance to the resources that are built from its file, each with its level.
    below
        The instances below the resource.
    """

    built: dict[int, list[tuple[Level, int]]] = field(default_factory=lambda: defaultdict(list))
    below: list[int] = field(default_factory=list)

    def add(self, tx: Transaction, level: Level, internal_ids: Sequence[int]) -> None:
        """Add resources of a level; each is built from the instance that arrived first."""
        for internal_id, instance_id in find_first_instances(tx, level, internal_ids).items():
            self.built[instance_id].append((level, internal_id))


class Reconstruction:
    """Rebuilds resources from their files.

    All files are read before the first row is changed, so one that cannot be read changes nothing.
    Rows are then written in transactions of a bounded size; if the database fails in between, each
    row is as before or as after, and to repeat the call completes it.

    Parameters
    ----------
    on_removal
        Called when files have become of no use.
    """

    def __init__(
        self,
        workers: Workers,
        database: Database,
        storage: Storage,
        *,
        blobs: Blobs,
        options: ReconstructionOptions,
        on_removal: Callable[[], None],
    ) -> None:
        self._workers = workers
        self._database = database
        self._storage = storage
        self._blobs = blobs
        self._options = options
        self._on_removal = on_removal

    async def rebuild(
        self, level: Level, public_id: str, *, is_limited: bool = False, has_files: bool = False
    ) -> bool:
        """Rebuild a resource, all below it, and those above it.

        Parameters
        ----------
        is_limited
            Rebuild the resource alone, from one file.
        has_files
            Also store the files below anew that are not stored as the configuration now says.

        Returns
        -------
        bool
            False if there is no such resource.

        Raises
        ------
        MissingFileError, CorruptedBlobError, BadFileFormatError
            If a file cannot be read; nothing was changed.
        """
        lineage = await self._workers.read(lambda tx: find_lineage_rows(tx, level, public_id))
        if lineage:
            await self._rebuild(lineage, is_limited=is_limited, has_files=has_files)
        return bool(lineage)

    async def rebuild_all(self, *, has_files: bool = False) -> None:
        """Rebuild the whole archive, patient by patient; one that fails keeps none of the others.

        Raises
        ------
        ServerError
            What went wrong first, after all others are done.
        """
        patients = await self._workers.read_long(lambda tx: list_internal_ids(tx, Level.PATIENT))
        first_error: ServerError | None = None
        for internal_id in patients:
            try:
                await self._rebuild({Level.PATIENT: internal_id}, has_files=has_files)
            except DatabaseUnavailableError:
                raise
            except ServerError as error:
                _log.warning("a patient cannot be rebuilt", exc_info=True)
                first_error = first_error or error
        if first_error is not None:
            raise first_error

    async def _rebuild(
        self, lineage: Mapping[Level, int], *, is_limited: bool = False, has_files: bool = False
    ) -> None:
        """Rebuild the lowest resource of a lineage."""
        plan = await self._workers.read_long(lambda tx: _plan(tx, lineage, is_limited=is_limited))
        for _ in range(_ROUNDS):
            changed = await self._rebuild_rows(plan.built)
            if not changed:
                break
            plan.built = {instance_id: plan.built[instance_id] for instance_id in changed}
        if has_files:
            converter = self._options.converter
            run = self._workers.run if converter is None else converter.run
            for instance_ids in _cut(plan.below, _FILES_OF_A_HOP):
                await run(self._convert_files, instance_ids)
            self._on_removal()

    async def _rebuild_rows(self, built: Mapping[int, list[tuple[Level, int]]]) -> list[int]:
        """Read all files, then write the rows; tell whose files were replaced meanwhile."""
        changed: list[int] = []
        with RecordSpool(self._options.folder, RebuiltResource) as spool:
            for instance_ids in _cut(built, _FILES_OF_A_HOP):
                await self._workers.run(self._read_files, spool, built, instance_ids)
            await self._workers.run(spool.rewind)
            while (part := await self._workers.run(self._write_rows, spool)) is not None:
                changed += part
        return changed

    def _read_files(
        self,
        spool: RecordSpool[RebuiltResource],
        built: Mapping[int, list[tuple[Level, int]]],
        instance_ids: Sequence[int],
    ) -> None:
        for instance in self._find_instances(instance_ids):
            if instance.file is None:
                raise MissingFileError("an instance has no file to be rebuilt from")
            description = self._describe(instance, instance.file)
            name = instance.file.attachment.attachment_uuid
            for level, internal_id in built[instance.internal_id]:
                row = description.build(level)
                own = name if level is Level.INSTANCE else None
                spool.add(RebuiltResource(internal_id, row, own))

    def _find_instances(self, instance_ids: Sequence[int]) -> list[StoredInstance]:
        return self._database.read(lambda tx: find_stored_instances(tx, instance_ids))

    def _describe(self, instance: StoredInstance, file: DicomAttachment) -> FileDescription:
        try:
            summary = self._summarize(file)
        except BadFileFormatError:
            if file.pixel_data_offset is None:
                raise
            # The offset of the pixel data is among what may have to be mended.
            summary = self._summarize(DicomAttachment(file.attachment, file.revision, None))
        if build_identity(summary).public_ids.instance != instance.public_id:
            raise CorruptedBlobError("a stored file is not that of its instance")
        return FileDescription(summary, self._options.main_tags, _NO_ORIGIN, 0)

    def _summarize(self, file: DicomAttachment) -> FileSummary:
        with open_header(self._storage, file) as buffer:
            return read_summary(
                buffer,
                wanted=self._options.main_tags.wanted,
                default_encoding=self._options.settings.default_encoding,
                is_whole=file.pixel_data_offset is None,
            )

    def _write_rows(self, spool: RecordSpool[RebuiltResource]) -> list[int] | None:
        rows = spool.take(_ROWS_OF_A_TRANSACTION)
        if not rows:
            return None
        return self._database.write(lambda tx: rebuild_resources(tx, rows))

    def _convert_files(self, instance_ids: Sequence[int]) -> None:
        """Store files anew as the configuration says, and then forget their present form."""
        replaced: list[ReplacedFile] = []
        unused: Sequence[ReplacedFile] = replaced
        try:
            for instance in self._find_instances(instance_ids):
                if instance.file is not None:
                    replaced += self._convert(instance, instance.file.attachment)
            if replaced:
                unused = self._database.write(lambda tx: replace_files(tx, replaced))
        except DatabaseUnavailableError:
            # The commit may have succeeded; a check of the storage will tell.
            unused = ()
            raise
        finally:
            for one in unused:
                self._blobs.discard(one.new.attachment_uuid)

    def _convert(self, instance: StoredInstance, old: Attachment) -> list[ReplacedFile]:
        """Store a file anew, if it is not stored as the configuration says."""
        if replaced := self._transcode(instance, old):
            return [replaced]
        if bool(old.compression) == self._options.is_compressed:
            return []
        return [ReplacedFile(instance.internal_id, old, self._blobs.convert(old))]

    def _transcode(self, instance: StoredInstance, old: Attachment) -> ReplacedFile | None:
        converter = self._options.converter
        content = None if converter is None else converter.convert(old, instance.public_id)
        if content is None:
            return None
        with content:
            with content.buffer() as buffer:
                summary = read_summary(
                    buffer,
                    wanted=self._options.main_tags.wanted,
                    default_encoding=self._options.settings.default_encoding,
                )
            if build_identity(summary).public_ids.instance != instance.public_id:
                # What has lost something is another instance; this one stays as it is.
                return None
            description = FileDescription(summary, self._options.main_tags, _NO_ORIGIN, 0)
            row = description.build(Level.INSTANCE)
            new = self._blobs.write(content, old.content_type)
        return ReplacedFile(instance.internal_id, old, new, row)


def _plan(tx: Transaction, lineage: Mapping[Level, int], *, is_limited: bool) -> _Plan:
    level, internal_id = max(lineage.items())
    below = find_all_below(tx, internal_id)
    plan = _Plan(below=sorted(below.get(Level.INSTANCE, ())))
    if is_limited:
        plan.add(tx, level, [internal_id])
        return plan
    for at in Level:
        internal_ids = below.get(at) or ([lineage[at]] if at in lineage else [])
        if internal_ids:
            plan.add(tx, at, internal_ids)
    # Files lie on the disk in the order in which they arrived.
    plan.built = dict(sorted(plan.built.items()))
    return plan


def _cut(internal_ids: Iterable[int], most: int) -> Iterator[list[int]]:
    rest = iter(internal_ids)
    while part := list(islice(rest, most)):
        yield part
