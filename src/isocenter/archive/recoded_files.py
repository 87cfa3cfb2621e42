"""Stored instances on their way to others in another transfer syntax than the stored one.

References
----------
PS3.5 §A.1 to §A.3; Orthanc: transcoding while sending (behaviour manual §25.5, §28.3)
"""

from collections.abc import Collection, Generator, Sequence
from contextlib import ExitStack

from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.outgoing import OutgoingInstance
from isocenter.archive.pieces import iter_portions, stream_pieces
from isocenter.archive.transcoding import Target, Transcoder, can_transcode
from isocenter.archive.workers import Workers
from isocenter.dicom.rewriting import Piece
from isocenter.dicom.transfer_syntaxes import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from isocenter.dimse.sending import DataSource
from isocenter.pixels.codecs import is_lossy_target
from isocenter.scu.store import InstanceToStore

__all__ = [
    "PLAIN_TRANSFER_SYNTAXES",
    "RecodedFiles",
    "can_recode",
    "choose_accepted",
    "list_alternatives",
]

PLAIN_TRANSFER_SYNTAXES = (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
)
"""Transfer syntaxes that can be turned into each other, the preferred one first."""

# Of a result that is sent from memory.
_SMALL = 4 * 1024 * 1024


def can_recode(source: str, target: str) -> bool:
    """Tell whether a file in one transfer syntax can possibly be sent in another."""
    return can_transcode(source, target) and not is_lossy_target(target)


def list_alternatives(source: str, preferred: str) -> list[str]:
    """List the transfer syntaxes in which a file could be sent instead, the preferred one first.

    They are plain, as every modality takes one of them (PS3.5 §10.1).
    """
    possible = [uid for uid in PLAIN_TRANSFER_SYNTAXES if uid != source and can_recode(source, uid)]
    return sorted(possible, key=lambda uid: uid != preferred)


def choose_accepted(source: str, accepted: Collection[str]) -> str | None:
    """Choose in which of some transfer syntaxes a file can be sent: a plain one if possible."""
    others = sorted(uid for uid in accepted if uid not in PLAIN_TRANSFER_SYNTAXES)
    for target in (*PLAIN_TRANSFER_SYNTAXES, *others):
        if target in accepted and can_recode(source, target):
            return target
    return None


class RecodedFiles:
    """Opens instances in another transfer syntax."""

    def __init__(self, workers: Workers, buffers: FileBuffers, transcoder: Transcoder) -> None:
        self._workers = workers
        self._buffers = buffers
        self._transcoder = transcoder

    async def open(self, instance: OutgoingInstance, transfer_syntax_uid: str) -> InstanceToStore:
        """Open an instance for one C-STORE; a large result is sent in pieces.

        Parameters
        ----------
        transfer_syntax_uid
            To which `can_recode`.

        Raises
        ------
        MissingFileError
            If the file has vanished from the storage.
        CorruptedBlobError, BadFileFormatError, TranscodingError
            If it is damaged, or its pixels cannot be decoded.
        """
        # What is impossible shows here, when nothing is sent yet.
        begun = await self._transcoder.run(self._begin, instance, Target(transfer_syntax_uid))
        data_set: DataSource = (
            begun if isinstance(begun, bytes) else stream_pieces(self._workers, *begun)
        )
        return InstanceToStore(
            instance.sop_class_uid, instance.sop_instance_uid, transfer_syntax_uid, data_set
        )

    def _begin(
        self, instance: OutgoingInstance, target: Target
    ) -> tuple[Generator[bytes], bytes] | bytes:
        """Transcode a file: give a small data set, or the rest and the first piece of it."""
        with ExitStack() as stack:
            buffer = stack.enter_context(self._buffers.open_whole(instance.attachment))
            pieces = stack.enter_context(self._transcoder.open(buffer, target)).data_set
            # A small file may become a large one.
            if sum(map(len, pieces)) <= _SMALL:
                return b"".join(pieces)
            rest = _iter_portions(pieces, stack.pop_all())
            return rest, next(rest)


def _iter_portions(pieces: Sequence[Piece], resources: ExitStack) -> Generator[bytes]:
    with resources:
        yield from iter_portions(pieces)
