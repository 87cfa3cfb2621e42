"""A journal that makes small blobs, and the rows that belong to them, durable with one write.

Syncing a new file costs the file system a transaction of its own, and there are about a thousand of
those a second, whatever the number of threads. Overwriting a file that has its full length needs
none. So a blob is first written into the journal, together with all others that arrive at the same
time; its own file is written later and without a sync. When a segment of the journal is full, one
sync of the whole file system makes the files of its blobs durable, and the segment is free again.
After a power failure the blobs that are still in the journal are written anew.

A record may carry a memo: what the owner of the blob needs to write its rows again. Rows that were
committed without a sync are made durable before the segment of their memos is freed.

References
----------
Decision 0008, Decision 0010
"""

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from isocenter.errors import ServerError, StorageUnavailableError
from isocenter.storage.direct import BLOCK_BYTES
from isocenter.storage.failures import storage_errors
from isocenter.storage.segment import Record, Segment, new_buffers
from isocenter.storage.temporary import FILE_MODE, FOLDER_MODE, sync_path

__all__ = ["Journal"]

_log = logging.getLogger(__name__)

_SEGMENTS = 2
_MOST_SERVERS = 64


class Journal:
    """Keeps blobs durable until their files are. Thread-safe.

    Parameters
    ----------
    folder
        Where the journals of all servers of a storage folder lie; each takes one of its own.
    size_bytes
        Room for the content of blobs; with 0 nothing can be appended, only what was left is
        replayed.
    sync_files
        Makes every file that was written before durable.
    sync_rows
        Makes every row durable that was committed before.
    write_files
        Writes the files that still wait; called when a segment is full.

    Raises
    ------
    StorageUnavailableError
        If the journal cannot be made or is not readable.
    """

    def __init__(
        self,
        folder: Path,
        size_bytes: int,
        sync_files: Callable[[], None],
        *,
        sync_rows: Callable[[], None] = lambda: None,
        write_files: Callable[[], None] = lambda: None,
    ) -> None:
        self._sync_files = sync_files
        self._sync_rows = sync_rows
        self._write_files = write_files
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._is_closing = False
        # Until what was found is replayed, nothing may be appended.
        self._is_open = False
        # A sync of the files has failed, so only the journal is known to hold them.
        self._is_broken = False
        self._retiring: threading.Thread | None = None
        # Where the blobs lie whose records count.
        self._places: dict[str, tuple[Segment, int]] = {}
        self._buffers = new_buffers()
        size = max(size_bytes // _SEGMENTS // BLOCK_BYTES, 1) * BLOCK_BYTES
        with storage_errors():
            self._folder, self._lock_descriptor = _take_folder(folder)
            self._segments = self._open_segments(self._folder, size)
            self._abandoned = [
                (self._open_segments(folder, size), descriptor)
                for folder, descriptor in _take_abandoned(self._folder)
            ]
        self._ordinal = 0
        self._active = self._segments[0]
        self._active.is_free = False

    def _open_segments(self, folder: Path, size_bytes: int) -> list[Segment]:
        paths = [folder / f"segment-{number}" for number in range(_SEGMENTS)]
        return [Segment(path, size_bytes, self._buffers) for path in paths]

    def replay(self, restore: Callable[[str, memoryview], None]) -> list[tuple[str, bytes]]:
        """Hand over every blob whose file may not be durable; call it once, then `begin`.

        Parameters
        ----------
        restore
            Writes the file of a blob unless it is there and whole.

        Returns
        -------
        list of tuple
            Name and memo of the blobs that have a memo, in the order of `append`.
        """
        memos = []
        with storage_errors():
            for segments in (*(segments for segments, _ in self._abandoned), self._segments):
                for segment in sorted(segments, key=lambda segment: segment.ordinal):
                    for name, memo, content in segment.iter_records():
                        restore(name, content)
                        if memo:
                            memos.append((name, memo))
            self._sync_files()
        return memos

    def begin(self) -> None:
        """Forget what was replayed; from now on blobs can be appended.

        Raises
        ------
        StorageUnavailableError
            If the journal cannot be written.
        """
        with storage_errors():
            for segments, descriptor in self._abandoned:
                for segment in segments:
                    segment.begin_generation(0)
                    segment.close()
                os.close(descriptor)
            self._abandoned = []
            for segment in self._segments:
                segment.prepare()
                self._renew(segment)
            sync_path(str(self._folder))
        self._is_open = True

    def _renew(self, segment: Segment) -> None:
        self._ordinal += 1
        segment.begin_generation(self._ordinal)

    def append(self, records: Sequence[Record], *, has_rows: bool = False) -> Segment | None:
        """Make some blobs durable, together.

        Parameters
        ----------
        has_rows
            Whether rows follow, which the memos can be used to write again.

        Returns
        -------
        Segment or None
            To be given to `settle` once all of them have their files, and once more, if
            ``has_rows``, when the rows are committed or will never be; ``None`` if there is no room
            for all of them now.

        Raises
        ------
        FullStorageError, StorageUnavailableError
            If the journal cannot be written.
        """
        sizes = [record.size_bytes for record in records]
        uses = 1 + has_rows
        with self._lock:
            segment = self._choose_segment(sum(sizes))
            if segment is None:
                return None
            offsets = list(accumulate(sizes, initial=segment.end))
            segment.end = offsets.pop()
            segment.unsettled += uses
        try:
            with storage_errors():
                segment.write(offsets[0], records)
        except BaseException:
            self.settle(segment, uses)
            raise
        with self._lock:
            for record, offset in zip(records, offsets, strict=True):
                self._places[record.name] = (segment, offset)
        return segment

    def _choose_segment(self, size: int) -> Segment | None:
        """Find a segment with room, beginning the next one if it is free. Needs the lock."""
        if not self._is_open or self._active.is_broken:
            return None
        if self._active.end + size <= self._active.size_bytes:
            return self._active
        free = [segment for segment in self._segments if segment.is_free]
        if not free or BLOCK_BYTES + size > free[0].size_bytes:
            return None
        full, self._active = self._active, min(free, key=lambda segment: segment.ordinal)
        self._active.is_free = False
        self._retiring = threading.Thread(target=self._retire, args=(full,), name="journal")
        self._retiring.start()
        return self._active

    def settle(self, segment: Segment, uses: int = 1) -> None:
        """Note that the blobs of one `append` have their files or rows, or will never have them."""
        with self._changed:
            segment.unsettled -= uses
            if not segment.unsettled:
                self._changed.notify_all()

    def erase(self, attachment_uuid: str) -> None:
        """Forget a blob that is removed, lest a power failure bring it back."""
        with self._lock:
            place = self._places.pop(attachment_uuid, None)
            if place is None:
                return
            # Else the place might belong to another blob a moment later.
            place[0].unsettled += 1
        try:
            with storage_errors():
                place[0].erase(place[1])
        finally:
            self.settle(place[0])

    def _retire(self, segment: Segment) -> None:
        """Free a full segment once the files and rows of its blobs are durable."""
        try:
            self._write_files()
            with self._changed:
                while segment.unsettled and not self._is_closing:
                    self._changed.wait()
                if self._is_closing:
                    return
            self._sync_files()
            self._sync_rows()
            self._free(segment)
        except (OSError, ServerError):
            # The segment stays as it is: its blobs are safe in it, and new ones go round it.
            self._is_broken = True
            _log.exception("the storage area cannot be synced; storing becomes slower")

    def _free(self, segment: Segment) -> None:
        # First on disk, then in memory: until then a removed blob must still be erased.
        self._renew(segment)
        with self._lock:
            places = self._places.items()
            self._places = {name: place for name, place in places if place[0] is not segment}
            segment.is_free = True

    def close(self, *, is_complete: bool) -> None:
        """Make the files of all blobs durable and leave an empty journal; nothing may be appended.

        Parameters
        ----------
        is_complete
            Whether every blob has its file. If not, or if the files cannot be made durable, or if
            the journal was not begun, it stays as it is and the next start replays it.
        """
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._retiring is not None:
            self._retiring.join()
        try:
            self._sync_files()
            self._sync_rows()
            is_safe = is_complete and self._is_open and not self._is_broken
            for segment in self._segments if is_safe else ():
                self._renew(segment)
        except (OSError, ServerError):
            _log.exception("the storage area cannot be synced; the next start will do it")
        finally:
            self._release()

    def _release(self) -> None:
        for segments, descriptor in (*self._abandoned, (self._segments, self._lock_descriptor)):
            for segment in segments:
                segment.close()
            os.close(descriptor)
        self._buffers.close()


def _take_folder(parent: Path) -> tuple[Path, int]:
    """Find a journal that no running server uses, or make one."""
    parent.mkdir(FOLDER_MODE, exist_ok=True)
    for number in range(_MOST_SERVERS):
        folder = parent / str(number)
        folder.mkdir(FOLDER_MODE, exist_ok=True)
        descriptor = _lock(folder)
        if descriptor is not None:
            return folder, descriptor
    raise StorageUnavailableError(f"more than {_MOST_SERVERS} servers share the storage folder")


def _take_abandoned(own: Path) -> Iterator[tuple[Path, int]]:
    """Find the other journals that no running server uses: those of servers that were killed."""
    for number in range(_MOST_SERVERS):
        folder = own.parent / str(number)
        if folder != own and folder.is_dir():
            descriptor = _lock(folder)
            if descriptor is not None:
                yield folder, descriptor


def _lock(folder: Path) -> int | None:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
