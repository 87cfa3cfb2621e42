"""The storage folder with a journal in front: blobs are durable sooner."""

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from isal import isal_zlib

from isocenter.errors import MissingFileError, ServerError
from isocenter.storage.filesystem import FileBlobReader, FileSystemStorage
from isocenter.storage.journal import Journal, Segment, sync_file_system
from isocenter.storage.mapped import MappedFile
from isocenter.storage.names import check_uuid
from isocenter.storage.port import Buffer, check_range

__all__ = ["JournaledStorage", "finish_journal"]

_log = logging.getLogger(__name__)

_FOLDER = "journal"
# Larger blobs would gain nothing: writing their bytes twice costs more than a sync of their own.
_LARGEST_BLOB = 128 * 1024
# What may be appended at once, lest it fill the journal.
_LARGEST_SHARE = 16
_FILING_THREADS = 2
_MOST_UNFILED_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class _Unfiled:
    """A blob that is durable in the journal and whose file is being written."""

    content: bytes
    filing: "Future[None]"


class JournaledStorage(FileSystemStorage):
    """Keeps blobs in a folder, small ones made durable by a journal. Thread-safe.

    `write` returns when the journal is durable; the file of the blob follows at once, written by a
    thread of our own. Until then the blob is read from memory.

    Parameters
    ----------
    root
        The folder; made if missing.
    journal_bytes
        Room of the journal.
    is_shared
        Whether other processes read the folder, and must find the file when `write` returns.

    Raises
    ------
    StorageUnavailableError
        If the folder or the journal cannot be made.

    References
    ----------
    Decision 0008
    """

    def __init__(self, root: Path, *, journal_bytes: int, is_shared: bool = False) -> None:
        super().__init__(root, sync=True)
        self._unsynced = FileSystemStorage(root, sync=False)
        self._largest = journal_bytes // _LARGEST_SHARE
        self._most_unfiled = 0 if is_shared else _MOST_UNFILED_BYTES
        self._filing = ThreadPoolExecutor(_FILING_THREADS, thread_name_prefix="filing")
        self._lock = threading.Lock()
        # The lock guards both; reading one entry of the dictionary needs no lock.
        self._unfiled: dict[str, _Unfiled] = {}
        self._unfiled_bytes = 0
        self._journal = Journal(root / _FOLDER, journal_bytes, partial(sync_file_system, root))
        self._journal.replay(self._restore)

    def write(self, attachment_uuid: str, content: Buffer) -> None:
        """Store a blob as a whole (see `Storage.write`)."""
        self.write_many([(attachment_uuid, content)])

    def write_many(self, blobs: Sequence[tuple[str, Buffer]]) -> None:
        """Store some blobs, made durable together (see `Storage.write_many`)."""
        for name, _ in blobs:
            check_uuid(name)
            self._finish(name)
        size = sum(len(content) for _, content in blobs)
        is_small = size <= self._largest and all(
            len(content) <= _LARGEST_BLOB for _, content in blobs
        )
        segment = self._journal.append(blobs) if is_small else None
        if segment is None:
            for name, content in blobs:
                super().write(name, content)
        elif not self._file_later(blobs, size, segment):
            try:
                self._file(blobs)
            finally:
                self._journal.settle(segment)

    def _file_later(self, blobs: Sequence[tuple[str, Buffer]], size: int, segment: Segment) -> bool:
        """Leave the files to our own threads, unless too much waits for them already."""
        with self._lock:
            if self._unfiled_bytes + size > self._most_unfiled:
                return False
            self._unfiled_bytes += size
            kept = [(name, bytes(content)) for name, content in blobs]
            filing = self._filing.submit(self._file, kept)
            for name, content in kept:
                self._unfiled[name] = _Unfiled(content, filing)
        filing.add_done_callback(partial(self._forget, kept, size, segment))
        return True

    def _file(self, blobs: Sequence[tuple[str, Buffer]]) -> None:
        for name, content in blobs:
            try:
                self._unsynced.write(name, content)
            except ServerError:
                # No file without a sync, so no file without the journal: try the other way.
                super().write(name, content)

    def _forget(
        self,
        blobs: Sequence[tuple[str, bytes]],
        size: int,
        segment: Segment,
        filing: "Future[None]",
    ) -> None:
        """Drop blobs from memory once they have their files.

        Those that got none stay there and in the journal, which then cannot be freed: they are read
        from memory, and written by the next start.
        """
        if filing.exception() is not None:
            _log.error("a file cannot be written yet", exc_info=filing.exception())
            return
        with self._lock:
            self._unfiled_bytes -= size
            for name, content in blobs:
                unfiled = self._unfiled.get(name)
                if unfiled is not None and unfiled.content is content:
                    del self._unfiled[name]
        self._journal.settle(segment)

    def _finish(self, attachment_uuid: str) -> None:
        """Wait until a blob has its file, if it was stored a moment ago."""
        unfiled = self._unfiled.get(attachment_uuid)
        if unfiled is not None:
            unfiled.filing.result()

    def _finish_all(self) -> None:
        """Wait until the files are written of all that was stored before."""
        with self._lock:
            filings = [unfiled.filing for unfiled in self._unfiled.values()]
        wait(filings)

    def read(self, attachment_uuid: str, start: int = 0, stop: int | None = None) -> bytes:
        """Read a range of a blob (see `Storage.read`)."""
        unfiled = self._unfiled.get(attachment_uuid)
        if unfiled is None:
            return super().read(attachment_uuid, start, stop)
        stop = len(unfiled.content) if stop is None else stop
        check_range(start, stop, len(unfiled.content))
        return unfiled.content[start:stop]

    def read_cached(self, attachment_uuid: str, start: int, stop: int) -> bytes | bytearray | None:
        """Read a range if no disk has to be waited for (see `Storage.read_cached`)."""
        unfiled = self._unfiled.get(attachment_uuid)
        if unfiled is None:
            return super().read_cached(attachment_uuid, start, stop)
        is_inside = 0 <= start <= stop <= len(unfiled.content)
        return unfiled.content[start:stop] if is_inside else None

    def open_cached(self, attachment_uuid: str, start: int, stop: int) -> MappedFile | None:
        """Open a blob that has its file (see `Storage.open_cached`)."""
        if attachment_uuid in self._unfiled:
            return None
        return super().open_cached(attachment_uuid, start, stop)

    def open_reader(self, attachment_uuid: str) -> FileBlobReader:
        """Open a blob for reading in pieces (see `Storage.open_reader`)."""
        self._finish(attachment_uuid)
        return super().open_reader(attachment_uuid)

    def size_bytes(self, attachment_uuid: str) -> int:
        """Tell the size of a blob (see `Storage.size_bytes`)."""
        self._finish(attachment_uuid)
        return super().size_bytes(attachment_uuid)

    def iter_uuids(self) -> Iterator[str]:
        """Iterate over the names of all blobs (see `Storage.iter_uuids`)."""
        self._finish_all()
        return super().iter_uuids()

    def remove_temporary(self, older_than_s: float) -> int:
        """Remove what killed writers left (see `Storage.remove_temporary`)."""
        self._finish_all()
        return super().remove_temporary(older_than_s)

    def remove(self, attachment_uuid: str) -> None:
        """Remove a blob (see `Storage.remove`)."""
        check_uuid(attachment_uuid)
        self._finish(attachment_uuid)
        self._journal.erase(attachment_uuid)
        super().remove(attachment_uuid)

    def close(self) -> None:
        """Make everything durable in its own file and leave an empty journal."""
        self._filing.shutdown(wait=True)
        self._journal.close(is_complete=not self._unfiled)
        super().close()

    def _restore(self, attachment_uuid: str, content: memoryview) -> None:
        """Write the file of a blob after a crash, unless it is there and whole."""
        try:
            stored: bytes | None = super().read(attachment_uuid)
        except MissingFileError:
            stored = None
        is_whole = stored is not None and (
            len(stored) == len(content) and isal_zlib.crc32(stored) == isal_zlib.crc32(content)
        )
        if not is_whole:
            super().write(attachment_uuid, content)


def finish_journal(root: Path) -> None:
    """Write the files that a journal still holds, before a storage without one is opened.

    Raises
    ------
    FullStorageError, StorageUnavailableError
        If they cannot be written.
    """
    if (root / _FOLDER).is_dir():
        JournaledStorage(root, journal_bytes=_LARGEST_SHARE * _LARGEST_BLOB).close()
