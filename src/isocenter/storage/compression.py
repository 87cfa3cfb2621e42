"""The stored form of compressed blobs, which Orthanc reads and writes too.

Eight bytes with the uncompressed size, little-endian, then a zlib stream (RFC 1950); an empty
content stays empty. ISA-L makes the stream: at level 2 it is as small as zlib's own level 6 on
images, and 7 to 20 times as fast (CT: 54 % at 290 MB/s against 54 % at 18 MB/s).

References
----------
Orthanc REST: option ``StorageCompression``, attachments (behaviour manual §12)
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import cast

from isal import isal_zlib

from isocenter.errors import CorruptedBlobError, InternalError
from isocenter.storage.port import Buffer

__all__ = ["compress", "decompress", "iter_compressed", "iter_decompressed"]

_HEADER_BYTES = 8
_LEVEL = 2

# Bounds the memory of one step of a stream, whatever the sizes of the chunks that come in.
_PIECE_BYTES = 1 << 18

# The type hints of isal call this class an instance.
_DamageError = cast(type[Exception], isal_zlib.error)

_WRONG_SIZE = "A compressed file does not have the size it was stored with"


def compress(content: Buffer) -> bytes:
    """Compress a content to its stored form."""
    return b"".join(iter_compressed((content,), len(content)))


def iter_compressed(chunks: Iterable[Buffer], size_bytes: int) -> Iterator[bytes]:
    """Compress a content piece by piece.

    Parameters
    ----------
    chunks
        The content in pieces of any size.
    size_bytes
        The size of all of it, which comes first in the stored form.

    Raises
    ------
    InternalError
        If the chunks are not that long together; what came out is of no use.
    """
    if size_bytes:
        yield size_bytes.to_bytes(_HEADER_BYTES, "little")
    deflater = isal_zlib.compressobj(_LEVEL)
    consumed = 0
    for pending in _cut(chunks):
        consumed += len(pending)
        if piece := deflater.compress(pending):
            yield piece
    if consumed != size_bytes:
        raise InternalError(f"{consumed} bytes to compress instead of {size_bytes}")
    if size_bytes:
        yield deflater.flush()


def decompress(stored: Buffer, limit_bytes: int) -> bytes:
    """Decompress a content from its stored form.

    Parameters
    ----------
    stored
        The stored form.
    limit_bytes
        The most bytes that may come out.

    Raises
    ------
    CorruptedBlobError
        If it is damaged, incomplete, or larger than allowed.
    """
    if not len(stored):
        return b""
    with memoryview(stored) as view:
        size_bytes = _read_size(view[:_HEADER_BYTES], limit_bytes)
        inflater = isal_zlib.decompressobj()
        with _damage_errors():
            # One byte more than expected, so that a stream that is too long is noticed.
            content = inflater.decompress(view[_HEADER_BYTES:], size_bytes + 1)
    if len(content) != size_bytes or not inflater.eof or inflater.unused_data:
        raise CorruptedBlobError(_WRONG_SIZE)
    return content


def iter_decompressed(chunks: Iterable[Buffer], limit_bytes: int) -> Iterator[bytes]:
    """Decompress a content piece by piece, in pieces of at most 256 KiB.

    Only the end of the iteration tells that the content is whole, because the checksum comes last.

    Parameters
    ----------
    chunks
        The stored form in pieces of any size.
    limit_bytes
        The most bytes that may come out.

    Raises
    ------
    CorruptedBlobError
        If it is damaged, incomplete, or larger than allowed.
    """
    source = iter(chunks)
    start = _read_start(source)
    if not start:
        return
    size_bytes = _read_size(start[:_HEADER_BYTES], limit_bytes)
    produced = 0
    for piece in _inflate(chain((start[_HEADER_BYTES:],), source)):
        produced += len(piece)
        if produced > size_bytes:
            break
        yield piece
    if produced != size_bytes:
        raise CorruptedBlobError(_WRONG_SIZE)


def _read_start(source: Iterator[Buffer]) -> bytes:
    """Take chunks until they hold the header; nothing if they hold nothing."""
    start = b""
    for chunk in source:
        start += chunk
        if len(start) >= _HEADER_BYTES:
            break
    return start


def _read_size(header: Buffer, limit_bytes: int) -> int:
    if len(header) < _HEADER_BYTES:
        raise CorruptedBlobError("A compressed file ends within its header")
    size_bytes = int.from_bytes(header, "little")
    if size_bytes > limit_bytes:
        raise CorruptedBlobError(
            f"A compressed file of {size_bytes} bytes instead of {limit_bytes} at most"
        )
    return size_bytes


def _inflate(chunks: Iterable[Buffer]) -> Iterator[bytes]:
    """Decompress one whole zlib stream; what follows it is an error."""
    inflater = isal_zlib.decompressobj()
    with _damage_errors():
        for pending in _cut(chunks):
            if inflater.eof:
                raise CorruptedBlobError("A compressed file goes on after its end")
            yield from _inflate_piece(inflater, pending)
    if not inflater.eof or inflater.unused_data:
        raise CorruptedBlobError(_WRONG_SIZE)


def _inflate_piece(inflater: "isal_zlib.Decompress", pending: Buffer) -> Iterator[bytes]:
    """Decompress one piece of the stream, in pieces of a bounded size."""
    while not inflater.eof:
        piece = inflater.decompress(pending, _PIECE_BYTES)
        if piece:
            yield piece
        pending = inflater.unconsumed_tail
        # A full piece may mean that more output waits although all input is consumed.
        if not pending and len(piece) < _PIECE_BYTES:
            return


def _cut(chunks: Iterable[Buffer]) -> Iterator[memoryview]:
    """Cut chunks into pieces of a bounded size, without copying them."""
    for chunk in chunks:
        with memoryview(chunk) as view:
            for start in range(0, len(view), _PIECE_BYTES):
                with view[start : start + _PIECE_BYTES] as piece:
                    yield piece


@contextmanager
def _damage_errors() -> Iterator[None]:
    try:
        yield
    except _DamageError as error:
        raise CorruptedBlobError(f"A compressed file is damaged: {error}") from error
