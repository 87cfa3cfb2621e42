"""The job kind ``Archive``: a ZIP archive for download, built in parts that survive a crash.

References
----------
Orthanc REST: archives (behaviour manual §22), job types (§17)
"""

import hashlib
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass, field
from typing import Any

import msgspec

from isocenter.archive.exporting import Exporter, ExportPlan, ExportRequest, MissingFile
from isocenter.archive.packaging import PackagedFile
from isocenter.archive.workers import Workers
from isocenter.archive.zip_format import ZipEntry, ZipFormat
from isocenter.clock import now_us
from isocenter.errors import BadJobStateError, MissingFileError
from isocenter.index.job_outputs import (
    Output,
    OutputLimits,
    Part,
    add_output,
    add_part,
    discard_parts,
    evict_outputs,
    list_parts,
)
from isocenter.index.port import Transaction
from isocenter.jobs.records import Apply, FailedItem, Job, NewJob, Step
from isocenter.storage.port import Storage

__all__ = ["ARCHIVE", "ArchiveKind", "build_archive_job"]

ARCHIVE = "archive"
"""Name of the output (behaviour manual §16.4)."""

_KIND = "Archive"
_MEDIA_TYPE = "application/zip"
# A part ends at the first file behind so many bytes: half a second of work.
_PART_BYTES = 48 * 1024 * 1024
_MIB = 1024 * 1024
# Written to the disk at once.
_CHUNK_BYTES = 1 << 20


def build_archive_job(plan: ExportPlan, file_name: str) -> NewJob:
    """Build a job that writes an archive."""
    request = plan.request
    return NewJob(
        _KIND,
        {
            "Resources": list(request.resources),
            "Utf8": request.is_utf8,
            "Manifest": request.has_manifest,
            "FileName": file_name,
        },
        plan.describe(),
    )


class ArchiveKind:
    """Writes archives part by part; each part is durable before its step is saved.

    After a crash the archive goes on behind its last part, unless what is stored has changed: then
    it begins anew.
    """

    name = _KIND

    def __init__(
        self, workers: Workers, storage: Storage, exporter: Exporter, limits: OutputLimits
    ) -> None:
        self._workers = workers
        self._storage = storage
        self._exporter = exporter
        self._limits = limits

    async def run(self, job: Job) -> AsyncIterator[Step]:
        """Write the archive (see `JobKind.run`)."""
        plan = await self._exporter.plan(_build_request(job.arguments))
        digest = _digest(plan)
        archive = await self._go_on(job, digest)
        if archive is None:
            yield Step({"Plan": digest}, 0, plan.describe(), _discard(job))
            archive = _Unfinished()
        while archive.done < len(plan.files):
            step, archive = await self._write_part(job, plan, archive)
            yield step
        yield await self._finish(job, plan, archive)

    async def _go_on(self, job: Job, digest: str) -> "_Unfinished | None":
        """Find where the job stopped; ``None`` if it must begin at the beginning."""
        if job.checkpoint is None or job.checkpoint.get("Plan") != digest:
            return None
        parts = await self._workers.read_long(lambda tx: list_parts(tx, job.job_id, ARCHIVE))
        archive = _Unfinished()
        for part in parts:
            document = msgspec.json.decode(part.document)
            archive = _Unfinished(
                archive.number + 1,
                document["Done"],
                archive.offset + part.size_bytes,
                [*archive.entries, *(ZipEntry(*entry) for entry in document["Entries"])],
                [*archive.missing, *document["Missing"]],
            )
        return archive

    async def _write_part(
        self, job: Job, plan: ExportPlan, archive: "_Unfinished"
    ) -> "tuple[Step, _Unfinished]":
        files = _take(plan.files[archive.done :])
        writer = ZipFormat(archive.offset, archive.entries)
        missing: list[MissingFile] = []
        part = await self._store(self._exporter.write(files, writer, missing))
        new = _Unfinished(
            archive.number + 1,
            archive.done + len(files),
            writer.offset,
            writer.entries,
            [*archive.missing, *(m.file.public_id for m in missing)],
        )
        document = {
            "Done": new.done,
            "Entries": [astuple(entry) for entry in new.entries[len(archive.entries) :]],
            "Missing": [m.file.public_id for m in missing],
        }
        kept = Part(part.attachment_uuid, part.size_bytes, msgspec.json.encode(document).decode())
        step = Step(
            {"Plan": _digest(plan)},
            99 * new.done // len(plan.files),
            _describe(plan, writer.offset, new.missing),
            lambda tx: add_part(tx, job.job_id, ARCHIVE, archive.number, kept),
            [FailedItem(m.file.public_id, m.error.code, m.error.message) for m in missing],
        )
        return step, new

    async def _finish(self, job: Job, plan: ExportPlan, archive: "_Unfinished") -> Step:
        writer = ZipFormat(archive.offset, archive.entries)
        files = {file.public_id: file for file in plan.files}
        missing = [MissingFile(files[name], MissingFileError()) for name in archive.missing]

        async def end() -> AsyncIterator[bytes]:
            for piece in self._exporter.finish(plan, writer, missing):
                yield piece

        part = await self._store(end())
        output = Output(str(job.arguments["FileName"]), _MEDIA_TYPE, writer.offset, now_us())

        def apply(tx: Transaction) -> None:
            add_part(tx, job.job_id, ARCHIVE, archive.number, part)
            add_output(tx, job.job_id, ARCHIVE, output)
            evict_outputs(tx, self._limits, now_us=now_us())

        content = _describe(plan, writer.offset, archive.missing)
        return Step(None, 100, content, apply, is_last=True)

    async def _store(self, pieces: AsyncIterator[bytes]) -> Part:
        """Write a part durably under a fresh name."""
        name = str(uuid.uuid4())
        with ExitStack() as stack:
            writer = await self._workers.run(
                lambda: stack.enter_context(self._storage.open_writer(name))
            )
            size = 0
            async for chunk in _gather(pieces):
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


@dataclass(frozen=True, slots=True)
class _Unfinished:
    """What of an archive is written.

    Attributes
    ----------
    number
        How many parts there are.
    done
        How many files were dealt with.
    offset
        Number of bytes written.
    missing
        Instances whose files could not be read.
    """

    number: int = 0
    done: int = 0
    offset: int = 0
    entries: list[ZipEntry] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def _build_request(arguments: Mapping[str, Any]) -> ExportRequest:
    return ExportRequest(
        tuple(arguments["Resources"]),
        is_utf8=arguments["Utf8"],
        has_manifest=arguments["Manifest"],
    )


def _digest(plan: ExportPlan) -> str:
    """Name a plan, so that a job goes on only with the same one."""
    digest = hashlib.sha256()
    for file in plan.files:
        digest.update(f"{file.name}\0{file.attachment.attachment_uuid}\0".encode())
    return digest.hexdigest()


def _take(files: Sequence[PackagedFile]) -> list[PackagedFile]:
    taken: list[PackagedFile] = []
    size = 0
    for file in files:
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


def _describe(plan: ExportPlan, size: int, missing: Sequence[str]) -> dict[str, Any]:
    return {
        **plan.describe(),
        "ArchiveSize": str(size),
        "ArchiveSizeMB": size // _MIB,
        "FailedInstancesCount": len(missing),
    }


def _discard(job: Job) -> Apply:
    def apply(tx: Transaction) -> None:
        discard_parts(tx, job.job_id, ARCHIVE)

    return apply
