"""Reading the bytes of what is stored: whole, or in ranges."""

from collections.abc import AsyncIterator, Generator, Iterable, Iterator

from isocenter.archive.file_buffers import PIECE_BYTES, FileBuffers, iter_stored
from isocenter.archive.kept_files import lookup_kept_file
from isocenter.archive.workers import Workers
from isocenter.index.records import Attachment
from isocenter.storage.compression import decompress, iter_decompressed
from isocenter.storage.mapped import MappedFile
from isocenter.storage.port import Storage

__all__ = ["ContentReader", "StoredFile"]

# A file up to this size is answered from memory, a larger one in pieces.
_SMALL = 4 * 1024 * 1024


class StoredFile:
    """The DICOM file of an instance, ready to be read.

    Attributes
    ----------
    size_bytes
        Size of the file, uncompressed.
    md5
        Of the uncompressed file, empty if not computed.
    revision
        How often the attachment was replaced.
    """

    media_type = "application/dicom"

    def __init__(
        self,
        workers: Workers,
        storage: Storage,
        attachment: Attachment,
        revision: int,
        *,
        buffers: FileBuffers | None = None,
    ) -> None:
        self._workers = workers
        self._storage = storage
        self._buffers = buffers
        self._attachment = attachment
        self.size_bytes = attachment.uncompressed_size
        self.md5 = attachment.uncompressed_md5
        self.revision = revision

    @property
    def entity_tag(self) -> str:
        """What changes whenever the bytes do (RFC 9110 §8.8.3)."""
        return f'"{self.revision}-{self.md5 or self._attachment.attachment_uuid}"'

    async def read_small(self, start: int, stop: int) -> bytes | bytearray | None:
        """Read a range at once, or ``None`` if it is too long for that.

        Raises
        ------
        MissingFileError
            If the file has vanished from the storage.
        CorruptedBlobError
            If the stored bytes are damaged.
        """
        if stop - start > _SMALL or (self._is_packed and self.size_bytes > _SMALL):
            return None
        if not self._is_packed:
            data = self._storage.read_cached(self._attachment.attachment_uuid, start, stop)
            if data is not None:
                return data
        elif self._buffers is not None:
            content = self._buffers.lookup_decompressed(self._attachment)
            if content is not None:
                return content[start:stop]
        return await self._workers.run(self._read, start, stop)

    def open_cached(self, start: int, stop: int) -> MappedFile | None:
        """Open the file if a range of it can be read at once; nobody has to close it."""
        if self._is_packed or stop - start > _SMALL:
            return None
        return self._storage.open_cached(self._attachment.attachment_uuid, start, stop)

    @property
    def _is_packed(self) -> bool:
        return self._attachment.compression != 0

    def _read(self, start: int, stop: int) -> bytes:
        uuid = self._attachment.attachment_uuid
        if not self._is_packed:
            return self._storage.read(uuid, start, stop)
        if self._buffers is not None:
            return self._buffers.read_decompressed(self._attachment)[start:stop]
        return decompress(self._storage.read(uuid), self.size_bytes)[start:stop]

    async def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Read a range in pieces.

        Raises
        ------
        MissingFileError, CorruptedBlobError
            As for `read_small`, at any piece.
        """
        pieces = self.iter_pieces(start, stop)
        try:
            while (piece := await self._workers.run(next, pieces, None)) is not None:
                yield piece
        finally:
            await self._workers.run(pieces.close)

    def iter_pieces(self, start: int, stop: int) -> Generator[bytes]:
        """Read a range in pieces; blocks, so for worker threads only.

        Raises
        ------
        MissingFileError, CorruptedBlobError
            As for `read_small`, at any piece.
        """
        with self._storage.open_reader(self._attachment.attachment_uuid) as reader:
            if not self._is_packed:
                for offset in range(start, stop, PIECE_BYTES):
                    yield reader.read_at(offset, min(PIECE_BYTES, stop - offset))
                return
            pieces = iter_decompressed(iter_stored(reader), self.size_bytes)
            yield from _cut(pieces, start, stop)


def _cut(pieces: Iterable[bytes], start: int, stop: int) -> Iterator[bytes]:
    """Keep the bytes from ``start`` to before ``stop`` of a sequence of pieces."""
    offset = 0
    for piece in pieces:
        kept = piece[max(0, start - offset) : max(0, stop - offset)]
        if kept:
            yield kept
        offset += len(piece)
        if offset >= stop:
            return


class ContentReader:
    """Finds the DICOM files of instances.

    Parameters
    ----------
    buffers
        Keeps the content of small compressed files.
    """

    def __init__(self, workers: Workers, storage: Storage, buffers: FileBuffers) -> None:
        self._workers = workers
        self._storage = storage
        self._buffers = buffers

    async def lookup_file(self, public_id: str) -> StoredFile | None:
        """Find the file of an instance, or ``None`` if there is no such instance.

        Raises
        ------
        MissingFileError
            If the file was not kept (option ``StoreDicom``).
        """
        found = await self._workers.read(lambda tx: lookup_kept_file(tx, public_id))
        if found is None:
            return None
        return StoredFile(
            self._workers,
            self._storage,
            found.attachment,
            found.revision,
            buffers=self._buffers,
        )
