"""Whole stored files for those who edit them, and what edits give back."""

import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from isocenter.dicom.rewriting import Piece
from isocenter.index.records import Attachment
from isocenter.storage.compression import decompress
from isocenter.storage.port import Buffer, Storage

__all__ = ["iter_portions", "join_start", "open_whole_file", "release"]

_PORTION = 1 << 20


@contextmanager
def open_whole_file(storage: Storage, attachment: Attachment) -> Iterator[Buffer]:
    """Give all bytes of a file, mapped where it is a local one.

    Nobody may look at them afterwards: views of a mapping must have been released.
    """
    if attachment.compression:
        stored = storage.read(attachment.attachment_uuid)
        yield decompress(stored, attachment.uncompressed_size)
        return
    with storage.open_reader(attachment.attachment_uuid) as reader:
        if reader.path is None or not reader.size_bytes:
            yield reader.read_at(0, reader.size_bytes)
            return
        with (
            reader.path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            yield mapped


def iter_portions(pieces: Sequence[Piece]) -> Iterator[bytes]:
    """Copy pieces in portions of about a megabyte."""
    waiting: list[Piece] = []
    size = 0
    try:
        for piece in pieces:
            for start in range(0, len(piece), _PORTION):
                part = piece[start : start + _PORTION]
                waiting.append(part)
                size += len(part)
                if size >= _PORTION:
                    yield b"".join(waiting)
                    release(waiting)
                    waiting, size = [], 0
        if waiting:
            yield b"".join(waiting)
    finally:
        release(waiting)


def join_start(pieces: Sequence[Piece], length: int) -> bytes:
    """Copy the first bytes of all pieces, fewer if there are no more."""
    taken: list[Piece] = []
    for piece in pieces:
        if length <= 0:
            break
        taken.append(piece[:length])
        length -= len(taken[-1])
    return b"".join(taken)


def release(pieces: Sequence[Piece]) -> None:
    """Let go of a mapped file, which can be closed only when nobody looks at it any more."""
    for piece in pieces:
        if isinstance(piece, memoryview):
            piece.release()
