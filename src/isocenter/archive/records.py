"""The index's records that doors may see; they do not import ``index`` themselves."""

from isocenter.index.annotations import Address
from isocenter.index.records import (
    Attachment,
    AttachmentRow,
    Change,
    ChangeType,
    Deletion,
    ExportEntry,
    MetadataCode,
    Part,
    ResourceRow,
    ResourceSize,
    Statistics,
    StoredAttachment,
)

__all__ = [
    "Address",
    "Attachment",
    "AttachmentRow",
    "Change",
    "ChangeType",
    "Deletion",
    "ExportEntry",
    "MetadataCode",
    "Part",
    "ResourceRow",
    "ResourceSize",
    "Statistics",
    "StoredAttachment",
]
