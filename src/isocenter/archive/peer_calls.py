"""What is asked of peers: who they are, and to store files.

References
----------
Orthanc REST: peers (behaviour manual §27)
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from isal import isal_zlib

from isocenter.archive.outgoing import Outgoing, OutgoingFile, OutgoingInstance
from isocenter.archive.peers import PeerCalling
from isocenter.archive.pieces import stream_pieces
from isocenter.archive.received import Content
from isocenter.archive.transcoding import Target, TranscodedFiles
from isocenter.archive.workers import Workers
from isocenter.config.peers import Peer
from isocenter.errors import RemoteError
from isocenter.peers.client import PeerClient
from isocenter.peers.connection import Body

__all__ = ["PeerCalls"]

_SYSTEM, _INSTANCES = "system", "instances"
_GZIP = 31
_LEVEL = 2

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class PeerCalls:
    """Calls peers."""

    def __init__(
        self,
        workers: Workers,
        calling: PeerCalling,
        outgoing: Outgoing,
        transcoded_files: TranscodedFiles,
    ) -> None:
        self._workers = workers
        self._calling = calling
        self._outgoing = outgoing
        self._transcoded_files = transcoded_files

    @property
    def calling(self) -> PeerCalling:
        """How peers are called."""
        return self._calling

    async def read_system(self, peer: Peer) -> dict[str, Any]:
        """Ask a peer who it is.

        Raises
        ------
        RemoteError, DeadlineExceededError
            If it does not answer as it should.
        """
        async with self._calling.open_client(peer) as client:
            return _parse(await client.get(_SYSTEM))

    async def store_content(self, peer: Peer, content: Content) -> dict[str, Any]:
        """Send a file that is not stored here.

        Parameters
        ----------
        content
            Closed in any case.

        Returns
        -------
        dict
            What the peer answers.

        Raises
        ------
        BadFileFormatError
            If it is no DICOM file.
        RemoteError, DeadlineExceededError
            If it could not be sent.
        """
        try:
            await self._outgoing.check_content(content)
            async with self._calling.open_client(peer) as client:
                return _parse_stored(await client.post(_INSTANCES, self._build_body(content)))
        finally:
            if not isinstance(content, bytes):
                content.close()

    def _build_body(self, content: Content) -> Body:
        if isinstance(content, bytes):
            return Body(lambda: content, len(content))
        return Body(lambda: stream_pieces(self._workers, content.iter_chunks()), content.size_bytes)

    async def store(
        self,
        client: PeerClient,
        instance: OutgoingInstance,
        *,
        is_compressed: bool,
        target: Target | None = None,
    ) -> int:
        """Send the file of an instance; return how many bytes it took.

        Parameters
        ----------
        target
            What the file is brought into, if that is possible.

        Raises
        ------
        MissingFileError, CorruptedBlobError
            If it cannot be read.
        RemoteError, DeadlineExceededError
            If the peer has not confirmed it.
        """
        if target is None:
            file = await self._outgoing.open_file(instance)
            return await self._store(client, file, is_compressed=is_compressed)
        with await self._transcoded_files.spool(instance.attachment, target) as content:
            file = OutgoingFile(
                content.size_bytes,
                None,
                lambda: stream_pieces(self._workers, content.iter_chunks()),
            )
            return await self._store(client, file, is_compressed=is_compressed)

    async def _store(self, client: PeerClient, file: OutgoingFile, *, is_compressed: bool) -> int:
        packed = _Packed(self._workers, file) if is_compressed else None
        body = await packed.build_body() if packed is not None else _build_plain_body(file)
        _parse_stored(await client.post(_INSTANCES, body))
        return file.size_bytes if packed is None else packed.size_bytes


def _parse(answer: bytes) -> dict[str, Any]:
    try:
        return _decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteError("the answer of the peer is no JSON object") from error


def _parse_stored(answer: bytes) -> dict[str, Any]:
    """Read what a peer answers that has stored an instance."""
    stored = _parse(answer)
    if not isinstance(stored.get("ID"), str):
        # A page that asks for a password is answered with 200 as well.
        raise RemoteError("the peer does not answer like a server that stores instances")
    return stored


def _build_plain_body(file: OutgoingFile) -> Body:
    content = file.content
    if content is None:
        return Body(file.stream, file.size_bytes)
    return Body(lambda: bytes(content), file.size_bytes)


class _Packed:
    """A file that is sent compressed.

    Attributes
    ----------
    size_bytes
        Of what was sent of it.
    """

    def __init__(self, workers: Workers, file: OutgoingFile) -> None:
        self._workers = workers
        self._file = file
        self.size_bytes = 0

    async def build_body(self) -> Body:
        """Compress a small file at once, a large one while it is sent."""
        content = self._file.content
        if content is None:
            # What does not become smaller takes 5 bytes more for each 64 kB (RFC 1951 §3.2.4).
            largest = self._file.size_bytes + self._file.size_bytes // 1000 + 1000
            return Body(self._stream, largest, is_exact=False, content_encoding="gzip")
        packed: bytes = await self._workers.run(isal_zlib.compress, content, _LEVEL, _GZIP)
        self.size_bytes = len(packed)
        return Body(lambda: packed, len(packed), content_encoding="gzip")

    async def _stream(self) -> AsyncIterator[bytes]:
        self.size_bytes = 0
        deflater = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
        async for piece in self._file.stream():
            packed = await self._workers.run(deflater.compress, piece)
            if packed:
                self.size_bytes += len(packed)
                yield packed
        packed = await self._workers.run(deflater.flush)
        self.size_bytes += len(packed)
        yield packed
