"""The index's records that doors may see; they do not import ``index`` themselves."""

from isocenter.index.annotations import Address
from isocenter.index.records import (
    Attachment,
    Change,
    ChangeType,
    Deletion,
    ExportEntry,
    MetadataCode,
    ResourceRow,
    ResourceSize,
    Statistics,
    StoredAttachment,
)

__all__ = [
    "Address",
    "Attachment",
    "Change",
    "ChangeType",
    "Deletion",
    "ExportEntry",
    "MetadataCode",
    "ResourceRow",
    "ResourceSize",
    "Statistics",
    "StoredAttachment",
]
