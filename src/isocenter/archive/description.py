"""From the summary of a file to the rows of the index."""

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import msgspec

from isocenter.archive.received import Origin, OriginKind
from isocenter.clock import format_timestamp
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import MainTags, build_index_value
from isocenter.dicom.matching import split_values
from isocenter.dicom.reader import FileSummary
from isocenter.dicom.tags import DEFAULT_DICTIONARY
from isocenter.dicom.transfer_syntaxes import is_encapsulated
from isocenter.index.records import MetadataCode, NewResource, build_search_key

__all__ = ["FileDescription", "count_expected_instances", "read_index_in_series"]

_IDENTIFIERS = {
    Level.PATIENT: 0x00100020,
    Level.STUDY: 0x0020000D,
    Level.SERIES: 0x0020000E,
    Level.INSTANCE: 0x00080018,
}
_INSTANCE_NUMBER = 0x00200013
_IMAGE_INDEX = 0x00541330
_IMAGES_IN_ACQUISITION = 0x00201002
_NUMBER_OF_TEMPORAL_POSITIONS = 0x00200105
_NUMBER_OF_SLICES = 0x00540081
_NUMBER_OF_TIME_SLICES = 0x00540101
_CARDIAC_NUMBER_OF_IMAGES = 0x00181090

# The numbers whose product tells how many instances a series will have, in order of precedence.
_EXPECTED_COUNTS = (
    (_IMAGES_IN_ACQUISITION, _NUMBER_OF_TEMPORAL_POSITIONS),
    (_NUMBER_OF_SLICES, _NUMBER_OF_TIME_SLICES),
    (_CARDIAC_NUMBER_OF_IMAGES,),
)

# Larger numbers are nonsense and would not fit a column of the index.
_LARGEST_NUMBER = 2**31 - 1
_INTEGER = re.compile(r"[+-]?[0-9]{1,12}")

_encode = msgspec.json.Encoder(order="sorted").encode
# The main tags are few; their names are looked up once.
_get_vr = lru_cache(maxsize=1024)(DEFAULT_DICTIONARY.lookup_vr)
_get_key = lru_cache(maxsize=1024)(DEFAULT_DICTIONARY.get_key)


class FileDescription:
    """Builds the row of each level for one received file.

    Parameters
    ----------
    summary
        What the reader found.
    main_tags
        The tags to keep.
    origin
        Where the file came from.
    received_at
        Seconds since 1970, UTC.
    more
        Metadata of some levels that do not follow from the file.

    References
    ----------
    Orthanc REST: metadata set on storing (behaviour manual §8.3)
    """

    def __init__(
        self,
        summary: FileSummary,
        main_tags: MainTags,
        origin: Origin,
        received_at: int,
        *,
        more: Mapping[Level, Mapping[MetadataCode, str]] = MappingProxyType({}),
    ) -> None:
        self._summary = summary
        self._main_tags = main_tags
        self._origin = origin
        self._received_at = received_at
        self._more = more

    def build(self, level: Level) -> NewResource:
        """Build the row of one level."""
        values = self._summary.values
        return NewResource(
            identifier=build_index_value(values.get(_IDENTIFIERS[level], "")),
            main_tags=self._format_tags(level),
            metadata=_encode({str(int(k)): v for k, v in self._metadata(level).items()}).decode(),
            patient_tags=self._format_tags(Level.PATIENT) if level is Level.STUDY else None,
            search=() if level is Level.INSTANCE else self._search(level),
            index_in_series=read_index_in_series(values) if level is Level.INSTANCE else None,
            expected_instances=count_expected_instances(values) if level is Level.SERIES else None,
        )

    def _format_tags(self, level: Level) -> str:
        tags: dict[str, Any] = {
            _get_key(tag): value
            for tag, value in self._main_tags.select(self._summary.values, level).items()
        }
        return _encode(tags | self._get_sequences(level)).decode()

    def _get_sequences(self, level: Level) -> dict[str, Any]:
        sequences = self._main_tags.select(self._summary.sequences, level)
        return {_get_key(tag): items for tag, items in sequences.items()}

    def _search(self, level: Level) -> tuple[tuple[int, str], ...]:
        """List the texts by which a resource is found, see `dicom.matching`."""
        values = self._summary.values
        found = {
            (build_search_key(level, tag), build_index_value(text)): None
            for tag in self._main_tags.get_stored(level)
            if tag in values
            for text in split_values(values[tag], _get_vr(tag))
        }
        return tuple(found)

    def _metadata(self, level: Level) -> dict[MetadataCode, str]:
        metadata = {MetadataCode.MAIN_DICOM_TAGS_SIGNATURE: self._main_tags.build_signature(level)}
        metadata |= self._more.get(level, {})
        sequences = self._get_sequences(level)
        if sequences:
            document = _encode({"Version": 1, "Sequences": sequences}).decode()
            metadata[MetadataCode.MAIN_DICOM_SEQUENCES] = document
        if level is Level.INSTANCE:
            return metadata | self._instance_metadata() | self._origin_metadata()
        if level is Level.SERIES:
            return metadata | self._series_metadata()
        return metadata

    def _series_metadata(self) -> dict[MetadataCode, str]:
        metadata = self._remote_aet_metadata()
        expected = count_expected_instances(self._summary.values)
        if expected is not None:
            metadata[MetadataCode.EXPECTED_NUMBER_OF_INSTANCES] = str(expected)
        return metadata

    def _instance_metadata(self) -> dict[MetadataCode, str]:
        summary = self._summary
        metadata = {
            MetadataCode.RECEPTION_DATE: format_timestamp(self._received_at),
            MetadataCode.TRANSFER_SYNTAX: summary.transfer_syntax_uid,
        }
        if summary.sop_class_uid:
            metadata[MetadataCode.SOP_CLASS_UID] = summary.sop_class_uid
        index = _get_index_text(summary.values)
        if index is not None:
            metadata[MetadataCode.INDEX_IN_SERIES] = index
        if summary.pixel_data_offset is not None:
            metadata[MetadataCode.PIXEL_DATA_OFFSET] = str(summary.pixel_data_offset)
            expected_vr = "OB" if is_encapsulated(summary.transfer_syntax_uid) else "OW"
            if summary.pixel_data_vr and summary.pixel_data_vr != expected_vr:
                metadata[MetadataCode.PIXEL_DATA_VR] = summary.pixel_data_vr
        return metadata

    def _origin_metadata(self) -> dict[MetadataCode, str]:
        origin = self._origin
        metadata = {MetadataCode.ORIGIN: origin.kind.value}
        if origin.remote_ip is not None:
            metadata[MetadataCode.REMOTE_IP] = origin.remote_ip
        if origin.called_aet is not None:
            metadata[MetadataCode.CALLED_AET] = origin.called_aet
        if origin.http_username is not None:
            metadata[MetadataCode.HTTP_USERNAME] = origin.http_username
        return metadata | self._remote_aet_metadata()

    def _remote_aet_metadata(self) -> dict[MetadataCode, str]:
        """Name the sender, which by HTTP is nobody."""
        origin = self._origin
        if origin.remote_aet is None and origin.kind is not OriginKind.REST_API:
            return {}
        return {MetadataCode.REMOTE_AET: origin.remote_aet or ""}


def count_expected_instances(values: Mapping[int, str]) -> int | None:
    """Count the instances that a series will have when it is complete, if its tags tell.

    The first rule whose tags are there decides, even if they are unreadable.

    References
    ----------
    Orthanc REST: status of a series (behaviour manual §3.7)
    """
    for tags in _EXPECTED_COUNTS:
        if all(tag in values for tag in tags):
            return _multiply([_number(values[tag]) for tag in tags])
    return None


def _multiply(numbers: list[int | None]) -> int | None:
    product = 1
    for number in numbers:
        if number is None:
            return None
        product *= number
    return product if 0 < product <= _LARGEST_NUMBER else None


def read_index_in_series(values: Mapping[int, str]) -> int | None:
    """Read the position of an instance in its series (Orthanc REST: `IndexInSeries`)."""
    text = _get_index_text(values)
    return None if text is None else _number(text)


def _get_index_text(values: Mapping[int, str]) -> str | None:
    """Give the text that tells the position; the Instance Number decides if it is there."""
    text = values.get(_INSTANCE_NUMBER, values.get(_IMAGE_INDEX))
    return None if text is None else text.strip()


def _number(text: str) -> int | None:
    """Read an integer string (PS3.5 §6.2, VR IS), ``None`` if it is none or does not fit."""
    text = text.strip()
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if abs(number) <= _LARGEST_NUMBER else None
