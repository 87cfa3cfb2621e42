"""A journal that makes small blobs durable with one sync of one file.

Syncing a new file costs the file system a transaction of its own, and there are about a thousand of
those a second, whatever the number of threads. Overwriting a file that has its full length needs
none. So a blob is first written into the journal and synced there, together with all others that
arrive at the same time; its own file is written without a sync. When a segment of the journal is
full, one sync of the whole file system makes the files of its blobs durable, and the segment is
free again. After a power failure the blobs that are still in the journal are written anew.

Layout of a segment, in blocks of 4096 bytes: block 0 is the header of the segment; a record begins
at a block and is a header followed by the content. All numbers are little-endian.

=========  =====================================================================
bytes      header of a record
=========  =====================================================================
0-7        magic
8-15       generation; the record counts only if it is that of the segment. A random
           number, so that no content of a blob can pass for a record
16-23      length of the content
24-39      UUID of the blob
40-43      CRC-32 of the content
44-47      CRC-32 of the 44 bytes before
=========  =====================================================================

References
----------
Decision 0008
"""

import ctypes
import errno
import fcntl
import logging
import mmap
import os
import struct
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path

from isal import isal_zlib

from isocenter.errors import StorageUnavailableError
from isocenter.storage.failures import storage_errors
from isocenter.storage.port import Buffer
from isocenter.storage.temporary import FILE_MODE, FOLDER_MODE, sync_path

__all__ = ["Journal", "Segment", "sync_file_system"]

_log = logging.getLogger(__name__)

_BLOCK = 4096
_RECORD = struct.Struct("<8sQQ16sII")
_RECORD_MAGIC = b"ISOBLOB1"
_SEGMENT = struct.Struct("<8sQI")
_SEGMENT_MAGIC = b"ISOSEGM1"
_SEGMENTS = 2
_ZEROS = bytes(1 << 20)
_MOST_SERVERS = 64


class Segment:
    """One file of the journal. The journal's lock guards ``end``, ``unsettled`` and ``is_free``."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        # Where the next record begins.
        self.end = _BLOCK
        # Groups of records whose blobs do not all have files yet.
        self.unsettled = 0
        self.is_free = True
        self._sync_lock = threading.Lock()
        self._count_lock = threading.Lock()
        self._written = 0
        self._synced = 0
        # Set for good by a failed sync: the system tells of lost pages only once.
        self.is_broken = False
        self.generation = self._read_generation()

    def _read_generation(self) -> int:
        header = os.pread(self.descriptor, _SEGMENT.size, 0)
        if len(header) == _SEGMENT.size:
            magic, generation, crc = _SEGMENT.unpack(header)
            if magic == _SEGMENT_MAGIC and crc == isal_zlib.crc32(header[:16]):
                return int(generation)
        return 0

    def prepare(self) -> None:
        """Give the file its full length, so that overwriting it later changes no metadata."""
        if os.fstat(self.descriptor).st_size == self.size_bytes:
            return
        os.ftruncate(self.descriptor, 0)
        for start in range(0, self.size_bytes, len(_ZEROS)):
            os.pwrite(self.descriptor, _ZEROS[: self.size_bytes - start], start)
        os.fsync(self.descriptor)

    def begin_generation(self) -> None:
        """Make all records count no more, durably."""
        self.generation = int.from_bytes(os.urandom(8), "little")
        header = _SEGMENT_MAGIC + self.generation.to_bytes(8, "little")
        header += isal_zlib.crc32(header).to_bytes(4, "little")
        os.pwrite(self.descriptor, header, 0)
        os.fdatasync(self.descriptor)
        self.end = _BLOCK

    def write(self, offset: int, name: bytes, content: Buffer) -> None:
        """Write a record at its place; it is durable after `sync`."""
        head = _RECORD.pack(
            _RECORD_MAGIC, self.generation, len(content), name, isal_zlib.crc32(content), 0
        )[:-4]
        head += isal_zlib.crc32(head).to_bytes(4, "little")
        parts: list[Buffer] = [head, content]
        written = os.pwritev(self.descriptor, parts, offset)
        body = memoryview(content)
        while written < len(head) + len(body):
            rest = body[written - len(head) :]
            written += os.pwrite(self.descriptor, rest, offset + written)

    def sync(self) -> None:
        """Make all records durable whose `write` has returned; threads share the wait."""
        with self._count_lock:
            self._written += 1
            mine = self._written
        with self._sync_lock:
            if self._synced < mine:
                if self.is_broken:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                newest = self._written
                try:
                    os.fdatasync(self.descriptor)
                except OSError:
                    self.is_broken = True
                    raise
                self._synced = newest

    def erase(self, offset: int) -> None:
        """Take back a record; durable after `sync`."""
        os.pwrite(self.descriptor, bytes(_RECORD.size), offset)

    def iter_records(self) -> Iterator[tuple[str, memoryview]]:
        """Iterate over the records that count; the views end with the iteration."""
        # The file may be of another size than the option asks for now.
        size = os.fstat(self.descriptor).st_size
        if size <= _BLOCK:
            return
        with (
            mmap.mmap(self.descriptor, size, prot=mmap.PROT_READ) as content,
            memoryview(content) as view,
        ):
            for offset in range(_BLOCK, size - _RECORD.size, _BLOCK):
                # A record may follow a gap: its writer may have been faster than another's.
                record = self._parse(view, offset)
                if record is not None:
                    name, body = record
                    with body:
                        yield name, body

    def _parse(self, view: memoryview, offset: int) -> tuple[str, memoryview] | None:
        head = bytes(view[offset : offset + _RECORD.size])
        magic, generation, length, name, crc, head_crc = _RECORD.unpack(head)
        if magic != _RECORD_MAGIC or generation != self.generation:
            return None
        start = offset + _RECORD.size
        if head_crc != isal_zlib.crc32(head[:-4]) or length > len(view) - start:
            return None
        body = view[start : start + length]
        if isal_zlib.crc32(body) != crc:
            body.release()
            return None
        return str(uuid.UUID(bytes=name)), body


class Journal:
    """Keeps blobs durable until their files are. Thread-safe.

    Parameters
    ----------
    folder
        Where the journals of all servers of a storage folder lie; each takes one of its own.
    size_bytes
        Room for the content of blobs.
    sync_files
        Makes every file that was written before durable.

    Raises
    ------
    StorageUnavailableError
        If the journal cannot be made or is not readable.
    """

    def __init__(self, folder: Path, size_bytes: int, sync_files: Callable[[], None]) -> None:
        self._sync_files = sync_files
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._is_closing = False
        # A sync of the files has failed, so only the journal is known to hold them.
        self._is_broken = False
        self._retiring: threading.Thread | None = None
        # Where the blobs lie whose records count.
        self._places: dict[str, tuple[Segment, int]] = {}
        size = size_bytes // _SEGMENTS // _BLOCK * _BLOCK
        with storage_errors():
            self._folder, self._lock_descriptor = _take_folder(folder)
            self._segments = _open_segments(self._folder, size)
        self._active = self._segments[0]
        self._active.is_free = False

    def replay(self, restore: Callable[[str, memoryview], None]) -> None:
        """Hand over every blob whose file may not be durable; call it once, before `append`.

        Parameters
        ----------
        restore
            Writes the file of a blob unless it is there and whole.
        """
        with storage_errors():
            for folder, descriptor in _take_abandoned(self._folder):
                segments = _open_segments(folder, self._segments[0].size_bytes)
                self._replay(segments, restore)
                for segment in segments:
                    os.close(segment.descriptor)
                os.close(descriptor)
            self._replay(self._segments, restore)
            for segment in self._segments:
                segment.prepare()
                segment.begin_generation()
            sync_path(str(self._folder))

    def _replay(
        self, segments: Sequence[Segment], restore: Callable[[str, memoryview], None]
    ) -> None:
        for segment in segments:
            for name, content in segment.iter_records():
                restore(name, content)
        self._sync_files()
        for segment in segments:
            segment.begin_generation()

    def append(self, blobs: Sequence[tuple[str, Buffer]]) -> Segment | None:
        """Make some blobs durable, together.

        Parameters
        ----------
        blobs
            Pairs of name and content.

        Returns
        -------
        Segment or None
            To be given to `settle` once all of them have their files; ``None`` if there is no room
            for all of them now.

        Raises
        ------
        FullStorageError, StorageUnavailableError
            If the journal cannot be written.
        """
        sizes = [-(-(_RECORD.size + len(content)) // _BLOCK) * _BLOCK for _, content in blobs]
        with self._lock:
            segment = self._choose_segment(sum(sizes))
            if segment is None:
                return None
            offsets = list(accumulate(sizes, initial=segment.end))
            segment.end = offsets.pop()
            segment.unsettled += 1
        try:
            with storage_errors():
                for (name, content), offset in zip(blobs, offsets, strict=True):
                    segment.write(offset, uuid.UUID(name).bytes, content)
                segment.sync()
        except BaseException:
            self.settle(segment)
            raise
        with self._lock:
            for (name, _), offset in zip(blobs, offsets, strict=True):
                self._places[name] = (segment, offset)
        return segment

    def _choose_segment(self, size: int) -> Segment | None:
        """Find a segment with room, beginning the next one if it is free. Needs the lock."""
        if self._active.is_broken:
            return None
        if self._active.end + size <= self._active.size_bytes:
            return self._active
        free = next((segment for segment in self._segments if segment.is_free), None)
        if free is None or _BLOCK + size > free.size_bytes:
            return None
        full, self._active = self._active, free
        free.is_free = False
        self._retiring = threading.Thread(target=self._retire, args=(full,), name="journal")
        self._retiring.start()
        return free

    def settle(self, segment: Segment) -> None:
        """Note that the blobs of one `append` have their files, or will never have them."""
        with self._changed:
            segment.unsettled -= 1
            if not segment.unsettled:
                self._changed.notify_all()

    def erase(self, attachment_uuid: str) -> None:
        """Forget a blob that is removed, lest a power failure bring it back."""
        with storage_errors():
            with self._lock:
                place = self._places.pop(attachment_uuid, None)
                if place is None:
                    return
                # Under the lock, because the place may belong to another blob a moment later.
                place[0].erase(place[1])
            place[0].sync()

    def _retire(self, segment: Segment) -> None:
        """Free a full segment once the files of its blobs are durable."""
        with self._changed:
            while segment.unsettled and not self._is_closing:
                self._changed.wait()
            if self._is_closing:
                return
        try:
            self._sync_files()
            self._free(segment)
        except OSError:
            # The segment stays as it is: its blobs are safe in it, and new ones go round it.
            self._is_broken = True
            _log.exception("the storage area cannot be synced; storing becomes slower")

    def _free(self, segment: Segment) -> None:
        # First on disk, then in memory: until then a removed blob must still be erased.
        segment.begin_generation()
        with self._lock:
            places = self._places.items()
            self._places = {name: place for name, place in places if place[0] is not segment}
            segment.is_free = True

    def close(self, *, is_complete: bool) -> None:
        """Make the files of all blobs durable and leave an empty journal; nothing may be appended.

        Parameters
        ----------
        is_complete
            Whether every blob has its file. If not, or if the files cannot be made durable, the
            journal stays as it is and the next start replays it.
        """
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._retiring is not None:
            self._retiring.join()
        try:
            self._sync_files()
            is_safe = is_complete and not self._is_broken
            for segment in self._segments if is_safe else ():
                segment.begin_generation()
        except OSError:
            _log.exception("the storage area cannot be synced; the next start will do it")
        finally:
            for segment in self._segments:
                os.close(segment.descriptor)
            os.close(self._lock_descriptor)


def _open_segments(folder: Path, size_bytes: int) -> list[Segment]:
    return [Segment(folder / f"segment-{number}", size_bytes) for number in range(_SEGMENTS)]


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


def sync_file_system(path: Path) -> None:
    """Make everything durable that was written to the file system of a path.

    Raises
    ------
    OSError
        If the disk failed to write something.

    References
    ----------
    syncfs(2); without it sync(2)
    """
    with suppress(AttributeError):
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if syncfs(descriptor) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(descriptor)
        return
    os.sync()
