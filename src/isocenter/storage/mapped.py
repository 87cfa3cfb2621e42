"""Files with their pages mapped, kept open for the next reader.

Opening a file, mapping it and touching its pages for the first time costs more than sending half a
megabyte of it, and viewers ask for the same files again.
"""

import mmap
import os
import threading
from collections import OrderedDict

__all__ = ["MappedFile", "MappedFiles"]

# Files are read ahead in pieces about this long, so they are in the page cache piece by piece.
_PROBE_BYTES = 128 * 1024
# preadv2(2): give up instead of waiting for the disk. Only Linux has it.
_WITHOUT_WAITING = getattr(os, "RWF_NOWAIT", 0)


class MappedFile:
    """An open file that does not change; closed when nobody refers to it any more.

    Attributes
    ----------
    descriptor
        For reading at any offset.
    pages
        The whole file. Only the kernel may touch them, in a system call: if the file became shorter
        or its disk failed, the call fails, where the process itself would be killed.
    """

    __slots__ = ("descriptor", "pages")

    def __init__(self, path: str) -> None:
        self.descriptor = -1
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.pages = mmap.mmap(self.descriptor, 0, access=mmap.ACCESS_READ)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)

    def is_cached(self, start: int, stop: int) -> bool:
        """Tell whether the page cache seems to hold a range, so that reading it will not wait.

        The range is probed, because asking for all of it would mean reading it.
        """
        if not 0 <= start < stop <= len(self.pages):
            return False
        probe = bytearray(1)
        try:
            for offset in (*range(start, stop - 1, _PROBE_BYTES), stop - 1):
                if os.preadv(self.descriptor, [probe], offset, _WITHOUT_WAITING) != 1:
                    return False
        except OSError:
            return False
        return True


class MappedFiles:
    """The files that were read last. Thread-safe.

    Parameters
    ----------
    most_files, most_bytes
        How many to keep, and how long all of them together may be.
    """

    def __init__(self, *, most_files: int, most_bytes: int) -> None:
        self._most_files = most_files
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._files: OrderedDict[str, MappedFile] = OrderedDict()
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._files)

    def open(self, name: str, path: str) -> MappedFile | None:
        """Open a file, or find it open; ``None`` if it cannot be opened or is empty."""
        with self._lock:
            known = self._files.get(name)
            if known is not None:
                self._files.move_to_end(name)
                return known
        try:
            opened = MappedFile(path)
        except (OSError, ValueError):
            return None
        with self._lock:
            if name not in self._files:
                self._files[name] = opened
                self._size_bytes += len(opened.pages)
            self._shrink()
        return opened

    def _shrink(self) -> None:
        while len(self._files) > self._most_files or self._size_bytes > self._most_bytes:
            _, dropped = self._files.popitem(last=False)
            self._size_bytes -= len(dropped.pages)

    def forget(self, name: str) -> None:
        """Let go of a file that is being removed, so that its room on the disk becomes free."""
        with self._lock:
            dropped = self._files.pop(name, None)
            if dropped is not None:
                self._size_bytes -= len(dropped.pages)

    def clear(self) -> None:
        """Let go of all files."""
        with self._lock:
            self._files.clear()
            self._size_bytes = 0
