"""Single elements of stored files, found by their path: lists of tags and items, and bytes."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import replace

from isocenter.archive.content import StoredFile
from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.kept_files import lookup_kept_file
from isocenter.archive.workers import Workers
from isocenter.dicom.element_paths import ItemList, Path, TagList, Value, find_content
from isocenter.dicom.elements import PIXEL_DATA
from isocenter.dicom.tags import TagDictionary
from isocenter.dicom.values import reverse_words
from isocenter.index.records import DicomAttachment
from isocenter.storage.port import Buffer, Storage

__all__ = ["ElementReader", "InstanceElements", "ItemList", "StoredValue", "TagList"]

# A value up to this size is read at once, a larger one in pieces.
_SMALL = 1024 * 1024


class StoredValue:
    """The bytes of one element.

    Attributes
    ----------
    size_bytes
        How many there are.
    data
        All of them, if there are few.
    """

    def __init__(self, file: StoredFile, value: Value, data: bytes | None) -> None:
        self._file = file
        self._value = value
        self.data = data
        self.size_bytes = value.stop - value.start if data is None else len(data)

    def drop_padding(self, size_bytes: int) -> None:
        """Leave out the last byte, if without it there are as many as that (PS3.5 §6.2, OB)."""
        if size_bytes != self.size_bytes - 1:
            return
        self.size_bytes = size_bytes
        if self.data is None:
            self._value = replace(self._value, stop=self._value.stop - 1)
        else:
            self.data = self.data[:-1]

    async def stream(self) -> AsyncGenerator[bytes]:
        """Read them in pieces.

        Raises
        ------
        MissingFileError, CorruptedBlobError
            As for `StoredFile.stream`, at any piece.
        """
        size = self._value.word_size
        rest = b""
        async for piece in self._file.stream(self._value.start, self._value.stop):
            if size == 1:
                yield piece
                continue
            # A word may be cut in two between pieces.
            piece = rest + piece  # noqa: PLW2901
            whole = len(piece) - len(piece) % size
            rest = piece[whole:]
            yield reverse_words(piece[:whole], size)
        if rest:
            yield rest


class InstanceElements:
    """The elements of one instance."""

    def __init__(
        self,
        workers: Workers,
        buffers: FileBuffers,
        *,
        file: StoredFile,
        found: DicomAttachment,
        dictionary: TagDictionary,
    ) -> None:
        self._workers = workers
        self._buffers = buffers
        self._file = file
        self._found = found
        self._dictionary = dictionary

    async def lookup(self, path: Path) -> TagList | ItemList | StoredValue | None:
        """Find what a path leads to, reading as little of the file as that takes.

        Returns
        -------
        TagList, ItemList, StoredValue or None
            ``None`` if there is no such element, item or fragment.

        Raises
        ------
        BadFileFormatError
            If the file cannot be read, or there is too much to be listed.
        MissingFileError, CorruptedBlobError
            If the file has vanished or is damaged.
        """
        return await self._workers.run(self._lookup, path)

    def _lookup(self, path: Path) -> TagList | ItemList | StoredValue | None:
        with self._open(path) as buffer:
            found = find_content(
                buffer,
                path,
                self._dictionary,
                pixel_data_offset=self._found.pixel_data_offset,
            )
            if not isinstance(found, Value):
                return found
            return StoredValue(self._file, found, _read_small(buffer, found))

    @contextmanager
    def _open(self, path: Path) -> Iterator[Buffer]:
        offset = self._found.pixel_data_offset
        if path and path[0] < PIXEL_DATA and offset is not None:
            with self._buffers.open_start(self._found.attachment, offset) as buffer:
                yield buffer
        else:
            with self._buffers.open_whole(self._found.attachment) as buffer:
                yield buffer


def _read_small(buffer: Buffer, value: Value) -> bytes | None:
    """Read a value that is small, or that lies nowhere in the file as it is deflated."""
    if value.data is not None:
        return reverse_words(value.data, value.word_size)
    if value.stop - value.start > _SMALL:
        return None
    return reverse_words(bytes(buffer[value.start : value.stop]), value.word_size)


class ElementReader:
    """Finds the elements of instances.

    Parameters
    ----------
    dictionary
        Names of tags, and value representations.
    """

    def __init__(
        self,
        workers: Workers,
        storage: Storage,
        buffers: FileBuffers,
        *,
        dictionary: TagDictionary,
    ) -> None:
        self._workers = workers
        self._storage = storage
        self._buffers = buffers
        self._dictionary = dictionary

    async def open(self, public_id: str) -> InstanceElements | None:
        """Find an instance, or ``None``.

        References
        ----------
        Orthanc REST: GET /instances/{id}/content (behaviour manual §6)
        """
        found = await self._workers.read(lambda tx: lookup_kept_file(tx, public_id))
        if found is None:
            return None
        return InstanceElements(
            self._workers,
            self._buffers,
            file=StoredFile(
                self._workers,
                self._storage,
                found.attachment,
                found.revision,
                buffers=self._buffers,
            ),
            found=found,
            dictionary=self._dictionary,
        )
