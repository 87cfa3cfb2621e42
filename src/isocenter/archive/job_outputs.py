"""What jobs offer for download, read across its parts."""

from collections.abc import AsyncIterator, Callable, Iterator

from isocenter.archive.periodic import Periodic
from isocenter.archive.workers import Workers
from isocenter.clock import now_us
from isocenter.index.job_outputs import (
    Output,
    OutputLimits,
    Part,
    discard_parts,
    evict_outputs,
    list_parts,
    lookup_output,
)
from isocenter.storage.mapped import MappedFile
from isocenter.storage.port import Storage

__all__ = ["JobOutputs", "OutputFile"]

_PIECE = 1 << 20
_INTERVAL_S = 60.0


class OutputFile:
    """A content in parts, ready to be read.

    Attributes
    ----------
    entity_tag
        What changes whenever the bytes do (RFC 9110 §8.8.3).
    """

    def __init__(
        self, workers: Workers, storage: Storage, output: Output, parts: list[Part]
    ) -> None:
        self._workers = workers
        self._storage = storage
        self._parts = parts
        self.media_type = output.media_type
        self.file_name = output.file_name
        self.size_bytes = output.size_bytes
        self.entity_tag = f'"{parts[0].attachment_uuid if parts else "empty"}"'

    async def read_small(self, _: int, __: int) -> bytes | None:
        """Tell that the content is always streamed."""
        return None

    def open_cached(self, _: int, __: int) -> MappedFile | None:
        """Tell that the content is no single file."""
        return None

    async def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Read a range in pieces.

        Raises
        ------
        MissingFileError
            If a part has vanished, at any piece.
        """
        pieces = self._iter_pieces(start, stop)
        while (piece := await self._workers.run(next, pieces, None)) is not None:
            yield piece

    def _iter_pieces(self, start: int, stop: int) -> Iterator[bytes]:
        offset = 0
        for part in self._parts:
            first, last = max(0, start - offset), min(part.size_bytes, stop - offset)
            offset += part.size_bytes
            for position in range(first, last, _PIECE):
                end = min(last, position + _PIECE)
                yield self._storage.read(part.attachment_uuid, position, end)


class JobOutputs:
    """Finds, deletes and evicts outputs.

    Parameters
    ----------
    wake_removal
        Told that there are files to remove.
    """

    def __init__(
        self,
        workers: Workers,
        storage: Storage,
        limits: OutputLimits,
        wake_removal: Callable[[], None],
    ) -> None:
        self._workers = workers
        self._storage = storage
        self.limits = limits
        self._wake_removal = wake_removal
        self._eviction = Periodic("eviction of outputs of jobs", _INTERVAL_S, self._evict)

    def start(self) -> None:
        """Begin to evict what is too old."""
        self._eviction.start()

    async def stop(self) -> None:
        """End that."""
        await self._eviction.stop()

    async def _evict(self) -> bool:
        limits, now = self.limits, now_us()
        if await self._workers.write(lambda tx: evict_outputs(tx, limits, now_us=now)):
            self._wake_removal()
        return False

    async def lookup(self, job_id: str, name: str) -> OutputFile | None:
        """Find what a finished job offers under a name, or ``None``."""
        found = await self._workers.read(
            lambda tx: (lookup_output(tx, job_id, name), list_parts(tx, job_id, name))
        )
        output, parts = found
        if output is None:
            return None
        return OutputFile(self._workers, self._storage, output, parts)

    async def delete(self, job_id: str, name: str) -> bool:
        """Free what a job offers; false if there is nothing."""
        if await self.lookup(job_id, name) is None:
            return False
        await self._workers.write(lambda tx: discard_parts(tx, job_id, name))
        self._wake_removal()
        return True
