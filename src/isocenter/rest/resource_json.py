"""Resources as Orthanc writes them in JSON.

References
----------
Orthanc REST: JSON of resources (behaviour manual §3)
"""

from enum import Enum
from typing import Any

import msgspec

from isocenter.archive.records import MetadataCode, ResourceRow, ResourceSize
from isocenter.clock import format_timestamp
from isocenter.dicom.json_forms import Shape
from isocenter.dicom.levels import Level
from isocenter.dicom.tags import DEFAULT_DICTIONARY, format_tag

__all__ = ["SeriesStatus", "describe_resource", "describe_size", "get_series_status"]

_ANONYMIZED_FROM = str(int(MetadataCode.ANONYMIZED_FROM))
_MODIFIED_FROM = str(int(MetadataCode.MODIFIED_FROM))
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


def describe_resource(row: ResourceRow, shape: Shape = Shape.HUMAN) -> dict[str, Any]:
    """Build the JSON object of a resource."""
    described: dict[str, Any] = {
        "ID": row.public_id,
        "Type": row.level.title,
        "MainDicomTags": _tags(row.main_tags, shape),
        "Labels": row.labels,
    }
    if row.parent is not None:
        described[_PARENT_KEYS[row.level]] = row.parent
    if row.level is Level.INSTANCE:
        described["IndexInSeries"] = row.index_in_series
        described["FileSize"] = row.file_size
        described["FileUuid"] = row.attachment_uuid
    else:
        described[_CHILDREN_KEYS[row.level]] = row.children
        described["IsStable"] = row.is_stable
        described["LastUpdate"] = format_timestamp(row.last_update)
    _add_particulars(described, row, shape)
    return described


def _add_particulars(described: dict[str, Any], row: ResourceRow, shape: Shape) -> None:
    """Add what only one level, or only a modified resource, has."""
    if row.level is Level.SERIES:
        status = get_series_status(row.expected_instances, row.indexes_in_series)
        described["Status"] = status.value
        described["ExpectedNumberOfInstances"] = row.expected_instances
    elif row.level is Level.STUDY:
        described["PatientMainDicomTags"] = _tags(row.patient_tags or "{}", shape)
    elif row.level is Level.PATIENT:
        described["IsProtected"] = False
    if _mentions_origin(row.metadata):
        metadata = _decode(row.metadata)
        for code, key in ((_ANONYMIZED_FROM, "AnonymizedFrom"), (_MODIFIED_FROM, "ModifiedFrom")):
            if code in metadata:
                described[key] = metadata[code]


def _mentions_origin(metadata: str) -> bool:
    return f'"{_ANONYMIZED_FROM}":' in metadata or f'"{_MODIFIED_FROM}":' in metadata


def _tags(document: str, shape: Shape) -> Any:
    """Main tags are kept in the human shape, which needs no work at all."""
    if shape is Shape.HUMAN:
        return msgspec.Raw(document.encode())
    return _reshape(_decode(document), shape)


def _reshape(tags: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """Write the human shape in another one (behaviour manual §5.1)."""
    reshaped: dict[str, Any] = {}
    for name, value in tags.items():
        tag = DEFAULT_DICTIONARY.lookup_tag(name)
        key = name if tag is None else format_tag(tag)
        is_sequence = isinstance(value, list)
        inner = [_reshape(item, shape) for item in value] if is_sequence else value
        if shape is Shape.SHORT:
            reshaped[key] = inner
        else:
            kind = "Sequence" if is_sequence else "String"
            reshaped[key] = {"Name": name, "Type": kind, "Value": inner}
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
