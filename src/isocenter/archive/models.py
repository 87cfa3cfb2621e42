"""Stored instances in the two forms of the DICOM model of web services."""

from collections.abc import AsyncGenerator, Generator, Iterator
from enum import Enum
from typing import Protocol

from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.kept_files import lookup_kept_file
from isocenter.archive.settings import Settings
from isocenter.archive.workers import Workers
from isocenter.dicom.dicomweb_json import iter_dicom_json
from isocenter.dicom.dicomweb_xml import iter_native_xml
from isocenter.dicom.tags import TagDictionary
from isocenter.index.records import DicomAttachment
from isocenter.storage.port import Buffer

__all__ = ["ModelForm", "ModelReader"]


class ModelForm(Enum):
    """The forms, by their media types (PS3.18 §8.7.3)."""

    JSON = "application/dicom+json"
    XML = "application/dicom+xml"


class _Iterate(Protocol):
    def __call__(
        self, buffer: Buffer, *, default_encoding: str, dictionary: TagDictionary
    ) -> Iterator[bytes]: ...


_ITERATE: dict[ModelForm, _Iterate] = {
    ModelForm.JSON: iter_dicom_json,
    ModelForm.XML: iter_native_xml,
}


class ModelReader:
    """Writes stored instances as JSON or XML, in pieces and in bounded memory.

    Parameters
    ----------
    settings
        Tell the character set of files that name none.
    dictionary
        Names and value representations.
    """

    def __init__(
        self,
        workers: Workers,
        buffers: FileBuffers,
        *,
        settings: Settings,
        dictionary: TagDictionary,
    ) -> None:
        self._workers = workers
        self._buffers = buffers
        self._settings = settings
        self._dictionary = dictionary

    async def iter_model(self, public_id: str, form: ModelForm) -> AsyncGenerator[bytes]:
        """Write an instance in a form.

        Yields
        ------
        bytes
            The document in pieces; nothing if there is no such instance.

        Raises
        ------
        BadFileFormatError
            If the file cannot be read, at any piece.
        MissingFileError, CorruptedBlobError
            If the file has vanished from the storage, or is damaged.

        References
        ----------
        Orthanc REST: GET /instances/{id}/file (behaviour manual §8.2.1)
        """
        found = await self._workers.read(lambda tx: lookup_kept_file(tx, public_id))
        if found is None:
            return
        pieces = self._iter_pieces(found, form)
        try:
            while (piece := await self._workers.run(next, pieces, None)) is not None:
                yield piece
        finally:
            await self._workers.run(pieces.close)

    def _iter_pieces(self, found: DicomAttachment, form: ModelForm) -> Generator[bytes]:
        with self._buffers.open_whole(found.attachment) as buffer:
            yield from _ITERATE[form](
                buffer,
                default_encoding=self._settings.default_encoding,
                dictionary=self._dictionary,
            )
