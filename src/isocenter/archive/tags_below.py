"""The tags of all instances of a resource: each for itself, or what they have in common."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import Any

from isocenter.archive.kept_files import find_kept_files
from isocenter.archive.tags import TagsReader, TagsRequest, format_document
from isocenter.archive.workers import Workers
from isocenter.dicom.json_forms import Shape
from isocenter.dicom.levels import Level
from isocenter.dicom.tags_writer import TagsWriter
from isocenter.errors import (
    BadFileFormatError,
    CorruptedBlobError,
    MissingFileError,
    ServerError,
)
from isocenter.index.files import FILES_PAGE
from isocenter.index.reading import lookup_dicom_attachment
from isocenter.index.records import DicomAttachment

__all__ = ["TagsBelow"]

_log = logging.getLogger(__name__)

_File = tuple[str, DicomAttachment]
_Tags = dict[str, Any]

# One hop to a thread does so many instances, or as many headers as fit into so many bytes.
_MOST_IN_BATCH = 32
_MOST_BATCH_BYTES = 4 * 1024 * 1024
# So many batches of a request are read at the same time.
_BATCHES_AHEAD = 3
# The tags of more instances would drive out all others from the cache.
_MOST_CACHED = 5000
_UNREADABLE = (MissingFileError, CorruptedBlobError, BadFileFormatError)


class TagsBelow:
    """Reads the tags of many instances, in batches and in bounded memory.

    Parameters
    ----------
    tags
        Reads those of one.
    """

    def __init__(self, workers: Workers, tags: TagsReader) -> None:
        self._workers = workers
        self._tags = tags

    async def iter_instances_tags(
        self, level: Level, public_id: str, request: TagsRequest
    ) -> AsyncGenerator[bytes]:
        """Write the tags of each instance at and below a resource as one JSON object, in pieces.

        Yields
        ------
        bytes
            The document; nothing if there is no such resource.

        Raises
        ------
        MissingFileError, CorruptedBlobError, BadFileFormatError
            If a file cannot be read. An instance that was deleted meanwhile is left out.

        References
        ----------
        Orthanc REST: GET /{level}/{id}/instances-tags (behaviour manual §6)
        """
        separator = b"{\n"
        pending: deque[asyncio.Task[list[bytes]]] = deque()
        count = 0
        writer = self._tags.open_writer(request)
        try:
            async for batch in self._iter_batches(level, public_id):
                count += len(batch)
                write = self._write_batch(batch, request, writer, is_kept=count <= _MOST_CACHED)
                pending.append(asyncio.create_task(write))
                if len(pending) < _BATCHES_AHEAD:
                    continue
                if entries := await pending.popleft():
                    yield separator + b",\n".join(entries)
                    separator = b",\n"
            if not pending:
                return
            while pending:
                if entries := await pending.popleft():
                    yield separator + b",\n".join(entries)
                    separator = b",\n"
            yield b"{}\n" if separator == b"{\n" else b"\n}\n"
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _iter_batches(self, level: Level, public_id: str) -> AsyncIterator[list[_File]]:
        after = ""
        while True:
            page = await self._workers.read_long(
                lambda tx, after=after: find_kept_files(tx, level, public_id, after=after)  # type: ignore[misc]
            )
            for batch in _cut_into_batches(page):
                yield batch
            if len(page) < FILES_PAGE:
                return
            after = page[-1][0]

    async def _write_batch(
        self,
        batch: Sequence[_File],
        request: TagsRequest,
        writer: TagsWriter,
        *,
        is_kept: bool,
    ) -> list[bytes]:
        """Write the entries of some instances."""
        documents = await self._workers.run(
            self._read_batch, batch, request, writer, is_kept=is_kept
        )
        entries = []
        for (public_id, found), document in zip(batch, documents, strict=True):
            text = document or await self._read_again(public_id, found, request)
            if text is not None:
                entries.append(_format_entry(public_id, text))
        return entries

    def _read_batch(
        self, batch: Sequence[_File], request: TagsRequest, writer: TagsWriter, *, is_kept: bool
    ) -> list[bytes | None]:
        """Read the tags of some instances; ``None`` for those whose file is not there."""
        return [self._read_one(found, request, writer, is_kept=is_kept) for _, found in batch]

    def _read_one(
        self, found: DicomAttachment, request: TagsRequest, writer: TagsWriter, *, is_kept: bool
    ) -> bytes | None:
        question = self._tags.ask(found, request, default_encoding=writer.default_encoding)
        document = self._tags.lookup_cached(question)
        if document is not None:
            return document
        try:
            tags = self._tags.read(found, question, writer)
        except MissingFileError:
            return None
        return self._tags.keep(question, tags) if is_kept else format_document(tags)

    async def _read_again(
        self, public_id: str, found: DicomAttachment, request: TagsRequest
    ) -> bytes | None:
        """Find out why a file is not there: its instance was deleted, or replaced, or it is lost.

        Raises
        ------
        MissingFileError
            If it is lost.
        """
        now = await self._workers.read(lambda tx: lookup_dicom_attachment(tx, public_id))
        if now is None:
            return None
        if now.attachment.attachment_uuid == found.attachment.attachment_uuid:
            raise MissingFileError
        return await self._tags.lookup_tags(public_id, request)

    async def lookup_shared_tags(
        self, level: Level, public_id: str, request: TagsRequest
    ) -> bytes | None:
        """Write the tags that have the same text in all instances of a resource, as JSON.

        Instances whose file cannot be read do not count, as in Orthanc (measured).

        Returns
        -------
        bytes or None
            ``None`` if there is no such resource.

        Raises
        ------
        MissingFileError, CorruptedBlobError, BadFileFormatError
            If no file can be read at all.

        References
        ----------
        Orthanc REST: GET /{level}/{id}/shared-tags (behaviour manual §6)
        """
        shared: _Tags | None = None
        failure: ServerError | None = None
        async for batch in self._iter_batches(level, public_id):
            shared, error = await self._workers.run(self._intersect, batch, request, shared)
            failure = failure or error
            if shared == {}:
                break
        if shared is None and failure is not None:
            raise failure
        return None if shared is None else format_document(_reshape(shared, request.shape))

    def _intersect(
        self, batch: Sequence[_File], request: TagsRequest, shared: _Tags | None
    ) -> tuple[_Tags | None, ServerError | None]:
        """Keep of the shared tags those that some more instances have, too."""
        failure: ServerError | None = None
        full = TagsRequest(Shape.FULL, request.ignore_length)
        for public_id, found in batch:
            try:
                shared = self._intersect_one(found, full, shared)
            except _UNREADABLE as error:
                failure = error
                _log.warning("a file cannot be read", extra={"instance": public_id})
        return shared, failure

    def _intersect_one(
        self, found: DicomAttachment, full: TagsRequest, shared: _Tags | None
    ) -> _Tags:
        question = self._tags.ask(found, full)
        if shared is None:
            tags = self._tags.read(found, question)
            return {key: entry for key, entry in tags.items() if entry["Type"] == "String"}
        wanted = {int(key.replace(",", ""), 16) for key in shared}
        with self._tags.open_header(found) as buffer:
            tags = self._tags.build_some_tags(buffer, question, wanted)
        return {key: entry for key, entry in shared.items() if tags.get(key) == entry}


def _cut_into_batches(files: Sequence[_File]) -> Iterator[list[_File]]:
    batch: list[_File] = []
    size = 0
    for file in files:
        found = file[1]
        header = found.pixel_data_offset or found.attachment.uncompressed_size
        if batch and (len(batch) == _MOST_IN_BATCH or size + header > _MOST_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += header
    if batch:
        yield batch


def _format_entry(public_id: str, document: bytes) -> bytes:
    """Move a document of its own into another one: line feeds stand between values only."""
    indented = document.rstrip(b"\n").replace(b"\n", b"\n   ")
    return b'   "' + public_id.encode() + b'": ' + indented


def _reshape(tags: _Tags, shape: Shape) -> _Tags:
    """Turn tags in the full shape into another one."""
    if shape is Shape.FULL:
        return tags
    if shape is Shape.SHORT:
        return {key: entry["Value"] for key, entry in tags.items()}
    return {tags[key]["Name"]: tags[key]["Value"] for key in sorted(tags)}
