"""Stored and incoming files in other transfer syntaxes.

References
----------
Orthanc: transcoding (behaviour manual §28); Decision 0022
"""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.pieces import iter_portions, open_joined, stream_pieces
from isocenter.archive.workers import Workers, WouldWaitError
from isocenter.config.configuration import Configuration
from isocenter.dicom.transfer_syntaxes import lookup_transfer_syntax
from isocenter.errors import (
    BadFileFormatError,
    BadParameterError,
    CodecTimeoutError,
    FullStorageError,
    InternalError,
    ServerError,
    StorageUnavailableError,
    TranscodingError,
)
from isocenter.index.reading import lookup_dicom_attachment
from isocenter.index.records import Attachment
from isocenter.pixels.codecs import can_decode, can_encode
from isocenter.pixels.effort import Patience
from isocenter.pixels.frames import FrameResult, FrameTask
from isocenter.pixels.pool import CodecPool, FrameCoder
from isocenter.pixels.transcoding import Transcoded, TranscodeOrder, open_transcoded
from isocenter.storage.failures import storage_errors
from isocenter.storage.port import Buffer
from isocenter.storage.spool import SpooledContent

__all__ = [
    "Target",
    "TranscodedFiles",
    "Transcoder",
    "build_transcoder",
    "can_transcode",
    "check_quality",
    "check_target",
    "describe_target",
    "parse_target",
]

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_SPOOL_BYTES = 1 << 20
# Whoever sends something waits less long than who asks for something.
_RECEPTION_S = 120.0
# Of the caller whose operation a thread runs.
_patience: ContextVar[Patience | None] = ContextVar("patience", default=None)


@dataclass(frozen=True, slots=True)
class Target:
    """What a client wants files to be brought into.

    Attributes
    ----------
    transfer_syntax_uid
        A known one.
    quality
        Of codings with losses; ``None`` for the one of the configuration.
    """

    transfer_syntax_uid: str
    quality: int | None = None


def parse_target(body: Mapping[str, Any]) -> Target | None:
    """Read the fields ``Transcode`` and ``LossyQuality`` of a body; ``None`` without the first.

    Raises
    ------
    BadFileFormatError
        If the first is no text.
    BadParameterError
        If it is no known transfer syntax, or the quality is none.
    """
    quality = body.get("LossyQuality")
    if quality is not None:
        if isinstance(quality, bool) or not isinstance(quality, int):
            raise BadParameterError("the field 'LossyQuality' must be an integer")
        check_quality(quality)
    if "Transcode" not in body:
        return None
    uid = body["Transcode"]
    if not isinstance(uid, str):
        raise BadFileFormatError("String value expected in field: Transcode")
    return Target(check_target(uid), quality)


def describe_target(target: Target) -> dict[str, Any]:
    """Write what `parse_target` reads."""
    quality = {} if target.quality is None else {"LossyQuality": target.quality}
    return {"Transcode": target.transfer_syntax_uid, **quality}


def check_target(transfer_syntax_uid: str) -> str:
    """Refuse a transfer syntax that nobody knows.

    Raises
    ------
    BadParameterError
        If it is none.
    """
    if lookup_transfer_syntax(transfer_syntax_uid) is None:
        raise BadParameterError(f"Unknown transfer syntax: {transfer_syntax_uid}")
    return transfer_syntax_uid


def check_quality(quality: int) -> int:
    """Refuse a quality that is none.

    Raises
    ------
    BadParameterError
        If it is not between 1 and 100.
    """
    if not 1 <= quality <= 100:
        raise BadParameterError("the quality is a number from 1 to 100")
    return quality


def can_transcode(source: str, target: str) -> bool:
    """Tell whether files of a transfer syntax can possibly be brought into another one."""
    return can_decode(source) and can_encode(target)


class Transcoder:
    """Brings files into other transfer syntaxes. Thread-safe.

    Parameters
    ----------
    coder
        Codes frames.
    quality
        Of codings with losses, unless the client wants another one.
    folder
        For temporary files.
    threads
        How many operations run at once, and how many more of the reception. They have threads of
        their own: they may take long, and nobody else is to wait for a thread because of them.
    """

    def __init__(
        self, coder: FrameCoder, folder: Path, *, quality: int = 90, threads: int = 1
    ) -> None:
        self._coder = coder
        self._quality = quality
        self.folder = folder
        self._is_stopped = False
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="transcoding")
        self._reception = ThreadPoolExecutor(threads, thread_name_prefix="reception")

    async def run(
        self, operation: Callable[P, T], /, *arguments: P.args, **keywords: P.kwargs
    ) -> T:
        """Run a blocking operation that transcodes (see `Workers.run`).

        If the caller is cancelled, the operation stops between two frames.

        Raises
        ------
        WouldWaitError
            If called outside of a task; the operation was not begun then.
        """
        return await _run(self._threads, partial(operation, *arguments, **keywords), Patience())

    async def run_reception(
        self, operation: Callable[P, T], /, *arguments: P.args, **keywords: P.kwargs
    ) -> T:
        """Run a blocking operation for what arrives, which never waits for what clients ask for."""
        call = partial(operation, *arguments, **keywords)
        return await _run(self._reception, call, Patience(_RECEPTION_S))

    def stop(self) -> None:
        """End all processes; what is under way fails."""
        self._is_stopped = True
        if isinstance(self._coder, CodecPool):
            self._coder.close()
        for threads in (self._threads, self._reception):
            threads.shutdown(wait=True, cancel_futures=True)

    @contextmanager
    def open(
        self, buffer: Buffer, target: Target, *, keeps_uid: bool = False
    ) -> Iterator[Transcoded]:
        """Bring a file into another transfer syntax. Blocks.

        Parameters
        ----------
        keeps_uid
            See `TranscodeOrder`.

        Raises
        ------
        TranscodingError
            On entry: if that is not possible.
        BadFileFormatError
            On entry: if the file is damaged.
        FullStorageError, StorageUnavailableError
            On entry: if temporary files cannot be written.
        CodecTimeoutError
            On entry: if the codecs are too busy.
        """
        order = TranscodeOrder(
            target.transfer_syntax_uid,
            target.quality or self._quality,
            keeps_uid,
            self.folder,
            _patience.get() or Patience(),
        )
        with ExitStack() as stack:
            with storage_errors():
                result = stack.enter_context(open_transcoded(buffer, order, self._coder))
            yield result

    @contextmanager
    def open_or_keep(
        self,
        buffer: Buffer,
        target: Target,
        *,
        keeps_uid: bool = False,
        instance: str = "",
        needs_room: bool = True,
    ) -> Iterator[Buffer]:
        """Bring a file into another transfer syntax, or give it as it is if that fails. Blocks.

        Parameters
        ----------
        instance
            For the log.
        needs_room
            Fail if temporary files cannot be written, which says nothing about the pixels; else the
            file is given as it is then, too, for an answer that has begun already.

        Raises
        ------
        CodecTimeoutError
            If nobody needs it, because the server stops or the caller has left.
        FullStorageError, StorageUnavailableError
            If `needs_room`.

        References
        ----------
        Orthanc: failing transcoding keeps the original (behaviour manual §18.6, §22.2, §28.4)
        """
        with ExitStack() as stack:

            def make() -> Buffer:
                result = stack.enter_context(self.open(buffer, target, keeps_uid=keeps_uid))
                return stack.enter_context(open_joined(result.pieces, self.folder))

            result = self._try(make, target, instance, needs_room=needs_room)
            if result is None:
                stack.close()
            yield buffer if result is None else result

    def spool(self, buffer: Buffer, target: Target, *, instance: str = "") -> SpooledContent | None:
        """Bring a file into another transfer syntax; ``None`` if that fails. Blocks.

        Parameters
        ----------
        instance
            For the log.

        Returns
        -------
        SpooledContent or None
            The new file, which outlives the buffer; the caller closes it.

        Raises
        ------
        CodecTimeoutError
            As by `open_or_keep`.
        """

        def make() -> SpooledContent:
            with self.open(buffer, target) as result:
                return _spool(iter_portions(result.pieces), self.folder)

        return self._try(make, target, instance, needs_room=False)

    def _try(
        self, make: Callable[[], T], target: Target, instance: str, *, needs_room: bool
    ) -> T | None:
        """Make something of a transcoded file; ``None``, and a line in the log, if that fails."""
        try:
            return make()
        except Exception as error:
            patience = _patience.get()
            if self._is_stopped or (patience is not None and patience.has_ended):
                raise CodecTimeoutError("nobody waits for the file any more") from error
            if needs_room and isinstance(error, FullStorageError | StorageUnavailableError):
                raise
            # Whatever it was: the instance is there, and must not be lost because of its pixels.
            is_known = isinstance(error, ServerError) and not isinstance(error, InternalError)
            _log.warning(
                "an instance keeps its transfer syntax",
                extra={
                    "instance": instance,
                    "transfer_syntax": target.transfer_syntax_uid,
                    "reason": _describe_error(error),
                },
                exc_info=None if is_known else error,
            )
            return None


async def _run(threads: ThreadPoolExecutor, operation: Callable[[], T], patience: Patience) -> T:
    """Run an operation that stops between two frames if its caller leaves."""
    loop = asyncio.get_running_loop()
    if asyncio.current_task(loop) is None:
        raise WouldWaitError

    def call() -> T:
        token = _patience.set(patience)
        try:
            return operation()
        finally:
            _patience.reset(token)

    try:
        return await loop.run_in_executor(threads, call)
    finally:
        patience.end()


def _describe_error(error: Exception) -> str:
    if isinstance(error, ServerError):
        return error.details or error.message
    return type(error).__name__


class TranscodedFiles:
    """Gives transcoded copies of stored files."""

    def __init__(self, workers: Workers, buffers: FileBuffers, transcoder: Transcoder) -> None:
        self._workers = workers
        self._buffers = buffers
        self._transcoder = transcoder

    async def lookup(self, public_id: str, target: Target) -> AsyncGenerator[bytes] | None:
        """Transcode the file of an instance; the first piece is there already.

        Returns
        -------
        async generator of bytes, or None
            The new file; ``None`` if there is no such instance.

        Raises
        ------
        ServerError
            If it cannot be transcoded or read.
        """
        found = await self._workers.read(lambda tx: lookup_dicom_attachment(tx, public_id))
        if found is None:
            return None
        pieces = self.iter_pieces(found.attachment, target)
        # What is impossible shows with the first piece, when the answer can still be an error.
        first = await self._transcoder.run(next, pieces, b"")
        return stream_pieces(self._workers, pieces, first)

    async def spool(self, attachment: Attachment, target: Target) -> SpooledContent:
        """Transcode a file, or take it as it is if that is not possible; the caller closes it.

        Raises
        ------
        ServerError
            If it cannot be read, or there is no room for a temporary file.
        """
        return await self._transcoder.run(self._spool, attachment, target)

    def _spool(self, attachment: Attachment, target: Target) -> SpooledContent:
        with self._buffers.open_whole(attachment) as buffer:
            transcoded = self._transcoder.spool(buffer, target)
            if transcoded is not None:
                return transcoded
            with memoryview(buffer) as view:
                return _spool(iter_portions([view]), self._transcoder.folder)

    def iter_pieces(self, attachment: Attachment, target: Target) -> Generator[bytes]:
        """Transcode a file; in a worker thread."""
        with (
            self._buffers.open_whole(attachment) as buffer,
            self._transcoder.open(buffer, target) as result,
        ):
            yield from iter_portions(result.pieces)


def _spool(pieces: Iterable[bytes], folder: Path) -> SpooledContent:
    """Copy pieces into a content that outlives them."""
    content = SpooledContent(folder, _SPOOL_BYTES)
    try:
        for piece in pieces:
            content.append(piece)
            content.flush_pending()
    except BaseException:
        content.close()
        raise
    return content


class _NoCoder:
    """Stands for codecs that are not to be used (option ``BuiltinDecoderTranscoderOrder``)."""

    def recode(self, task: FrameTask) -> FrameResult:  # noqa: ARG002 - see FrameCoder
        """Refuse."""
        raise TranscodingError("the built-in codecs are disabled")


def build_transcoder(configuration: Configuration, folder: Path) -> Transcoder:
    """Build it as the configuration asks; no process is started yet."""
    # More would only wait for each other.
    processors = os.cpu_count() or 1
    size = min(configuration.integer("TranscoderThreadsCount") or processors, processors)
    most = configuration.integer("MaximumConcurrentDcmtkTranscoders")
    is_disabled = configuration.text("BuiltinDecoderTranscoderOrder") == "Disabled"
    return Transcoder(
        _NoCoder() if is_disabled else CodecPool(min(size, most) if most else size),
        quality=configuration.integer("DicomLossyTranscodingQuality"),
        folder=folder,
        # One file is read or written while the frames of another one are coded.
        threads=2 * size,
    )
