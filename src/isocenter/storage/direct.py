"""Durable writes into a file of fixed length, past the page cache.

A write of whole blocks from aligned memory goes to the disk as it is: no copy into the page cache,
no page to write back later, and one wait for writing and flushing together. Where a file system
does not offer that, the same calls go through the page cache and are as durable.

References
----------
open(2): ``O_DIRECT``, ``O_DSYNC``
"""

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from isocenter.storage.temporary import FILE_MODE

__all__ = ["BLOCK_BYTES", "AlignedBuffers", "DirectFile"]

BLOCK_BYTES = 4096
"""Every offset and length is a multiple of this."""

_DIRECT = getattr(os, "O_DIRECT", 0)


class DirectFile:
    """A file whose writes are durable when they return. Thread-safe.

    The first failed write is the last one: how much of it reached the disk is unknown.

    Attributes
    ----------
    is_broken
        Whether a write has failed.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_DSYNC
        try:
            self._descriptor = os.open(path, flags | _DIRECT, FILE_MODE)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._descriptor = os.open(path, flags, FILE_MODE)
        self.is_broken = False

    def write(self, content: memoryview, offset: int) -> None:
        """Write whole blocks of an `AlignedBuffers` buffer; they are durable when this returns.

        Raises
        ------
        OSError
            If the disk fails, now or at an earlier write.
        """
        if self.is_broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        try:
            written = 0
            while written < len(content):
                rest = content[written:] if written else content
                written += os.pwrite(self._descriptor, rest, offset + written)
        except OSError:
            self.is_broken = True
            raise

    def close(self) -> None:
        """Close the file; no call may follow."""
        os.close(self._descriptor)


class AlignedBuffers:
    """Memory for `DirectFile`, used again and again. Thread-safe.

    There are as many buffers as were ever borrowed at once.

    Parameters
    ----------
    size_bytes
        Length of each.
    """

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        # The ends of a list may be used without a lock.
        self._free: list[memoryview] = []

    @contextmanager
    def borrow(self) -> Iterator[memoryview]:
        """Lend a buffer whose content is arbitrary."""
        try:
            buffer = self._free.pop()
        except IndexError:
            buffer = memoryview(mmap.mmap(-1, self.size_bytes))
        try:
            yield buffer
        finally:
            self._free.append(buffer)

    def close(self) -> None:
        """Give the memory back; no call may follow."""
        with suppress(IndexError):
            while True:
                self._free.pop().release()
