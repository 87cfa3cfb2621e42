"""The folder of worklist files that other programs write.

References
----------
Orthanc configuration: ``Worklists.Directory`` (behaviour manual §29, §39)
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from isocenter.dicom.data_sets import DataSet, read_data_set
from isocenter.dicom.file_meta import read_file_meta
from isocenter.errors import BadFileFormatError, StorageUnavailableError

__all__ = ["LARGEST_ENTRY_BYTES", "WorklistFolder"]

_log = logging.getLogger(__name__)

LARGEST_ENTRY_BYTES = 1 << 20
"""A larger file is no entry."""

_SUFFIX = ".wl"
_MOST_FILES = 20_000


class _Mark(NamedTuple):
    """What tells whether a file has changed."""

    file_name: str
    modified_at_ns: int
    size_bytes: int
    inode: int


class _Known(NamedTuple):
    """A file that was read: what it was then, and its content; ``None`` if it cannot be read."""

    mark: _Mark
    content: bytes | None
    data_set: DataSet | None


class WorklistFolder:
    """Reads the files of a folder, each again only when it has changed. Blocks; one at a time.

    Parameters
    ----------
    folder
        Subfolders are not looked into.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, _Known] = {}

    def read(self, default_encoding: str) -> Mapping[str, DataSet]:
        """Read the entries: file name without its suffix to data set.

        Raises
        ------
        StorageUnavailableError
            If the folder exists and cannot be read.
        """
        self._refresh(default_encoding)
        known = ((name, one.data_set) for name, one in sorted(self._known.items()))
        return {name: data_set for name, data_set in known if data_set is not None}

    def read_contents(self, default_encoding: str) -> Mapping[str, bytes]:
        """Read the files themselves, otherwise as `read`."""
        self._refresh(default_encoding)
        known = ((name, one.content) for name, one in sorted(self._known.items()))
        return {name: content for name, content in known if content is not None}

    def _refresh(self, default_encoding: str) -> None:
        found = self._list_files()
        for gone in self._known.keys() - found.keys():
            del self._known[gone]
        for name, mark in found.items():
            known = self._known.get(name)
            if known is None or known.mark != mark:
                self._known[name] = self._read_file(mark, default_encoding)

    def _list_files(self) -> dict[str, _Mark]:
        """List what is there now; a folder that does not exist (yet) holds nothing.

        Raises
        ------
        StorageUnavailableError
            If the folder cannot be read: an answer without its entries would be wrong.
        """
        found: dict[str, _Mark] = {}
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    mark = _lookup_mark(entry)
                    if mark is not None:
                        found[entry.name[: -len(_SUFFIX)]] = mark
                    if len(found) >= _MOST_FILES:
                        _log.warning("the worklist folder holds more files than are read")
                        break
        except FileNotFoundError as error:
            _log.warning("the worklist folder cannot be read", extra={"error": error.strerror})
        except OSError as error:
            raise StorageUnavailableError(
                f"the worklist folder cannot be read: {error.strerror}"
            ) from error
        return found

    def _read_file(self, mark: _Mark, default_encoding: str) -> _Known:
        try:
            content = self._read_content(mark.file_name)
            meta = read_file_meta(content)
            data_set = read_data_set(
                content,
                meta.layout,
                start=meta.data_set_offset,
                default_encoding=default_encoding,
            )
        except (OSError, BadFileFormatError) as error:
            # Once for each state of the file: it may be half written, and complete next time.
            _log.warning(
                "a worklist file cannot be read",
                extra={"file": mark.file_name, "error": str(error)},
            )
            return _Known(mark, None, None)
        return _Known(mark, content, data_set)

    def _read_content(self, file_name: str) -> bytes:
        with (self._folder / file_name).open("rb") as file:
            content = file.read(LARGEST_ENTRY_BYTES + 1)
        if len(content) > LARGEST_ENTRY_BYTES:
            raise BadFileFormatError("a worklist file is too large")
        return content


def _lookup_mark(entry: "os.DirEntry[str]") -> _Mark | None:
    """Describe an entry of the folder, unless it is none of ours or was deleted just now."""
    if not entry.name.lower().endswith(_SUFFIX):
        return None
    try:
        if not entry.is_file():
            return None
        status = entry.stat()
    except OSError:
        return None
    return _Mark(entry.name, status.st_mtime_ns, status.st_size, status.st_ino)
