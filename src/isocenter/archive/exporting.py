"""Archives and media: their plan, and their bytes, entry after entry with bounded memory."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.packaging import PackagedFile, list_archive_files, list_media_files
from isocenter.archive.settings import Settings
from isocenter.archive.transcoding import Target, Transcoder, describe_target
from isocenter.archive.workers import Workers
from isocenter.archive.zip_format import ZipEntry, ZipFormat, compress_entry
from isocenter.clock import now_us
from isocenter.dicom.directory import Directory
from isocenter.dicom.directory_records import FilePlace, FileRecords, build_records
from isocenter.dicom.levels import Level
from isocenter.dicom.uids import build_uid
from isocenter.errors import (
    BadFileFormatError,
    CorruptedBlobError,
    MissingFileError,
    ServerError,
)
from isocenter.index.packaging import read_package, resolve_resources
from isocenter.index.port import NotBriefError, Transaction
from isocenter.pixels.transcoding import estimate_size
from isocenter.storage.compression import decompress, iter_decompressed
from isocenter.storage.port import Buffer, Storage

__all__ = [
    "FILES_AHEAD",
    "ExportPlan",
    "ExportRequest",
    "Exporter",
    "MissingFile",
    "Written",
    "gather",
]

_log = logging.getLogger(__name__)

FILES_AHEAD = 4
"""How many files of an archive are read, transcoded and compressed at once."""

# A larger file is compressed while it is read, a smaller one whole and ahead of its turn.
_LARGEST_WHOLE_BYTES = 8 * 1024 * 1024
# So is a file that may become larger by transcoding.
_LARGEST_TRANSCODED_BYTES = 32 * 1024 * 1024
# The end of an archive of so many files is written in one hop to a thread.
_FEW_FILES = 500
# Plans of so many are made on the event loop.
_FEW_PLANNED = 20
_PIECE = 1 << 20
_MIB = 1024 * 1024
_MANIFEST = "manifest.json"
_DIRECTORY = "DICOMDIR"
# Tag, VR and length of the element Pixel Data, which ends the header (PS3.5 §7.1).
_PIXEL_DATA_HEADER = 12


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What a client wants in an archive.

    Attributes
    ----------
    resources
        Public identifiers; their levels may be mixed.
    is_utf8
        Names may hold letters that are not ASCII.
    has_manifest
        The last entry is a list of all others with their sums, and of what is missing.
    is_media
        The files have the names of a medium, and are followed by a DICOMDIR.
    is_extended
        The DICOMDIR has optional attributes, too.
    target
        What the files are brought into, where that is possible.
    """

    resources: tuple[str, ...]
    is_utf8: bool = False
    has_manifest: bool = False
    is_media: bool = False
    is_extended: bool = False
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """The files of an archive, in their order.

    Attributes
    ----------
    uncompressed_size
        Of all files together, in bytes.
    """

    request: ExportRequest
    files: tuple[PackagedFile, ...]
    uncompressed_size: int

    def describe(self) -> dict[str, Any]:
        """Describe the archive for the content of a job (behaviour manual §17)."""
        size = self.uncompressed_size
        target = self.request.target
        content: dict[str, Any] = {
            "Description": "REST API",
            "InstancesCount": len(self.files),
            "UncompressedSize": str(size),
            "UncompressedSizeMB": size // _MIB,
            "Utf8": self.request.is_utf8,
        }
        if target is not None:
            content |= describe_target(target)
        return content


@dataclass(frozen=True, slots=True)
class MissingFile:
    """A file that could not be read."""

    file: PackagedFile
    error: ServerError


@dataclass(frozen=True, slots=True)
class Written:
    """What of an archive was written.

    Attributes
    ----------
    missing
        Files that could not be read; the archive goes on without them.
    directory
        The records of the files; empty unless the archive is a medium.
    """

    writer: ZipFormat = field(default_factory=ZipFormat)
    missing: list[MissingFile] = field(default_factory=list)
    directory: Directory = field(default_factory=Directory)


class _Prepared(NamedTuple):
    """A file that was read and compressed ahead of its turn."""

    entry: ZipEntry
    data: bytes
    records: FileRecords | None


class Exporter:
    """Builds archives of what is stored.

    Parameters
    ----------
    buffers
        Opens the headers of large files.
    """

    def __init__(
        self,
        workers: Workers,
        storage: Storage,
        buffers: FileBuffers,
        settings: Settings,
        transcoder: Transcoder,
    ) -> None:
        self._workers = workers
        self._storage = storage
        self._buffers = buffers
        self._settings = settings
        self._transcoder = transcoder

    async def plan(self, request: ExportRequest) -> ExportPlan:
        """Find out what an archive will hold.

        Raises
        ------
        UnknownResourceError
            If one of the resources does not exist.
        """

        def query(tx: Transaction, most: int | None = None) -> ExportPlan:
            resolved = resolve_resources(tx, request.resources)
            package = read_package(tx, [key for _, _, key in resolved])
            if most is not None and len(package.instances) > most:
                raise NotBriefError
            if request.is_media:
                files = list_media_files(package)
            else:
                files = list_archive_files(package, is_utf8=request.is_utf8)
            size = sum(file.attachment.uncompressed_size for file in files)
            return ExportPlan(request, tuple(files), size)

        if len(request.resources) > _FEW_PLANNED:
            return await self._workers.read_long(query)
        return await self._workers.read_soon(query, brief=partial(query, most=_FEW_PLANNED))

    async def exists(self, level: Level, public_id: str) -> bool:
        """Tell whether a resource of a level exists."""
        found = await self._workers.read_long(
            lambda tx: tx.row("lookup_internal_id", {"level": int(level), "public_id": public_id})
        )
        return found is not None

    async def stream(self, plan: ExportPlan) -> AsyncIterator[bytes]:
        """Write a whole archive; it goes on without files that cannot be read."""
        written = Written()
        async for piece in self.write(plan, plan.files, written):
            yield piece
        async for piece in self.finish(plan, written):
            yield piece

    async def write(
        self,
        plan: ExportPlan,
        files: Sequence[PackagedFile],
        written: Written,
        *,
        ahead: int = FILES_AHEAD,
    ) -> AsyncIterator[bytes]:
        """Write some entries, so many files ahead being read and compressed in threads."""
        begun: deque[tuple[PackagedFile, asyncio.Future[_Prepared | None] | None]] = deque()
        pending = iter(files)
        request = plan.request
        try:
            while True:
                for file in pending:
                    begun.append((file, self._begin(file, request)))
                    if len(begun) >= ahead:
                        break
                if not begun:
                    return
                file, future = begun.popleft()
                try:
                    prepared = None if future is None else await future
                    if prepared is None:
                        pieces = await self._open_large(file, written, request)
                    else:
                        pieces = _add(file, prepared, written)
                except (MissingFileError, CorruptedBlobError) as error:
                    _miss(file, error, written)
                    continue
                # From here on a file that turns out to be damaged ends the archive.
                while (piece := await self._next(pieces, prepared)) is not None:
                    yield piece
        finally:
            for _, future in begun:
                if future is not None:
                    future.cancel()

    def build(self, plan: ExportPlan, written: Written) -> bytes:
        """Build a small archive as a whole, without transcoding. Blocks; for worker threads."""
        pieces: list[bytes] = []
        for file in plan.files:
            try:
                prepared = self._read(file, plan.request)
            except (MissingFileError, CorruptedBlobError) as error:
                _miss(file, error, written)
                continue
            pieces.extend(_add(file, prepared, written))
        return b"".join([*pieces, *_iter_end(plan, written)])

    def _begin(
        self, file: PackagedFile, request: ExportRequest
    ) -> "asyncio.Future[_Prepared | None] | None":
        if file.attachment.uncompressed_size > _LARGEST_WHOLE_BYTES:
            return None
        run = self._workers.run if request.target is None else self._transcoder.run
        return asyncio.ensure_future(run(self._compress, file, request))

    async def _open_large(
        self, file: PackagedFile, written: Written, request: ExportRequest
    ) -> Iterator[bytes]:
        run = self._workers.run if request.target is None else self._transcoder.run
        return await run(self._start_large, file, written, request)

    def _start_large(
        self, file: PackagedFile, written: Written, request: ExportRequest
    ) -> Iterator[bytes]:
        """Begin to write a large entry, having read at least its beginning. Blocks."""
        if request.target is None:
            records = self._read_records(file, is_extended=request.is_extended)
            content = self._iter_content(file)
        else:
            content = self._iter_transcoded(file, request, written)
            records = None
        first = next(content, b"")
        _note(file, records, written)
        chunks = chain((first,), content)
        return written.writer.stream(file.name, chunks, modified_at=file.last_update)

    def _iter_transcoded(
        self, file: PackagedFile, request: ExportRequest, written: Written
    ) -> Iterator[bytes]:
        """Read a large file in another transfer syntax, and enter it into the DICOMDIR."""
        with self._open_transcoded(file, request) as buffer:
            records = self._build_records(file, buffer, is_extended=request.is_extended)
            _note(file, records, written)
            for start in range(0, len(buffer), _PIECE):
                yield bytes(buffer[start : start + _PIECE])

    @contextmanager
    def _open_transcoded(self, file: PackagedFile, request: ExportRequest) -> Iterator[Buffer]:
        target = request.target
        assert target is not None, "only for archives that transcode"  # noqa: S101
        keep = self._transcoder.open_or_keep
        with (
            self._buffers.open_whole(file.attachment) as buffer,
            # The archive may be on its way already.
            keep(buffer, target, instance=file.public_id, needs_room=False) as result,
        ):
            yield result

    async def _next(self, pieces: Iterator[bytes], prepared: _Prepared | None) -> bytes | None:
        """Take the next piece, in a thread if the file is still being read."""
        if prepared is not None:
            return next(pieces, None)
        return await self._workers.run(next, pieces, None)

    def _compress(self, file: PackagedFile, request: ExportRequest) -> _Prepared | None:
        """Read and compress a file; ``None`` if it may become too large for that."""
        target = request.target
        if target is None:
            return self._read(file, request)
        with self._buffers.open_whole(file.attachment) as buffer:
            if estimate_size(buffer) > _LARGEST_TRANSCODED_BYTES:
                return None
            keep = self._transcoder.open_or_keep
            with keep(buffer, target, instance=file.public_id, needs_room=False) as result:
                return self._pack(file, result, request)

    def _read(self, file: PackagedFile, request: ExportRequest) -> _Prepared:
        """Read and compress a file as it is stored."""
        attachment = file.attachment
        content = self._storage.read(attachment.attachment_uuid)
        if attachment.compression:
            content = decompress(content, attachment.uncompressed_size)
        if len(content) != attachment.uncompressed_size:
            raise CorruptedBlobError
        return self._pack(file, content, request)

    def _pack(self, file: PackagedFile, content: Buffer, request: ExportRequest) -> _Prepared:
        records = self._build_records(file, content, is_extended=request.is_extended)
        entry, data = compress_entry(file.name, content, modified_at=file.last_update)
        return _Prepared(entry, data, records)

    def _read_records(self, file: PackagedFile, *, is_extended: bool) -> FileRecords | None:
        """Build the records of a large file of its header alone."""
        attachment, place = file.attachment, file.place
        if place is None:
            return None
        if place.pixel_data_offset is None:
            with self._buffers.open_whole(attachment) as buffer:
                return self._build_records(file, buffer, is_extended=is_extended)
        stop = min(place.pixel_data_offset + _PIXEL_DATA_HEADER, attachment.uncompressed_size)
        with self._buffers.open_start(attachment, stop) as buffer:
            return self._build_records(file, buffer, is_extended=is_extended)

    def _build_records(
        self, file: PackagedFile, content: Buffer, *, is_extended: bool
    ) -> FileRecords | None:
        if file.place is None:
            return None
        try:
            return build_records(
                content,
                FilePlace(file.name, file.place.numbers, file.place.received),
                is_extended=is_extended,
                default_encoding=self._settings.default_encoding,
            )
        except BadFileFormatError as error:
            raise CorruptedBlobError from error

    def _iter_content(self, file: PackagedFile) -> Iterator[bytes]:
        attachment = file.attachment
        with self._storage.open_reader(attachment.attachment_uuid) as reader:
            pieces = (
                reader.read_at(offset, min(_PIECE, reader.size_bytes - offset))
                for offset in range(0, reader.size_bytes, _PIECE)
            )
            if attachment.compression:
                yield from iter_decompressed(pieces, attachment.uncompressed_size)
            else:
                yield from pieces

    async def finish(self, plan: ExportPlan, written: Written) -> AsyncIterator[bytes]:
        """Write the end of an archive, in threads: the entries about the others, the directory."""
        if len(plan.files) <= _FEW_FILES:
            yield await self._workers.run(lambda: b"".join(_iter_end(plan, written)))
            return
        pieces = gather(_iter_end(plan, written), _PIECE)
        while (piece := await self._workers.run(next, pieces, None)) is not None:
            yield piece


def _miss(file: PackagedFile, error: ServerError, written: Written) -> None:
    """Go on without a file."""
    _log.warning("a file is missing in an archive", extra={"instance": file.public_id})
    written.missing.append(MissingFile(file, error))


def _add(file: PackagedFile, prepared: _Prepared, written: Written) -> Iterator[bytes]:
    _note(file, prepared.records, written)
    return written.writer.add(prepared.entry, prepared.data)


def _note(file: PackagedFile, records: FileRecords | None, written: Written) -> None:
    """Enter a file into the DICOMDIR."""
    if file.place is not None and records is not None:
        written.directory.add(file.place.lineage, records)


def gather(pieces: Iterable[bytes], size_bytes: int) -> Iterator[bytes]:
    """Join small pieces to larger ones, so that each hop to a thread is worth it."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= size_bytes:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _iter_end(plan: ExportPlan, written: Written) -> Iterator[bytes]:
    writer, now = written.writer, now_us() // 1_000_000
    if plan.request.is_media:
        yield from _write_directory(written, now)
    if plan.request.has_manifest:
        content = msgspec.json.format(
            msgspec.json.encode(_build_manifest(plan, writer.entries, written.missing)), indent=3
        )
        yield from writer.add(*compress_entry(_MANIFEST, content, modified_at=now))
    yield from writer.finish()


def _write_directory(written: Written, now: int) -> Iterator[bytes]:
    chunks = written.directory.write(build_uid())
    first, second = next(chunks), next(chunks, None)
    if second is None:
        return written.writer.add(*compress_entry(_DIRECTORY, first, modified_at=now))
    return written.writer.stream(_DIRECTORY, chain((first, second), chunks), modified_at=now)


def _build_manifest(
    plan: ExportPlan, entries: Sequence[ZipEntry], missing: Sequence[MissingFile]
) -> dict[str, Any]:
    written = {entry.name: entry for entry in entries}
    return {
        "Files": [
            {
                "Name": file.name,
                "Instance": file.public_id,
                "Size": written[file.name].size,
                # Of the stored file, which is another one if it was transcoded.
                **({} if plan.request.target else {"MD5": file.attachment.uncompressed_md5}),
                "CRC32": f"{written[file.name].crc:08x}",
            }
            for file in plan.files
            if file.name in written
        ],
        "Missing": [
            {"Name": m.file.name, "Instance": m.file.public_id, "Reason": m.error.message}
            for m in missing
        ],
    }
