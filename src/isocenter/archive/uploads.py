"""Files that arrive by HTTP: collected, unpacked, stored."""

import asyncio
import io
from collections import deque
from collections.abc import AsyncIterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from isocenter.archive.ingest import Ingest
from isocenter.archive.received import Content, Origin, StoreOutcome, StoreStatus
from isocenter.archive.unpacking import is_zip, iter_gzip, iter_zip_entries, read_start
from isocenter.archive.workers import Workers
from isocenter.dicom.identifiers import PublicIds
from isocenter.errors import (
    BadFileFormatError,
    BodyTooLargeError,
    FullStorageError,
    MissingTagError,
)
from isocenter.storage.spool import SpooledContent

__all__ = ["UploadOptions", "Uploads"]

_FLUSH_BYTES = 4 * 1024 * 1024
_ENTRIES_AT_ONCE = 8
_NO_LIMIT = 2**63


@dataclass(frozen=True, slots=True)
class UploadOptions:
    """Limits of uploads, in bytes.

    Attributes
    ----------
    spool_folder
        Where large uploads are collected.
    spool_threshold
        What is longer goes to disk while it arrives.
    largest_body
        Of a request, or of an instance that comes by C-STORE; 0 for no limit.
    largest_entry
        Of a file in a ZIP archive, or in a gzip body.
    """

    spool_folder: Path
    spool_threshold: int
    largest_body: int
    largest_entry: int


class Uploads:
    """Receives request bodies and stores the DICOM files in them.

    References
    ----------
    Orthanc REST: POST /instances (behaviour manual §8.1)
    """

    def __init__(self, workers: Workers, ingest: Ingest, options: UploadOptions) -> None:
        self._workers = workers
        self._ingest = ingest
        self._options = options

    @property
    def limit_bytes(self) -> int:
        """The most bytes that one request may bring."""
        return self._options.largest_body or _NO_LIMIT

    def new_content(self) -> SpooledContent:
        """Make an empty content that moves to disk when it grows; the caller closes it."""
        return SpooledContent(self._options.spool_folder, self._options.spool_threshold)

    async def receive(
        self,
        pieces: AsyncIterable[bytes],
        *,
        size: int | None = None,
        is_gzip: bool = False,
        largest: int | None = None,
    ) -> Content:
        """Collect a request body: in memory if it is small, else in a temporary file.

        Parameters
        ----------
        pieces
            The body as it arrives.
        size
            Its length, if it was announced.
        is_gzip
            Decompress it.
        largest
            Of this body, if that is less than what any may have.

        Raises
        ------
        BodyTooLargeError
            If it is longer than allowed.
        BadFileFormatError
            If it is not valid gzip.
        """
        limit = self.limit_bytes if largest is None else min(self.limit_bytes, largest)
        _check_size(size or 0, limit)
        if size is not None and size <= self._options.spool_threshold and not is_gzip:
            return b"".join([piece async for piece in pieces])
        content = self.new_content()
        try:
            async for piece in pieces:
                content.append(piece)
                _check_size(content.size_bytes, limit)
                if content.pending_bytes > _FLUSH_BYTES:
                    await self._workers.run(content.flush_pending)
            if is_gzip:
                return await self._workers.run(self._unpack_gzip, content)
        except BaseException:
            content.close()
            raise
        return content

    def _unpack_gzip(self, packed: SpooledContent) -> SpooledContent:
        unpacked = self.new_content()
        try:
            with packed:
                packed.flush_pending()
                for piece in iter_gzip(packed.iter_chunks(), limit=self._options.largest_entry):
                    unpacked.append(piece)
                    unpacked.flush_pending()
        except BaseException:
            unpacked.close()
            raise
        return unpacked

    async def store(self, content: Content, origin: Origin) -> StoreOutcome | list[StoreOutcome]:
        """Store a DICOM file, or all DICOM files of a ZIP archive.

        Parameters
        ----------
        content
            Closed in any case.

        Returns
        -------
        StoreOutcome or list of StoreOutcome
            A list for a ZIP archive, in the order of its entries, those that are not DICOM left
            out.
        """
        if not is_zip(await self._read_start(content)):
            return await self._ingest.store(content, origin)
        if isinstance(content, bytes):
            return await self._store_zip(io.BytesIO(content), origin)
        with content:
            await self._workers.run(content.flush_pending)
            with content.open_file() as file:
                return await self._store_zip(file, origin)

    async def _read_start(self, content: Content) -> bytes:
        if isinstance(content, bytes) or not content.pending_bytes:
            return read_start(content)
        try:
            return await self._workers.run(read_start, content)
        except BaseException:
            content.close()
            raise

    async def _store_zip(self, archive: IO[bytes], origin: Origin) -> list[StoreOutcome]:
        entries = iter_zip_entries(
            archive, limit=self._options.largest_entry, new_content=self.new_content
        )
        outcomes: list[StoreOutcome | None] = []
        running: deque[asyncio.Task[StoreOutcome | None]] = deque()
        try:
            while (entry := await self._workers.run(next, entries, None)) is not None:
                running.append(asyncio.create_task(self._store_entry(entry, origin)))
                if len(running) == _ENTRIES_AT_ONCE:
                    outcomes.append(await running.popleft())
            while running:
                outcomes.append(await running.popleft())
        finally:
            # After an error, the client is answered when nothing of its archive is under way.
            await asyncio.gather(*running, return_exceptions=True)
        return [outcome for outcome in outcomes if outcome is not None]

    async def _store_entry(self, entry: SpooledContent, origin: Origin) -> StoreOutcome | None:
        try:
            return await self._ingest.store(entry, origin)
        except (BadFileFormatError, MissingTagError):
            # Other files, such as a viewer, often lie beside the DICOM files of a medium.
            return None
        except FullStorageError as error:
            if error.public_ids is None:
                raise
            return StoreOutcome(StoreStatus.STORAGE_FULL, PublicIds(*error.public_ids))


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise BodyTooLargeError(f"the body may have {limit} bytes at most")
