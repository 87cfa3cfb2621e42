"""A file without a final name: written, made durable, then renamed or removed."""

import logging
import os
from collections.abc import Sequence
from contextlib import suppress

from isocenter.storage.port import Buffer

__all__ = [
    "FILE_MODE",
    "FOLDER_MODE",
    "TemporaryFile",
    "read_exactly",
    "remove_quietly",
    "sync_path",
]

_log = logging.getLogger(__name__)

# Patient data: nothing for others, whatever the umask.
FILE_MODE = 0o640
FOLDER_MODE = 0o750

# Linux takes at most 1,024 buffers a call (limits.h, IOV_MAX).
_BUFFERS_PER_CALL = 1024


class TemporaryFile:
    """A new file with a random name in a folder, open for writing and reading. Not thread-safe.

    The calls go straight to the operating system: a buffered file object would copy every byte once
    more. Errors are the operating system's.

    Parameters
    ----------
    folder
        An existing folder.
    name
        Instead of the random name.

    Attributes
    ----------
    path
        Where the file is.
    """

    __slots__ = ("_descriptor", "path")

    def __init__(self, folder: str, name: str | None = None) -> None:
        self.path = f"{folder}/{name or os.urandom(16).hex()}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(self.path, flags, FILE_MODE)

    def fileno(self) -> int:
        """Give the file descriptor; the file keeps it."""
        return self._descriptor

    def write(self, content: Buffer) -> None:
        """Append all of the bytes."""
        written = os.write(self._descriptor, content)
        if written < len(content):
            with memoryview(content) as view:
                while written < len(view):
                    written += os.write(self._descriptor, view[written:])

    def write_all(self, chunks: Sequence[Buffer]) -> None:
        """Append all of the chunks, with few calls."""
        for first in range(0, len(chunks), _BUFFERS_PER_CALL):
            batch = chunks[first : first + _BUFFERS_PER_CALL]
            written = os.writev(self._descriptor, batch)
            for chunk in batch:
                if written < len(chunk):
                    self.write(memoryview(chunk)[written:])
                written = max(written - len(chunk), 0)

    def sync(self) -> None:
        """Wait until the bytes are on the disk."""
        os.fsync(self._descriptor)

    def begin_sync(self) -> None:
        """Let the disk begin to write, so that a later sync has less to wait for.

        References
        ----------
        posix_fadvise(2): Linux starts to write pages that are not needed any more
        """
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Close the file and leave it where it is; harmless if done before."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def discard(self) -> None:
        """Close and remove the file, without ever failing."""
        with suppress(OSError):
            self.close()
        remove_quietly(self.path)


def read_exactly(descriptor: int, start: int, length: int) -> bytes:
    """Read bytes at an offset, fewer only at the end of the file."""
    content = os.pread(descriptor, length, start)
    if len(content) in {length, 0}:
        return content
    # Linux transfers at most 2,147,479,552 bytes a call (read(2)).
    chunks = [content]
    done = len(content)
    while done < length and (content := os.pread(descriptor, length - done, start + done)):
        chunks.append(content)
        done += len(content)
    return b"".join(chunks)


def sync_path(path: str) -> None:
    """Wait until a folder's entries, or a file's bytes, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_quietly(path: str) -> None:
    """Remove a file while another error is on its way: a failure is logged, not raised."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError:
        _log.warning("cannot remove a temporary file", extra={"path": path}, exc_info=True)
