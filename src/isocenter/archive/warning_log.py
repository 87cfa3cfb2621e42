"""The numbered warnings about stored data, each of which the administrator may silence.

References
----------
Orthanc configuration: ``Warnings`` (behaviour manual §4.5)
"""

import logging
from collections.abc import Iterable, Mapping
from enum import StrEnum

from isocenter.dicom.tags import format_tag

__all__ = ["WarningCode", "WarningLog"]

_log = logging.getLogger(__name__)


class WarningCode(StrEnum):
    """The warnings, by their codes in the option."""

    TAGS_READ_FROM_FILES = "W001"
    INCONSISTENT_TAGS = "W002"
    DECODER_FAILURE = "W003"
    NO_SIGNATURE = "W004"
    TAG_OF_LOWER_LEVEL = "W005"
    META_HEADER_TAG = "W006"
    TAGS_NOT_READ = "W007"


_TEXTS = {
    WarningCode.TAGS_READ_FROM_FILES: "W001: tags that the index lacks were read from files",
    WarningCode.INCONSISTENT_TAGS: (
        "W002: resources were stored with other main tags than are configured; reconstruct them"
    ),
    WarningCode.DECODER_FAILURE: "W003: pixel data cannot be decoded",
    WarningCode.NO_SIGNATURE: "W004: resources have no signature of main tags; reconstruct them",
    WarningCode.TAG_OF_LOWER_LEVEL: (
        "W005: tags of a lower level were asked for; an arbitrary child answers"
    ),
    WarningCode.META_HEADER_TAG: "W006: tags of the file meta information were asked for",
    WarningCode.TAGS_NOT_READ: "W007: tags were not read, as StorageAccessOnFind forbids it",
}


class WarningLog:
    """Logs the warnings that are not silenced, once for each request.

    Parameters
    ----------
    switches
        Code to whether it is logged; a code that is missing is.
    """

    def __init__(self, switches: Mapping[str, bool]) -> None:
        self._silenced = {code for code, is_on in switches.items() if not is_on}

    def add(self, code: WarningCode, tags: Iterable[int] = (), *, resources: int = 0) -> None:
        """Log a warning.

        Parameters
        ----------
        tags
            The tags it is about.
        resources
            The number of resources it is about.
        """
        if code in self._silenced:
            return
        named = ",".join(format_tag(tag) for tag in sorted(tags))
        _log.warning(_TEXTS[code], extra={"tags": named, "resources": resources})
