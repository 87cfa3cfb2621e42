"""The index's records that doors may see; they do not import ``index`` themselves."""

from isocenter.index.records import (
    AttachmentRow,
    Change,
    ChangeType,
    Deletion,
    MetadataCode,
    Part,
    ResourceRow,
    ResourceSize,
    Statistics,
)

__all__ = [
    "AttachmentRow",
    "Change",
    "ChangeType",
    "Deletion",
    "MetadataCode",
    "Part",
    "ResourceRow",
    "ResourceSize",
    "Statistics",
]
