"""The job kinds ``Archive`` and ``Media``: ZIP archives in parts that survive a crash.

References
----------
Orthanc REST: archives (behaviour manual §22), job types (§17)
"""

import hashlib
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass, field
from typing import Any

import msgspec

from isocenter.archive.exporting import (
    FILES_AHEAD,
    Exporter,
    ExportPlan,
    ExportRequest,
    MissingFile,
    Written,
)
from isocenter.archive.packaging import PackagedFile
from isocenter.archive.transcoding import describe_target, parse_target
from isocenter.archive.workers import Workers
from isocenter.archive.zip_format import ZipEntry, ZipFormat
from isocenter.clock import now_us
from isocenter.dicom.directory import Directory, DirectoryRecord
from isocenter.errors import BadJobStateError, build_error
from isocenter.index.job_outputs import (
    Output,
    OutputLimits,
    Part,
    add_output,
    add_part,
    discard_parts,
    discard_unsaved,
    evict_outputs,
    list_parts,
)
from isocenter.index.port import Transaction
from isocenter.jobs.records import Apply, FailedItem, Job, NewJob, Step
from isocenter.storage.port import Storage

__all__ = ["ARCHIVE", "FILES_AHEAD", "ArchiveKind", "build_archive_job", "build_archive_kinds"]

ARCHIVE = "archive"
"""Name of the output (behaviour manual §16.4)."""

_ARCHIVE_KIND = "Archive"
_MEDIA_KIND = "Media"
_MEDIA_TYPE = "application/zip"
# A part ends at the first file behind so many bytes, or after so many files: half a second of work.
_PART_BYTES = 48 * 1024 * 1024
_PART_FILES = 2000
# Names and files of so many are hashed on the event loop.
_FEW_FILES = 500
# An archive that is built at once in a thread.
_SMALL_BYTES = 1 << 20
_SMALL_FILES = 50
_MIB = 1024 * 1024
# Written to the disk at once.
_CHUNK_BYTES = 1 << 20


def build_archive_job(plan: ExportPlan, file_name: str) -> NewJob:
    """Build a job that writes an archive or a medium."""
    request = plan.request
    return NewJob(
        _MEDIA_KIND if request.is_media else _ARCHIVE_KIND,
        {
            "Resources": list(request.resources),
            "Utf8": request.is_utf8,
            "Manifest": request.has_manifest,
            "Extended": request.is_extended,
            "FileName": file_name,
            **({} if request.target is None else describe_target(request.target)),
        },
        plan.describe(),
    )


def build_archive_kinds(
    workers: Workers,
    storage: Storage,
    exporter: Exporter,
    limits: OutputLimits,
    *,
    count_ahead: Callable[[str], int] = lambda _: FILES_AHEAD,
) -> "list[ArchiveKind]":
    """Build the kinds of jobs that write archives.

    Parameters
    ----------
    count_ahead
        Tells how many files a job of a kind reads, transcodes and compresses at once.
    """
    return [
        ArchiveKind(workers, storage, exporter, limits, is_media=is_media, ahead=count_ahead(name))
        for name, is_media in ((_ARCHIVE_KIND, False), (_MEDIA_KIND, True))
    ]


class ArchiveKind:
    """Writes archives part by part; each part is durable before its step is saved.

    After a crash the archive goes on behind its last part, unless what is stored has changed: then
    it begins anew.

    Parameters
    ----------
    is_media
        Write media, with a DICOMDIR.
    ahead
        How many files are read, transcoded and compressed at once.
    """

    def __init__(
        self,
        workers: Workers,
        storage: Storage,
        exporter: Exporter,
        limits: OutputLimits,
        *,
        is_media: bool = False,
        ahead: int = FILES_AHEAD,
    ) -> None:
        self.name = _MEDIA_KIND if is_media else _ARCHIVE_KIND
        self._workers = workers
        self._storage = storage
        self._exporter = exporter
        self._limits = limits
        self._ahead = ahead

    async def run(self, job: Job) -> AsyncIterator[Step]:
        """Write the archive (see `JobKind.run`)."""
        plan = await self._exporter.plan(self._build_request(job.arguments))
        is_short = len(plan.files) <= _FEW_FILES
        digest = _digest(plan) if is_short else await self._workers.run(_digest, plan)
        archive = await self._go_on(job, plan, digest)
        # The file of a part has its name in the checkpoint before it is written: what a crash cuts
        # off is known.
        if job.is_new and _is_short(plan):
            # Its only part has a name that is known without a step for it. Whoever takes the job
            # over draws another one, as this server may still write then.
            archive = _Unfinished(following=_build_first_name(job))
        elif archive is not None:
            checkpoint = _build_checkpoint(digest, archive)
            yield Step(checkpoint, apply=lambda tx: _forget_following(tx, job))
        else:
            archive = _Unfinished()
            # If what is stored has changed, the parts that there are belong to another archive.
            discard = None if job.is_new else _discard(job)
            yield Step(_build_checkpoint(digest, archive), 0, plan.describe(), discard)
        while True:
            step = await self._write_part(job, plan, archive, digest)
            yield step
            if step.is_last:
                return

    def _build_request(self, arguments: Mapping[str, Any]) -> ExportRequest:
        return ExportRequest(
            tuple(arguments["Resources"]),
            is_utf8=arguments["Utf8"],
            has_manifest=arguments["Manifest"],
            is_media=self.name == _MEDIA_KIND,
            is_extended=arguments.get("Extended", False),
            target=parse_target(arguments),
        )

    async def _go_on(self, job: Job, plan: ExportPlan, digest: str) -> "_Unfinished | None":
        """Find where the job stopped; ``None`` if it must begin at the beginning."""
        if job.checkpoint is None or job.checkpoint.get("Plan") != digest:
            return None
        return await self._workers.read_long(
            lambda tx: _read_parts(plan, list_parts(tx, job.job_id, ARCHIVE))
        )

    async def _write_part(
        self, job: Job, plan: ExportPlan, archive: "_Unfinished", digest: str
    ) -> Step:
        """Write the next part, and note in the archive what is in it; the last one has the end."""
        written, number = archive.written, archive.number
        entries, missing = written.writer.count, len(written.missing)
        records = len(written.directory)
        files = _take(plan.files, archive.done)
        archive.number += 1
        archive.done += len(files)
        is_last = archive.done == len(plan.files)
        name, archive.following = archive.following, "" if is_last else _draw_name()
        if is_last and number == 0 and _is_small(plan):
            part = await self._workers.run(self._store_small, name, plan, written)
        else:
            pieces = self._write(plan, files, written, is_last=is_last)
            part = await self._store(name, pieces)
        failed = [
            (m.file.public_id, m.error.code, m.error.message) for m in written.missing[missing:]
        ]
        if not is_last:
            document = _Document(
                archive.done,
                [astuple(entry) for entry in written.writer.list_from(entries)],
                failed,
                written.directory.list_from(records),
            )
            text = msgspec.json.encode(document).decode()
            part = Part(part.attachment_uuid, part.size_bytes, text)
        output = self._build_output(job, written) if is_last else None
        return Step(
            _build_checkpoint(digest, archive),
            100 if is_last else 99 * archive.done // len(plan.files),
            _describe(plan, written),
            lambda tx: self._keep(tx, job, number, part, output),
            [FailedItem(*item) for item in failed],
            is_last=is_last,
        )

    async def _write(
        self, plan: ExportPlan, files: Sequence[PackagedFile], written: Written, *, is_last: bool
    ) -> AsyncIterator[bytes]:
        async for piece in self._exporter.write(plan, files, written, ahead=self._ahead):
            yield piece
        if is_last:
            async for piece in self._exporter.finish(plan, written):
                yield piece

    def _build_output(self, job: Job, written: Written) -> Output:
        name = str(job.arguments["FileName"])
        return Output(name, _MEDIA_TYPE, written.writer.offset, now_us())

    def _keep(
        self, tx: Transaction, job: Job, number: int, part: Part, output: Output | None
    ) -> None:
        """Keep a part, and offer the archive with the last one."""
        add_part(tx, job.job_id, ARCHIVE, number, part)
        if output is not None:
            add_output(tx, job.job_id, ARCHIVE, output)
            evict_outputs(tx, self._limits, now_us=output.created_at)

    def _store_small(self, name: str, plan: ExportPlan, written: Written) -> Part:
        """Build a whole archive and write it, in one hop to a thread."""
        content = self._exporter.build(plan, written)
        self._storage.write(name, content)
        return Part(name, len(content))

    async def _store(self, name: str, pieces: AsyncIterator[bytes]) -> Part:
        """Write a part durably."""
        chunks = _gather(pieces)
        first = await anext(chunks, b"")
        second = await anext(chunks, None)
        if second is None:
            # A small part shares the wait for the disk with others.
            await self._workers.run(self._storage.write, name, first)
            return Part(name, len(first))
        with ExitStack() as stack:
            writer = await self._workers.run(
                lambda: stack.enter_context(self._storage.open_writer(name))
            )
            await self._workers.run(writer.write, first)
            await self._workers.run(writer.write, second)
            size = len(first) + len(second)
            async for chunk in chunks:
                size += len(chunk)
                await self._workers.run(writer.write, chunk)
            await self._workers.run(writer.commit)
        return Part(name, size)

    def abandon(self, job: Job) -> Apply | None:
        """Remove the parts (see `JobKind.abandon`)."""
        return _discard(job)

    def build_retry(self, job: Job, failed: list[FailedItem]) -> NewJob:  # noqa: ARG002
        """Refuse: an archive without the rest of its files is of no use."""
        raise BadJobStateError("archives cannot be completed; submit a new one")


def _draw_name() -> str:
    return str(uuid.uuid4())


def _build_first_name(job: Job) -> str:
    """Name the blob of a small archive: another one for each new beginning."""
    digest = hashlib.sha256(f"{job.job_id} {job.started_at} archive".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


@dataclass(slots=True)
class _Unfinished:
    """What of an archive is done.

    Attributes
    ----------
    number
        How many parts there are.
    done
        How many files were dealt with.
    following
        Name of the blob of the next part; a fresh one for each attempt, as a server that has lost
        the job may still write.
    """

    number: int = 0
    done: int = 0
    written: Written = field(default_factory=Written)
    following: str = field(default_factory=_draw_name)


class _Document(msgspec.Struct, array_like=True):
    """What is kept of a part for the next one.

    Attributes
    ----------
    missing
        Instance, number of the error, message.
    records
        Of the DICOMDIR.
    """

    done: int
    entries: list[tuple[Any, ...]]
    missing: list[tuple[str, int, str]]
    records: list[DirectoryRecord]


def _read_parts(plan: ExportPlan, parts: Sequence[Part]) -> _Unfinished:
    """Read what was done in the parts that are kept."""
    documents = [msgspec.json.decode(part.document, type=_Document) for part in parts]
    files = {file.public_id: file for file in plan.files}
    written = Written(
        ZipFormat(
            sum(part.size_bytes for part in parts),
            (ZipEntry(*entry) for document in documents for entry in document.entries),
        ),
        [
            MissingFile(files[name], build_error(code, message))
            for document in documents
            for name, code, message in document.missing
        ],
        Directory(record for document in documents for record in document.records),
    )
    return _Unfinished(len(parts), documents[-1].done if documents else 0, written)


def _is_short(plan: ExportPlan) -> bool:
    """Tell whether an archive is built at once and has one part."""
    return _is_small(plan) and len(_take(plan.files, 0)) == len(plan.files)


def _is_small(plan: ExportPlan) -> bool:
    if plan.request.target is not None:
        # Transcoding takes threads of its own, and small files may become large ones.
        return False
    return plan.uncompressed_size <= _SMALL_BYTES and len(plan.files) <= _SMALL_FILES


def _digest(plan: ExportPlan) -> str:
    """Name a plan, so that a job goes on only with the same one."""
    digest = hashlib.sha256()
    for file in plan.files:
        digest.update(f"{file.name}\0{file.attachment.attachment_uuid}\0".encode())
    return digest.hexdigest()


def _take(files: Sequence[PackagedFile], start: int) -> list[PackagedFile]:
    taken: list[PackagedFile] = []
    size = 0
    for file in files[start : start + _PART_FILES]:
        taken.append(file)
        size += file.attachment.uncompressed_size
        if size >= _PART_BYTES:
            break
    return taken


async def _gather(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Join small pieces to larger ones, so that each hop to a thread is worth it."""
    waiting: list[bytes] = []
    size = 0
    async for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _CHUNK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _describe(plan: ExportPlan, written: Written) -> dict[str, Any]:
    size = written.writer.offset
    return {
        **plan.describe(),
        "ArchiveSize": str(size),
        "ArchiveSizeMB": size // _MIB,
        "FailedInstancesCount": len(written.missing),
    }


def _build_checkpoint(digest: str, archive: _Unfinished) -> dict[str, Any]:
    return {"Plan": digest, "Next": archive.following}


def _discard(job: Job) -> Apply:
    def apply(tx: Transaction) -> None:
        discard_parts(tx, job.job_id, ARCHIVE)
        _forget_following(tx, job)

    return apply


def _forget_following(tx: Transaction, job: Job) -> None:
    """Remove the part that a crash cut off, if there is one."""
    if job.checkpoint is not None:
        name = job.checkpoint["Next"]
    else:
        name = "" if job.started_at is None else _build_first_name(job)
    if name:
        discard_unsaved(tx, name)
