"""Stored instances in another plain transfer syntax than the one they came in.

References
----------
PS3.5 §A.1 to §A.3; Orthanc: transcoding while sending (behaviour manual §25.5, §28.3)
"""

from collections.abc import AsyncIterator, Generator
from contextlib import closing

from isocenter.archive.file_buffers import PIECE_BYTES, FileBuffers
from isocenter.archive.outgoing import OutgoingInstance
from isocenter.archive.workers import Workers
from isocenter.dicom.data_sets import get_layout
from isocenter.dicom.file_meta import read_file_meta
from isocenter.dicom.recoding import recode_data_set
from isocenter.dicom.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from isocenter.scu.store import InstanceToStore

__all__ = ["PLAIN_TRANSFER_SYNTAXES", "RecodedFiles", "can_recode", "list_alternatives"]

PLAIN_TRANSFER_SYNTAXES = (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
)
"""Transfer syntaxes that can be turned into each other, the preferred one first."""

_SMALL = 4 * 1024 * 1024


def can_recode(source: str, target: str) -> bool:
    """Tell whether a file in one transfer syntax can be sent in another."""
    return source in PLAIN_TRANSFER_SYNTAXES and target in PLAIN_TRANSFER_SYNTAXES


def list_alternatives(source: str, preferred: str) -> list[str]:
    """List the transfer syntaxes in which a file could be sent instead, the preferred one first."""
    possible = [uid for uid in PLAIN_TRANSFER_SYNTAXES if uid != source and can_recode(source, uid)]
    return sorted(possible, key=lambda uid: uid != preferred)


class RecodedFiles:
    """Opens instances in another transfer syntax."""

    def __init__(self, workers: Workers, buffers: FileBuffers) -> None:
        self._workers = workers
        self._buffers = buffers

    async def open(self, instance: OutgoingInstance, transfer_syntax_uid: str) -> InstanceToStore:
        """Open an instance for one C-STORE; a large one is recoded while it is sent.

        Parameters
        ----------
        transfer_syntax_uid
            To which `can_recode`.

        Raises
        ------
        MissingFileError
            If the file has vanished from the storage.
        CorruptedBlobError, BadFileFormatError
            If it is damaged; of a large file perhaps only while it is read.
        """
        is_small = instance.attachment.uncompressed_size <= _SMALL
        pieces = self._iter_pieces(instance, transfer_syntax_uid)
        return InstanceToStore(
            instance.sop_class_uid,
            instance.sop_instance_uid,
            transfer_syntax_uid,
            await self._workers.run(b"".join, pieces) if is_small else self._stream(pieces),
        )

    async def _stream(self, pieces: Generator[bytes]) -> AsyncIterator[bytes]:
        try:
            while (piece := await self._workers.run(next, pieces, None)) is not None:
                yield piece
        finally:
            await self._workers.run(pieces.close)

    def _iter_pieces(self, instance: OutgoingInstance, target: str) -> Generator[bytes]:
        """Recode a file; in a worker thread."""
        with (
            self._buffers.open_whole(instance.attachment) as buffer,
            memoryview(buffer) as view,
            closing(_iter_recoded(view, instance.transfer_syntax_uid, target)) as pieces,
        ):
            yield from pieces


def _iter_recoded(view: memoryview, source: str, target: str) -> Generator[bytes]:
    """Recode a data set in pieces of about the same length."""
    start = read_file_meta(view).data_set_offset
    collected = bytearray()
    for piece in recode_data_set(view, start, get_layout(source), get_layout(target)):
        for offset in range(0, len(piece), PIECE_BYTES):
            collected += piece[offset : offset + PIECE_BYTES]
            if len(collected) >= PIECE_BYTES:
                yield bytes(collected)
                collected.clear()
    yield bytes(collected)
