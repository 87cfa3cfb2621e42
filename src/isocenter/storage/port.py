"""What a storage must offer: blobs that are written once, named by a UUID.

The port is synchronous: every call may block and runs in a worker thread, several at once. Callers
name each blob by a fresh random UUID and never change one, so a storage needs neither locks for
readers nor versions.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from mmap import mmap
from pathlib import Path
from typing import Protocol, TypeAlias

from isocenter.errors import BadRangeError
from isocenter.storage.mapped import MappedFile

__all__ = ["BlobReader", "BlobWriter", "Buffer", "Storage", "check_range"]


Buffer: TypeAlias = bytes | bytearray | memoryview | mmap
"""Contiguous bytes that can be written without copying them."""


class BlobWriter(Protocol):
    """One blob that is being written. Not thread-safe; a context manager from `open_writer`."""

    def write(self, chunk: Buffer) -> None:
        """Append bytes.

        Raises
        ------
        FullStorageError
            If no room is left.
        StorageUnavailableError
            If the storage refuses to write.
        BadSequenceError
            After `commit`.
        """
        ...

    def commit(self) -> None:
        """Give the blob its name; it is durable and visible when this returns.

        Raises
        ------
        FullStorageError, StorageUnavailableError, BadSequenceError
            As for `write`; the blob is then not there.
        """
        ...


class BlobReader(Protocol):
    """One blob that is open for reading. Thread-safe; a context manager from `open_reader`.

    A blob that is removed meanwhile stays readable where the storage is local.
    """

    @property
    def size_bytes(self) -> int:
        """Size of the blob."""
        ...

    @property
    def descriptor(self) -> int | None:
        """The open local file, for ``mmap``, which the reader keeps; ``None`` if it is not one."""
        ...

    def read_at(self, start: int, length: int) -> bytes:
        """Read exactly ``length`` bytes from offset ``start``.

        Raises
        ------
        BadRangeError
            If the blob does not have these bytes.
        CorruptedBlobError
            If the blob ends before the size it had when it was opened.
        """
        ...


class Storage(Protocol):
    """A place for blobs. Thread-safe.

    All methods raise `BadParameterError` for a name that is not a UUID in lower case, and
    `StorageUnavailableError` if the place does not answer.
    """

    @property
    def keeps_memos(self) -> bool:
        """Whether `write_many` is quick and keeps memos, as a rule."""
        ...

    @property
    def spool_folder(self) -> Path | None:
        """Where to collect a file so that `adopt` need not copy it, if there is such a folder."""
        ...

    def write(self, attachment_uuid: str, content: Buffer) -> None:
        """Store a blob as a whole; it is durable when this returns.

        A blob of the same name is replaced in one step: readers see the old or the new one.

        Raises
        ------
        FullStorageError
            If no room is left; nothing stays behind.
        """
        ...

    def write_many(
        self, blobs: Sequence[tuple[str, Buffer]], memos: Sequence[bytes] = ()
    ) -> Callable[[], None] | None:
        """Store some blobs as `write` does; they may share the wait for the disk.

        Parameters
        ----------
        blobs
            Pairs of name and content; the contents must not change any more.
        memos
            For each blob, what its rows can be written from again.

        Returns
        -------
        callable or None
            ``None`` if no memos are kept: the rows have to be durable by themselves. Else a
            function to call when the rows are committed, even without a sync, or never will be: a
            start after a crash gives the memos back, until the rows are known to be durable.

        Raises
        ------
        FullStorageError
            If no room is left; some of the blobs may have been stored.
        """
        ...

    def write_unsynced(self, attachment_uuid: str, pieces: Sequence[Buffer]) -> None:
        """Store a blob under a name that nobody reads yet; it is durable after the next `sync`.

        Half of it may be left by a crash before that, or by a failure of a blob that was there
        before.

        Raises
        ------
        FullStorageError
            If no room is left.
        """
        ...

    def sync(self) -> None:
        """Make everything durable that `write_unsynced` has stored: one wait for all of it.

        Raises
        ------
        StorageUnavailableError
            If the disk failed to write something.
        """
        ...

    def open_writer(self, attachment_uuid: str) -> AbstractContextManager[BlobWriter]:
        """Open a blob for writing in pieces.

        Leaving the context without `BlobWriter.commit` removes all that was written.

        Raises
        ------
        FullStorageError
            If no room is left.
        """
        ...

    def adopt(self, attachment_uuid: str, path: Path) -> None:
        """Take over a finished file as a blob; it is durable when this returns.

        The file is gone afterwards. If this fails, the file still belongs to the caller.

        Raises
        ------
        FullStorageError
            If no room is left.
        MissingFileError
            If there is no such file.
        """
        ...

    def read(self, attachment_uuid: str, start: int = 0, stop: int | None = None) -> bytes:
        """Read the bytes from ``start`` up to ``stop`` (not included; ``None``: to the end).

        Raises
        ------
        MissingFileError
            If there is no such blob.
        BadRangeError
            Unless 0 ≤ start ≤ stop ≤ size.
        """
        ...

    def read_cached(self, attachment_uuid: str, start: int, stop: int) -> bytes | bytearray | None:
        """Read the bytes from ``start`` to before ``stop`` if no disk has to be waited for.

        The one call that may run on the event loop.

        Returns
        -------
        bytes, bytearray or None
            ``None`` if `read` would wait, or would fail.
        """
        ...

    def open_cached(self, attachment_uuid: str, start: int, stop: int) -> MappedFile | None:
        """Open a blob as a file if no disk has to be waited for to read a range.

        Like `read_cached` it may run on the event loop. Nobody has to close the file.

        Returns
        -------
        MappedFile or None
            ``None`` if there is no such file, or reading it would wait.
        """
        ...

    def open_reader(self, attachment_uuid: str) -> AbstractContextManager[BlobReader]:
        """Open a blob for reading in pieces.

        Raises
        ------
        MissingFileError
            If there is no such blob.
        """
        ...

    def remove(self, attachment_uuid: str) -> None:
        """Remove a blob; it is no error if there is none."""
        ...

    def size_bytes(self, attachment_uuid: str) -> int:
        """Tell the size of a blob.

        Raises
        ------
        MissingFileError
            If there is no such blob.
        """
        ...

    def iter_uuids(self) -> Iterator[str]:
        """Iterate over the names of all blobs, in no order and without collecting them.

        Blobs written or removed meanwhile may or may not be among them.
        """
        ...

    def remove_temporary(self, older_than_s: float) -> int:
        """Remove what killed writers left, if nothing was written to it for that long.

        Returns
        -------
        int
            Number of removed files.
        """
        ...

    def list_memos(self) -> list[tuple[str, bytes]]:
        """List name and memo of the blobs whose rows may not be durable, oldest first.

        They were left by an earlier server, and remain until `forget_memos`.
        """
        ...

    def list_restored(self) -> list[str]:
        """Name the blobs that were written again at the start, since they were not there any more.

        A crash took them away, or another server has removed them before it.
        """
        ...

    def forget_memos(self) -> None:
        """Forget what `list_memos` lists, because all rows are durable."""
        ...

    def check_writable(self) -> None:
        """Make sure that a blob could be stored now.

        Raises
        ------
        FullStorageError
            If no room is left.
        StorageUnavailableError
            If the storage refuses to write.
        """
        ...

    def close(self) -> None:
        """Bring what was stored to its last place; no other call may follow or run meanwhile."""
        ...


def check_range(start: int, stop: int, size_bytes: int) -> None:
    """Raise `BadRangeError` unless 0 ≤ start ≤ stop ≤ size."""
    if not 0 <= start <= stop <= size_bytes:
        raise BadRangeError(f"Bytes {start} to {stop} of a file of {size_bytes} bytes")
