"""Blobs in memory, for tests and for servers that keep nothing."""

from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Self

from isocenter.errors import BadSequenceError, MissingFileError
from isocenter.storage.failures import build_storage_error
from isocenter.storage.mapped import MappedFile
from isocenter.storage.names import check_uuid
from isocenter.storage.port import Buffer, check_range

__all__ = ["MemoryBlobReader", "MemoryBlobWriter", "MemoryStorage"]


class MemoryBlobWriter:
    """A blob that is being written in memory. Not thread-safe."""

    __slots__ = ("_attachment_uuid", "_content", "_storage")

    def __init__(self, storage: "MemoryStorage", attachment_uuid: str) -> None:
        self._storage = storage
        self._attachment_uuid = attachment_uuid
        self._content: BytesIO | None = BytesIO()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._content = None

    def write(self, chunk: Buffer) -> None:
        """Append bytes (see `BlobWriter.write`)."""
        self._opened().write(chunk)

    def commit(self) -> None:
        """Give the blob its name (see `BlobWriter.commit`)."""
        self._storage.write(self._attachment_uuid, self._opened().getvalue())
        self._content = None

    def _opened(self) -> BytesIO:
        if self._content is None:
            raise BadSequenceError("The attachment is written already")
        return self._content


class MemoryBlobReader:
    """A blob of the memory that is open for reading. Thread-safe."""

    __slots__ = ("_content",)

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def size_bytes(self) -> int:
        """Size of the blob."""
        return len(self._content)

    @property
    def descriptor(self) -> None:
        """Nothing: the blob is not a file."""
        return

    def read_at(self, start: int, length: int) -> bytes:
        """Read exactly some bytes (see `BlobReader.read_at`)."""
        check_range(start, start + length, len(self._content))
        return self._content[start : start + length]


class MemoryStorage:
    """Keeps blobs in a dictionary: durable as long as the process lives. Thread-safe.

    Every method touches the dictionary once, which is one step for all threads.
    """

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    @property
    def keeps_memos(self) -> bool:
        """No: nothing outlives the process (see `Storage.keeps_memos`)."""
        return False

    @property
    def spool_folder(self) -> None:
        """No folder: `adopt` always copies."""
        return

    def write(self, attachment_uuid: str, content: Buffer) -> None:
        """Store a blob as a whole (see `Storage.write`)."""
        check_uuid(attachment_uuid)
        self._blobs[attachment_uuid] = bytes(content)

    def write_unsynced(self, attachment_uuid: str, pieces: Sequence[Buffer]) -> None:
        """Store a blob (see `Storage.write_unsynced`)."""
        self.write(attachment_uuid, b"".join(pieces))

    def sync(self) -> None:
        """Nothing is left to do (see `Storage.sync`)."""

    def write_many(
        self,
        blobs: Sequence[tuple[str, Buffer]],
        memos: Sequence[bytes] = (),  # noqa: ARG002 - they are for journals
    ) -> Callable[[], None] | None:
        """Store some blobs (see `Storage.write_many`)."""
        for name, content in blobs:
            self.write(name, content)
        return None

    def list_memos(self) -> list[tuple[str, bytes]]:
        """Nothing outlives the process (see `Storage.list_memos`)."""
        return []

    def list_restored(self) -> list[str]:
        """Nothing outlives the process (see `Storage.list_restored`)."""
        return []

    def forget_memos(self) -> None:
        """Nothing is to be forgotten (see `Storage.forget_memos`)."""

    def open_writer(self, attachment_uuid: str) -> MemoryBlobWriter:
        """Open a blob for writing in pieces (see `Storage.open_writer`)."""
        check_uuid(attachment_uuid)
        return MemoryBlobWriter(self, attachment_uuid)

    def adopt(self, attachment_uuid: str, path: Path) -> None:
        """Take over a finished file (see `Storage.adopt`)."""
        check_uuid(attachment_uuid)
        try:
            content = path.read_bytes()
            path.unlink()
        except FileNotFoundError as error:
            raise MissingFileError("The file to take over does not exist") from error
        except OSError as error:
            raise build_storage_error(error) from error
        self._blobs[attachment_uuid] = content

    def read(self, attachment_uuid: str, start: int = 0, stop: int | None = None) -> bytes:
        """Read a range of a blob (see `Storage.read`)."""
        content = self._get(attachment_uuid)
        stop = len(content) if stop is None else stop
        check_range(start, stop, len(content))
        return content[start:stop]

    def read_cached(self, attachment_uuid: str, start: int, stop: int) -> bytes | None:
        """Read a range without waiting (see `Storage.read_cached`)."""
        check_uuid(attachment_uuid)
        content = self._blobs.get(attachment_uuid)
        if content is None or not 0 <= start <= stop <= len(content):
            return None
        return content[start:stop]

    def open_cached(self, attachment_uuid: str, start: int, stop: int) -> MappedFile | None:
        """Tell that there is no file (see `Storage.open_cached`)."""
        del start, stop
        check_uuid(attachment_uuid)
        return None

    def open_reader(self, attachment_uuid: str) -> MemoryBlobReader:
        """Open a blob for reading in pieces (see `Storage.open_reader`)."""
        return MemoryBlobReader(self._get(attachment_uuid))

    def remove(self, attachment_uuid: str) -> None:
        """Remove a blob (see `Storage.remove`)."""
        check_uuid(attachment_uuid)
        self._blobs.pop(attachment_uuid, None)

    def size_bytes(self, attachment_uuid: str) -> int:
        """Tell the size of a blob (see `Storage.size_bytes`)."""
        return len(self._get(attachment_uuid))

    def iter_uuids(self) -> Iterator[str]:
        """Iterate over the names of all blobs (see `Storage.iter_uuids`)."""
        return iter(list(self._blobs))

    def remove_temporary(self, older_than_s: float) -> int:  # noqa: ARG002 - nothing outlives a writer
        """Remove what killed writers left: nothing (see `Storage.remove_temporary`)."""
        return 0

    def close(self) -> None:
        """Nothing is left to do (see `Storage.close`)."""

    def check_writable(self) -> None:
        """Make sure that a blob could be stored now: always (see `Storage.check_writable`)."""

    def _get(self, attachment_uuid: str) -> bytes:
        check_uuid(attachment_uuid)
        try:
            return self._blobs[attachment_uuid]
        except KeyError as error:
            raise MissingFileError from error
