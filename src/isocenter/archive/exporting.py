"""Archives: their plan, and their bytes, one entry after the other with bounded memory."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec

from isocenter.archive.packaging import PackagedFile, list_archive_files
from isocenter.archive.workers import Workers
from isocenter.archive.zip_format import ZipEntry, ZipFormat, compress_entry
from isocenter.dicom.levels import Level
from isocenter.errors import CorruptedBlobError, MissingFileError, ServerError
from isocenter.index.packaging import read_package, resolve_resources
from isocenter.index.port import Transaction
from isocenter.storage.compression import decompress, iter_decompressed
from isocenter.storage.port import Storage

__all__ = ["ExportPlan", "ExportRequest", "Exporter", "MissingFile"]

_log = logging.getLogger(__name__)

# A larger file is compressed while it is read, a smaller one whole and ahead of its turn.
_LARGEST_WHOLE_BYTES = 8 * 1024 * 1024
_AHEAD = 4
_PIECE = 1 << 20
_MIB = 1024 * 1024
_MANIFEST = "manifest.json"


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
    """

    resources: tuple[str, ...]
    is_utf8: bool = False
    has_manifest: bool = False


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """The files of an archive, in their order."""

    request: ExportRequest
    files: tuple[PackagedFile, ...]

    @property
    def uncompressed_size(self) -> int:
        """Size of all files together, in bytes."""
        return sum(file.attachment.uncompressed_size for file in self.files)

    def describe(self) -> dict[str, Any]:
        """Describe the archive for the content of a job (behaviour manual §17)."""
        size = self.uncompressed_size
        return {
            "Description": "REST API",
            "InstancesCount": len(self.files),
            "UncompressedSize": str(size),
            "UncompressedSizeMB": size // _MIB,
            "Utf8": self.request.is_utf8,
        }


@dataclass(frozen=True, slots=True)
class MissingFile:
    """A file that could not be read."""

    file: PackagedFile
    error: ServerError


class Exporter:
    """Builds archives of what is stored."""

    def __init__(self, workers: Workers, storage: Storage) -> None:
        self._workers = workers
        self._storage = storage

    async def plan(self, request: ExportRequest) -> ExportPlan:
        """Find out what an archive will hold.

        Raises
        ------
        UnknownResourceError
            If one of the resources does not exist.
        """

        def query(tx: Transaction) -> list[PackagedFile]:
            resolved = resolve_resources(tx, request.resources)
            package = read_package(tx, [key for _, _, key in resolved])
            return list_archive_files(package, is_utf8=request.is_utf8)

        return ExportPlan(request, tuple(await self._workers.read_long(query)))

    async def exists(self, level: Level, public_id: str) -> bool:
        """Tell whether a resource of a level exists."""
        found = await self._workers.read_long(
            lambda tx: tx.row("lookup_internal_id", {"level": int(level), "public_id": public_id})
        )
        return found is not None

    async def stream(self, plan: ExportPlan, missing: list[MissingFile]) -> AsyncIterator[bytes]:
        """Write a whole archive.

        Parameters
        ----------
        missing
            Gets the files that could not be read; the archive goes on without them.
        """
        writer = ZipFormat()
        async for piece in self.write(plan.files, writer, missing):
            yield piece
        for piece in self.finish(plan, writer, missing):
            yield piece

    async def write(
        self, files: Sequence[PackagedFile], writer: ZipFormat, missing: list[MissingFile]
    ) -> AsyncIterator[bytes]:
        """Write some entries, a few files ahead being read and compressed in threads."""
        ahead: deque[tuple[PackagedFile, asyncio.Future[tuple[ZipEntry, bytes]] | None]] = deque()
        pending = iter(files)
        try:
            while True:
                for file in pending:
                    ahead.append((file, self._begin(file)))
                    if len(ahead) >= _AHEAD:
                        break
                if not ahead:
                    return
                file, prepared = ahead.popleft()
                try:
                    pieces = await self._prepare(file, prepared, writer)
                except (MissingFileError, CorruptedBlobError) as error:
                    _log.warning(
                        "a file is missing in an archive", extra={"instance": file.public_id}
                    )
                    missing.append(MissingFile(file, error))
                    continue
                # From here on a file that turns out to be damaged ends the archive.
                while (piece := await self._next(pieces, prepared)) is not None:
                    yield piece
        finally:
            for _, prepared in ahead:
                if prepared is not None:
                    prepared.cancel()

    def _begin(self, file: PackagedFile) -> "asyncio.Future[tuple[ZipEntry, bytes]] | None":
        if file.attachment.uncompressed_size > _LARGEST_WHOLE_BYTES:
            return None
        return asyncio.ensure_future(self._workers.run(self._compress, file))

    async def _prepare(
        self,
        file: PackagedFile,
        prepared: "asyncio.Future[tuple[ZipEntry, bytes]] | None",
        writer: ZipFormat,
    ) -> Iterator[bytes]:
        """Begin to write an entry, having read at least its beginning."""
        if prepared is not None:
            return writer.add(*await prepared)
        content = self._iter_content(file)
        first = await self._workers.run(next, content, b"")
        chunks = chain((first,), content)
        return writer.stream(file.name, chunks, modified_at=file.last_update)

    async def _next(self, pieces: Iterator[bytes], prepared: object | None) -> bytes | None:
        """Take the next piece, in a thread if the file is still being read."""
        if prepared is not None:
            return next(pieces, None)
        return await self._workers.run(next, pieces, None)

    def _compress(self, file: PackagedFile) -> tuple[ZipEntry, bytes]:
        attachment = file.attachment
        content = self._storage.read(attachment.attachment_uuid)
        if attachment.compression:
            content = decompress(content, attachment.uncompressed_size)
        if len(content) != attachment.uncompressed_size:
            raise CorruptedBlobError
        return compress_entry(file.name, content, modified_at=file.last_update)

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

    def finish(
        self, plan: ExportPlan, writer: ZipFormat, missing: Sequence[MissingFile]
    ) -> Iterator[bytes]:
        """Write the end of an archive: the manifest if it is wanted, and the directory."""
        if plan.request.has_manifest:
            content = msgspec.json.format(
                msgspec.json.encode(_build_manifest(plan, writer.entries, missing)), indent=3
            )
            yield from writer.add(*compress_entry(_MANIFEST, content))
        yield from writer.finish()


def _build_manifest(
    plan: ExportPlan, entries: Sequence[ZipEntry], missing: Sequence[MissingFile]
) -> dict[str, Any]:
    written = {entry.name: entry for entry in entries}
    return {
        "Files": [
            {
                "Name": file.name,
                "Instance": file.public_id,
                "Size": file.attachment.uncompressed_size,
                "MD5": file.attachment.uncompressed_md5,
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
