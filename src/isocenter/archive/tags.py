"""The tags of single instances as JSON: all, meta information, modules."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from isocenter.archive.byte_cache import ByteCache, CacheStatistics
from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.kept_files import lookup_kept_file
from isocenter.archive.settings import Settings
from isocenter.archive.workers import Workers
from isocenter.dicom.file_meta import read_file_meta
from isocenter.dicom.json_forms import (
    Shape,
    build_header_json,
    build_some_tags_json,
    build_tags_json,
)
from isocenter.dicom.levels import Level
from isocenter.dicom.modules import MODULE_TAGS
from isocenter.dicom.tags import TagDictionary
from isocenter.dicom.tags_writer import TagsWriter
from isocenter.errors import BadFileFormatError
from isocenter.index.records import Attachment, DicomAttachment
from isocenter.storage.port import Buffer, Storage

__all__ = ["TagsQuestion", "TagsReader", "TagsRequest", "format_document"]

# A header up to this size is parsed on the event loop.
_SHORT_HEADER = 32 * 1024
# File meta information almost always fits into this.
_META_BYTES = 4096
# Tag and length of the first element behind it, without which its end is not certain.
_NEXT_ELEMENT = 8
# Tag, VR and length of the element Pixel Data, which ends the header (PS3.5 §7.1).
_PIXEL_DATA_HEADER = 12
_INDENT = 3

_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True)
class TagsRequest:
    """Which tags, in which shape.

    Attributes
    ----------
    ignore_length
        Tags whose values are not cut.
    is_whole
        Go on after the pixel data.
    """

    shape: Shape
    ignore_length: frozenset[int] = frozenset()
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class TagsQuestion:
    """All that decides which tags of a file are written, and how; the key of the cache.

    Attributes
    ----------
    module
        Write the tags of this module alone.
    """

    attachment_uuid: str
    request: TagsRequest
    module: Level | None
    default_encoding: str


def format_document(value: Any) -> bytes:
    """Write JSON as all answers have it: sorted, indented, with a line feed at the end."""
    return msgspec.json.format(_encode(value), indent=_INDENT) + b"\n"


class TagsReader:
    """Reads the tags of instances, of no more of their files than the start.

    Parameters
    ----------
    settings
        Tell the character set of files that name none.
    dictionary
        Names and value representations.
    cache_bytes
        Room for tags that were asked before. A stored file never changes, so neither do its tags.
    """

    def __init__(
        self,
        workers: Workers,
        storage: Storage,
        buffers: FileBuffers,
        *,
        settings: Settings,
        dictionary: TagDictionary,
        cache_bytes: int,
    ) -> None:
        self._workers = workers
        self._storage = storage
        self._buffers = buffers
        self._settings = settings
        self._dictionary = dictionary
        self._cache: ByteCache[TagsQuestion] = ByteCache(cache_bytes)

    def forget(self) -> None:
        """Empty the cache of tags, and have nobody repeat what was answered before.

        References
        ----------
        Orthanc REST: POST /tools/invalidate-tags
        """
        self._cache.clear()
        self._settings.generation += 1

    def get_statistics(self) -> CacheStatistics:
        """Tell how the cache of tags is doing."""
        return self._cache.get_statistics()

    async def lookup_tags(self, public_id: str, request: TagsRequest) -> bytes | None:
        """Write the tags of an instance as JSON, or ``None`` if there is no such instance.

        References
        ----------
        Orthanc REST: GET /instances/{id}/tags (behaviour manual §5)
        """
        found = await self._workers.read(lambda tx: lookup_kept_file(tx, public_id))
        if found is None:
            return None
        return await self._answer(found, self.ask(found, request))

    async def lookup_header(self, public_id: str, shape: Shape) -> bytes | None:
        """Write the file meta information of an instance as JSON, or ``None``.

        References
        ----------
        Orthanc REST: GET /instances/{id}/header (behaviour manual §6)
        """
        found = await self._workers.read(lambda tx: lookup_kept_file(tx, public_id))
        if found is None:
            return None
        attachment = found.attachment
        if not attachment.compression:
            stop = min(_META_BYTES, attachment.uncompressed_size)
            start = self._storage.read_cached(attachment.attachment_uuid, 0, stop)
            if start is not None and _has_all_meta(start, attachment):
                return format_document(build_header_json(start, shape))
        return await self._workers.run(self._format_header, found, shape)

    def _format_header(self, found: DicomAttachment, shape: Shape) -> bytes:
        attachment = found.attachment
        stop = min(_META_BYTES, attachment.uncompressed_size)
        with self._buffers.open_start(attachment, stop) as start:
            if _has_all_meta(start, attachment):
                return format_document(build_header_json(start, shape))
        with self.open_header(found) as buffer:
            return format_document(build_header_json(buffer, shape))

    async def lookup_module(
        self, resource: tuple[Level, str], module: Level, request: TagsRequest
    ) -> bytes | None:
        """Write the module of a level as JSON, or ``None`` if there is no such resource.

        Parameters
        ----------
        resource
            Its first instance is read.

        References
        ----------
        Orthanc REST: GET /{level}/{id}/module (behaviour manual §6)
        """
        level, public_id = resource
        found = await self._workers.read(lambda tx: lookup_kept_file(tx, public_id, level))
        if found is None:
            return None
        return await self._answer(found, self.ask(found, request, module))

    async def _answer(self, found: DicomAttachment, question: TagsQuestion) -> bytes:
        """Read a header on the event loop if it is short and at hand, else in a thread."""
        document = self.lookup_cached(question)
        if document is not None:
            return document
        stop = _get_header_stop(found)
        is_plain = not question.request.is_whole and not found.attachment.compression
        if is_plain and stop is not None and stop <= _SHORT_HEADER:
            header = self._storage.read_cached(question.attachment_uuid, 0, stop)
            if header is not None:
                return self.keep(question, self._build(header, question))
        return self.keep(question, await self._workers.run(self.read, found, question))

    def open_writer(self, request: TagsRequest) -> TagsWriter:
        """Begin to write the tags of many files in the same form."""
        return TagsWriter(
            request.shape,
            ignore_length=request.ignore_length,
            default_encoding=self._settings.default_encoding,
            dictionary=self._dictionary,
        )

    def read(
        self, found: DicomAttachment, question: TagsQuestion, writer: TagsWriter | None = None
    ) -> dict[str, Any]:
        """Read tags from their file; blocks.

        Parameters
        ----------
        writer
            Of the same form, if there are more files to read.

        Raises
        ------
        MissingFileError, CorruptedBlobError
            If the file has vanished from the storage, or is damaged.
        BadFileFormatError
            If it cannot be read.
        """
        with self.open_header(found, is_whole=question.request.is_whole) as buffer:
            if writer is None or question.request.is_whole:
                return self._build(buffer, question)
            return writer.write(buffer)

    @contextmanager
    def open_header(self, found: DicomAttachment, *, is_whole: bool = False) -> Iterator[Buffer]:
        """Open a file up to its pixel data, or all of it; blocks.

        Raises
        ------
        MissingFileError
            If the file has vanished from the storage.
        CorruptedBlobError
            If the stored bytes are damaged.
        """
        stop = None if is_whole else _get_header_stop(found)
        if stop is None:
            with self._buffers.open_whole(found.attachment) as buffer:
                yield buffer
        else:
            with self._buffers.open_start(found.attachment, stop) as buffer:
                yield buffer

    def _build(self, buffer: Buffer, question: TagsQuestion) -> dict[str, Any]:
        request = question.request
        if question.module is not None:
            return self.build_some_tags(buffer, question, MODULE_TAGS[question.module])
        return build_tags_json(
            buffer,
            request.shape,
            ignore_length=request.ignore_length,
            whole=request.is_whole,
            default_encoding=question.default_encoding,
            dictionary=self._dictionary,
        )

    def build_some_tags(
        self, buffer: Buffer, question: TagsQuestion, tags: AbstractSet[int]
    ) -> dict[str, Any]:
        """Build some of the tags of an open file; see `build_some_tags_json` for the errors."""
        return build_some_tags_json(
            buffer,
            question.request.shape,
            tags,
            ignore_length=question.request.ignore_length,
            default_encoding=question.default_encoding,
            dictionary=self._dictionary,
        )

    def ask(
        self,
        found: DicomAttachment,
        request: TagsRequest,
        module: Level | None = None,
        *,
        default_encoding: str = "",
    ) -> TagsQuestion:
        """Ask for tags of a file as they are to be written now, or in another encoding."""
        encoding = default_encoding or self._settings.default_encoding
        return TagsQuestion(found.attachment.attachment_uuid, request, module, encoding)

    def lookup_cached(self, question: TagsQuestion) -> bytes | None:
        """Find tags that were written before, as JSON; never blocks."""
        return self._cache.lookup(question)

    def keep(self, question: TagsQuestion, tags: dict[str, Any]) -> bytes:
        """Write tags as JSON and keep that for the next time."""
        document = format_document(tags)
        self._cache.add(question, document)
        return document


def _get_header_stop(found: DicomAttachment) -> int | None:
    """Tell where the header of the pixel data ends; ``None`` if that is not known."""
    if found.pixel_data_offset is None:
        return None
    stop = found.pixel_data_offset + _PIXEL_DATA_HEADER
    return min(stop, found.attachment.uncompressed_size)


def _has_all_meta(start: Buffer, attachment: Attachment) -> bool:
    """Tell whether the start of a file holds all of its file meta information."""
    if len(start) >= attachment.uncompressed_size:
        return True
    try:
        meta = read_file_meta(start)
    except BadFileFormatError:
        return False
    return meta.data_set_offset + _NEXT_ELEMENT <= len(start)
