"""The header of a stored DICOM file: the bytes up to the pixel data, and no more than these."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager

from isocenter.index.records import Attachment, DicomAttachment
from isocenter.storage.compression import iter_decompressed
from isocenter.storage.port import BlobReader, Buffer, Storage

__all__ = ["open_header"]

# Tag, VR and length of the element Pixel Data, which ends the header (PS3.5 §7.1).
_PIXEL_DATA_HEADER = 12
# A whole file beyond this is mapped rather than read, where the blob is a local file.
_SMALL = 4 * 1024 * 1024
_PIECE = 256 * 1024


@contextmanager
def open_header(storage: Storage, found: DicomAttachment) -> Iterator[Buffer]:
    """Open the part of a file before the pixel data; all of a file whose pixels have no offset.

    Blocks; for worker threads.

    Raises
    ------
    MissingFileError
        If the file has vanished from the storage.
    CorruptedBlobError
        If the stored bytes are damaged.
    """
    size, offset = found.attachment.uncompressed_size, found.pixel_data_offset
    stop = size if offset is None else min(offset + _PIXEL_DATA_HEADER, size)
    with _open(storage, found.attachment, stop) as buffer:
        yield buffer


@contextmanager
def _open(storage: Storage, attachment: Attachment, stop: int) -> Iterator[Buffer]:
    name, size = attachment.attachment_uuid, attachment.uncompressed_size
    if not attachment.compression and (stop < size or size <= _SMALL):
        yield storage.read(name, 0, stop)
        return
    with storage.open_reader(name) as reader:
        if attachment.compression:
            yield _read_packed(reader, size, stop)
        elif reader.descriptor is None:
            yield reader.read_at(0, stop)
        else:
            with mmap.mmap(reader.descriptor, 0, prot=mmap.PROT_READ) as buffer:
                yield buffer


def _read_packed(reader: BlobReader, size_bytes: int, stop: int) -> bytes:
    """Decompress the beginning of a blob, reading no more of it than that takes."""
    stored = (
        reader.read_at(start, min(_PIECE, reader.size_bytes - start))
        for start in range(0, reader.size_bytes, _PIECE)
    )
    content = bytearray()
    for piece in iter_decompressed(stored, size_bytes):
        content += piece
        if len(content) >= stop:
            break
    return bytes(content[:stop])
