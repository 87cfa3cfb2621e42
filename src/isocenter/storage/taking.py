"""Taking over the files of another server's storage folder, which stays as it is.

Both folders have the same layout, so a file is linked or copied under the name that it has. A link
costs no room and no time; neither server ever changes a file in place, and removing one of two
names leaves the other.

References
----------
Orthanc REST: storage folder (behaviour manual §8.5); link(2)
"""

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from pathlib import Path

from isocenter.errors import (
    CorruptedBlobError,
    MissingFileError,
)
from isocenter.storage.failures import build_storage_error, storage_errors
from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.names import is_uuid
from isocenter.storage.syncing import FileSystemSync
from isocenter.storage.temporary import FOLDER_MODE, read_exactly

__all__ = ["FileTaker", "Way"]

_PIECE = 1 << 20
# The systems' answers where a file cannot have a second name: another file system, no links at
# all, too many, or not one's own (protected_hardlinks).
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP})


class Way(Enum):
    """How a file is taken over; ``EITHER`` links where that is possible."""

    LINK = "link"
    COPY = "copy"
    EITHER = "either"


class FileTaker:
    """Takes over files of a foreign storage folder. Thread-safe.

    Parameters
    ----------
    source
        The foreign folder; nothing in it is ever changed.
    target
        Our folder, whose journal must have been finished; no server may use it meanwhile.
    """

    def __init__(self, source: Path, target: Path, way: Way) -> None:
        self._source = os.path.abspath(source)
        self._target = os.path.abspath(target)
        self._way = way
        self._lock = threading.Lock()
        # Made when the first file is copied, since a trial must not make folders.
        self._storage: FileSystemStorage | None = None
        # Opened before the first file is taken, lest a failure to write it be missed.
        self._file_system: FileSystemSync | None = None

    def find_fault(self, name: str, size_bytes: int) -> str | None:
        """Tell what is wrong with a file, or ``None`` if it can be taken over.

        Only looks at its name, its kind, its size and whether it may be read.
        """
        if not is_uuid(name):
            return "the name of the file is not a UUID"
        path = self._path(self._source, name)
        try:
            status = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return "the file is missing"
        except OSError as error:
            return f"the file cannot be read: {error.strerror}"
        if not stat.S_ISREG(status.st_mode):
            return "this is not a regular file"
        if status.st_size != size_bytes:
            return f"the file has {status.st_size} bytes instead of {size_bytes}"
        return None if os.access(path, os.R_OK) else "the file may not be read"

    def iter_pieces(self, name: str) -> Iterator[bytes]:
        """Read a foreign file piece by piece.

        Raises
        ------
        CorruptedBlobError, MissingFileError
            If it cannot be read.
        """
        try:
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(self._path(self._source, name), flags)
            try:
                start, length = 0, 1 << 16
                while piece := read_exactly(descriptor, start, length):
                    yield piece
                    start, length = start + len(piece), _PIECE
            finally:
                os.close(descriptor)
        except FileNotFoundError as error:
            raise MissingFileError from error
        except OSError as error:
            raise CorruptedBlobError(f"the file cannot be read: {error.strerror}") from error

    def take(self, name: str, size_bytes: int) -> bool:
        """Take over a file; it is durable after the next `sync`. May be repeated.

        Returns
        -------
        bool
            True if it was linked, false if it was copied.

        Raises
        ------
        CorruptedBlobError, MissingFileError
            If the foreign file cannot be read.
        FullStorageError, StorageUnavailableError
            If ours cannot be written.
        """
        self._open_file_system()
        if self._way is not Way.COPY:
            try:
                self._link(self._path(self._source, name), self._path(self._target, name))
            except FileNotFoundError as error:
                raise MissingFileError from error
            except OSError as error:
                if error.errno not in _NO_LINK or self._way is Way.LINK:
                    raise build_storage_error(error) from error
            else:
                return True
        self._copy(name, size_bytes)
        return False

    def _open_file_system(self) -> None:
        with self._lock, storage_errors():
            if self._file_system is None:
                self._file_system = FileSystemSync(self._find_folder())

    def _link(self, source: str, target: str) -> None:
        for folder in (os.path.dirname(os.path.dirname(target)), os.path.dirname(target)):
            with suppress(FileExistsError):
                os.mkdir(folder, FOLDER_MODE)
        try:
            os.link(source, target, follow_symlinks=False)
        except FileExistsError:
            if os.path.samestat(os.lstat(source), os.lstat(target)):
                return
            # The rest of a copy that was cut off, perhaps by a power failure.
            os.unlink(target)
            os.link(source, target, follow_symlinks=False)

    def _copy(self, name: str, size_bytes: int) -> None:
        written = 0
        with self._lock:
            if self._storage is None:
                self._storage = FileSystemStorage(Path(self._target), sync=False)
        with self._storage.open_writer(name) as writer, storage_errors():
            for piece in self.iter_pieces(name):
                written += len(piece)
                if written > size_bytes:
                    break
                writer.write(piece)
            if written != size_bytes:
                raise CorruptedBlobError("the file has another size than the index says")
            writer.commit()

    def can_link(self) -> bool:
        """Tell whether both folders are on one file system."""
        with storage_errors():
            return os.stat(self._source).st_dev == os.stat(self._find_folder()).st_dev

    def get_free_bytes(self) -> int:
        """Tell how much room is left on the file system of our folder."""
        with storage_errors():
            status = os.statvfs(self._find_folder())
        return status.f_bavail * status.f_frsize

    def sync(self) -> None:
        """Make everything durable that was taken over."""
        if self._file_system is not None:
            with storage_errors():
                self._file_system.run()

    def _find_folder(self) -> str:
        """Find our folder, or the one that it will be made in."""
        folder = self._target
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        return folder

    @staticmethod
    def _path(root: str, name: str) -> str:
        return f"{root}/{name[:2]}/{name[2:4]}/{name}"
