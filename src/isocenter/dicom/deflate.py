"""Deflated data sets: inflated no further than a reader needs.

References
----------
PS3.5 §A.5, RFC 1951
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from isal import isal_zlib

from isocenter.dicom.elements import Buffer
from isocenter.errors import BadFileFormatError

__all__ = ["MAXIMUM_INFLATED_BYTES", "deflate_data_set", "inflate_data_set", "read_inflated"]

_Result = TypeVar("_Result")

MAXIMUM_INFLATED_BYTES = 1 << 28
"""A header that does not fit into so many inflated bytes is refused."""

_STEPS = (1 << 20, 1 << 24, MAXIMUM_INFLATED_BYTES)
_RAW_DEFLATE = -15
_LEVEL = 2


def read_inflated(buffer: Buffer, start: int, read: Callable[[bytes], _Result]) -> _Result:
    """Inflate the beginning of a data set and read it; inflate more if that was not enough.

    Parameters
    ----------
    buffer, start
        Where the deflated data set begins.
    read
        Called with growing beginnings of the inflated data set, until it does not raise
        ``BadFileFormatError`` or everything was inflated.

    Raises
    ------
    BadFileFormatError
        If the data cannot be inflated or read.
    """
    for limit in _STEPS[:-1]:
        data, is_complete = _inflate(buffer, start, limit)
        try:
            return read(data)
        except BadFileFormatError:
            if is_complete:
                raise
    return read(_inflate(buffer, start, _STEPS[-1])[0])


def inflate_data_set(buffer: Buffer, start: int) -> bytes:
    """Inflate a whole data set.

    Raises
    ------
    BadFileFormatError
        If it cannot be inflated, or into more than ``MAXIMUM_INFLATED_BYTES``.
    """
    data, is_complete = _inflate(buffer, start, MAXIMUM_INFLATED_BYTES)
    if not is_complete:
        raise BadFileFormatError("The deflated DICOM data set is too large")
    return data


def deflate_data_set(pieces: Iterable[bytes | memoryview]) -> bytes:
    """Deflate a data set, padded to an even length (PS3.5 §A.5)."""
    deflater = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW_DEFLATE)
    data = b"".join([*map(deflater.compress, pieces), deflater.flush()])
    return data + b"\0" * (len(data) % 2)


def _inflate(buffer: Buffer, start: int, limit: int) -> tuple[bytes, bool]:
    stream = isal_zlib.decompressobj(_RAW_DEFLATE)
    try:
        with memoryview(buffer) as view, view[start:] as deflated:
            data: bytes = stream.decompress(deflated, limit)
    except isal_zlib.error as error:  # type: ignore[misc]  # its stub gives an instance
        raise BadFileFormatError("The deflated DICOM data set cannot be inflated") from error
    return data, len(data) < limit
