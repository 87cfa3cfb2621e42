"""One file of the journal, and the records in it.

Layout of a segment, in blocks of 4096 bytes: block 0 is the header of the segment (magic,
generation, number of the segment in the order of use, CRC-32 of these); a record begins at a block
and is a header followed by the memo and the content. All numbers are little-endian.

=========  =====================================================================
bytes      header of a record
=========  =====================================================================
0-7        magic
8-15       generation; the record counts only if it is that of the segment. A random
           number, so that no content of a blob can pass for a record
16-23      length of the content
24-39      UUID of the blob
40-43      length of the memo
44-47      CRC-32 of the memo and the content
48-51      CRC-32 of the 48 bytes before
=========  =====================================================================

References
----------
Decision 0008, Decision 0010
"""

import mmap
import os
import struct
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from isal import isal_zlib

from isocenter.storage.direct import BLOCK_BYTES, AlignedBuffers, DirectFile
from isocenter.storage.port import Buffer

__all__ = ["LARGEST_CONTENT", "LARGEST_MEMO", "Record", "Segment", "new_buffers"]

_RECORD = struct.Struct("<8sQQ16sIII")
_RECORD_MAGIC = b"ISOBLOB2"
_SEGMENT = struct.Struct("<8sQQI")
_SEGMENT_MAGIC = b"ISOSEGM2"
_ZEROS = bytes(1 << 20)

LARGEST_MEMO = 16 * 1024
"""Longest memo of a record, in bytes."""

LARGEST_CONTENT = 1024 * 1024
"""Longest content of a record, in bytes."""


def new_buffers() -> AlignedBuffers:
    """Make the memory in which records are put together; each buffer holds the largest one."""
    return AlignedBuffers(LARGEST_CONTENT + LARGEST_MEMO + BLOCK_BYTES)


@dataclass(frozen=True, slots=True)
class Record:
    """A blob in the journal.

    Attributes
    ----------
    name
        UUID of the blob.
    memo
        What its rows can be written from; empty if they are none of the journal's business.
    """

    name: str
    content: Buffer
    memo: bytes = b""

    @property
    def size_bytes(self) -> int:
        """Room in the journal: whole blocks."""
        length = _RECORD.size + len(self.memo) + len(self.content)
        return -(-length // BLOCK_BYTES) * BLOCK_BYTES

    def write_to(self, target: memoryview, generation: int) -> None:
        """Write header, memo and content to the beginning of ``target``."""
        crc = isal_zlib.crc32(self.content, isal_zlib.crc32(self.memo))
        head = _RECORD.pack(
            _RECORD_MAGIC,
            generation,
            len(self.content),
            uuid.UUID(self.name).bytes,
            len(self.memo),
            crc,
            0,
        )[:-4]
        head += isal_zlib.crc32(head).to_bytes(4, "little") + self.memo
        target[: len(head)] = head
        target[len(head) : len(head) + len(self.content)] = self.content


class Segment:
    """One file of the journal. The journal's lock guards ``end``, ``unsettled`` and ``is_free``."""

    def __init__(self, path: Path, size_bytes: int, buffers: AlignedBuffers) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self._buffers = buffers
        self._file = DirectFile(path)
        # For reading, and for all that is done before the first record.
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        # Where the next record begins.
        self.end = BLOCK_BYTES
        # What is not finished yet: files to be written, rows to be committed, erasures.
        self.unsettled = 0
        self.is_free = True
        self.generation, self.ordinal = self._read_header()

    @property
    def is_broken(self) -> bool:
        """Whether a write has failed, so that nothing can be added."""
        return self._file.is_broken

    def _read_header(self) -> tuple[int, int]:
        header = os.pread(self._descriptor, _SEGMENT.size, 0)
        if len(header) == _SEGMENT.size:
            magic, generation, ordinal, crc = _SEGMENT.unpack(header)
            if magic == _SEGMENT_MAGIC and crc == isal_zlib.crc32(header[:-4]):
                return int(generation), int(ordinal)
        return 0, 0

    def prepare(self) -> None:
        """Give the file its full length, so that overwriting it later changes no metadata."""
        if os.fstat(self._descriptor).st_size == self.size_bytes:
            return
        os.ftruncate(self._descriptor, 0)
        for start in range(0, self.size_bytes, len(_ZEROS)):
            os.pwrite(self._descriptor, _ZEROS[: self.size_bytes - start], start)
        os.fsync(self._descriptor)
        # Writes past the page cache would have to throw these pages out one by one.
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def begin_generation(self, ordinal: int) -> None:
        """Make all records count no more, durably."""
        generation = int.from_bytes(os.urandom(8), "little")
        header = _SEGMENT.pack(_SEGMENT_MAGIC, generation, ordinal, 0)[:-4]
        header += isal_zlib.crc32(header).to_bytes(4, "little")
        with self._buffers.borrow() as buffer:
            buffer[: len(header)] = header
            self._file.write(buffer[:BLOCK_BYTES], 0)
        self.generation, self.ordinal, self.end = generation, ordinal, BLOCK_BYTES

    def write(self, offset: int, records: Sequence[Record]) -> None:
        """Write records one behind the other; they are durable when this returns."""
        with self._buffers.borrow() as buffer:
            filled = 0
            for record in records:
                if filled + record.size_bytes > len(buffer):
                    self._file.write(buffer[:filled], offset)
                    offset, filled = offset + filled, 0
                record.write_to(buffer[filled:], self.generation)
                filled += record.size_bytes
            self._file.write(buffer[:filled], offset)

    def erase(self, offset: int) -> None:
        """Take back a record, durably."""
        with self._buffers.borrow() as buffer:
            buffer[: _RECORD.size] = bytes(_RECORD.size)
            self._file.write(buffer[:BLOCK_BYTES], offset)

    def iter_records(self) -> Iterator[tuple[str, bytes, memoryview]]:
        """Iterate over name, memo and content of the records that count, oldest first.

        The views end with the iteration.
        """
        # The file may be of another size than the option asks for now.
        size = os.fstat(self._descriptor).st_size
        if size <= BLOCK_BYTES:
            return
        with (
            mmap.mmap(self._descriptor, size, prot=mmap.PROT_READ) as content,
            memoryview(content) as view,
        ):
            for offset in range(BLOCK_BYTES, size - _RECORD.size, BLOCK_BYTES):
                # A record may follow a gap: its writer may have been faster than another's.
                record = self._parse(view, offset)
                if record is not None:
                    name, memo, body = record
                    with body:
                        yield name, memo, body

    def _parse(self, view: memoryview, offset: int) -> tuple[str, bytes, memoryview] | None:
        head = bytes(view[offset : offset + _RECORD.size])
        magic, generation, length, name, memo_length, crc, head_crc = _RECORD.unpack(head)
        if magic != _RECORD_MAGIC or generation != self.generation:
            return None
        start = offset + _RECORD.size
        stop = start + memo_length + length
        if head_crc != isal_zlib.crc32(head[:-4]) or stop > len(view):
            return None
        with view[start:stop] as whole:
            if isal_zlib.crc32(whole) != crc:
                return None
            memo = bytes(whole[:memo_length])
        return str(uuid.UUID(bytes=name)), memo, view[start + memo_length : stop]

    def close(self) -> None:
        """Close the file; no call may follow."""
        self._file.close()
        os.close(self._descriptor)
