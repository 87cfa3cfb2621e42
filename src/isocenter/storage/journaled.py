"""The storage folder with a journal in front: blobs are durable sooner, and so are their rows."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from isal import isal_zlib

from isocenter.errors import MissingFileError
from isocenter.storage.backlog import Backlog
from isocenter.storage.failures import storage_errors
from isocenter.storage.filesystem import FileBlobReader, FileSystemStorage
from isocenter.storage.journal import Journal
from isocenter.storage.mapped import MappedFile
from isocenter.storage.names import check_uuid
from isocenter.storage.port import Buffer, check_range
from isocenter.storage.segment import LARGEST_CONTENT, LARGEST_MEMO, Record
from isocenter.storage.syncing import FileSystemSync
from isocenter.storage.temporary import TemporaryFile

__all__ = ["JournaledStorage"]

_FOLDER = "journal"
# What may be appended at once, lest it fill the journal.
_LARGEST_SHARE = 16
_MOST_UNFILED_BYTES = 64 * 1024 * 1024


class JournaledStorage(FileSystemStorage):
    """Keeps blobs in a folder, small ones made durable by a journal. Thread-safe.

    `write` returns when the journal is durable; the file of the blob follows in a quiet moment,
    written by a thread of our own. Until then the blob is read from memory.

    What an earlier server left in the journal has its files when this is made. Its memos are kept
    until `forget_memos`, and until then the journal takes nothing new.

    Parameters
    ----------
    root
        The folder; made if missing.
    journal_bytes
        Room of the journal; 0 if there is to be none any more, but one was left.
    sync
        See `FileSystemStorage`.
    is_shared
        Whether other processes read the folder, and must find the file when `write` returns.
    sync_rows
        Makes all rows durable that were committed before. Without it no memos are kept.

    Raises
    ------
    StorageUnavailableError
        If the folder or the journal cannot be made.

    References
    ----------
    Decision 0008, Decision 0010
    """

    def __init__(
        self,
        root: Path,
        *,
        journal_bytes: int,
        sync: bool = True,
        is_shared: bool = False,
        sync_rows: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(root, sync=sync)
        self._unsynced = FileSystemStorage(root, sync=False)
        self._largest = journal_bytes // _LARGEST_SHARE
        self._has_memos = sync_rows is not None and not is_shared
        self._backlog = Backlog(
            self._unsynced.write_in_place, most_bytes=0 if is_shared else _MOST_UNFILED_BYTES
        )
        # Of its own, since a failure is told once to each: who empties the journal must hear of it.
        with storage_errors():
            self._journaled_files = FileSystemSync(str(root))
        self._journal = Journal(
            root / _FOLDER,
            journal_bytes,
            self._journaled_files.run,
            sync_rows=sync_rows or (lambda: None),
            write_files=self._backlog.finish_all,
        )
        self._restored: list[str] = []
        self._memos = self._journal.replay(self._restore)
        if not self._memos:
            self._journal.begin()

    @property
    def keeps_memos(self) -> bool:
        """Whether rows may be written again from here (see `Storage.keeps_memos`)."""
        return self._has_memos

    @staticmethod
    def is_in(root: Path) -> bool:
        """Tell whether a folder has a journal, which has to be replayed."""
        return (root / _FOLDER).is_dir()

    def list_memos(self) -> list[tuple[str, bytes]]:
        """List what an earlier server left (see `Storage.list_memos`)."""
        return list(self._memos)

    def list_restored(self) -> list[str]:
        """Name what was written again (see `Storage.list_restored`)."""
        return list(self._restored)

    def forget_memos(self) -> None:
        """Empty what an earlier server left (see `Storage.forget_memos`)."""
        if self._memos:
            self._journal.begin()
            self._memos = []

    def write(self, attachment_uuid: str, content: Buffer) -> None:
        """Store a blob as a whole (see `Storage.write`)."""
        self.write_many([(attachment_uuid, content)])

    def write_many(
        self, blobs: Sequence[tuple[str, Buffer]], memos: Sequence[bytes] = ()
    ) -> Callable[[], None] | None:
        """Store some blobs, made durable together (see `Storage.write_many`)."""
        for name, _ in blobs:
            check_uuid(name)
            self._backlog.finish(name)
        has_rows = self._has_memos and bool(memos)
        records = [
            Record(name, content, memo if has_rows else b"")
            for (name, content), memo in zip(blobs, memos or [b""] * len(blobs), strict=True)
        ]
        segment = None
        if self._fits(records):
            segment = self._journal.append(records, has_rows=has_rows)
        if segment is None:
            for name, content in blobs:
                super().write(name, content)
            return None
        settle = partial(self._journal.settle, segment)
        kept = [(name, bytes(content)) for name, content in blobs]
        if not self._backlog.add(kept, settle):
            try:
                for name, content in kept:
                    self._unsynced.write_in_place(name, content)
            except BaseException:
                self._journal.settle(segment, 1 + has_rows)
                raise
            settle()
        return settle if has_rows else None

    def _fits(self, records: Sequence[Record]) -> bool:
        return sum(record.size_bytes for record in records) <= self._largest and all(
            len(record.content) <= LARGEST_CONTENT and len(record.memo) <= LARGEST_MEMO
            for record in records
        )

    def write_unsynced(self, attachment_uuid: str, pieces: Sequence[Buffer]) -> None:
        """Store a blob past the journal (see `Storage.write_unsynced`)."""
        self._backlog.finish(attachment_uuid)
        self._unsynced.write_unsynced(attachment_uuid, pieces)

    def publish(self, file: TemporaryFile, attachment_uuid: str) -> None:
        """Give a written file the name of its blob (see `FileSystemStorage.publish`)."""
        self._backlog.finish(attachment_uuid)
        super().publish(file, attachment_uuid)

    def adopt(self, attachment_uuid: str, path: Path) -> None:
        """Take over a finished file (see `Storage.adopt`)."""
        self._backlog.finish(attachment_uuid)
        super().adopt(attachment_uuid, path)

    def read(self, attachment_uuid: str, start: int = 0, stop: int | None = None) -> bytes:
        """Read a range of a blob (see `Storage.read`)."""
        content = self._backlog.lookup(attachment_uuid)
        if content is None:
            return super().read(attachment_uuid, start, stop)
        stop = len(content) if stop is None else stop
        check_range(start, stop, len(content))
        return content[start:stop]

    def read_cached(self, attachment_uuid: str, start: int, stop: int) -> bytes | bytearray | None:
        """Read a range if no disk has to be waited for (see `Storage.read_cached`)."""
        content = self._backlog.lookup(attachment_uuid)
        if content is None:
            return super().read_cached(attachment_uuid, start, stop)
        return content[start:stop] if 0 <= start <= stop <= len(content) else None

    def open_cached(self, attachment_uuid: str, start: int, stop: int) -> MappedFile | None:
        """Open a blob that has its file (see `Storage.open_cached`)."""
        if self._backlog.lookup(attachment_uuid) is not None:
            return None
        return super().open_cached(attachment_uuid, start, stop)

    def open_reader(self, attachment_uuid: str) -> FileBlobReader:
        """Open a blob for reading in pieces (see `Storage.open_reader`)."""
        self._backlog.finish(attachment_uuid)
        return super().open_reader(attachment_uuid)

    def size_bytes(self, attachment_uuid: str) -> int:
        """Tell the size of a blob (see `Storage.size_bytes`)."""
        content = self._backlog.lookup(attachment_uuid)
        return super().size_bytes(attachment_uuid) if content is None else len(content)

    def iter_uuids(self) -> Iterator[str]:
        """Iterate over the names of all blobs (see `Storage.iter_uuids`)."""
        self._backlog.finish_all()
        return super().iter_uuids()

    def remove(self, attachment_uuid: str) -> None:
        """Remove a blob (see `Storage.remove`)."""
        check_uuid(attachment_uuid)
        self._journal.erase(attachment_uuid)
        self._backlog.drop(attachment_uuid)
        super().remove(attachment_uuid)

    def close(self) -> None:
        """Make everything durable in its own file and leave an empty journal."""
        is_complete = self._backlog.close()
        self._journal.close(is_complete=is_complete)
        self._journaled_files.close()
        self._unsynced.close()
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
            self._unsynced.write(attachment_uuid, content)
            self._restored.append(attachment_uuid)
