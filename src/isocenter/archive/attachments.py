"""Attachments of resources: read, written, compressed, verified."""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

from isocenter.archive.blobs import Blobs
from isocenter.archive.content import StoredFile
from isocenter.archive.group_writes import Change, GroupWrites
from isocenter.archive.received import Content
from isocenter.archive.registry import ContentTypes, is_user_code
from isocenter.archive.workers import Workers
from isocenter.clock import now
from isocenter.errors import (
    DatabaseUnavailableError,
    ForbiddenError,
    MissingFileError,
    RevisionConflictError,
    ServerError,
    UnknownItemError,
    UnknownResourceError,
)
from isocenter.index.annotations import Address, Condition
from isocenter.index.attachments import (
    delete_attachment,
    find_content_types,
    lookup_attachment,
    replace_attachment,
    write_attachment,
)
from isocenter.index.port import Database
from isocenter.index.records import Attachment, StoredAttachment
from isocenter.storage.port import Storage
from isocenter.storage.spool import SpooledContent

__all__ = ["AttachmentFile", "Attachments"]

_log = logging.getLogger(__name__)

_OCTETS = "application/octet-stream"
_DICOM_AS_JSON = 2
_REPLACED = "the attachment was replaced meanwhile"


class AttachmentFile(StoredFile):
    """The content of an attachment, ready to be read.

    Attributes
    ----------
    attachment_uuid
        Name of its blob.
    """

    def __init__(
        self, workers: Workers, storage: Storage, stored: StoredAttachment, media_type: str
    ) -> None:
        super().__init__(workers, storage, stored.attachment, stored.revision)
        self.media_type = media_type
        self.attachment_uuid = stored.attachment.attachment_uuid


class Attachments:
    """Reads and changes the attachments of resources.

    All but `store` raise `UnknownResourceError` if there is no such resource, and if it has no such
    attachment.

    Parameters
    ----------
    on_removal
        Called when there are blobs to remove.
    has_checked_revisions
        What is there may only be changed with its entity tag (option ``CheckRevisions``).

    References
    ----------
    Orthanc REST: attachments, revisions (behaviour manual §12, §13)
    """

    def __init__(  # noqa: PLR0913 - the parts that it works with
        self,
        workers: Workers,
        database: Database,
        storage: Storage,
        *,
        blobs: Blobs,
        writes: GroupWrites,
        content_types: ContentTypes,
        on_removal: Callable[[], None],
        has_checked_revisions: bool,
    ) -> None:
        self._workers = workers
        self._database = database
        self._storage = storage
        self._blobs = blobs
        self._writes = writes
        self._content_types = content_types
        self._on_removal = on_removal
        self._has_checked_revisions = has_checked_revisions

    async def list_content_types(self, address: Address) -> list[int]:
        """List the codes of the attachments of a resource, in their order."""
        return await self._workers.read(lambda tx: find_content_types(tx, address))

    async def get(self, address: Address, content_type: int) -> StoredAttachment:
        """Find an attachment."""
        found = await self._workers.read(lambda tx: lookup_attachment(tx, address, content_type))
        if found is None:
            raise UnknownResourceError
        return found

    async def get_file(self, address: Address, content_type: int) -> AttachmentFile:
        """Find the content of an attachment."""
        stored = await self.get(address, content_type)
        media_type = self._content_types.get_media_type(content_type)
        return AttachmentFile(self._workers, self._storage, stored, media_type)

    async def get_stored_file(self, address: Address, content_type: int) -> AttachmentFile:
        """Find the content of an attachment as it is stored, compressed or not."""
        stored = await self.get(address, content_type)
        attachment = stored.attachment
        as_is = replace(attachment, compression=0, uncompressed_size=attachment.compressed_size)
        return AttachmentFile(
            self._workers, self._storage, replace(stored, attachment=as_is), _OCTETS
        )

    async def check(self, address: Address, content_type: int, *, tag: str | None = None) -> None:
        """Find out before its content arrives whether an attachment could be stored.

        Raises
        ------
        ForbiddenError, UnknownItemError, RevisionConflictError
            As for `store`.
        """
        _check_is_user(content_type)
        try:
            present = await self._workers.read(
                lambda tx: lookup_attachment(tx, address, content_type)
            )
        except UnknownResourceError:
            raise UnknownItemError from None
        if present is not None:
            self._build_condition(tag).check(present)

    async def store(
        self, address: Address, content_type: int, content: Content, *, tag: str | None = None
    ) -> StoredAttachment:
        """Attach a content to a resource; it is durable when this returns.

        Parameters
        ----------
        content
            Closed in any case.
        tag
            The entity tag that the present attachment must have, if there is one.

        Raises
        ------
        ForbiddenError
            If the code is the system's.
        UnknownItemError
            If there is no such resource.
        RevisionConflictError
            If the attachment is another one by now, or the entity tag is missing.
        FullStorageError
            If no room is left.
        """
        condition = self._build_condition(tag)
        return await self._workers.run(
            self._store_blocking, address, content_type, content, condition
        )

    def _store_blocking(
        self, address: Address, content_type: int, content: Content, condition: Condition
    ) -> StoredAttachment:
        with content if isinstance(content, SpooledContent) else nullcontext():
            _check_is_user(content_type)
            attachment = self._blobs.write(content, content_type)
        try:
            return self._commit(
                address,
                attachment,
                lambda batch: write_attachment(
                    batch, address, attachment, condition=condition, now=now()
                ),
            )
        except UnknownResourceError:
            raise UnknownItemError from None

    def _commit(self, address: Address, attachment: Attachment, change: Change) -> StoredAttachment:
        """Make the change that names a new blob, or remove the blob."""
        [result] = self._writes.write_blocking([change])
        if isinstance(result, Exception):
            self._discard_unused(address, attachment, result)
            raise result
        self._on_removal()
        stored: StoredAttachment = result
        return stored

    def _discard_unused(self, address: Address, attachment: Attachment, error: Exception) -> None:
        """Remove the blob of a change that failed, where that is certain.

        A commit whose answer was lost may have succeeded; a row then names the blob.
        """
        if isinstance(error, DatabaseUnavailableError):
            _log.warning("a file may be unused; a check of the storage will tell")
            return
        try:
            is_used = self._is_present(address, attachment)
        except ServerError:
            _log.warning("cannot tell whether a file is used", exc_info=True)
            return
        if not is_used:
            self._blobs.discard(attachment.attachment_uuid)

    def _is_present(self, address: Address, attachment: Attachment) -> bool:
        """Tell whether the index names the blob of an attachment."""
        try:
            found = self._database.read(
                lambda tx: lookup_attachment(tx, address, attachment.content_type)
            )
        except UnknownResourceError:
            return False
        return found is not None and (
            found.attachment.attachment_uuid == attachment.attachment_uuid
        )

    async def remove(self, address: Address, content_type: int, *, tag: str | None = None) -> None:
        """Remove an attachment.

        Raises
        ------
        ForbiddenError, RevisionConflictError
            As for `store`.
        """
        if content_type != _DICOM_AS_JSON:
            _check_is_user(content_type)
        condition = self._build_condition(tag)
        await self._writes.run(
            lambda batch: delete_attachment(
                batch, address, content_type, condition=condition, now=now()
            )
        )
        self._on_removal()

    async def compress(self, address: Address, content_type: int) -> None:
        """Keep an attachment in its compressed form; harmless if it is.

        Raises
        ------
        RevisionConflictError
            If another one was stored meanwhile.
        MissingFileError, CorruptedBlobError
            If the content is not what was stored; it stays then as it is.
        FullStorageError
            If no room is left.
        """
        await self._convert(address, content_type, is_compressed=True)

    async def uncompress(self, address: Address, content_type: int) -> None:
        """Keep an attachment as it is, without compression; see `compress`."""
        await self._convert(address, content_type, is_compressed=False)

    async def _convert(self, address: Address, content_type: int, *, is_compressed: bool) -> None:
        stored = await self.get(address, content_type)
        if (stored.attachment.compression != 0) != is_compressed:
            await self._workers.run(self._convert_blocking, address, stored.attachment)

    def _convert_blocking(self, address: Address, attachment: Attachment) -> None:
        try:
            converted = self._blobs.convert(attachment)
        except MissingFileError:
            if self._is_present(address, attachment):
                raise
            raise RevisionConflictError(_REPLACED) from None
        self._commit(
            address,
            converted,
            lambda batch: replace_attachment(
                batch, address, converted, replaced=attachment.attachment_uuid, now=now()
            ),
        )

    async def verify(self, address: Address, content_type: int) -> None:
        """Compare a stored content with its MD5 sums.

        Raises
        ------
        VerificationError
            If they differ.
        UnknownItemError
            If there are none.
        MissingFileError
            If the content has vanished.
        """
        stored = await self.get(address, content_type)
        try:
            await self._workers.run(self._blobs.verify, stored.attachment)
        except MissingFileError:
            present = await self.get(address, content_type)
            if present == stored:
                raise
            await self._workers.run(self._blobs.verify, present.attachment)

    def _build_condition(self, tag: str | None) -> Condition:
        return Condition(tag, self._has_checked_revisions)


def _check_is_user(content_type: int) -> None:
    if not is_user_code(content_type):
        raise ForbiddenError
