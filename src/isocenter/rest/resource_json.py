"""Resources as Orthanc writes them in JSON.

References
----------
Orthanc REST: JSON of resources (behaviour manual §3)
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec

from isocenter.archive.browse import Described
from isocenter.archive.records import (
    AttachmentRow,
    MetadataCode,
    Part,
    ResourceRow,
    ResourceSize,
)
from isocenter.archive.registry import NameRegistry
from isocenter.clock import format_timestamp
from isocenter.dicom.json_forms import Shape
from isocenter.dicom.levels import Level
from isocenter.dicom.tags import DEFAULT_DICTIONARY, format_tag

__all__ = ["SeriesStatus", "describe_resource", "describe_size", "get_series_status"]

_ANONYMIZED_FROM = str(int(MetadataCode.ANONYMIZED_FROM))
_MODIFIED_FROM = str(int(MetadataCode.MODIFIED_FROM))
# The parts as numbers: to ask whether a flag is among others takes a microsecond.
_MAIN_TAGS, _METADATA, _STATUS = Part.MAIN_TAGS.value, Part.METADATA.value, Part.STATUS.value
_PARENT, _CHILDREN, _LABELS = Part.PARENT.value, Part.CHILDREN.value, Part.LABELS.value
_ATTACHMENTS, _SOURCES = Part.ATTACHMENTS.value, Part.SOURCES.value
_IS_STABLE, _IS_PROTECTED = Part.IS_STABLE.value, Part.IS_PROTECTED.value
_MIB = 1024 * 1024
_PARENT_KEYS = {level: f"Parent{Level(level - 1).title}" for level in Level if level > 0}
_CHILDREN_KEYS = {level: Level(level + 1).plural_title for level in Level if level < max(Level)}

_decode = msgspec.json.Decoder().decode


class SeriesStatus(Enum):
    """How much of a series has arrived."""

    COMPLETE = "Complete"
    MISSING = "Missing"
    INCONSISTENT = "Inconsistent"
    UNKNOWN = "Unknown"


def get_series_status(expected: int | None, indexes: list[int]) -> SeriesStatus:
    """Compare the indexes of the instances of a series with the expected number.

    Parameters
    ----------
    expected
        Number of instances of the complete series, if known.
    indexes
        `IndexInSeries` of the instances that have one, counted from 1.

    References
    ----------
    Orthanc REST: status of a series (behaviour manual §3.7)
    """
    if expected is None:
        return SeriesStatus.UNKNOWN
    distinct = set(indexes)
    if len(distinct) != len(indexes) or any(not 1 <= index <= expected for index in distinct):
        return SeriesStatus.INCONSISTENT
    return SeriesStatus.COMPLETE if len(distinct) == expected else SeriesStatus.MISSING


def describe_resource(
    described: Described,
    names: NameRegistry,
    parts: Part = Part.CLASSIC,
    *,
    shape: Shape = Shape.HUMAN,
) -> dict[str, Any]:
    """Build the JSON object of a resource.

    Parameters
    ----------
    parts
        What to show; a part that the level lacks is left out. What the classic form alone has
        (last update, file, sources) comes with `Part.SOURCES`.

    References
    ----------
    Orthanc REST: common object, ``response-content`` (behaviour manual §3.2, §3.4), quirk 49
    """
    row, wanted = described.row, parts.value
    shown: dict[str, Any] = {"ID": row.public_id, "Type": row.level.title}
    if wanted & _MAIN_TAGS:
        shown["MainDicomTags"] = _tags(row.main_tags, shape)
        if row.level is Level.STUDY:
            shown["PatientMainDicomTags"] = _tags(row.patient_tags or "{}", shape)
    if wanted & _PARENT and row.parent is not None:
        shown[_PARENT_KEYS[row.level]] = row.parent
    if wanted & _LABELS:
        shown["Labels"] = row.labels
    if row.level is not Level.INSTANCE:
        _add_state(shown, row, wanted)
    if wanted & _SOURCES:
        _add_classic(shown, row)
    if wanted & _METADATA:
        shown["Metadata"] = _describe_metadata(row, names)
    if wanted & _ATTACHMENTS:
        shown["Attachments"] = [_describe_attachment(one) for one in row.attachments]
    if described.requested is not None:
        shown["RequestedTags"] = _describe_requested(described.requested, shape)
    return shown


def _add_state(shown: dict[str, Any], row: ResourceRow, wanted: int) -> None:
    """Add what resources that have children can be asked for."""
    if wanted & _CHILDREN:
        shown[_CHILDREN_KEYS[row.level]] = row.children
    if wanted & _IS_STABLE:
        shown["IsStable"] = row.is_stable
    if wanted & _IS_PROTECTED and row.level is Level.PATIENT:
        shown["IsProtected"] = row.is_protected
    if wanted & _STATUS and row.level is Level.SERIES:
        status = get_series_status(row.expected_instances, row.indexes_in_series)
        shown["Status"] = status.value


def _add_classic(shown: dict[str, Any], row: ResourceRow) -> None:
    """Add what no part but the classic form has."""
    if row.level is Level.INSTANCE:
        shown["IndexInSeries"] = row.index_in_series
        shown["FileSize"] = row.file_size
        shown["FileUuid"] = row.attachment_uuid
    else:
        shown["LastUpdate"] = format_timestamp(row.last_update)
    if row.level is Level.SERIES:
        shown["ExpectedNumberOfInstances"] = row.expected_instances
    metadata = _decode(row.metadata) if _mentions_source(row.metadata) else {}
    for code, key, written in (
        (_ANONYMIZED_FROM, "AnonymizedFrom", row.anonymized_from),
        (_MODIFIED_FROM, "ModifiedFrom", row.modified_from),
    ):
        if written is not None or code in metadata:
            shown[key] = metadata[code] if written is None else written


def _mentions_source(metadata: str) -> bool:
    return f'"{_ANONYMIZED_FROM}":' in metadata or f'"{_MODIFIED_FROM}":' in metadata


def _describe_metadata(row: ResourceRow, names: NameRegistry) -> dict[str, str]:
    """Name the metadata: what was written later goes before what was set at storing."""
    metadata = {int(code): value for code, value in _decode(row.metadata).items()}
    if row.level is not Level.INSTANCE:
        metadata[MetadataCode.LAST_UPDATE] = format_timestamp(row.last_update)
    metadata |= row.written_metadata
    return {names.get_name(code): value for code, value in metadata.items()}


def _describe_attachment(attachment: AttachmentRow) -> dict[str, Any]:
    return {
        "Uuid": attachment.attachment_uuid,
        "ContentType": attachment.content_type,
        "UncompressedSize": attachment.uncompressed_size,
        "CompressedSize": attachment.compressed_size,
        "UncompressedMD5": attachment.uncompressed_md5,
        "CompressedMD5": attachment.compressed_md5,
    }


def _describe_requested(requested: Mapping[int, Any], shape: Shape) -> dict[str, Any]:
    named = {DEFAULT_DICTIONARY.get_key(tag): value for tag, value in requested.items()}
    return named if shape is Shape.HUMAN else _reshape(named, shape)


def _tags(document: str, shape: Shape) -> Any:
    """Main tags are kept in the human shape, which needs no work at all."""
    if shape is Shape.HUMAN:
        return msgspec.Raw(document.encode())
    return _reshape(_decode(document), shape)


def _reshape(tags: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    """Write the human shape in another one (behaviour manual §5.1)."""
    reshaped: dict[str, Any] = {}
    for key, value in tags.items():
        tag = DEFAULT_DICTIONARY.lookup_tag(key)
        number = key if tag is None else format_tag(tag)
        is_sequence = isinstance(value, list)
        inner = [_reshape(item, shape) for item in value] if is_sequence else value
        if shape is Shape.SHORT:
            reshaped[number] = inner
            continue
        name = key if tag is None else DEFAULT_DICTIONARY.get_name(tag)
        kind = "Sequence" if is_sequence else "Null" if value is None else "String"
        reshaped[number] = {"Name": name, "Type": kind, "Value": inner}
    return reshaped


def describe_size(level: Level, size: ResourceSize) -> dict[str, Any]:
    """Build the JSON object of the size of a resource.

    References
    ----------
    Orthanc REST: statistics of a resource (behaviour manual §3.6)
    """
    described: dict[str, Any] = {}
    for name, size_bytes in (
        ("DiskSize", size.disk_size),
        ("UncompressedSize", size.uncompressed_size),
        ("DicomDiskSize", size.dicom_disk_size),
        ("DicomUncompressedSize", size.dicom_uncompressed_size),
    ):
        described[name] = str(size_bytes)
        described[f"{name}MB"] = size_bytes // _MIB
    for below in Level:
        if below > level:
            described[f"Count{below.plural_title}"] = size.counts.get(below, 0)
    return described
