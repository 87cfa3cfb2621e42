"""A first look at files to import: what they are, and what they would be called here."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from isocenter.archive.received import Content
from isocenter.archive.unpacking import is_zip
from isocenter.archive.walking import explain
from isocenter.dicom.reader import build_identity, read_summary
from isocenter.errors import BadFileFormatError, ServerError
from isocenter.storage.spool import SpooledContent
from isocenter.storage.temporary import read_exactly

__all__ = ["FoundFile", "InspectionOptions", "Inspector"]

_START_BYTES = 64 * 1024
# What is longer is not held in memory while others are looked at.
_SMALL_BYTES = 128 * 1024
_PIECE = 1 << 20
_MAGIC = slice(128, 132)


@dataclass(frozen=True, slots=True)
class InspectionOptions:
    """How files are read.

    Attributes
    ----------
    spool_folder, spool_threshold
        Where files longer than the threshold, in bytes, go on their way.
    largest_entry
        Of a file in a ZIP archive, in bytes.
    default_encoding
        Character set of files that name none.
    """

    spool_folder: Path
    spool_threshold: int
    largest_entry: int
    default_encoding: str


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file, or an entry of a ZIP archive, that was looked at.

    Attributes
    ----------
    entry
        Its name in a ZIP archive, else empty.
    size
        In bytes.
    is_dicom
        Whether it begins like a DICOM file (PS3.10 §7.1) or its header could be read.
    public_id
        Of the instance, if the header tells.
    content
        All of it, if it is at hand.
    error
        Why it cannot be read.
    """

    path: str
    entry: str = ""
    size: int = 0
    is_zip: bool = False
    is_dicom: bool = False
    public_id: str | None = None
    content: Content | None = None
    error: str | None = None


class Inspector:
    """Looks at files and reads them. Blocks; thread-safe."""

    def __init__(self, options: InspectionOptions) -> None:
        self._options = options

    def new_content(self) -> SpooledContent:
        """Make an empty content that moves to disk when it grows; the caller closes it."""
        return SpooledContent(self._options.spool_folder, self._options.spool_threshold)

    def look_at(self, path: str) -> FoundFile:
        """Read the header of a file, or all of it if it is small."""
        try:
            with _opened(path) as descriptor:
                size = os.fstat(descriptor).st_size
                is_small = size <= _SMALL_BYTES
                start = read_exactly(descriptor, 0, size if is_small else _START_BYTES)
        except (OSError, ValueError) as error:
            return FoundFile(path, error=explain(error))
        if is_zip(start[:4]):
            return FoundFile(path, size=size, is_zip=True)
        found = self._describe(start)
        return FoundFile(
            path,
            size=size,
            is_dicom=found is not None or start[_MAGIC] == b"DICM",
            public_id=found,
            content=start if is_small else None,
        )

    def look_at_entry(self, path: str, entry: str, content: SpooledContent) -> FoundFile:
        """Read the header of an unpacked file."""
        with content.buffer() as buffer:
            start = bytes(buffer[:_START_BYTES])
        found = self._describe(start)
        return FoundFile(
            path,
            entry,
            size=content.size_bytes,
            is_dicom=found is not None or start[_MAGIC] == b"DICM",
            public_id=found,
            content=content,
        )

    def _describe(self, start: bytes) -> str | None:
        """Find the public identifier; the pipeline has the last word on what cannot be read."""
        try:
            summary = read_summary(
                start,
                wanted=frozenset(),
                default_encoding=self._options.default_encoding,
                is_whole=False,
            )
            return build_identity(summary).public_ids.instance
        except ServerError:
            return None

    def read(self, found: FoundFile) -> Content:
        """Read all of a file, in memory or through the disk; the caller closes the content.

        Raises
        ------
        BadFileFormatError
            If it cannot be read any more.
        FullStorageError, StorageUnavailableError
            If our own disk cannot take it.
        """
        if found.content is not None:
            return found.content
        content = self.new_content()
        try:
            with _opened(found.path) as descriptor:
                while piece := read_exactly(descriptor, content.size_bytes, _PIECE):
                    content.append(piece)
                    content.flush_pending()
        except OSError as error:
            content.close()
            raise BadFileFormatError(explain(error)) from error
        except BaseException:
            content.close()
            raise
        return content


@contextmanager
def _opened(path: str) -> Iterator[int]:
    """Open a regular file; another kind, such as a pipe, is refused without waiting for it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise OSError(0, "a link to a folder is not followed")
        if not stat.S_ISREG(mode):
            raise OSError(0, "not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)
