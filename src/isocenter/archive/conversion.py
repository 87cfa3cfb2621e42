"""Incoming files, brought into another transfer syntax before they are stored.

References
----------
Orthanc: ingest transcoding (behaviour manual §28.4)
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from isocenter.archive.file_buffers import FileBuffers
from isocenter.archive.received import Content, close_content, open_buffer
from isocenter.archive.settings import Settings
from isocenter.archive.transcoding import Target, Transcoder, can_transcode
from isocenter.config.configuration import Configuration
from isocenter.dicom.reader import FileSummary, read_summary
from isocenter.dicom.transfer_syntaxes import is_encapsulated, lookup_transfer_syntax
from isocenter.errors import ConfigurationError
from isocenter.index.records import Attachment
from isocenter.storage.port import Buffer
from isocenter.storage.spool import SpooledContent

__all__ = ["Converter", "StoredConverter", "build_converter"]

P = ParamSpec("P")
T = TypeVar("T")


class Converter:
    """Converts what arrives. Thread-safe.

    Parameters
    ----------
    of_uncompressed, of_compressed
        Convert files whose pixels are not, or are, compressed.
    """

    def __init__(
        self,
        transcoder: Transcoder,
        target: Target,
        settings: Settings,
        *,
        of_uncompressed: bool = True,
        of_compressed: bool = True,
    ) -> None:
        self._transcoder = transcoder
        self._target = target
        self._settings = settings
        self._of_uncompressed = of_uncompressed
        self._of_compressed = of_compressed

    def is_wanted(
        self, content: Content, check: Callable[[FileSummary], None] | None = None
    ) -> bool:
        """Tell from the header of a file whether it is to be converted. Blocks, but not for long.

        Parameters
        ----------
        check
            Called with the summary of the file.

        Raises
        ------
        BadFileFormatError
            If it is no DICOM file.
        ServerError
            What the check raises.
        """
        with open_buffer(content) as buffer:
            summary = self._summarize(buffer)
        if check is not None:
            check(summary)
        return self._is_wanted(summary)

    async def convert(self, content: Content) -> Content:
        """Convert a file, or give it as it is if that is not possible.

        Parameters
        ----------
        content
            Closed if the result is another one, or an error.

        Raises
        ------
        CodecTimeoutError
            If the server stops.
        """
        return await self._transcoder.run_reception(self._convert, content)

    async def run(
        self, operation: Callable[P, T], /, *arguments: P.args, **keywords: P.kwargs
    ) -> T:
        """Run a blocking operation that converts what is stored (see `Transcoder.run`)."""
        return await self._transcoder.run(operation, *arguments, **keywords)

    def convert_stored(self, buffer: Buffer, instance: str) -> SpooledContent | None:
        """Convert a stored file, if that is wanted and possible. Blocks.

        Parameters
        ----------
        instance
            For the log.

        Returns
        -------
        SpooledContent or None
            The new file; the caller closes it.

        Raises
        ------
        BadFileFormatError
            If it is no DICOM file.
        CodecTimeoutError
            If the server stops.
        """
        if not self._is_wanted(self._summarize(buffer)):
            return None
        return self._transcoder.spool(buffer, self._target, instance=instance)

    def _summarize(self, buffer: Buffer) -> FileSummary:
        encoding = self._settings.default_encoding
        return read_summary(buffer, wanted=frozenset(), default_encoding=encoding)

    def _convert(self, content: Content) -> Content:
        try:
            with open_buffer(content) as buffer:
                converted = self._transcoder.spool(buffer, self._target)
        except BaseException:
            close_content(content)
            raise
        if converted is None:
            return content
        close_content(content)
        return converted

    def _is_wanted(self, summary: FileSummary) -> bool:
        source, target = summary.transfer_syntax_uid, self._target.transfer_syntax_uid
        if source == target or not can_transcode(source, target):
            return False
        if summary.pixel_data_offset is None and is_encapsulated(target):
            return False
        return self._of_compressed if is_encapsulated(source) else self._of_uncompressed


class StoredConverter:
    """Converts what is stored already. Thread-safe."""

    def __init__(self, converter: Converter, buffers: FileBuffers) -> None:
        self._converter = converter
        self._buffers = buffers

    async def run(
        self, operation: Callable[P, T], /, *arguments: P.args, **keywords: P.kwargs
    ) -> T:
        """Run a blocking operation that converts (see `Transcoder.run`)."""
        return await self._converter.run(operation, *arguments, **keywords)

    def convert(self, attachment: Attachment, instance: str) -> SpooledContent | None:
        """Convert a file (see `Converter.convert_stored`).

        Raises
        ------
        MissingFileError, CorruptedBlobError, BadFileFormatError
            If it cannot be read.
        """
        with self._buffers.open_whole(attachment) as buffer:
            return self._converter.convert_stored(buffer, instance)


def build_converter(
    configuration: Configuration, transcoder: Transcoder, settings: Settings
) -> Converter | None:
    """Build it as the configuration asks; ``None`` if files are stored as they come."""
    uid = configuration.text("IngestTranscoding")
    if not uid:
        return None
    if lookup_transfer_syntax(uid) is None:
        raise ConfigurationError(f"IngestTranscoding: {uid} is no known transfer syntax")
    return Converter(
        transcoder,
        Target(uid),
        settings,
        of_uncompressed=configuration.boolean("IngestTranscodingOfUncompressed"),
        of_compressed=configuration.boolean("IngestTranscodingOfCompressed"),
    )
