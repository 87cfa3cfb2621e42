"""Edited copies of stored instances on their way to `index.staging`: files read, edited, written.

References
----------
Decision 0014
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from isocenter.archive.blobs import Blobs
from isocenter.archive.description import FileDescription
from isocenter.archive.received import Origin
from isocenter.archive.settings import Settings
from isocenter.archive.whole_files import iter_portions, open_whole_file
from isocenter.dicom.editing import Edit, edit_file
from isocenter.dicom.identifiers import PublicIds
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import MainTags
from isocenter.dicom.reader import build_identity, read_summary
from isocenter.errors import (
    CorruptedBlobError,
    MissingError,
    MissingFileError,
    RequestError,
    ServerError,
)
from isocenter.index.records import Attachment, MetadataCode
from isocenter.index.staging import Source, Staged
from isocenter.storage.compression import compress, decompress
from isocenter.storage.port import Buffer, Storage

__all__ = [
    "Authorship",
    "EditTask",
    "EditedBatch",
    "EditedFile",
    "Refusal",
    "Stager",
    "StagingOptions",
]

_DICOM = 1
_AS_IS = 0
_ZLIB = 1
# A larger file is edited piece by piece, a smaller one in memory.
_LARGEST_WHOLE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StagingOptions:
    """How new files are kept and described; the same as of `IngestOptions`."""

    main_tags: MainTags
    settings: Settings
    has_md5: bool = True
    is_compressed: bool = False


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
    """

    position: int
    name: str
    source: Source
    edit: Edit


@dataclass(frozen=True, slots=True)
class EditedFile:
    """A new file: its content if it still has to be written."""

    position: int
    staged: Staged
    content: bytes | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A source that could not be edited, and why."""

    source: Source
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


class Stager:
    """Makes edited copies. Blocks; thread-safe.

    Parameters
    ----------
    blobs
        Writes what is large, and removes what is of no use.
    """

    def __init__(self, storage: Storage, blobs: Blobs, options: StagingOptions) -> None:
        self._storage = storage
        self._blobs = blobs
        self._options = options

    def edit(
        self,
        tasks: Iterable[EditTask],
        authorship: Authorship,
        *,
        described: Collection[tuple[Level, str]] = (),
    ) -> list[EditedFile | Refusal]:
        """Edit some sources; what is small is not written yet.

        Parameters
        ----------
        described
            Patients, studies and series whose rows are staged already.

        Raises
        ------
        ServerError
            If the storage cannot be written. What is wrong with a source is a result.
        """
        results: list[EditedFile | Refusal] = []
        work = _Work(self._storage, self._blobs, self._options, authorship, described)
        try:
            for task in tasks:
                try:
                    results.append(work.edit(task))
                except (RequestError, MissingError, MissingFileError, CorruptedBlobError) as error:
                    results.append(Refusal(task.source, error))
        except BaseException:
            self.discard(results)
            raise
        return results

    def write(self, results: Sequence[EditedFile | Refusal]) -> EditedBatch:
        """Write what was edited; all of it is durable when this returns.

        Raises
        ------
        FullStorageError
            If no room is left; nothing stays behind.
        """
        files = [result for result in results if isinstance(result, EditedFile)]
        blobs = [
            (file.staged.attachment.attachment_uuid, file.content)
            for file in files
            if file.content is not None
        ]
        try:
            self._storage.write_many(blobs)
        except BaseException:
            self.discard(results)
            raise
        return EditedBatch(
            [(file.position, file.staged) for file in files],
            [result for result in results if isinstance(result, Refusal)],
        )

    def discard(self, results: Iterable[EditedFile | Refusal]) -> None:
        """Remove the files that will not be staged."""
        self.discard_staged(r.staged for r in results if isinstance(r, EditedFile))

    def discard_staged(self, staged: Iterable[Staged]) -> None:
        """Remove the files of instances that were never staged."""
        for one in staged:
            self._blobs.discard(one.attachment.attachment_uuid)


@dataclass(frozen=True, slots=True)
class _Work:
    """What it takes to edit one file after the other."""

    storage: Storage
    blobs: Blobs
    options: StagingOptions
    authorship: Authorship
    described: Collection[tuple[Level, str]]

    def edit(self, task: EditTask) -> EditedFile:
        attachment = task.source.attachment
        if attachment is None:
            message = "the file of the instance was not kept"
            raise MissingFileError(message)
        if attachment.uncompressed_size > _LARGEST_WHOLE_BYTES:
            return self._edit_large(task, attachment)
        stored = self.storage.read(attachment.attachment_uuid)
        if attachment.compression:
            stored = decompress(stored, attachment.uncompressed_size)
        encoding = self.options.settings.default_encoding
        content = b"".join(edit_file(stored, task.edit, default_encoding=encoding))
        md5 = self._md5(content)
        kept = compress(content) if self.options.is_compressed else content
        new = Attachment(
            content_type=_DICOM,
            attachment_uuid=task.name,
            compression=_ZLIB if self.options.is_compressed else _AS_IS,
            compressed_size=len(kept),
            uncompressed_size=len(content),
            compressed_md5=md5 if kept is content else self._md5(kept),
            uncompressed_md5=md5,
        )
        staged = self._describe(content, task.source, new, attachment)
        return EditedFile(task.position, staged, kept)

    def _md5(self, content: bytes) -> str:
        if not self.options.has_md5:
            return ""
        return hashlib.md5(content, usedforsecurity=False).hexdigest()

    def _edit_large(self, task: EditTask, attachment: Attachment) -> EditedFile:
        """Edit a file of any size; its portions go to the storage one after the other."""
        encoding = self.options.settings.default_encoding
        with open_whole_file(self.storage, attachment) as buffer:
            pieces = edit_file(buffer, task.edit, default_encoding=encoding)
            size = sum(map(len, pieces))
            new = self.blobs.write_stream(task.name, iter_portions(pieces), size, _DICOM)
        try:
            with open_whole_file(self.storage, new) as buffer:
                staged = self._describe(buffer, task.source, new, attachment)
        except BaseException:
            self.blobs.discard(new.attachment_uuid)
            raise
        return EditedFile(task.position, staged, None)

    def _describe(
        self, content: Buffer, source: Source, new: Attachment, old: Attachment
    ) -> Staged:
        """Build the rows of a new file, without those that are staged already."""
        summary = read_summary(
            content,
            wanted=self.options.main_tags.wanted,
            default_encoding=self.options.settings.default_encoding,
        )
        public_ids = build_identity(summary).public_ids
        description = FileDescription(
            summary,
            self.options.main_tags,
            self.authorship.origin,
            self.authorship.made_at,
            more=self.authorship.name_sources(source, public_ids),
        )
        return Staged(
            source_ids=source.public_ids,
            source_attachment=old.attachment_uuid,
            public_ids=(*public_ids,),
            attachment=new,
            rows={
                int(level): description.build(level)
                for level in Level
                if (level, public_ids[level]) not in self.described
            },
            stored_at=self.authorship.made_at,
        )
