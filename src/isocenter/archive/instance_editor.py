"""Editing the file of one instance."""

import secrets
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from typing import Any

from isocenter.archive.edit_requests import (
    EditRequest,
    build_anonymous_values,
    build_edit,
)
from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.pieces import iter_portions, open_joined, release, stream_pieces
from isocenter.archive.settings import Settings
from isocenter.archive.transcoding import Target, Transcoder
from isocenter.archive.workers import Workers
from isocenter.dicom.editing import Edit, edit_file
from isocenter.dicom.pseudonyms import Pseudonyms
from isocenter.dicom.rewriting import Piece
from isocenter.dicom.tag_paths import TagPath
from isocenter.index.properties import advance_counter
from isocenter.index.reading import lookup_dicom_attachment
from isocenter.index.records import Attachment

__all__ = ["InstanceEditor"]

_COUNTER = "anonymizations"
_KEY_BYTES = 32


class InstanceEditor:
    """Gives edited copies of stored files.

    Parameters
    ----------
    settings
        Tell the character set of files that name none.
    """

    def __init__(
        self, workers: Workers, buffers: FileBuffers, settings: Settings, transcoder: Transcoder
    ) -> None:
        self._workers = workers
        self._buffers = buffers
        self._settings = settings
        self._transcoder = transcoder

    async def number_anonymization(self, request: EditRequest) -> Mapping[TagPath, Any]:
        """Give the values that are written by default; each anonymization uses up a number."""
        if not request.is_anonymization:
            return {}
        number = await self._workers.write(lambda tx: advance_counter(tx, _COUNTER))
        return build_anonymous_values(request, number)

    async def edit(
        self, public_id: str, request: EditRequest, key: bytes | None = None
    ) -> AsyncIterator[bytes] | None:
        """Edit a file without storing the result.

        Parameters
        ----------
        key
            New identifiers follow from it; ``None`` for new ones each time.

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
        pseudonyms = Pseudonyms(key or secrets.token_bytes(_KEY_BYTES))
        edit = build_edit(request, pseudonyms, defaults=defaults)
        pieces = self._iter_edited(found.attachment, edit, request.target)
        # What does not fit shows with the first piece, when the answer can still be an error.
        run = self._workers.run if request.target is None else self._transcoder.run
        first = await run(next, pieces, b"")
        return stream_pieces(self._workers, pieces, first)

    def _iter_edited(
        self, attachment: Attachment, edit: Edit, target: Target | None
    ) -> Generator[bytes]:
        with self._buffers.open_whole(attachment) as buffer:
            pieces = edit_file(buffer, edit, default_encoding=self._settings.default_encoding)
            try:
                if target is None:
                    yield from iter_portions(pieces)
                else:
                    yield from self._iter_transcoded(pieces, target)
            finally:
                release(pieces)

    def _iter_transcoded(self, pieces: Sequence[Piece], target: Target) -> Iterator[bytes]:
        """Transcode what was edited; the edit has chosen its UIDs already."""
        with (
            open_joined(pieces, self._transcoder.folder) as edited,
            self._transcoder.open(edited, target, keeps_uid=True) as result,
        ):
            yield from iter_portions(result.pieces)
