"""The one pipeline by which instances enter, whatever the door."""

import hashlib
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from isocenter.archive.description import FileDescription
from isocenter.archive.received import Content, Origin, StoreOutcome, StoreStatus
from isocenter.archive.workers import Workers
from isocenter.clock import now
from isocenter.dicom.main_tags import MainTags
from isocenter.dicom.reader import FileSummary, Identity, build_identity, read_summary
from isocenter.errors import BadFileFormatError, ServerError
from isocenter.index.group_commit import GroupCommit
from isocenter.index.port import Database
from isocenter.index.reading import lookup_dicom_attachment
from isocenter.index.records import Attachment, NewInstance, Overwrite
from isocenter.storage.compression import iter_compressed
from isocenter.storage.port import Buffer, Storage
from isocenter.storage.spool import SpooledContent

__all__ = ["Ingest", "IngestOptions"]

_log = logging.getLogger(__name__)

Check = Callable[[FileSummary], None]

_DICOM = 1
_AS_IS = 0
_ZLIB = 1


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How to store.

    Attributes
    ----------
    overwrite
        What to do with an instance that is there already.
    has_md5
        Compute and keep MD5 sums.
    is_compressed
        Keep the files compressed.
    default_encoding
        Character set of files that name none.
    """

    main_tags: MainTags
    overwrite: Overwrite = Overwrite.NEVER
    has_md5: bool = True
    is_compressed: bool = False
    default_encoding: str = "Latin1"


class Ingest:
    """Stores instances: header, identifiers, overwrite rule, durable file, durable rows.

    Everything happens in one worker thread per instance; the rows of instances that arrive together
    share a transaction. When `store` returns, the instance survives a power failure.

    References
    ----------
    Orthanc REST: POST /instances, pipeline (behaviour manual §8.2)
    """

    def __init__(
        self, workers: Workers, database: Database, storage: Storage, options: IngestOptions
    ) -> None:
        self._workers = workers
        self._database = database
        self._index = GroupCommit(database)
        self._storage = storage
        self._options = options
        self._wanted = options.main_tags.wanted

    async def store(
        self, content: Content, origin: Origin, *, check: Check | None = None
    ) -> StoreOutcome:
        """Store the bytes of one DICOM file.

        Parameters
        ----------
        content
            A spooled content is closed in any case.
        check
            Called with the summary of the file before anything is stored; what it raises refuses
            the file.

        Raises
        ------
        BadFileFormatError
            If it is not DICOM, or an identifier is empty.
        MissingTagError
            If an identifier other than PatientID is missing.
        FullStorageError
            If no room is left.
        """
        return await self._workers.run(self.store_blocking, content, origin, check)

    def store_blocking(
        self, content: Content, origin: Origin, check: Check | None = None
    ) -> StoreOutcome:
        """Store as `store` does, on the calling thread."""
        if isinstance(content, SpooledContent):
            with content:
                content.flush_pending()
                return self._store(content, origin, check)
        return self._store(content, origin, check)

    def _store(self, content: Content, origin: Origin, check: Check | None) -> StoreOutcome:
        received_at = now()
        with _open_buffer(content) as buffer:
            if not len(buffer):
                message = "Received an empty DICOM file"
                raise BadFileFormatError(message)
            summary = read_summary(
                buffer, wanted=self._wanted, default_encoding=self._options.default_encoding
            )
        if check is not None:
            check(summary)
        identity = build_identity(summary)
        if self._is_settled(identity):
            return StoreOutcome(StoreStatus.ALREADY_STORED, identity.public_ids)
        description = FileDescription(summary, self._options.main_tags, origin, received_at)
        attachment = self._write_file(content)
        try:
            result = self._index.store(
                NewInstance(
                    public_ids=identity.public_ids,
                    describe=description.build,
                    attachments=(attachment,),
                    overwrite=self._options.overwrite,
                    stored_at=received_at,
                )
            )
        except Exception:
            self._discard(attachment)
            raise
        if not result.is_stored:
            self._discard(attachment)
        status = StoreStatus.SUCCESS if result.is_stored else StoreStatus.ALREADY_STORED
        return StoreOutcome(status, identity.public_ids)

    def _is_settled(self, identity: Identity) -> bool:
        """Tell whether the instance is stored already and will stay as it is.

        Only saves work: the transaction that writes the rows decides again.
        """
        if self._options.overwrite is not Overwrite.NEVER:
            return False
        public_id = identity.public_ids.instance
        return self._database.read(lambda tx: lookup_dicom_attachment(tx, public_id) is not None)

    def _write_file(self, content: Content) -> Attachment:
        """Write the file durably under a fresh name."""
        attachment_uuid = str(uuid.uuid4())
        if self._options.is_compressed:
            return self._write_compressed(content, attachment_uuid)
        if isinstance(content, SpooledContent):
            size, md5 = content.size_bytes, self._md5(content.iter_chunks())
            content.move_to(self._storage, attachment_uuid)
        else:
            size, md5 = len(content), self._md5((content,))
            self._storage.write(attachment_uuid, content)
        return Attachment(_DICOM, attachment_uuid, _AS_IS, size, size, md5, md5)

    def _write_compressed(self, content: Content, attachment_uuid: str) -> Attachment:
        size = content.size_bytes if isinstance(content, SpooledContent) else len(content)
        uncompressed_md5 = self._md5(_iter_chunks(content))
        compressed_md5 = hashlib.md5(usedforsecurity=False)
        compressed_size = 0
        with self._storage.open_writer(attachment_uuid) as writer:
            for chunk in iter_compressed(_iter_chunks(content), size):
                compressed_size += len(chunk)
                if self._options.has_md5:
                    compressed_md5.update(chunk)
                writer.write(chunk)
            writer.commit()
        return Attachment(
            _DICOM,
            attachment_uuid,
            _ZLIB,
            compressed_size,
            size,
            compressed_md5.hexdigest() if self._options.has_md5 else "",
            uncompressed_md5,
        )

    def _md5(self, chunks: Iterable[Buffer]) -> str:
        if not self._options.has_md5:
            return ""
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in chunks:
            digest.update(chunk)
        return digest.hexdigest()

    def _discard(self, attachment: Attachment) -> None:
        """Remove a file that no row will name; a failure leaves it to reconciliation."""
        try:
            self._storage.remove(attachment.attachment_uuid)
        except ServerError:
            _log.warning("cannot remove an unused file", exc_info=True)


@contextmanager
def _open_buffer(content: Content) -> Iterator[Buffer]:
    if isinstance(content, SpooledContent):
        with content.buffer() as buffer:
            yield buffer
    else:
        yield content


def _iter_chunks(content: Content) -> Iterable[Buffer]:
    return content.iter_chunks() if isinstance(content, SpooledContent) else (content,)
