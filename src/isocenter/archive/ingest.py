"""The one pipeline by which instances enter, whatever the door."""

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from isocenter.archive.blobs import Blobs
from isocenter.archive.description import FileDescription
from isocenter.archive.received import Content, Origin, StoreOutcome, StoreStatus
from isocenter.archive.workers import Workers
from isocenter.clock import now
from isocenter.dicom.identifiers import PublicIds
from isocenter.dicom.main_tags import MainTags
from isocenter.dicom.reader import FileSummary, Identity, build_identity, read_summary
from isocenter.errors import (
    BadFileFormatError,
    DatabaseUnavailableError,
    InternalError,
    ReadOnlyError,
    ServerError,
)
from isocenter.index.group_commit import GroupCommit
from isocenter.index.port import Database
from isocenter.index.reading import lookup_dicom_attachment
from isocenter.index.records import Attachment, NewInstance, Overwrite, Rules, StoreResult
from isocenter.storage.port import Buffer, Storage
from isocenter.storage.spool import SpooledContent

__all__ = ["Ingest", "IngestOptions"]

_log = logging.getLogger(__name__)

Check = Callable[[FileSummary], None]

# A second batch uses the processor while the first one waits for the disk.
_BATCHES = 2
_LARGEST_BATCH = 16
_LARGEST_IN_BATCH = 128 * 1024
_DICOM = 1
_AS_IS = 0
_NO_RULES = Rules()


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
    rules
        Limits of storage, and what else holds for the index.
    keeps_files
        Store the files; else only what the index knows of them (option ``StoreDicom``).
    is_read_only
        Refuse everything.
    """

    main_tags: MainTags
    overwrite: Overwrite = Overwrite.NEVER
    has_md5: bool = True
    is_compressed: bool = False
    default_encoding: str = "Latin1"
    rules: Rules = _NO_RULES
    keeps_files: bool = True
    is_read_only: bool = False


@dataclass(slots=True, eq=False)
class _Reception:
    """One instance on its way through a batch."""

    content: bytes
    origin: Origin
    check: Check | None
    future: "asyncio.Future[StoreOutcome]"
    prepared: "_Prepared | None" = None
    attachment: Attachment | None = None
    outcome: StoreOutcome | None = None
    error: Exception | None = None

    def resolve(self) -> None:
        """Tell the one who stores the instance; on the event loop."""
        if self.future.done():
            return
        if self.outcome is not None:
            self.future.set_result(self.outcome)
        else:
            self.future.set_exception(self.error or InternalError("the batch was cut off"))


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is known of a file once its header was read."""

    identity: Identity
    description: FileDescription
    received_at: int


class Ingest:
    """Stores instances: header, identifiers, overwrite rule, durable file, durable rows.

    Small instances that arrive together go through the pipeline as a batch: one hop to a worker
    thread, one wait for the disk for their files, one transaction for their rows. An instance that
    arrives alone is a batch of one. Large ones have a thread each. When `store` returns, the
    instance survives a power failure.

    Parameters
    ----------
    on_removals
        Called, on any thread, when files of others are to be removed from the storage area.

    Attributes
    ----------
    blobs
        How files are written.

    References
    ----------
    Orthanc REST: POST /instances, pipeline (behaviour manual §8.2)
    """

    def __init__(
        self,
        workers: Workers,
        database: Database,
        storage: Storage,
        options: IngestOptions,
        on_removals: Callable[[], None] | None = None,
    ) -> None:
        self._workers = workers
        self._database = database
        self._index = GroupCommit(database, options.rules, on_removals)
        self._storage = storage
        self.blobs = Blobs(storage, has_md5=options.has_md5, is_compressed=options.is_compressed)
        self._options = options
        self._wanted = options.main_tags.wanted
        # Touched on the event loop only.
        self._queue: deque[_Reception] = deque()
        self._batches = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Release the threads; nothing is stored afterwards."""
        self.blobs.close()

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
            If no room is left, on the disk or within the limits of storage.
        ReadOnlyError
            If the server takes nothing.
        """
        if isinstance(content, SpooledContent):
            if content.path is not None or content.pending_bytes:
                return await self._workers.run(self.store_blocking, content, origin, check)
            with content, content.buffer() as buffer:
                content = bytes(buffer)
        if len(content) > _LARGEST_IN_BATCH or self._options.is_compressed:
            return await self._workers.run(self.store_blocking, content, origin, check)
        future: asyncio.Future[StoreOutcome] = asyncio.get_running_loop().create_future()
        self._queue.append(_Reception(content, origin, check, future))
        self._start_batch()
        return await future

    def _start_batch(self) -> None:
        """Send what waits to a worker thread, unless enough batches are under way."""
        if self._batches >= _BATCHES or not self._queue:
            return
        batch = [self._queue.popleft() for _ in range(min(len(self._queue), _LARGEST_BATCH))]
        self._batches += 1
        task = asyncio.get_running_loop().create_task(self._run_batch(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_batch(self, batch: list[_Reception]) -> None:
        try:
            await self._workers.run(self._store_batch, batch)
        finally:
            self._batches -= 1
            for reception in batch:
                reception.resolve()
            self._start_batch()

    def store_blocking(
        self, content: Content, origin: Origin, check: Check | None = None
    ) -> StoreOutcome:
        """Store one instance, on the calling thread."""
        if isinstance(content, SpooledContent):
            with content:
                content.flush_pending()
                return self._store(content, origin, check)
        return self._store(content, origin, check)

    def _store_batch(self, batch: Sequence[_Reception]) -> None:
        """Store a batch, on the calling thread; each reception gets an outcome or an error."""
        for reception in batch:
            try:
                reception.prepared = self._prepare(
                    reception.content, reception.origin, reception.check
                )
            except Exception as error:  # noqa: BLE001 - told to the one who stores it
                reception.error = error
        sound = [reception for reception in batch if reception.prepared is not None]
        try:
            self._write_files(sound)
        except Exception as error:  # noqa: BLE001 - told to those who store them
            for reception in sound:
                reception.error = error
            return
        self._write_rows(sound)

    def _write_files(self, batch: Sequence[_Reception]) -> None:
        """Write the files of a batch durably under fresh names."""
        if not self._options.keeps_files:
            return
        for reception in batch:
            size, md5 = len(reception.content), self.blobs.md5((reception.content,))
            name = str(uuid.uuid4())
            reception.attachment = Attachment(_DICOM, name, _AS_IS, size, size, md5, md5)
        blobs = [(r.attachment.attachment_uuid, r.content) for r in batch if r.attachment]
        try:
            self._storage.write_many(blobs)
        except Exception:
            for name, _ in blobs:
                self.blobs.discard(name)
            raise

    def _write_rows(self, batch: Sequence[_Reception]) -> None:
        instances = [
            self._build_row(reception.prepared, reception.attachment)
            for reception in batch
            if reception.prepared is not None
        ]
        for reception, new, result in zip(
            batch, instances, self._index.store_many(instances), strict=True
        ):
            if isinstance(result, Exception):
                reception.error = result
            else:
                reception.outcome = _build_outcome(result, PublicIds(*new.public_ids))
            if isinstance(result, Exception) or not result.is_stored:
                self._discard_unused(new, result)

    def _prepare(self, content: Content, origin: Origin, check: Check | None) -> _Prepared:
        if self._options.is_read_only:
            raise ReadOnlyError
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
        description = FileDescription(summary, self._options.main_tags, origin, received_at)
        return _Prepared(identity, description, received_at)

    def _build_row(self, prepared: _Prepared, attachment: Attachment | None) -> NewInstance:
        return NewInstance(
            public_ids=prepared.identity.public_ids,
            describe=prepared.description.build,
            attachments=() if attachment is None else (attachment,),
            overwrite=self._options.overwrite,
            stored_at=prepared.received_at,
        )

    def _store(self, content: Content, origin: Origin, check: Check | None) -> StoreOutcome:
        prepared = self._prepare(content, origin, check)
        public_ids = prepared.identity.public_ids
        if self._is_settled(public_ids.instance):
            return StoreOutcome(StoreStatus.ALREADY_STORED, public_ids)
        attachment = self.blobs.write(content, _DICOM) if self._options.keeps_files else None
        new = self._build_row(prepared, attachment)
        try:
            result = self._index.store(new)
        except Exception as error:
            self._discard_unused(new, error)
            raise
        if not result.is_stored:
            self._discard_unused(new, result)
        return _build_outcome(result, public_ids)

    def _is_settled(self, public_id: str) -> bool:
        """Tell whether an instance is stored already and will stay as it is.

        Only saves the writing of a large file: the transaction that writes the rows decides again.
        """
        if self._options.overwrite is not Overwrite.NEVER:
            return False
        return self._database.read(lambda tx: lookup_dicom_attachment(tx, public_id) is not None)

    def _discard_unused(self, new: NewInstance, result: StoreResult | Exception) -> None:
        """Remove the file of an instance that was not stored, where that is certain.

        A commit whose answer was lost may have succeeded; a row then names the file.
        """
        if new.dicom is None:
            return
        name, public_id = new.dicom.attachment_uuid, new.public_ids[3]
        if isinstance(result, DatabaseUnavailableError):
            _log.warning("a file may be unused; a check of the storage will tell")
            return
        try:
            found = self._database.read(lambda tx: lookup_dicom_attachment(tx, public_id))
        except ServerError:
            _log.warning("cannot tell whether a file is used", exc_info=True)
            return
        if found is None or found.attachment.attachment_uuid != name:
            self.blobs.discard(name)


@contextmanager
def _open_buffer(content: Content) -> Iterator[Buffer]:
    if isinstance(content, SpooledContent):
        with content.buffer() as buffer:
            yield buffer
    else:
        yield content


def _build_outcome(result: StoreResult, public_ids: PublicIds) -> StoreOutcome:
    status = StoreStatus.SUCCESS if result.is_stored else StoreStatus.ALREADY_STORED
    return StoreOutcome(status, public_ids)
