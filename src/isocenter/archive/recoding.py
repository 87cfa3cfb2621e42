"""How instances are sent whose transfer syntax the receiver refuses.

References
----------
Orthanc: transcoding while sending (behaviour manual §28.3)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.recoded_files import RecodedFiles, list_alternatives
from isocenter.archive.transcoding import Transcoder
from isocenter.archive.workers import Workers
from isocenter.config.configuration import Configuration
from isocenter.errors import NoPresentationContextError
from isocenter.scu.storage_session import Combination, StorageSession

__all__ = ["Recoding", "build_recoding"]


@dataclass(frozen=True, slots=True)
class Recoding:
    """What may be done.

    Attributes
    ----------
    files
        ``None`` if they are not sent at all (option ``TranscodeDicomProtocol``).
    preferred
        Transfer syntax to try first (option ``DicomScuPreferredTransferSyntax``).
    """

    files: RecodedFiles | None
    preferred: str

    def list_alternatives(self, own: Sequence[Combination]) -> list[Combination]:
        """List what instances could be turned into if their own combinations are refused."""
        if self.files is None:
            return []
        return [
            (sop_class_uid, other)
            for sop_class_uid, syntax in own
            for other in list_alternatives(syntax, self.preferred)
        ]

    async def choose_syntax(self, session: StorageSession, own: Combination) -> str:
        """Find the first transfer syntax for an instance that the receiver accepts, and prepare it.

        Parameters
        ----------
        own
            SOP class and transfer syntax of the stored instance.

        Raises
        ------
        NoPresentationContextError
            If it accepts none; the session stays usable.
        RemoteError, DeadlineExceededError
            If there is no association.
        """
        *others, last = own, *self.list_alternatives([own])
        for combination in others:
            try:
                await session.prepare(combination)
            except NoPresentationContextError:
                continue
            return combination[1]
        await session.prepare(last)
        return last[1]


def build_recoding(
    configuration: Configuration,
    workers: Workers,
    buffers: FileBuffers,
    transcoder: Transcoder,
) -> Recoding:
    """Read from the configuration what may be done."""
    may_recode = configuration.boolean("TranscodeDicomProtocol")
    return Recoding(
        RecodedFiles(workers, buffers, transcoder) if may_recode else None,
        configuration.text("DicomScuPreferredTransferSyntax"),
    )
