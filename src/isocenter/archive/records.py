"""The index's records that doors may see; they do not import ``index`` themselves."""

from isocenter.index.records import (
    Change,
    ChangeType,
    Deletion,
    ExportEntry,
    MetadataCode,
    ResourceRow,
    ResourceSize,
    Statistics,
)

__all__ = [
    "Change",
    "ChangeType",
    "Deletion",
    "ExportEntry",
    "MetadataCode",
    "ResourceRow",
    "ResourceSize",
    "Statistics",
]
