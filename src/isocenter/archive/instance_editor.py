"""Editing the file of one instance."""

import mmap
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from isocenter.archive.edit_requests import (
    EditRequest,
    build_anonymous_values,
    build_edit,
)
from isocenter.archive.workers import Workers
from isocenter.dicom.editing import Edit, edit_file
from isocenter.dicom.pseudonyms import Pseudonyms
from isocenter.dicom.rewriting import Piece
from isocenter.dicom.tag_paths import TagPath
from isocenter.index.properties import advance_counter
from isocenter.index.reading import lookup_dicom_attachment
from isocenter.index.records import Attachment
from isocenter.storage.compression import decompress
from isocenter.storage.port import Buffer, Storage

__all__ = ["InstanceEditor"]

_COUNTER = "anonymizations"
_PIECE = 1 << 20
_KEY_BYTES = 32


class InstanceEditor:
    """Gives edited copies of stored files.

    Parameters
    ----------
    default_encoding
        Character set of files that name none.
    """

    def __init__(self, workers: Workers, storage: Storage, default_encoding: str) -> None:
        self._workers = workers
        self._storage = storage
        self._default_encoding = default_encoding

    async def number_anonymization(self, request: EditRequest) -> Mapping[TagPath, Any]:
        """Give the values that are written by default; each anonymization uses up a number."""
        if not request.is_anonymization:
            return {}
        number = await self._workers.write(lambda tx: advance_counter(tx, _COUNTER))
        return build_anonymous_values(request, number)

    async def edit(self, public_id: str, request: EditRequest) -> AsyncIterator[bytes] | None:
        """Edit a file without storing the result.

        Returns
        -------
        async iterator of bytes, or None
            The new file in pieces; ``None`` if there is no such instance.

        Raises
        ------
        ServerError
            If the edit does not fit the file, or the file cannot be read.
        """
        found = await self._workers.read(lambda tx: lookup_dicom_attachment(tx, public_id))
        if found is None:
            return None
        defaults = await self.number_anonymization(request)
        edit = build_edit(request, Pseudonyms(secrets.token_bytes(_KEY_BYTES)), defaults=defaults)
        pieces = self._iter_edited(found.attachment, edit)
        # What does not fit shows with the first piece, when the answer can still be an error.
        first = await self._workers.run(next, pieces, b"")
        return self._stream(first, pieces)

    async def _stream(self, first: bytes, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
        yield first
        while (piece := await self._workers.run(next, pieces, None)) is not None:
            yield piece

    def _iter_edited(self, attachment: Attachment, edit: Edit) -> Iterator[bytes]:
        with self.open_file(attachment) as buffer:
            pieces = edit_file(buffer, edit, default_encoding=self._default_encoding)
            try:
                yield from _cut(pieces)
            finally:
                # A mapping can be closed only when nobody looks at it any more.
                for piece in pieces:
                    if isinstance(piece, memoryview):
                        piece.release()

    @contextmanager
    def open_file(self, attachment: Attachment) -> Iterator[Buffer]:
        """Give all bytes of a file, mapped where it is a local one."""
        if attachment.compression:
            stored = self._storage.read(attachment.attachment_uuid)
            yield decompress(stored, attachment.uncompressed_size)
            return
        with self._storage.open_reader(attachment.attachment_uuid) as reader:
            if reader.path is None or not reader.size_bytes:
                yield reader.read_at(0, reader.size_bytes)
                return
            with (
                reader.path.open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            ):
                yield mapped


def _cut(pieces: list[Piece]) -> Iterator[bytes]:
    """Copy pieces in portions of about a megabyte."""
    waiting: list[Piece] = []
    size = 0
    for piece in pieces:
        for start in range(0, len(piece), _PIECE):
            part = piece[start : start + _PIECE]
            waiting.append(part)
            size += len(part)
            if size >= _PIECE:
                yield b"".join(waiting)
                waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
