"""What edits give back: pieces of new bytes and of the file that was edited."""

import mmap
import tempfile
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from isocenter.archive.workers import Workers
from isocenter.dicom.rewriting import Piece
from isocenter.storage.failures import storage_errors
from isocenter.storage.port import Buffer

__all__ = [
    "iter_portions",
    "join_short",
    "join_start",
    "open_joined",
    "release",
    "stream_pieces",
]

_PORTION = 1 << 20
# More than that is joined in a temporary file.
_LARGEST_IN_MEMORY = 32 * 1024 * 1024
# Longer pieces are not worth copying.
_SHORT = 16 * 1024


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


async def stream_pieces(
    workers: Workers, pieces: Generator[bytes], first: bytes = b""
) -> AsyncGenerator[bytes]:
    """Take pieces one by one in worker threads, and close their generator in one.

    Parameters
    ----------
    first
        A piece that was taken already.
    """
    # A thread may still be at work for a caller that was cancelled.
    use = Lock()

    def take() -> bytes | None:
        with use:
            return next(pieces, None)

    def close() -> None:
        with use:
            pieces.close()

    try:
        if first:
            yield first
        while (piece := await workers.run(take)) is not None:
            yield piece
    finally:
        await workers.run(close)


@contextmanager
def open_joined(pieces: Sequence[Piece], folder: Path | None) -> Iterator[Buffer]:
    """Give pieces as contiguous bytes: in memory, or mapped if they are many. Blocks.

    Parameters
    ----------
    folder
        For the temporary file.

    Raises
    ------
    FullStorageError, StorageUnavailableError
        If it cannot be written.
    """
    if sum(map(len, pieces)) <= _LARGEST_IN_MEMORY:
        yield b"".join(pieces)
        return
    with _map_joined(pieces, folder) as buffer:
        yield buffer


def _map_joined(pieces: Sequence[Piece], folder: Path | None) -> mmap.mmap:
    with storage_errors(), tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for portion in iter_portions(pieces):
            _write_all(file.fileno(), portion)
        # It outlives the descriptor.
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)


def _write_all(descriptor: int, data: bytes) -> None:
    with open(descriptor, "wb", buffering=1 << 16, closefd=False) as file:
        file.write(data)


def join_short(pieces: Sequence[Piece]) -> list[Piece]:
    """Make one piece of short neighbors; views of those are let go.

    Whoever sums up or writes pieces then has less to do for each of them, and a thread that is kept
    from the interpreter less often.
    """
    joined: list[Piece] = []
    waiting: list[Piece] = []
    for piece in pieces:
        if len(piece) <= _SHORT:
            waiting.append(piece)
            continue
        if waiting:
            joined.append(b"".join(waiting))
            release(waiting)
            waiting = []
        joined.append(piece)
    if waiting:
        joined.append(b"".join(waiting))
        release(waiting)
    return joined


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
