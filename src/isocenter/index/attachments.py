"""Attachments of resources: which blobs they have.

Changes are logged of attachments of the user's own only.
"""

from typing import Any

from isocenter.config.codes import FIRST_USER_CODE
from isocenter.errors import RevisionConflictError, UnknownResourceError
from isocenter.index.annotations import Address, Condition, find_values, get_row
from isocenter.index.batch import Batch
from isocenter.index.port import Transaction
from isocenter.index.records import Attachment, ChangeType, StoredAttachment

__all__ = [
    "delete_attachment",
    "find_content_types",
    "lookup_attachment",
    "replace_attachment",
    "write_attachment",
]


def find_content_types(tx: Transaction, address: Address) -> list[int]:
    """List the codes of the attachments of a resource: one statement.

    Raises
    ------
    UnknownResourceError
        If there is no such resource.
    """
    return find_values(tx, "list_content_types", address)


def lookup_attachment(
    tx: Transaction, address: Address, content_type: int
) -> StoredAttachment | None:
    """Find an attachment of a resource: one statement.

    Raises
    ------
    UnknownResourceError
        If there is no such resource.
    """
    keys = {**address.keys, "content_type": content_type}
    return _get_attachment(get_row(tx, "lookup_attachment", keys), content_type)


def _get_attachment(row: tuple[Any, ...], content_type: int) -> StoredAttachment | None:
    if row[1] is None:
        return None
    return StoredAttachment(Attachment(content_type, *row[1:7]), row[7])


def write_attachment(
    batch: Batch, address: Address, attachment: Attachment, *, condition: Condition, now: int
) -> StoredAttachment:
    """Attach a blob to a resource and log it; a blob that was there goes.

    Raises
    ------
    UnknownResourceError
        If there is no such resource.
    RevisionConflictError
        If the condition does not hold.
    """
    resource_id, present = _find_attachment(batch, address, attachment.content_type)
    if present is not None:
        condition.check(present)
    return _write_attachment(batch, resource_id, attachment, present=present, now=now)


def replace_attachment(
    batch: Batch, address: Address, attachment: Attachment, *, replaced: str, now: int
) -> StoredAttachment:
    """Put another form of the same content in the place of a blob.

    Parameters
    ----------
    replaced
        Name of the blob that must still be there.

    Raises
    ------
    UnknownResourceError
        If there is no such resource.
    RevisionConflictError
        If the blob is not the present one any more.
    """
    resource_id, present = _find_attachment(batch, address, attachment.content_type)
    if present is None or present.attachment.attachment_uuid != replaced:
        raise RevisionConflictError("the attachment was replaced meanwhile")
    return _write_attachment(batch, resource_id, attachment, present=present, now=now)


def delete_attachment(
    batch: Batch, address: Address, content_type: int, *, condition: Condition, now: int
) -> None:
    """Remove an attachment of a resource, its blob too, and log it.

    Raises
    ------
    UnknownResourceError
        If there is no such resource, or it has no such attachment.
    RevisionConflictError
        If the condition does not hold.
    """
    condition.demand()
    resource_id, present = _find_attachment(batch, address, content_type)
    if present is None:
        raise UnknownResourceError
    condition.check(present)
    keys = {"resource_id": resource_id, "content_type": content_type}
    batch.tx.run("delete_attachment", keys)
    _drop_blob(batch, present.attachment)
    _log_change(batch, resource_id, content_type, now)


def _find_attachment(
    batch: Batch, address: Address, content_type: int
) -> tuple[int, StoredAttachment | None]:
    keys = {**address.keys, "content_type": content_type}
    row = get_row(batch.tx, "lookup_attachment", keys)
    return row[0], _get_attachment(row, content_type)


def _write_attachment(
    batch: Batch,
    resource_id: int,
    attachment: Attachment,
    *,
    present: StoredAttachment | None,
    now: int,
) -> StoredAttachment:
    revision = 0 if present is None else present.revision + 1
    batch.tx.run(
        "write_attachment",
        {
            "resource_id": resource_id,
            "content_type": attachment.content_type,
            "attachment_uuid": attachment.attachment_uuid,
            "compression": attachment.compression,
            "compressed_size": attachment.compressed_size,
            "uncompressed_size": attachment.uncompressed_size,
            "compressed_md5": attachment.compressed_md5,
            "uncompressed_md5": attachment.uncompressed_md5,
            "revision": revision,
        },
    )
    if present is not None:
        _drop_blob(batch, present.attachment)
    batch.counts["disk_size"] += attachment.compressed_size
    batch.counts["uncompressed_size"] += attachment.uncompressed_size
    _log_change(batch, resource_id, attachment.content_type, now)
    return StoredAttachment(attachment, revision)


def _drop_blob(batch: Batch, attachment: Attachment) -> None:
    """Put a blob that no row names any more on the list of removals."""
    batch.tx.run("insert_removal", {"attachment_uuid": attachment.attachment_uuid})
    batch.counts["disk_size"] -= attachment.compressed_size
    batch.counts["uncompressed_size"] -= attachment.uncompressed_size


def _log_change(batch: Batch, resource_id: int, content_type: int, now: int) -> None:
    """Log a change of an attachment, unless it is the system's (behaviour manual §10.1)."""
    if content_type >= FIRST_USER_CODE:
        batch.add_change(ChangeType.UPDATED_ATTACHMENT, resource_id, now)
