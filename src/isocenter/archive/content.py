"""Reading the bytes of what is stored: whole, in ranges, as tags."""

import mmap
from collections.abc import AsyncIterator, Generator, Iterable, Iterator
from dataclasses import dataclass

import msgspec

from isocenter.archive.byte_cache import ByteCache
from isocenter.archive.workers import Workers
from isocenter.dicom.json_forms import Shape, build_tags_json
from isocenter.dicom.levels import Level
from isocenter.errors import MissingFileError
from isocenter.index.port import Transaction
from isocenter.index.reading import has_resource, lookup_dicom_attachment
from isocenter.index.records import Attachment, DicomAttachment
from isocenter.storage.compression import decompress, iter_decompressed
from isocenter.storage.mapped import MappedFile
from isocenter.storage.port import Buffer, Storage

__all__ = ["ContentReader", "StoredFile", "TagsRequest"]

# A file up to this size is answered from memory, a larger one in pieces.
_SMALL = 4 * 1024 * 1024
_PIECE = 256 * 1024
# A header up to this size is parsed on the event loop.
_SHORT_HEADER = 32 * 1024
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
        self, workers: Workers, storage: Storage, attachment: Attachment, revision: int
    ) -> None:
        self._workers = workers
        self._storage = storage
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
        return decompress(self._storage.read(uuid), self.size_bytes)[start:stop]

    async def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Read a range in pieces.

        Raises
        ------
        MissingFileError, CorruptedBlobError
            As for `read_small`, at any piece.
        """
        pieces = self._iter_pieces(start, stop)
        try:
            while (piece := await self._workers.run(next, pieces, None)) is not None:
                yield piece
        finally:
            await self._workers.run(pieces.close)

    def _iter_pieces(self, start: int, stop: int) -> Generator[bytes]:
        with self._storage.open_reader(self._attachment.attachment_uuid) as reader:
            if not self._is_packed:
                for offset in range(start, stop, _PIECE):
                    yield reader.read_at(offset, min(_PIECE, stop - offset))
                return
            stored = (
                reader.read_at(offset, min(_PIECE, reader.size_bytes - offset))
                for offset in range(0, reader.size_bytes, _PIECE)
            )
            yield from _cut(iter_decompressed(stored, self.size_bytes), start, stop)


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
    """Finds and reads the DICOM files of instances, and their tags.

    Parameters
    ----------
    default_encoding
        Character set of files that name none.
    cache_bytes
        Room for tags that were asked before. A stored file never changes, so neither do its tags.
    """

    def __init__(
        self, workers: Workers, storage: Storage, *, default_encoding: str, cache_bytes: int
    ) -> None:
        self._workers = workers
        self._storage = storage
        self._default_encoding = default_encoding
        self._cache: ByteCache[tuple[str, TagsRequest]] = ByteCache(cache_bytes)

    async def lookup_file(self, public_id: str) -> StoredFile | None:
        """Find the file of an instance, or ``None`` if there is no such instance.

        Raises
        ------
        MissingFileError
            If the file was not kept (option ``StoreDicom``).
        """
        found = await self._find(public_id)
        if found is None:
            return None
        return StoredFile(self._workers, self._storage, found.attachment, found.revision)

    async def lookup_tags(self, public_id: str, request: TagsRequest) -> bytes | None:
        """Write the tags of an instance as JSON, or ``None`` if there is no such instance.

        Raises
        ------
        MissingFileError
            If the file was not kept, or has vanished.

        References
        ----------
        Orthanc REST: GET /instances/{id}/tags (behaviour manual §5)
        """
        found = await self._find(public_id)
        if found is None:
            return None
        key = (found.attachment.attachment_uuid, request)
        document = self._cache.lookup(key)
        if document is None:
            document = await self._read_tags(found, request)
            self._cache.add(key, document)
        return document

    async def _find(self, public_id: str) -> DicomAttachment | None:
        def query(tx: Transaction) -> DicomAttachment | None:
            found = lookup_dicom_attachment(tx, public_id)
            if found is None and has_resource(tx, Level.INSTANCE, public_id):
                message = "the file of this instance was not kept (option StoreDicom)"
                raise MissingFileError(message)
            return found

        return await self._workers.read(query)

    async def _read_tags(self, found: DicomAttachment, request: TagsRequest) -> bytes:
        attachment, offset = found.attachment, found.pixel_data_offset
        if offset is not None and not request.is_whole and not attachment.compression:
            stop = min(offset + _PIXEL_DATA_HEADER, attachment.uncompressed_size)
            if stop <= _SHORT_HEADER:
                header = self._storage.read_cached(attachment.attachment_uuid, 0, stop)
                if header is not None:
                    return self._format(header, request)
            return await self._workers.run(self._format_stored, attachment, stop, request)
        return await self._workers.run(self._format_whole, attachment, request)

    def _format_stored(self, attachment: Attachment, stop: int, request: TagsRequest) -> bytes:
        return self._format(self._storage.read(attachment.attachment_uuid, 0, stop), request)

    def _format_whole(self, attachment: Attachment, request: TagsRequest) -> bytes:
        """Parse a file that has no pixel data to stop at, or all of a file."""
        if attachment.compression:
            stored = self._storage.read(attachment.attachment_uuid)
            return self._format(decompress(stored, attachment.uncompressed_size), request)
        with self._storage.open_reader(attachment.attachment_uuid) as reader:
            if reader.path is None:
                return self._format(reader.read_at(0, reader.size_bytes), request)
            with (
                reader.path.open("rb") as file,
                mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as buffer,
            ):
                return self._format(buffer, request)

    def _format(self, buffer: Buffer, request: TagsRequest) -> bytes:
        tags = build_tags_json(
            buffer,
            request.shape,
            ignore_length=request.ignore_length,
            whole=request.is_whole,
            default_encoding=self._default_encoding,
        )
        return msgspec.json.format(_encode(tags), indent=_INDENT) + b"\n"
