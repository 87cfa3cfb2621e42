"""The one pipeline by which instances enter, whatever the door."""

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter

from isocenter.archive.blobs import Blobs
from isocenter.archive.conversion import Converter
from isocenter.archive.description import FileDescription
from isocenter.archive.memo import Memo
from isocenter.archive.received import (
    Content,
    Origin,
    StoreOutcome,
    StoreStatus,
    close_content,
    open_buffer,
)
from isocenter.archive.settings import Settings
from isocenter.archive.threads import Job, JobThreads, call_on_loop
from isocenter.archive.workers import Workers, WouldWaitError
from isocenter.clock import now
from isocenter.dicom.identifiers import PublicIds
from isocenter.dicom.main_tags import MainTags
from isocenter.dicom.reader import FileSummary, Identity, build_identity
from isocenter.dicom.summary_memory import SummaryMemory
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
from isocenter.index.records import (
    NO_RULES,
    Attachment,
    NewInstance,
    Overwrite,
    Quota,
    Rules,
    StoreResult,
)
from isocenter.measures import Measures
from isocenter.storage.names import new_uuid
from isocenter.storage.port import Buffer, Storage
from isocenter.storage.spool import SpooledContent

__all__ = ["Ingest", "IngestOptions"]

_log = logging.getLogger(__name__)

Check = Callable[[FileSummary], None]

# Where the disk or the network is slow, a second batch uses the processor meanwhile.
_MOST_BATCHES = 2
_LARGEST_BATCH = 16
_LARGEST_BATCH_BYTES = 4 * 1024 * 1024
# Up to here the disk is done before another thread is awake.
_LARGEST_AT_ONCE = 128 * 1024
# What a journal takes (`storage.segment`). The rows of longer ones are written after their files.
_LARGEST_TOGETHER = 1024 * 1024
_DISK_THREADS = 4
_DICOM = 1
_AS_IS = 0


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
    settings
        Tell the character set of files that name none.
    measures
        Where to note how long it takes.
    rules
        Limits of storage, and what else holds for the index.
    keeps_files
        Store the files; else only what the index knows of them (option ``StoreDicom``).
    is_read_only
        Refuse everything.
    converter
        Brings files into another transfer syntax first (option ``IngestTranscoding``).
    summaries
        How earlier files were read.
    """

    main_tags: MainTags
    overwrite: Overwrite = Overwrite.NEVER
    has_md5: bool = True
    is_compressed: bool = False
    settings: Settings = field(default_factory=Settings)
    measures: Measures = field(default_factory=Measures)
    rules: Rules = NO_RULES
    keeps_files: bool = True
    is_read_only: bool = False
    converter: Converter | None = None
    summaries: SummaryMemory = field(default_factory=SummaryMemory)


Settle = Callable[[], None]


@dataclass(slots=True, eq=False)
class _Reception:
    """One instance on its way through a batch.

    Attributes
    ----------
    name
        Of the blob.
    """

    content: bytes
    memo: Memo
    name: str
    check: Check | None = None
    future: "asyncio.Future[StoreOutcome] | None" = None
    prepared: "_Prepared | None" = None
    outcome: StoreOutcome | None = None
    error: Exception | None = None

    def resolve(self) -> None:
        """Tell the one who stores the instance; on the event loop."""
        if self.future is None or self.future.done():
            return
        if self.outcome is not None:
            self.future.set_result(self.outcome)
        else:
            self.future.set_exception(self.get_error())

    def get_error(self) -> Exception:
        """Give the reason why there is no outcome."""
        return self.error or InternalError("the batch was cut off")


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is known of a file once its header was read."""

    identity: Identity
    description: FileDescription
    memo: Memo


_Result = tuple[_Reception, NewInstance, StoreResult | Exception]


class Ingest:
    """Stores instances: header, identifiers, overwrite rule, durable file, durable rows.

    Instances that arrive together go through the pipeline as a batch: one hop to a worker thread,
    one wait for the disk for their files, one transaction for their rows, which is prepared while
    the disk works. With a journal there is one batch at a time: a second one would make both
    smaller, and their threads would mostly wait for one another. An instance that arrives alone is
    a batch of one. Those that are long or do not lie in memory have another way. When `store`
    returns, the instance survives a power failure.

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
    Orthanc REST: POST /instances, pipeline (behaviour manual §8.2); Decision 0010
    """

    def __init__(
        self,
        workers: Workers,
        database: Database,
        storage: Storage,
        options: IngestOptions,
        on_removals: Callable[[], None] | None = None,
    ) -> None:
        self._measures = options.measures
        self._workers = workers
        self._database = database
        self._index = GroupCommit(database, options.rules, on_removals)
        # What was acknowledged found its room then, and comes back whatever the limits are now.
        boundless = replace(options.rules, quota=Quota())
        self._redone = GroupCommit(database, boundless, on_removals)
        self._storage = storage
        self.blobs = Blobs(storage, has_md5=options.has_md5, is_compressed=options.is_compressed)
        self._options = options
        self._wanted = options.main_tags.wanted
        self._summaries = options.summaries
        self._threads = JobThreads(workers.count, "ingest")
        self._disk = JobThreads(_DISK_THREADS, "disk")
        # Touched on the event loop only.
        self._queue: deque[_Reception] = deque()
        self._batches = 0
        self._most_batches = 1 if storage.keeps_memos else _MOST_BATCHES

    def close(self) -> None:
        """Release the threads; nothing is stored afterwards."""
        for threads in (self._threads, self._disk):
            threads.close()
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
        started_at = perf_counter()
        if self._options.converter is not None:
            content, check = await self._convert(content, check), None
        outcome = await self._take(content, origin, check)
        if self._measures.is_enabled:
            self._measures.store_dicom.note_since(started_at)
        return outcome

    async def _take(self, content: Content, origin: Origin, check: Check | None) -> StoreOutcome:
        """Choose the way through the pipeline."""
        if isinstance(content, SpooledContent):
            if content.path is not None or content.pending_bytes:
                return await self._workers.run(self.store_blocking, content, origin, check)
            content = content.take() or b""
        if len(content) > _LARGEST_TOGETHER or self._options.is_compressed:
            return await self._workers.run(self.store_blocking, content, origin, check)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[StoreOutcome] = loop.create_future()
        reception = self._receive(content, origin, check, future)
        if len(content) > _LARGEST_AT_ONCE and not self._storage.keeps_memos:
            # A storage without a journal may take long, and takes many at a time.
            self._threads.call(partial(self._run_batch, [reception], loop, reception.resolve))
        else:
            self._queue.append(reception)
            self._start_batch(loop)
        return await future

    def _start_batch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send what waits to a worker thread, unless enough batches are under way."""
        if self._batches >= self._most_batches or not self._queue:
            return
        batch = self._take_batch()
        self._batches += 1
        end = partial(self._end_batch, batch, loop)
        self._threads.call(partial(self._run_batch, batch, loop, end))

    def _take_batch(self) -> list[_Reception]:
        """Take as many as go together, at least one."""
        batch = [self._queue.popleft()]
        size = len(batch[0].content)
        while self._queue and len(batch) < _LARGEST_BATCH:
            size += len(self._queue[0].content)
            if size > _LARGEST_BATCH_BYTES:
                break
            batch.append(self._queue.popleft())
        return batch

    def _run_batch(
        self,
        batch: list[_Reception],
        loop: asyncio.AbstractEventLoop,
        on_end: Callable[[], None],
    ) -> None:
        """Store a batch in a thread of ours."""
        try:
            self._store_batch(batch)
        except Exception as error:  # noqa: BLE001 - told to those who store something
            for reception in batch:
                reception.error = reception.error or error
        call_on_loop(loop, on_end)

    def _end_batch(self, batch: list[_Reception], loop: asyncio.AbstractEventLoop) -> None:
        self._batches -= 1
        self._start_batch(loop)
        for reception in batch:
            reception.resolve()

    def store_blocking(
        self, content: Content, origin: Origin, check: Check | None = None
    ) -> StoreOutcome:
        """Store one instance as it came, on the calling thread."""
        if isinstance(content, SpooledContent):
            with content:
                content.flush_pending()
                return self._store(content, origin, check)
        if self._options.is_compressed or len(content) > _LARGEST_TOGETHER:
            return self._store(content, origin, check)
        reception = self._receive(content, origin, check)
        self._store_batch([reception])
        if reception.outcome is None:
            raise reception.get_error()
        return reception.outcome

    def _receive(
        self,
        content: bytes,
        origin: Origin,
        check: Check | None,
        future: "asyncio.Future[StoreOutcome] | None" = None,
    ) -> _Reception:
        return _Reception(content, self._new_memo(origin), new_uuid(), check, future)

    def _new_memo(self, origin: Origin) -> Memo:
        return Memo(origin, now(), self._options.overwrite, self._options.has_md5)

    def store_again(self, blobs: Sequence[tuple[str, Memo]]) -> list[StoreOutcome | Exception]:
        """Write the rows of some instances again whose files are there, on the calling thread.

        Parameters
        ----------
        blobs
            Names of their files, and how they were received.

        Returns
        -------
        list of StoreOutcome or Exception
            What became of each, or why it cannot be stored. What is refused loses its file.
        """
        batch = [_Reception(self._storage.read(name), memo, name) for name, memo in blobs]
        sound = self._begin_all(batch)
        rows = [self._describe(reception) for reception in sound]
        results = self._redone.store_many(rows, lambda: True)
        for _, new, result in self._note_results(sound, rows, results):
            if not isinstance(result, Exception) and not result.is_stored:
                self._discard_unused(new, result)
        for reception in batch:
            if reception.prepared is None:
                self.blobs.discard(reception.name)
        return [reception.outcome or reception.get_error() for reception in batch]

    def _store_batch(self, batch: Sequence[_Reception]) -> None:
        """Store a batch, on the calling thread; each reception gets an outcome or an error."""
        sound = self._begin_all(batch)
        if not sound:
            return
        if not self._options.keeps_files:
            self._write_rows(sound)
            return
        blobs = Job(partial(self._write_blobs, sound))
        size = sum(len(reception.content) for reception in sound)
        if self._storage.keeps_memos and size > _LARGEST_AT_ONCE:
            self._disk.call(blobs.run)
        else:
            # Waking another thread would take as long as the disk, or the disk may take so long
            # that nobody else should have to wait with their rows.
            blobs.run()
        try:
            for reception, new, result in self._write_rows(sound, blobs):
                if blobs.wait() is not None:
                    self.blobs.discard(reception.name)
                elif isinstance(result, Exception) or not result.is_stored:
                    self._discard_unused(new, result)
        finally:
            settle = None if blobs.wait() else blobs.result()
            if settle is not None:
                settle()

    def _begin_all(self, batch: Sequence[_Reception]) -> list[_Reception]:
        """Read the headers of a batch; keep those that can be stored."""
        for reception in batch:
            try:
                reception.prepared = self._prepare(
                    reception.content, reception.memo, reception.check
                )
            except Exception as error:  # noqa: BLE001 - told to the one who stores it
                reception.error = error
        return [reception for reception in batch if reception.prepared is not None]

    def _write_blobs(self, batch: Sequence[_Reception]) -> Settle | None:
        """Write the blobs of a batch durably, with what their rows can be written from again."""
        blobs = [(reception.name, reception.content) for reception in batch]
        memos = [reception.memo.encode() for reception in batch]
        return self._storage.write_many(blobs, memos)

    def _write_rows(
        self, batch: Sequence[_Reception], blobs: Job[Settle | None] | None = None
    ) -> list[_Result]:
        """Write the rows of a batch while its blobs are on their way to the disk, if it has any."""
        rows = [self._describe(reception) for reception in batch]
        results = self._index.store_many(
            rows, lambda: blobs is not None and blobs.result() is not None
        )
        return self._note_results(batch, rows, results)

    def _note_results(
        self,
        batch: Sequence[_Reception],
        rows: Sequence[NewInstance],
        results: Sequence[StoreResult | Exception],
    ) -> list[_Result]:
        for reception, new, result in zip(batch, rows, results, strict=True):
            if isinstance(result, Exception):
                reception.error = result
            else:
                reception.outcome = _build_outcome(result, PublicIds(*new.public_ids))
        return list(zip(batch, rows, results, strict=True))

    def _describe(self, reception: _Reception) -> NewInstance:
        assert reception.prepared is not None, "only sound receptions get rows"  # noqa: S101
        if not self._options.keeps_files:
            return self._build_row(reception.prepared, None)
        size = len(reception.content)
        md5 = _compute_md5(reception.content) if reception.memo.has_md5 else ""
        return self._build_row(
            reception.prepared, Attachment(_DICOM, reception.name, _AS_IS, size, size, md5, md5)
        )

    def _prepare(self, content: Content, memo: Memo, check: Check | None) -> _Prepared:
        if self._options.is_read_only:
            raise ReadOnlyError
        with open_buffer(content) as buffer:
            if not len(buffer):
                message = "Received an empty DICOM file"
                raise BadFileFormatError(message)
            summary = self._summaries.read_summary(
                buffer,
                wanted=self._wanted,
                default_encoding=self._options.settings.default_encoding,
            )
        if check is not None:
            check(summary)
        identity = build_identity(summary)
        description = FileDescription(
            summary, self._options.main_tags, memo.origin, memo.received_at
        )
        return _Prepared(identity, description, memo)

    def _build_row(self, prepared: _Prepared, attachment: Attachment | None) -> NewInstance:
        return NewInstance(
            public_ids=prepared.identity.public_ids,
            describe=prepared.description.build,
            attachments=() if attachment is None else (attachment,),
            overwrite=prepared.memo.overwrite,
            stored_at=prepared.memo.received_at,
        )

    def _store(self, content: Content, origin: Origin, check: Check | None) -> StoreOutcome:
        prepared = self._prepare(content, self._new_memo(origin), check)
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

    async def store_jointly(
        self, contents: Sequence[SpooledContent], origin: Origin
    ) -> list[StoreOutcome]:
        """Store some instances: all of them, or none if one is refused.

        Parameters
        ----------
        contents
            Closed in any case.

        Raises
        ------
        ServerError
            As by `store`.
        """
        opened: list[Content] = [*contents]
        if self._options.converter is not None:
            try:
                for position, content in enumerate(contents):
                    opened[position] = await self._convert(content)
            except BaseException:
                for each in opened:
                    close_content(each)
                raise
        return await self._workers.run(self._store_jointly, opened, origin)

    def _store_jointly(self, contents: Sequence[Content], origin: Origin) -> list[StoreOutcome]:
        memo = self._new_memo(origin)
        rows: list[NewInstance] = []
        try:
            for content in contents:
                prepared = self._prepare(content, memo, None)
                keeps = self._options.keeps_files
                attachment = self.blobs.write(content, _DICOM) if keeps else None
                rows.append(self._build_row(prepared, attachment))
            results = self._index.store_jointly(rows)
        except Exception as error:
            for new in rows:
                self._discard_unused(new, error)
            raise
        finally:
            for content in contents:
                close_content(content)
        for new, result in zip(rows, results, strict=True):
            if not result.is_stored:
                self._discard_unused(new, result)
        pairs = zip(rows, results, strict=True)
        return [_build_outcome(result, PublicIds(*new.public_ids)) for new, result in pairs]

    async def _convert(self, content: Content, check: Check | None = None) -> Content:
        """Bring a file into the transfer syntax of the archive; the door checks what came.

        Only what is to be converted waits for the threads that do it.
        """
        converter = self._options.converter
        if converter is None or self._options.is_read_only:
            return content
        try:
            is_wanted = await self._workers.run(converter.is_wanted, content, check)
        except WouldWaitError:
            raise
        except BaseException:
            close_content(content)
            raise
        return await converter.convert(content) if is_wanted else content

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


def _compute_md5(content: Buffer) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _build_outcome(result: StoreResult, public_ids: PublicIds) -> StoreOutcome:
    status = StoreStatus.SUCCESS if result.is_stored else StoreStatus.ALREADY_STORED
    return StoreOutcome(status, public_ids)
