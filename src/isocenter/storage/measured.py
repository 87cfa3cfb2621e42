"""Any storage, with the duration and the size of what it does noted for the metrics."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import perf_counter

from isocenter.measures import Measures
from isocenter.storage.mapped import MappedFile
from isocenter.storage.port import BlobReader, BlobWriter, Buffer, Storage

__all__ = ["MeasuredStorage"]


class _MeasuredWriter:
    """Counts what is written; see `BlobWriter`."""

    def __init__(self, inner: BlobWriter) -> None:
        self._inner = inner
        self._size_bytes = 0
        self.committed_bytes: int | None = None

    def write(self, chunk: Buffer) -> None:
        self._inner.write(chunk)
        self._size_bytes += len(chunk)

    def commit(self) -> None:
        self._inner.commit()
        self.committed_bytes = self._size_bytes


class _MeasuredReader:
    """Notes each piece that is read; see `BlobReader`."""

    def __init__(self, inner: BlobReader, measures: Measures) -> None:
        self._inner = inner
        self._measures = measures

    @property
    def size_bytes(self) -> int:
        return self._inner.size_bytes

    @property
    def descriptor(self) -> int | None:
        return self._inner.descriptor

    def read_at(self, start: int, length: int) -> bytes:
        if not self._measures.is_enabled:
            return self._inner.read_at(start, length)
        started_at = perf_counter()
        data = self._inner.read_at(start, length)
        self._measures.storage_read.note_since(started_at)
        self._measures.storage_read_bytes.add(len(data))
        return data


class MeasuredStorage:
    """Passes everything on to another storage, see `Storage`. Thread-safe if that one is.

    Parameters
    ----------
    inner
        The storage; it is closed with this one.
    measures
        Where to note. A failed operation is not noted.

    References
    ----------
    Orthanc REST: metrics (behaviour manual §36.3)
    """

    def __init__(self, inner: Storage, measures: Measures) -> None:
        self._inner = inner
        self._measures = measures

    @property
    def spool_folder(self) -> Path | None:
        """See `Storage.spool_folder`."""
        return self._inner.spool_folder

    def write(self, attachment_uuid: str, content: Buffer) -> None:
        """See `Storage.write`."""
        started_at = perf_counter()
        self._inner.write(attachment_uuid, content)
        self._note_written(started_at, len(content))

    def write_many(
        self, blobs: Sequence[tuple[str, Buffer]], memos: Sequence[bytes] = ()
    ) -> Callable[[], None] | None:
        """See `Storage.write_many`; the batch counts as one operation."""
        started_at = perf_counter()
        settle = self._inner.write_many(blobs, memos)
        self._note_written(started_at, sum(len(content) for _, content in blobs))
        return settle

    def write_unsynced(self, attachment_uuid: str, pieces: Sequence[Buffer]) -> None:
        """See `Storage.write_unsynced`."""
        started_at = perf_counter()
        self._inner.write_unsynced(attachment_uuid, pieces)
        self._note_written(started_at, sum(map(len, pieces)))

    def sync(self) -> None:
        """See `Storage.sync`."""
        self._inner.sync()

    @property
    def keeps_memos(self) -> bool:
        """See `Storage.keeps_memos`."""
        return self._inner.keeps_memos

    def list_memos(self) -> list[tuple[str, bytes]]:
        """See `Storage.list_memos`."""
        return self._inner.list_memos()

    def list_restored(self) -> list[str]:
        """See `Storage.list_restored`."""
        return self._inner.list_restored()

    def forget_memos(self) -> None:
        """See `Storage.forget_memos`."""
        self._inner.forget_memos()

    def open_writer(self, attachment_uuid: str) -> AbstractContextManager[BlobWriter]:
        """See `Storage.open_writer`."""
        return self._measure_writer(self._inner.open_writer(attachment_uuid))

    @contextmanager
    def _measure_writer(self, opening: AbstractContextManager[BlobWriter]) -> Iterator[BlobWriter]:
        started_at = perf_counter()
        with opening as inner:
            writer = _MeasuredWriter(inner)
            yield writer
        if writer.committed_bytes is not None:
            self._note_written(started_at, writer.committed_bytes)

    def adopt(self, attachment_uuid: str, path: Path) -> None:
        """See `Storage.adopt`."""
        # A path that leads nowhere is for the other storage to find out.
        size_bytes = path.stat().st_size if path.exists() else 0
        started_at = perf_counter()
        self._inner.adopt(attachment_uuid, path)
        self._note_written(started_at, size_bytes)

    def _note_written(self, started_at: float, size_bytes: int) -> None:
        if self._measures.is_enabled:
            self._measures.storage_create.note_since(started_at)
            self._measures.storage_written_bytes.add(size_bytes)

    def read(self, attachment_uuid: str, start: int = 0, stop: int | None = None) -> bytes:
        """See `Storage.read`."""
        started_at = perf_counter()
        data = self._inner.read(attachment_uuid, start, stop)
        if self._measures.is_enabled:
            self._measures.storage_read.note_since(started_at)
            self._measures.storage_read_bytes.add(len(data))
        return data

    def read_cached(self, attachment_uuid: str, start: int, stop: int) -> bytes | bytearray | None:
        """See `Storage.read_cached`; as it never waits, only its bytes are noted."""
        data = self._inner.read_cached(attachment_uuid, start, stop)
        if data is not None and self._measures.is_enabled:
            self._measures.storage_read_bytes.add(len(data))
        return data

    def open_cached(self, attachment_uuid: str, start: int, stop: int) -> MappedFile | None:
        """See `Storage.open_cached`; the range counts as read."""
        file = self._inner.open_cached(attachment_uuid, start, stop)
        if file is not None and self._measures.is_enabled:
            self._measures.storage_read_bytes.add(stop - start)
        return file

    def open_reader(self, attachment_uuid: str) -> AbstractContextManager[BlobReader]:
        """See `Storage.open_reader`; a file that is mapped into memory is not noted."""
        return self._measure_reader(self._inner.open_reader(attachment_uuid))

    @contextmanager
    def _measure_reader(self, opening: AbstractContextManager[BlobReader]) -> Iterator[BlobReader]:
        with opening as inner:
            yield _MeasuredReader(inner, self._measures)

    def remove(self, attachment_uuid: str) -> None:
        """See `Storage.remove`."""
        started_at = perf_counter()
        self._inner.remove(attachment_uuid)
        if self._measures.is_enabled:
            self._measures.storage_remove.note_since(started_at)

    def size_bytes(self, attachment_uuid: str) -> int:
        """See `Storage.size_bytes`."""
        return self._inner.size_bytes(attachment_uuid)

    def iter_uuids(self) -> Iterator[str]:
        """See `Storage.iter_uuids`."""
        return self._inner.iter_uuids()

    def remove_temporary(self, older_than_s: float) -> int:
        """See `Storage.remove_temporary`."""
        return self._inner.remove_temporary(older_than_s)

    def check_writable(self) -> None:
        """See `Storage.check_writable`."""
        self._inner.check_writable()

    def close(self) -> None:
        """See `Storage.close`."""
        self._inner.close()
