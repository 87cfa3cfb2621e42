"""Content on its way in: in memory while it is small, in a temporary file beyond.

The event loop appends what arrives, which never blocks; a worker thread moves it to the disk. The
last step, `SpooledContent.move_to`, is a rename if the folder is the storage's own
(`Storage.spool_folder`).
"""

import hashlib
import mmap
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Self

from isocenter.errors import BadSequenceError
from isocenter.storage.failures import storage_errors
from isocenter.storage.port import Buffer, Storage
from isocenter.storage.temporary import TemporaryFile, read_exactly

__all__ = ["SpooledContent"]

_CHUNK_BYTES = 1 << 20


class SpooledContent:
    """Collects the bytes of one content of any size with bounded memory.

    One thread appends while others flush; any thread may close it at any time. All that reads the
    content comes after the last `append`. It is a context manager that closes itself.

    Parameters
    ----------
    folder
        Where to make the temporary file.
    threshold_bytes
        The most bytes to keep in memory for good.
    has_md5
        Compute the MD5 sum while flushing.

    Attributes
    ----------
    size_bytes
        All bytes that were appended.
    """

    def __init__(self, folder: Path, threshold_bytes: int, *, has_md5: bool = False) -> None:
        self.size_bytes = 0
        self._folder = folder
        self._threshold_bytes = threshold_bytes
        self._digest = hashlib.md5(usedforsecurity=False) if has_md5 else None
        # What was appended and not flushed. The only thing that two threads touch: the ends of a
        # deque may be used without a lock.
        self._pending: deque[bytes] = deque()
        self._kept: list[bytes] = []
        self._written_bytes = 0
        self._file: TemporaryFile | None = None
        self._is_closed = False
        # Held by whoever uses the file, so that `close` never takes the file from under a thread.
        self._use = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # A cancelled task may leave a content to a thread that ends later, when nobody is left to
        # close it.
        self.close()

    @property
    def pending_bytes(self) -> int:
        """How many bytes wait in memory for the disk; 0 while the content is small enough to stay.

        The caller bounds it: whoever appends calls `flush_pending` in a thread when it grows.
        """
        if self.size_bytes <= self._threshold_bytes:
            return 0
        return self.size_bytes - self._written_bytes

    @property
    def path(self) -> Path | None:
        """The temporary file, or ``None`` while everything is in memory."""
        return Path(self._file.path) if self._file is not None else None

    def append(self, chunk: bytes) -> None:
        """Append bytes; never blocks.

        Raises
        ------
        BadSequenceError
            After `close` or `move_to`.
        """
        self._check_open()
        self._pending.append(chunk)
        self.size_bytes += len(chunk)

    def flush_pending(self) -> None:
        """Move to disk what was appended, once the content is larger than the threshold. Blocks.

        Raises
        ------
        FullStorageError
            If no room is left; the content is then closed.
        StorageUnavailableError
            If the temporary file cannot be written; the content is then closed.
        BadSequenceError
            After `close` or `move_to`.
        """
        with self._in_use():
            self._flush()

    @contextmanager
    def buffer(self) -> Iterator[Buffer]:
        """Open all of the content as contiguous bytes: the bytes themselves, or a memory map.

        Flushes first, so it blocks.
        """
        with self._in_use(), storage_errors():
            self._flush()
            if self._file is None:
                view: bytes | mmap.mmap = self._join()
            else:
                view = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            yield view
        finally:
            # An error on its way may hold parts of the map in its traceback; the map then lives as
            # long as the error does.
            with suppress(BufferError):
                if isinstance(view, mmap.mmap):
                    view.close()

    def take(self) -> bytes | None:
        """Give all of the content as one piece and close this, if it is small enough to stay.

        Never blocks. ``None``, and nothing is changed, if some of it is or belongs on the disk.

        Raises
        ------
        BadSequenceError
            After `close` or `move_to`.
        """
        with self._use:
            self._check_open()
            if self._file is not None or self.size_bytes > self._threshold_bytes:
                return None
            self._is_closed = True
            self._kept += self._pending
            self._pending.clear()
            content = self._join()
            self._kept = []
        return content

    def open_file(self) -> BinaryIO:
        """Open all of the content as a seekable file, which the caller closes before the content.

        Flushes first, so it blocks.
        """
        with self._in_use(), storage_errors():
            self._flush()
            return BytesIO(self._join()) if self._file is None else open(self._file.path, "rb")

    def iter_chunks(self) -> Generator[bytes]:
        """Iterate over the content in pieces of about 1 MB at most, or as they were appended.

        Flushes first, so it blocks.
        """
        with self._in_use():
            self._flush()
            kept, file = list(self._kept), self._file
        yield from kept
        if file is None:
            return
        for start in range(0, self._written_bytes, _CHUNK_BYTES):
            with self._in_use(), storage_errors():
                chunk = read_exactly(file.fileno(), start, _CHUNK_BYTES)
            yield chunk

    def md5(self) -> str:
        """Give the MD5 sum of the content, in hexadecimal digits.

        Flushes first, so it blocks.

        Raises
        ------
        BadSequenceError
            Unless ``has_md5`` was asked for.
        """
        if self._digest is None:
            raise BadSequenceError("No MD5 sum was asked for")
        with self._in_use():
            self._flush()
            return self._digest.hexdigest()

    def move_to(self, storage: Storage, attachment_uuid: str) -> None:
        """Make the content a blob of a storage, durably, and close it. Blocks.

        Raises
        ------
        FullStorageError, StorageUnavailableError
            If that fails; the content is then as before.
        """
        with self._in_use():
            self._flush()
            if self._file is None:
                storage.write(attachment_uuid, self._join())
            else:
                storage.adopt(attachment_uuid, Path(self._file.path))
                self._file.close()
                self._file = None
            self._is_closed = True

    def close(self) -> None:
        """Drop the content and its temporary file; harmless if done before.

        If another thread is just using it, that thread drops it as soon as it is done.
        """
        self._is_closed = True
        self._drop()

    def _check_open(self) -> None:
        if self._is_closed:
            raise BadSequenceError("The content is closed")

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        try:
            with self._use:
                self._check_open()
                yield
        finally:
            if self._is_closed:
                self._drop()

    def _drop(self) -> None:
        # If the lock is taken, its holder sees that the content is closed and comes here itself.
        if self._use.acquire(blocking=False):
            try:
                self._pending.clear()
                self._kept = []
                if self._file is not None:
                    file, self._file = self._file, None
                    file.discard()
            finally:
                self._use.release()

    def _flush(self) -> None:
        chunks = [self._pending.popleft() for _ in range(len(self._pending))]
        if self._digest is not None:
            for chunk in chunks:
                self._digest.update(chunk)
        self._kept += chunks
        if not self._kept or (self._file is None and self.size_bytes <= self._threshold_bytes):
            return
        try:
            with storage_errors():
                if self._file is None:
                    self._file = TemporaryFile(str(self._folder))
                self._file.write_all(self._kept)
        except BaseException:
            # Nobody knows how much of it was written.
            self._is_closed = True
            raise
        self._written_bytes += sum(map(len, self._kept))
        self._kept = []

    def _join(self) -> bytes:
        """Give what is in memory as one piece, joined only once."""
        if len(self._kept) > 1:
            self._kept = [b"".join(self._kept)]
        return self._kept[0] if self._kept else b""
