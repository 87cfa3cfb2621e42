"""The index's records that doors may see; they do not import ``index`` themselves."""

from isocenter.index.records import (
    Change,
    ChangeType,
    Deletion,
    MetadataCode,
    Part,
    ResourceRow,
    ResourceSize,
    Statistics,
    StoredAttachment,
)

__all__ = [
    "Change",
    "ChangeType",
    "Deletion",
    "MetadataCode",
    "Part",
    "ResourceRow",
    "ResourceSize",
    "Statistics",
    "StoredAttachment",
]
