"""Importing files and folders: found, looked at, and handed to the pipeline, many at once.

A file that is stored already costs the reading of its header and a share of one query: its
identifiers tell what it would be called. Hence an import that was cut off is simply begun again.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from isocenter.archive.import_target import ImportTarget
from isocenter.archive.inspection import FoundFile, InspectionOptions, Inspector
from isocenter.archive.received import StoreStatus
from isocenter.archive.unpacking import ZipEntry, iter_zip
from isocenter.archive.walking import explain, iter_files
from isocenter.errors import (
    BadFileFormatError,
    BodyTooLargeError,
    ServerError,
    StorageUnavailableError,
)
from isocenter.storage.spool import SpooledContent

__all__ = ["ImportReport", "Importer", "Refusal"]

T = TypeVar("T")

_LANES = 4
_BATCH = 32
_ENTRIES = 16


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that was not imported.

    Attributes
    ----------
    path
        As it was found, perhaps with bytes that are no text (PEP 383).
    entry
        The name inside of a ZIP archive, else empty.
    code
        Orthanc's error code.
    is_dicom
        False if it is another kind of file, which lies beside DICOM files by right.
    """

    path: str
    entry: str
    reason: str
    code: int
    is_dicom: bool = True


@dataclass(slots=True)
class ImportReport:
    """What was done so far.

    Attributes
    ----------
    seen
        Files that were found; the other numbers count the entries of ZIP archives, too.
    present
        Instances that were stored already.
    ignored
        Files that are no DICOM.
    bytes
        Size of the instances, those that were there included.
    """

    seen: int = 0
    stored: int = 0
    present: int = 0
    refused: int = 0
    ignored: int = 0
    bytes: int = 0


@dataclass(slots=True)
class _Walk:
    """The files that are still to be found, and the paths that cannot be read."""

    files: Iterator[str] = field(default_factory=lambda: iter(()))
    refusals: list[Refusal] = field(default_factory=list)

    def note(self, path: str, reason: str) -> None:
        self.refusals.append(Refusal(path, "", reason, StorageUnavailableError.code))

    def next_batch(self) -> tuple[list[str], list[Refusal]]:
        paths = list(islice(self.files, _BATCH))
        refusals, self.refusals = self.refusals, []
        return paths, refusals


class Importer:
    """Imports files, some at once. One object for each import.

    Parameters
    ----------
    target
        Where the instances go.
    on_refusal
        Called for each file that is not imported.
    on_progress
        Called after each step.
    """

    def __init__(
        self,
        target: ImportTarget,
        options: InspectionOptions,
        *,
        on_refusal: Callable[[Refusal], None],
        on_progress: Callable[[ImportReport], None] = lambda _: None,
    ) -> None:
        self._target = target
        self._largest_entry = options.largest_entry
        self._inspector = Inspector(options)
        self._on_refusal = on_refusal
        self._on_progress = on_progress
        self._report = ImportReport()
        self._is_stopped = False
        self._walking = asyncio.Lock()
        self._threads = ThreadPoolExecutor(_LANES, thread_name_prefix="import")

    def stop(self) -> None:
        """Begin nothing new; what is under way ends. For the event loop's thread."""
        self._is_stopped = True

    async def run(self, paths: Iterable[str]) -> ImportReport:
        """Import all files of some paths, until the end or until `stop`.

        Raises
        ------
        ServerError
            If nothing more can be stored; what was stored stays.
        """
        walk = _Walk()
        walk.files = iter_files(paths, on_error=walk.note)
        lanes = [asyncio.ensure_future(self._run_lane(walk)) for _ in range(_LANES)]
        try:
            await asyncio.gather(*lanes)
        finally:
            self._is_stopped = True
            # After an error, nothing is under way any more when the caller learns of it.
            await asyncio.gather(*lanes, return_exceptions=True)
            self._threads.shutdown(wait=True)
        return self._report

    async def _run_lane(self, walk: _Walk) -> None:
        while not self._is_stopped:
            async with self._walking:
                paths, refusals = await self._call(walk.next_batch)
            for refusal in refusals:
                self._refuse(refusal)
            if not paths:
                return
            found = await self._call(lambda paths=paths: list(map(self._inspector.look_at, paths)))  # type: ignore[misc]
            await self._import_files(found)
            self._report.seen += len(paths)
            self._on_progress(self._report)

    async def _call(self, operation: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, operation)

    async def _import_files(self, found: Sequence[FoundFile]) -> None:
        """Import small files together, then large ones and archives one after another."""
        new = await self._leave_out_stored([f for f in found if not f.is_zip and f.error is None])
        await self._store_all([file for file in new if file.content is not None])
        for file in found:
            if file.error is not None:
                self._refuse(Refusal(file.path, "", file.error, StorageUnavailableError.code))
            elif file.is_zip and not self._is_stopped:
                await self._import_zip(file)
        for file in new:
            if file.content is None and not self._is_stopped:
                await self._store(file)

    async def _leave_out_stored(self, found: Sequence[FoundFile]) -> list[FoundFile]:
        public_ids = [file.public_id for file in found if file.public_id is not None]
        stored = await self._target.find_stored(public_ids)
        new = []
        for file in found:
            if file.public_id in stored:
                self._report.present += 1
                self._report.bytes += file.size
                if isinstance(file.content, SpooledContent):
                    file.content.close()
            else:
                new.append(file)
        return new

    async def _store_all(self, found: Sequence[FoundFile]) -> None:
        results = await asyncio.gather(*map(self._store, found), return_exceptions=True)
        for result in results:
            if result is not None:
                raise result

    async def _store(self, file: FoundFile) -> None:
        try:
            content = await self._call(lambda: self._inspector.read(file))
        except BadFileFormatError as error:
            outcome: StoreStatus | ServerError = StorageUnavailableError(str(error))
        else:
            outcome = await self._target.store(content)
        if isinstance(outcome, ServerError):
            is_other = isinstance(outcome, BadFileFormatError) and not file.is_dicom
            refusal = Refusal(
                file.path, file.entry, str(outcome), outcome.code, is_dicom=not is_other
            )
            self._refuse(refusal)
            return
        self._report.bytes += file.size
        if outcome is StoreStatus.SUCCESS:
            self._report.stored += 1
        else:
            self._report.present += 1

    async def _import_zip(self, file: FoundFile) -> None:
        """Import the entries of a ZIP archive, some at once; names in it are only shown."""
        try:
            opened = await self._call(lambda: open(file.path, "rb"))  # noqa: SIM115
        except OSError as error:
            self._refuse(Refusal(file.path, "", explain(error), StorageUnavailableError.code))
            return
        with opened:
            entries = iter_zip(
                opened, limit=self._largest_entry, new_content=self._inspector.new_content
            )
            try:
                while not self._is_stopped:
                    batch = await self._call(lambda: list(islice(entries, _ENTRIES)))
                    if not batch:
                        break
                    await self._import_entries(file.path, batch)
                    self._on_progress(self._report)
            except (BadFileFormatError, BodyTooLargeError) as error:
                self._refuse(Refusal(file.path, "", str(error), error.code))

    async def _import_entries(self, path: str, batch: Sequence[ZipEntry]) -> None:
        unpacked: list[tuple[str, SpooledContent]] = []
        for entry in batch:
            if isinstance(entry.content, SpooledContent):
                unpacked.append((entry.name, entry.content))
            else:
                error = entry.content
                self._refuse(Refusal(path, entry.name, str(error), error.code))
        try:
            found = await self._call(
                lambda: [self._inspector.look_at_entry(path, *named) for named in unpacked]
            )
            await self._store_all(await self._leave_out_stored(found))
        finally:
            for _, content in unpacked:
                content.close()

    def _refuse(self, refusal: Refusal) -> None:
        if refusal.is_dicom:
            self._report.refused += 1
        else:
            self._report.ignored += 1
        self._on_refusal(refusal)
