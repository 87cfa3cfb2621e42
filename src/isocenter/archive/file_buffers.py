"""Stored files as buffers for the readers of `dicom`, in bounded memory whatever their size.

A plain file is mapped, so that only the pages that are looked at are read; the page cache of the
system keeps it. A compressed file is decompressed into the storage cache if it is small, else into
a temporary file that is mapped in its place. All functions may block: they belong into worker
threads.
"""

import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from isocenter.archive.byte_cache import ByteCache, CacheStatistics
from isocenter.errors import BadRangeError, CorruptedBlobError
from isocenter.index.records import Attachment
from isocenter.storage.compression import decompress, iter_decompressed
from isocenter.storage.failures import storage_errors
from isocenter.storage.port import BlobReader, Buffer, Storage

__all__ = ["PIECE_BYTES", "FileBuffers", "iter_stored"]

PIECE_BYTES = 256 * 1024
"""Piece of a stored file that is read at once."""

# The start of a plain file up to this size is read rather than mapped: it costs less.
_SHORT_START = 4 * 1024 * 1024
_SHORT_FILE = 256 * 1024
_WRONG_SIZE = "A stored file does not have the size it was stored with"


class FileBuffers:
    """Opens stored files for reading. Thread-safe.

    Parameters
    ----------
    storage
        Where they are.
    cache_bytes
        Room for the decompressed content of small compressed files. A stored file never changes,
        and its name is never used again, so nothing ever has to be invalidated.
    temporary_folder
        For the decompressed content of large ones, removed when they are closed.
    """

    def __init__(self, storage: Storage, *, cache_bytes: int, temporary_folder: Path) -> None:
        self._storage = storage
        self._cache: ByteCache[str] = ByteCache(cache_bytes)
        self._temporary_folder = temporary_folder

    def get_statistics(self) -> CacheStatistics:
        """Tell how the storage cache is doing."""
        return self._cache.get_statistics()

    def lookup_decompressed(self, attachment: Attachment) -> bytes | None:
        """Find the content of a small compressed file if it is at hand; never blocks."""
        if not self._cache.has_room_for(attachment.uncompressed_size):
            return None
        return self._cache.lookup(attachment.attachment_uuid)

    def read_decompressed(self, attachment: Attachment) -> bytes:
        """Read a compressed file as a whole, and keep its content if it is small.

        Raises
        ------
        MissingFileError
            If the file has vanished from the storage.
        CorruptedBlobError
            If the stored bytes are damaged.
        """
        stored = self._storage.read(attachment.attachment_uuid)
        content = decompress(stored, attachment.uncompressed_size)
        if len(content) != attachment.uncompressed_size:
            raise CorruptedBlobError(_WRONG_SIZE)
        self._cache.add(attachment.attachment_uuid, content)
        return content

    @contextmanager
    def open_whole(self, attachment: Attachment) -> Iterator[Buffer]:
        """Open all of a file.

        Raises
        ------
        MissingFileError, CorruptedBlobError
            As by `read_decompressed`.
        FullStorageError
            If there is no room for the content of a large compressed file.
        """
        if not attachment.compression:
            with (
                self._storage.open_reader(attachment.attachment_uuid) as reader,
                _map_blob(reader, attachment.uncompressed_size) as buffer,
            ):
                yield buffer
        elif self._cache.has_room_for(attachment.uncompressed_size):
            yield self.lookup_decompressed(attachment) or self.read_decompressed(attachment)
        else:
            with self._open_decompressed(attachment) as buffer:
                yield buffer

    @contextmanager
    def open_start(self, attachment: Attachment, stop: int) -> Iterator[Buffer]:
        """Open the bytes before an offset, or more.

        Raises
        ------
        MissingFileError, CorruptedBlobError
            As by `read_decompressed`; damage behind the offset may go unnoticed.
        """
        if attachment.compression and not self._cache.has_room_for(attachment.uncompressed_size):
            if stop <= _SHORT_START:
                yield self._decompress_start(attachment, stop)
                return
        elif not attachment.compression and stop <= _SHORT_START:
            yield self._read_start(attachment, stop)
            return
        with self.open_whole(attachment) as buffer:
            yield buffer

    def _read_start(self, attachment: Attachment, stop: int) -> bytes:
        try:
            return self._storage.read(attachment.attachment_uuid, 0, stop)
        except BadRangeError as error:
            raise CorruptedBlobError(_WRONG_SIZE) from error

    def _decompress_start(self, attachment: Attachment, stop: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        with self._storage.open_reader(attachment.attachment_uuid) as reader:
            for piece in iter_decompressed(iter_stored(reader), attachment.uncompressed_size):
                pieces.append(piece)
                size += len(piece)
                if stop <= size < attachment.uncompressed_size:
                    break
        if size < stop:
            raise CorruptedBlobError(_WRONG_SIZE)
        return b"".join(pieces)

    @contextmanager
    def _open_decompressed(self, attachment: Attachment) -> Iterator[Buffer]:
        with (
            self._storage.open_reader(attachment.attachment_uuid) as reader,
            storage_errors(),
            tempfile.TemporaryFile(dir=self._temporary_folder, buffering=0) as file,
        ):
            pieces = iter_decompressed(iter_stored(reader), attachment.uncompressed_size)
            _write_all(file.fileno(), pieces)
            if os.fstat(file.fileno()).st_size != attachment.uncompressed_size:
                raise CorruptedBlobError(_WRONG_SIZE)
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as buffer:
                yield buffer


def iter_stored(reader: BlobReader) -> Iterator[bytes]:
    """Read all of an open blob in pieces."""
    for offset in range(0, reader.size_bytes, PIECE_BYTES):
        yield reader.read_at(offset, min(PIECE_BYTES, reader.size_bytes - offset))


def _write_all(descriptor: int, pieces: Iterable[bytes]) -> None:
    with open(descriptor, "wb", closefd=False) as file:
        file.writelines(pieces)


@contextmanager
def _map_blob(reader: BlobReader, size_bytes: int) -> Iterator[Buffer]:
    """Map a plain file, or read it if it is short or no file.

    A file that was cut is refused, because looking at pages that are not there ends the process.
    """
    if reader.size_bytes != size_bytes or not size_bytes:
        raise CorruptedBlobError(_WRONG_SIZE)
    if reader.descriptor is None or size_bytes <= _SHORT_FILE:
        yield reader.read_at(0, size_bytes)
        return
    with storage_errors():
        buffer = mmap.mmap(reader.descriptor, 0, prot=mmap.PROT_READ)
        try:
            yield buffer
        except BaseException:
            # The traceback may hold parts of it; then it ends with them.
            with suppress(BufferError):
                buffer.close()
            raise
        buffer.close()
