"""What edits give back: pieces of new bytes and of the file that was edited."""

from collections.abc import Iterator, Sequence

from isocenter.dicom.rewriting import Piece

__all__ = ["iter_portions", "join_short", "join_start", "release"]

_PORTION = 1 << 20
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
