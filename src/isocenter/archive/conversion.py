"""Incoming files, brought into another transfer syntax before they are stored.

References
----------
Orthanc: ingest transcoding (behaviour manual §28.4)
"""

from collections.abc import Callable

from isocenter.archive.received import Content, close_content, open_buffer
from isocenter.archive.settings import Settings
from isocenter.archive.transcoding import Target, Transcoder, can_transcode
from isocenter.config.configuration import Configuration
from isocenter.dicom.reader import FileSummary, read_summary
from isocenter.dicom.transfer_syntaxes import is_encapsulated, lookup_transfer_syntax
from isocenter.errors import ConfigurationError

__all__ = ["Converter", "build_converter"]


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
            summary = read_summary(
                buffer, wanted=frozenset(), default_encoding=self._settings.default_encoding
            )
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
