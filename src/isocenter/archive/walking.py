"""Finding the files of folders without ever holding a list of them."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator

__all__ = ["OnError", "explain", "iter_files"]

OnError = Callable[[str, str], None]
"""Called with a path and the reason why it is left out."""

_DEEPEST = 100
_DICOMDIR = "DICOMDIR"


def iter_files(paths: Iterable[str], *, on_error: OnError = lambda _, __: None) -> Iterator[str]:
    """Iterate over files, and over all files below folders, in no order.

    Memory is bounded by the depth of the folders. A link to a file is followed; one to a folder
    only if it is itself among the paths, so that a loop of links cannot be entered. The index of a
    medium (``DICOMDIR``), which only tells of other files, is left out.

    Parameters
    ----------
    paths
        Files and folders.
    """
    for path in paths:
        try:
            is_folder = stat.S_ISDIR(os.stat(path).st_mode)
        except (OSError, ValueError) as error:
            on_error(path, explain(error))
            continue
        if is_folder:
            yield from _iter_below(path, on_error)
        else:
            yield path


def explain(error: Exception) -> str:
    """Say in a few words why a file cannot be read."""
    text = error.strerror if isinstance(error, OSError) else str(error)
    return (text or type(error).__name__).lower()


def _iter_below(root: str, on_error: OnError) -> Iterator[str]:
    """Walk with one open folder for each level; what lies deeper than a limit is left out."""
    folders = [_Folder(root, on_error)]
    try:
        while folders:
            entry = folders[-1].next_entry()
            if entry is None:
                folders.pop().close()
            elif not entry.is_dir(follow_symlinks=False):
                if entry.name.upper() != _DICOMDIR:
                    yield entry.path
            elif len(folders) == _DEEPEST:
                on_error(entry.path, f"more than {_DEEPEST} folders in each other")
            else:
                folders.append(_Folder(entry.path, on_error))
    finally:
        for folder in folders:
            folder.close()


class _Folder:
    """A folder that is being read; one that cannot be read is told of, and seems empty."""

    def __init__(self, path: str, on_error: OnError) -> None:
        self._path = path
        self._on_error = on_error
        self._entries = self._open()

    def _open(self) -> "os._ScandirIterator[str] | None":
        try:
            return os.scandir(self._path)
        except OSError as error:
            self._on_error(self._path, explain(error))
            return None

    def next_entry(self) -> "os.DirEntry[str] | None":
        try:
            return None if self._entries is None else next(self._entries, None)
        except OSError as error:
            self._on_error(self._path, explain(error))
            return None

    def close(self) -> None:
        if self._entries is not None:
            self._entries.close()
