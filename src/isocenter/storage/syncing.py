"""One wait for the disk for all that was written to a file system.

References
----------
syncfs(2); without it sync(2)
"""

import ctypes
import os
import weakref

__all__ = ["FileSystemSync"]


class FileSystemSync:
    """Makes everything durable that was written to a file system. Thread-safe.

    One descriptor serves all calls: the system tells each open file once of every write that has
    failed since it was opened, and a file that is opened for the call may come after the telling.

    Parameters
    ----------
    path
        A file or folder of the file system.

    Raises
    ------
    OSError
        If it cannot be opened.

    References
    ----------
    syncfs(2), section on errors (Linux 5.8)
    """

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._close = weakref.finalize(self, os.close, self._descriptor)
        self._syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)

    def run(self) -> None:
        """Wait until all is durable that was written before.

        Raises
        ------
        OSError
            If the disk failed to write something.
        """
        if self._syncfs is None:
            os.sync()
        elif self._syncfs(self._descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def close(self) -> None:
        """Close the descriptor; harmless if done before."""
        self._close()
