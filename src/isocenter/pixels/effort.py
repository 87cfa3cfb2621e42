"""How much may be done for one file whose pixels are coded anew.

A few bytes can stand for frames of any size and number, so neither the size of a file nor that of a
frame bounds the work.
"""

import time

from isocenter.errors import CodecTimeoutError, TranscodingError

__all__ = ["Patience", "check_decoded_size"]

_LONGEST_S = 600.0
# Decoded pixels of one file. Blank images are tiny, so small files have room for some of them.
_MOST_DECODED_BYTES = 16 << 30
_ALWAYS_DECODED_BYTES = 1 << 30
_MOST_TIMES = 1000


class Patience:
    """Of those who wait for a file. Thread-safe.

    Parameters
    ----------
    duration_s
        How long from now on.
    """

    def __init__(self, duration_s: float = _LONGEST_S) -> None:
        self._until = time.monotonic() + duration_s
        self._has_ended = False

    @property
    def has_ended(self) -> bool:
        """True if nobody waits any more."""
        return self._has_ended

    def end(self) -> None:
        """Wait no longer."""
        self._has_ended = True

    def check(self) -> None:
        """Stop the work if it takes too long, or is of no use; called between frames.

        Raises
        ------
        CodecTimeoutError
            If it is to stop.
        """
        if self._has_ended:
            raise CodecTimeoutError("nobody waits for the file any more")
        if time.monotonic() > self._until:
            raise CodecTimeoutError("the file takes too long")


def check_decoded_size(decoded_bytes: int, file_bytes: int) -> None:
    """Refuse compressed pixels that are beyond all reason.

    Raises
    ------
    TranscodingError
        If there are too many.
    """
    if decoded_bytes > _MOST_DECODED_BYTES:
        raise TranscodingError(f"a file may have {_MOST_DECODED_BYTES} bytes of pixels at most")
    if decoded_bytes > max(_ALWAYS_DECODED_BYTES, _MOST_TIMES * file_bytes):
        raise TranscodingError("the pixels are too many for so short a file")
