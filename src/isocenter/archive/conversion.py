"""Incoming files, brought into another transfer syntax before they are stored.

References
----------
Orthanc: ingest transcoding (behaviour manual §28.4)
"""

from collections.abc import Callable
from contextlib import ExitStack

from isocenter.archive.received import Content
from isocenter.archive.settings import Settings
from isocenter.archive.transcoding import Target, Transcoder, can_transcode, spool_buffer
from isocenter.config.configuration import Configuration
from isocenter.dicom.reader import FileSummary, read_summary
from isocenter.dicom.transfer_syntaxes import is_encapsulated, lookup_transfer_syntax
from isocenter.errors import ConfigurationError
from isocenter.storage.port import Buffer
from isocenter.storage.spool import SpooledContent

__all__ = ["Converter", "build_converter"]


class Converter:
    """Converts what arrives. Blocks; thread-safe.

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

    def convert(
        self, content: Content, check: Callable[[FileSummary], None] | None = None
    ) -> Content:
        """Convert a file, or give it as it is if that is not wanted or not possible.

        Parameters
        ----------
        content
            Closed if the result is another one, or an error.
        check
            Called with the summary of the file as it came.

        Raises
        ------
        BadFileFormatError
            If it is no DICOM file.
        ServerError
            What the check raises.
        """
        if not isinstance(content, SpooledContent):
            return self._convert(content, check) or content
        try:
            with content.buffer() as buffer:
                converted = self._convert(buffer, check)
        except BaseException:
            content.close()
            raise
        if converted is None:
            return content
        content.close()
        return converted

    def _convert(
        self, buffer: Buffer, check: Callable[[FileSummary], None] | None
    ) -> Content | None:
        summary = read_summary(
            buffer, wanted=frozenset(), default_encoding=self._settings.default_encoding
        )
        if check is not None:
            check(summary)
        if not self._is_wanted(summary):
            return None
        with ExitStack() as stack:
            result = stack.enter_context(self._transcoder.open_or_keep(buffer, self._target))
            if result is buffer:
                return None
            # The result is of use for a short time only.
            return (
                result
                if isinstance(result, bytes)
                else spool_buffer(result, self._transcoder.folder)
            )

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
