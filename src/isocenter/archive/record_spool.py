"""Records that wait to be written: in memory while they are few, in a temporary file beyond."""

import os
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Generic, Self, TypeVar

import msgspec

from isocenter.storage.failures import storage_errors

__all__ = ["RecordSpool"]

T = TypeVar("T")

_MEMORY_BYTES = 8 * 1024 * 1024
_LENGTH_BYTES = 4


class RecordSpool(Generic[T]):
    """Collects records, then gives them back in their order.

    All calls block and belong into worker threads, one at a time. It is a context manager that
    removes its file.

    Parameters
    ----------
    folder
        Where to make the file.
    kind
        Type of the records, which msgspec can encode.
    """

    def __init__(self, folder: Path, kind: type[T]) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(kind)
        # Its file is made when the memory is full.
        self._file = SpooledTemporaryFile(_MEMORY_BYTES, dir=str(folder))  # noqa: SIM115 - closed below

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, record: T) -> None:
        """Append a record.

        Raises
        ------
        FullStorageError
            If the disk is full.
        """
        data = self._encoder.encode(record)
        with storage_errors():
            self._file.write(len(data).to_bytes(_LENGTH_BYTES, "little") + data)

    def rewind(self) -> None:
        """Turn from adding to taking."""
        with storage_errors():
            self._file.seek(0, os.SEEK_SET)

    def take(self, most: int) -> list[T]:
        """Take the next records; an empty list at the end."""
        taken: list[T] = []
        with storage_errors():
            while len(taken) < most and (head := self._file.read(_LENGTH_BYTES)):
                taken.append(self._decoder.decode(self._file.read(int.from_bytes(head, "little"))))
        return taken
