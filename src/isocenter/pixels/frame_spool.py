"""Coded frames on their way into a file: in memory while they are few, in a temporary file beyond.

References
----------
PS3.5 §A.4
"""

import mmap
import struct
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from isocenter.dicom.elements import ITEM
from isocenter.dicom.rewriting import Piece

__all__ = ["FrameSpool", "build_item"]

_MEMORY_BYTES = 32 * 1024 * 1024


def build_item(content_length: int) -> bytes:
    """Build the header of an item in little endian."""
    return struct.pack("<HHI", ITEM >> 16, ITEM & 0xFFFF, content_length)


class FrameSpool:
    """Collects frames. A context manager; what it gave out is of no use afterwards.

    Parameters
    ----------
    folder
        For the temporary file.
    is_encapsulated
        Each frame becomes an item with one fragment; else they simply follow one another.

    Attributes
    ----------
    lengths
        Of the frames, without headers and padding; kept only if they are encapsulated.
    size
        Of all frames, in bytes.
    """

    def __init__(self, folder: Path | None, *, is_encapsulated: bool) -> None:
        self._folder = folder
        self._is_encapsulated = is_encapsulated
        self._resources = ExitStack()
        self._waiting: list[Piece] = []
        self._waiting_bytes = 0
        self._file: IO[bytes] | None = None
        self.lengths: list[int] = []
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._waiting.clear()
        self._resources.close()

    def add(self, frame: bytes) -> None:
        """Add a frame."""
        self.size += len(frame)
        if self._is_encapsulated:
            self.lengths.append(len(frame))
            self._waiting.append(build_item(len(frame) + len(frame) % 2))
        self._waiting.append(frame)
        if self._is_encapsulated and len(frame) % 2:
            self._waiting.append(b"\0")
        self._waiting_bytes += len(frame)
        if self._waiting_bytes > _MEMORY_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._file is None:
            self._file = self._resources.enter_context(
                # Closed with the other resources.
                tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
            )
        for piece in self._waiting:
            with memoryview(piece) as view:
                position = 0
                while position < len(view):
                    position += self._file.write(view[position:])
        self._waiting.clear()
        self._waiting_bytes = 0

    def finish(self) -> list[Piece]:
        """Give all frames, as they stand in a file."""
        if self._file is None:
            return self._waiting.copy()
        self._flush()
        buffer = self._resources.enter_context(
            mmap.mmap(self._file.fileno(), 0, prot=mmap.PROT_READ)
        )
        return [memoryview(buffer)]
