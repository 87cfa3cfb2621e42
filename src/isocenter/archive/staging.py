"""Edited copies of stored instances on their way to `index.staging`: files read, edited, written.

References
----------
Decision 0014
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from isocenter.archive.blobs import Blobs
from isocenter.archive.description import FileDescription
from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.pieces import (
    iter_portions,
    join_short,
    join_start,
    open_joined,
    release,
)
from isocenter.archive.received import Origin
from isocenter.archive.settings import Settings
from isocenter.archive.transcoding import Target, Transcoder
from isocenter.dicom.editing import Edit, EditMemory, edit_file
from isocenter.dicom.identifiers import PublicIds
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import MainTags
from isocenter.dicom.reader import FileSummary, build_identity, read_summary
from isocenter.dicom.rewriting import Piece
from isocenter.dicom.summary_memory import SummaryMemory
from isocenter.errors import (
    BadFileFormatError,
    CorruptedBlobError,
    MissingError,
    MissingFileError,
    RequestError,
    ServerError,
    VerificationError,
)
from isocenter.index.records import Attachment, MetadataCode, NewResource
from isocenter.index.staging import Source, Staged
from isocenter.storage.compression import iter_compressed
from isocenter.storage.port import Storage

__all__ = [
    "Authorship",
    "EditTask",
    "EditedBatch",
    "Refusal",
    "Stager",
    "StagingMemory",
    "StagingOptions",
    "summarize_pieces",
]

_PARENTS = (Level.PATIENT, Level.STUDY, Level.SERIES)
_DICOM = 1
_AS_IS = 0
_ZLIB = 1
# So much of a new file is read first to describe it.
_HEADER_BYTES = 32 * 1024
# Then so many times as much, until the header ends.
_HEADER_GROWTH = 8
# So many edits of a job are remembered at once; its sources come study by study.
_MOST_EDITS = 4
# A larger file is compressed on its way to the disk, a smaller one in memory.
_LARGEST_PACKED_WHOLE = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StagingOptions:
    """How new files are kept and described; mostly the same as of `IngestOptions`.

    Attributes
    ----------
    transcoder
        Brings them into other transfer syntaxes.
    folder
        For temporary files.
    """

    main_tags: MainTags
    settings: Settings
    has_md5: bool = True
    is_compressed: bool = False
    transcoder: Transcoder | None = None
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Authorship:
    """Where new instances come from.

    Attributes
    ----------
    origin
        Who asked for them.
    source_code
        Metadata that names what a resource was made of.
    made_at
        Seconds since 1970, UTC.
    """

    origin: Origin
    source_code: MetadataCode
    made_at: int

    def name_sources(
        self, source: Source, new: PublicIds
    ) -> dict[Level, Mapping[MetadataCode, str]]:
        """Name the source of each level whose identifier has changed, and of the instance."""
        return {
            level: {self.source_code: source.public_ids[level]}
            for level in Level
            if level is Level.INSTANCE or source.public_ids[level] != new[level]
        }


@dataclass(frozen=True, slots=True)
class EditTask:
    """What is to be done to one source.

    Attributes
    ----------
    position
        Of the source in the plan of the job.
    name
        Of the new blob. A step that is repeated gives the same, so that a crash leaves nothing.
    target
        What the result is brought into, if that is possible.
    """

    position: int
    name: str
    source: Source
    edit: Edit
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A task that could not be done, and why."""

    task: EditTask
    error: ServerError


@dataclass(slots=True)
class EditedBatch:
    """What became of some sources.

    Attributes
    ----------
    staged
        New instances, each with the position of its source.
    """

    staged: list[tuple[int, Staged]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    def add(self, other: "EditedBatch") -> None:
        """Add what another one holds."""
        self.staged += other.staged
        self.refused += other.refused


class StagingMemory:
    """What was learned from the files of a job, for those that are like them. Threads share it.

    Attributes
    ----------
    summaries
        How new files were read.
    """

    def __init__(self) -> None:
        self.summaries = SummaryMemory()
        # The edits that were used last, the last one first. A job may have one for each study.
        self._edits: tuple[tuple[Edit, EditMemory], ...] = ()

    def get_edits(self, edit: Edit) -> EditMemory:
        """Give what was learned with an edit."""
        for known, memory in self._edits:
            if known is edit:
                return memory
        new = EditMemory()
        self._edits = ((edit, new), *self._edits[: _MOST_EDITS - 1])
        return new


class Stager:
    """Makes edited copies. Blocks; thread-safe.

    Parameters
    ----------
    buffers
        Open the sources.
    blobs
        Removes what is of no use.
    """

    def __init__(
        self, storage: Storage, buffers: FileBuffers, blobs: Blobs, options: StagingOptions
    ) -> None:
        self._storage = storage
        self._buffers = buffers
        self._blobs = blobs
        self._options = options

    def edit(
        self,
        groups: Iterable[Sequence[EditTask]],
        authorship: Authorship,
        *,
        memory: StagingMemory | None = None,
        described: Collection[tuple[Level, str]] = (),
    ) -> EditedBatch:
        """Edit some sources; the new files are durable after the next `sync`.

        Parameters
        ----------
        groups
            Some tasks each. The headers of a group are edited together, then the files are written
            one by one: what the interpreter needs for headers does not stay in the caches of the
            processor while a file goes through them.
        memory
            Of the job.
        described
            Patients, studies and series whose rows are staged already.

        Raises
        ------
        ServerError
            If the storage cannot be written; nothing stays behind. What is wrong with a source is a
            part of the result.
        """
        batch = EditedBatch()
        work = _Work(
            self._storage,
            self._buffers,
            self._options,
            authorship,
            memory or StagingMemory(),
            set(described),
        )
        for group in groups:
            with ExitStack() as stack:
                try:
                    work.edit(group, stack, batch)
                except BaseException:
                    for task in group:
                        self._blobs.discard(task.name)
                    self.discard(batch)
                    raise
        for refused in batch.refused:
            self._blobs.discard(refused.task.name)
        return batch

    def sync(self) -> None:
        """Make all files durable that were written before.

        Raises
        ------
        StorageUnavailableError
            If the disk failed to write something.
        """
        self._storage.sync()

    def is_whole(self, staged: Staged) -> bool:
        """Tell whether a file is what was written, which a power failure may have prevented."""
        attachment = staged.attachment
        try:
            stored = self._storage.size_bytes(attachment.attachment_uuid)
            # Without a sum nobody knows: a file of the right size may be full of zeros.
            if stored != attachment.compressed_size or not attachment.uncompressed_md5:
                return False
            self._blobs.verify(attachment)
        except (MissingFileError, VerificationError, CorruptedBlobError):
            return False
        return True

    def check_presence(self, attachments: Iterable[Attachment]) -> None:
        """Look whether files are there as a whole, by their sizes.

        Raises
        ------
        MissingFileError, CorruptedBlobError
            If one is not.
        """
        for attachment in attachments:
            if self._storage.size_bytes(attachment.attachment_uuid) != attachment.compressed_size:
                message = f"the new file {attachment.attachment_uuid} is incomplete"
                raise CorruptedBlobError(message)

    def discard(self, batch: EditedBatch) -> None:
        """Remove the files of a batch that will not be staged."""
        self.discard_staged(staged for _, staged in batch.staged)

    def discard_staged(self, staged: Iterable[Staged]) -> None:
        """Remove the files of instances that were never staged."""
        for one in staged:
            self._blobs.discard(one.attachment.attachment_uuid)


@dataclass(frozen=True, slots=True)
class _Work:
    """What it takes to edit one file after the other.

    Attributes
    ----------
    described
        Patients, studies and series whose rows are staged already, or were built for a file before.
    """

    storage: Storage
    buffers: FileBuffers
    options: StagingOptions
    authorship: Authorship
    memory: StagingMemory
    described: set[tuple[Level, str]]

    def edit(self, group: Sequence[EditTask], stack: ExitStack, batch: EditedBatch) -> None:
        """Edit files of any size: what stays as it is goes from file to file in the kernel."""
        begun = []
        for task in group:
            with _noting(task, batch):
                begun.append((task, self._begin(task, stack)))
        for task, edited in begun:
            if edited.description is not None:
                # The only one with the rows of its study, perhaps: it cannot be left out any more.
                attachment = self._write(task.name, edited.pieces)
                staged = self._build(task.source, attachment, edited.description)
                batch.staged.append((task.position, staged))
                continue
            with _noting(task, batch):
                batch.staged.append((task.position, self._transcode(edited.pieces, task)))

    def _begin(self, task: EditTask, stack: ExitStack) -> "_Edited":
        """Edit the header of a file, which stays open, and describe the result."""
        old = task.source.attachment
        if old is None:
            message = "the file of the instance was not kept"
            raise MissingFileError(message)
        encoding = self.options.settings.default_encoding
        buffer = stack.enter_context(self.buffers.open_whole(old))
        memory = self.memory.get_edits(task.edit)
        pieces = join_short(edit_file(buffer, task.edit, default_encoding=encoding, memory=memory))
        stack.callback(release, pieces)
        is_transcoded = task.target is not None and self.options.transcoder is not None
        return _Edited(pieces, None if is_transcoded else self._describe(pieces, task.source))

    def _transcode(self, pieces: Sequence[Piece], task: EditTask) -> Staged:
        """Keep an edited file in another transfer syntax; its UIDs are those of the edit."""
        target = task.target
        assert target is not None, "the task says what is wanted"  # noqa: S101
        assert self.options.transcoder is not None, "there is one to transcode"  # noqa: S101
        keep = self.options.transcoder.open_or_keep
        instance = task.source.public_id
        with (
            open_joined(pieces, self.options.folder) as edited,
            keep(edited, target, keeps_uid=True, instance=instance) as result,
            memoryview(result) as view,
        ):
            attachment = self._write(task.name, [view])
            return self._build(task.source, attachment, self._describe([view], task.source))

    def _write(self, name: str, pieces: Sequence[Piece]) -> Attachment:
        size = sum(map(len, pieces))
        md5 = self._md5(pieces)
        if self.options.is_compressed:
            stored_size, stored_md5 = self._write_compressed(name, pieces, size)
            return Attachment(_DICOM, name, _ZLIB, stored_size, size, stored_md5, md5)
        self.storage.write_unsynced(name, pieces)
        return Attachment(_DICOM, name, _AS_IS, size, size, md5, md5)

    def _write_compressed(self, name: str, pieces: Sequence[Piece], size: int) -> tuple[int, str]:
        compressed = iter_compressed(iter_portions(pieces), size)
        if size <= _LARGEST_PACKED_WHOLE:
            stored = list(compressed)
            self.storage.write_unsynced(name, stored)
            return sum(map(len, stored)), self._md5(stored)
        digest = hashlib.md5(usedforsecurity=False)
        stored_size = 0
        with self.storage.open_writer(name) as writer:
            for piece in compressed:
                stored_size += len(piece)
                if self.options.has_md5:
                    digest.update(piece)
                writer.write(piece)
            writer.commit()
        return stored_size, digest.hexdigest() if self.options.has_md5 else ""

    def _md5(self, pieces: Sequence[Piece]) -> str:
        if not self.options.has_md5:
            return ""
        digest = hashlib.md5(usedforsecurity=False)
        for piece in pieces:
            digest.update(piece)
        return digest.hexdigest()

    def _describe(self, pieces: Sequence[Piece], source: Source) -> "_Description":
        """Build the rows of a new file, without those that are there already."""
        summary, public_ids = self._summarize(pieces)
        description = FileDescription(
            summary,
            self.options.main_tags,
            self.authorship.origin,
            self.authorship.made_at,
            more=self.authorship.name_sources(source, public_ids),
        )
        rows = {
            int(level): description.build(level)
            for level in Level
            if (level, public_ids[level]) not in self.described
        }
        self.described.update((level, public_ids[level]) for level in _PARENTS)
        return _Description(public_ids, rows)

    def _build(self, source: Source, new: Attachment, description: "_Description") -> Staged:
        assert source.attachment is not None, "its file was edited"  # noqa: S101
        return Staged(
            source_ids=source.public_ids,
            source_attachment=source.attachment.attachment_uuid,
            public_ids=(*description.public_ids,),
            attachment=new,
            rows=description.rows,
            stored_at=self.authorship.made_at,
        )

    def _summarize(self, pieces: Sequence[Piece]) -> tuple[FileSummary, PublicIds]:
        """Read of a new file what its rows need: mostly that of the instance alone."""
        main_tags = self.options.main_tags
        if self.described:
            wanted = main_tags.get_stored(Level.INSTANCE)
            summary = summarize_pieces(pieces, self.options, wanted, self.memory.summaries)
            public_ids = build_identity(summary).public_ids
            if all((level, public_ids[level]) in self.described for level in _PARENTS):
                return summary, public_ids
        summary = summarize_pieces(pieces, self.options, main_tags.wanted, self.memory.summaries)
        return summary, build_identity(summary).public_ids


class _Description(NamedTuple):
    """Identifiers of a new file, and what its levels get that are not there yet."""

    public_ids: PublicIds
    rows: Mapping[int, NewResource]


class _Edited(NamedTuple):
    """A new file that is not written yet; without a description if it is still transcoded."""

    pieces: Sequence[Piece]
    description: _Description | None


@contextmanager
def _noting(task: EditTask, batch: EditedBatch) -> Iterator[None]:
    """Note what is wrong with a source; whatever else goes wrong ends the job."""
    try:
        yield
    except (RequestError, MissingError, MissingFileError, CorruptedBlobError) as error:
        batch.refused.append(Refusal(task, error))


def summarize_pieces(
    pieces: Sequence[Piece],
    options: StagingOptions,
    wanted: frozenset[int],
    memory: SummaryMemory | None = None,
) -> FileSummary:
    """Read the header of a new file: mostly its start is enough.

    Parameters
    ----------
    wanted
        Tags to read.
    memory
        Of files like it.

    Raises
    ------
    BadFileFormatError
        If it is damaged.
    """
    encoding = options.settings.default_encoding
    memory = memory or SummaryMemory()
    length, size = _HEADER_BYTES, sum(map(len, pieces))
    while length < size:
        start = join_start(pieces, length)
        try:
            summary = memory.read_summary(
                start, wanted=wanted, default_encoding=encoding, is_whole=False
            )
        except BadFileFormatError:
            # The start ends within the header.
            pass
        else:
            if summary.pixel_data_offset is not None:
                return summary
        length *= _HEADER_GROWTH
    whole = join_start(pieces, size)
    return read_summary(whole, wanted=wanted, default_encoding=encoding)
