"""The steps of every job that makes new instances of stored ones, all or nothing.

`StagedEdits` takes pairs of a source and an edit. It edits them in batches, each of which is a step
that stages its results; the last step publishes all of them in one transaction. Kinds of jobs
(modification, anonymization, split, merge) differ in their plans only.

References
----------
Decision 0014
"""

import asyncio
import hashlib
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

from isocenter.archive.received import Origin
from isocenter.archive.staging import Authorship, EditedBatch, EditTask, Stager, StagingMemory
from isocenter.archive.transcoding import Target
from isocenter.archive.workers import Workers
from isocenter.clock import now
from isocenter.dicom.editing import Edit
from isocenter.dicom.levels import Level
from isocenter.errors import ServerError
from isocenter.index.job_rows import forget_failed_items, is_own
from isocenter.index.port import Transaction
from isocenter.index.records import Attachment
from isocenter.index.staging import (
    Publication,
    Source,
    Staged,
    add_staged,
    discard_staged,
    list_staged,
    publish_staged,
)
from isocenter.jobs.records import Apply, FailedItem, Job, Step

__all__ = ["EditOutcome", "EditPlan", "StagedEdits", "build_abandon"]

# A step ends at the first file behind so many bytes, or behind so many files: a tenth of a second.
_BATCH_BYTES = 32 * 1024 * 1024
_BATCH_FILES = 64
# Files whose headers are edited together.
_LARGEST_GROUP = 8
# So many bytes of a blob's name are its folder (`storage.filesystem`).
_FOLDER_BYTES = 2
# So many files are looked at in a step before they are published.
_CHECKED_FILES = 2048
# One batch is edited while the one before is saved.
_MOST_UNSAVED = 2 * _BATCH_FILES
_BEGINNING: Mapping[str, Any] = {"Plan": "", "Attempt": 0, "Done": 0, "Failed": 0}


@dataclass(slots=True)
class EditOutcome:
    """What a job has made so far.

    Attributes
    ----------
    created
        Public identifiers of the new instances and of their parents, by level, in the order in
        which they were made.
    failed
        Number of sources that could not be edited.
    is_complete
        True once nothing is left to be done.
    """

    created: dict[Level, dict[str, None]] = field(
        default_factory=lambda: {level: {} for level in Level}
    )
    failed: int = 0
    is_complete: bool = False

    def add(self, staged: Staged) -> None:
        """Note a new instance."""
        for level in Level:
            self.created[level][staged.public_ids[level]] = None


@dataclass(frozen=True, slots=True)
class EditPlan:
    """What a job is to do.

    Attributes
    ----------
    pairs
        Sources, and what is to be done to each.
    origin
        Who asked for it.
    is_permissive
        Go on without the sources that cannot be edited; else the first of them ends the job.
    describe
        Builds the content of the job, which clients see.
    finish
        What else belongs into the transaction that publishes.
    target
        What the results are brought into, where that is possible.
    """

    pairs: Sequence[tuple[Source, Edit]]
    publication: Publication
    origin: Origin
    is_permissive: bool
    describe: Callable[[EditOutcome], dict[str, Any]]
    finish: Callable[[Transaction, EditOutcome], None] = lambda _tx, _outcome: None
    target: Target | None = None


def build_abandon(job: Job) -> Apply:
    """Build the change that removes what an unfinished job has made (`JobKind.abandon`).

    That are the instances it has staged, and the files of the step that a crash cut off.
    """
    checkpoint = job.checkpoint or _BEGINNING
    done = checkpoint["Done"]
    unsaved = [
        _build_name(job, checkpoint["Attempt"], position)
        for position in range(done, done + _MOST_UNSAVED)
    ]
    return lambda tx: discard_staged(tx, job.job_id, unsaved)


def _build_name(job: Job, attempt: int, position: int) -> str:
    """Name a new blob: the same whenever a step is repeated, another one for each new beginning.

    Neighbors begin alike, so a folder of the storage area takes as many of them as a step has:
    making two folders costs twice as much as making the file.
    """
    text = f"{job.job_id} {job.started_at} {attempt}"
    folder = hashlib.sha256(f"{text} {position // _BATCH_FILES}".encode()).digest()
    own = hashlib.sha256(f"{text} {position} file".encode()).digest()
    return str(uuid.UUID(bytes=folder[:_FOLDER_BYTES] + own[_FOLDER_BYTES:16], version=4))


class StagedEdits:
    """Runs plans. For the event loop's thread.

    Parameters
    ----------
    threads
        How many files of a job are edited at once.
    """

    def __init__(self, workers: Workers, stager: Stager, *, threads: int) -> None:
        self._workers = workers
        self._stager = stager
        self._threads = threads

    async def run(self, job: Job, plan: EditPlan) -> AsyncGenerator[Step]:
        """Edit, stage and publish (see `JobKind.run`).

        After a crash it goes on behind the last saved step, unless the sources have changed: then
        it begins anew.
        """
        # There may be many sources: whatever goes through all of them is done in a thread.
        run = await self._workers.run(_Run, self._workers, self._stager, self._threads, job, plan)
        try:
            async with aclosing(run.iter_steps()) as steps:
                async for step in steps:
                    yield step
        finally:
            await run.clean_up()


class _Run:
    """One job from its claim on."""

    def __init__(
        self, workers: Workers, stager: Stager, threads: int, job: Job, plan: EditPlan
    ) -> None:
        self._workers = workers
        self._stager = stager
        self._threads = threads
        self._job = job
        self._plan = plan
        self._digest = _digest(plan.pairs)
        self._attempt = 0
        self._done = 0
        self._outcome = EditOutcome()
        # Whether clients see a description yet, and the number of failures in it.
        self._is_described, self._told = False, 0
        # Of all that is staged, or will be with the next step.
        self._files: list[Attachment] = []
        # Patients, studies and series whose rows are staged.
        self._described: set[tuple[Level, str]] = set()
        self._memory = StagingMemory()
        # The batch that is edited while the step before is saved.
        self._ahead: asyncio.Task[EditedBatch] | None = None
        # What no row names: the last batch until it is durable. Whether a thread still publishes
        # it afterwards is not known here, so it stays; `build_abandon` and the next run know it.
        self._unused: list[Staged] = []

    async def iter_steps(self) -> AsyncGenerator[Step]:
        """Go on where the job stopped, or begin anew if its sources or its files have changed."""
        if (checkpoint := self._job.checkpoint) is not None:
            self._attempt = int(checkpoint["Attempt"])
            is_sound = checkpoint["Plan"] == self._digest
            staged = await self._workers.read_long(lambda tx: list_staged(tx, self._job.job_id))
            for start in range(0, len(staged) if is_sound else 0, _BATCH_FILES):
                some = staged[start : start + _BATCH_FILES]
                is_sound = is_sound and await self._workers.run(self._are_whole, some)
                # Nothing is new, but the job can be paused or cancelled here.
                yield Step()
            if is_sound:
                await self._workers.run(self._note_all, staged)
                self._done = int(checkpoint["Done"])
                self._outcome.failed = int(checkpoint["Failed"])
            else:
                self._attempt += 1
                yield self._begin()
        async with aclosing(self._iter_batches()) as steps:
            async for step in steps:
                yield step

    def _are_whole(self, staged: Sequence[tuple[int, Staged]]) -> bool:
        """Look at the files whose rows are there but which a power failure may have taken."""
        return all(map(self._stager.is_whole, (one for _, one in staged)))

    def _begin(self) -> Step:
        """Forget what was made of other sources."""
        abandon, job_id = build_abandon(self._job), self._job.job_id

        def apply(tx: Transaction) -> None:
            abandon(tx)
            forget_failed_items(tx, job_id)

        return self._build_step(apply)

    async def _iter_batches(self) -> AsyncGenerator[Step]:
        """Stage batch after batch, and publish all with the last one."""
        first = self._take()
        batch = await self._edit(first) if first else EditedBatch()
        while self._done < len(self._plan.pairs):
            failed = self._note_batch(batch)
            following = self._take()
            if following:
                self._ahead = asyncio.create_task(self._edit(following))
            if not following:
                await self._sync(batch)
                async for step in self._iter_checks():
                    yield step
            yield await self._workers.run(self._build_staging, batch, failed, is_last=not following)
            if self._ahead is not None:
                ahead, self._ahead = self._ahead, None
                batch = await ahead
        yield self._build_staging(EditedBatch(), [], is_last=True)

    async def _sync(self, batch: EditedBatch) -> None:
        """Make all files durable, those of a batch that is not saved yet among them."""
        self._unused = [one for _, one in batch.staged]
        await self._workers.run(self._stager.sync)
        # From now on the step may be saved, whatever becomes of this job's task.
        self._unused = []

    async def _iter_checks(self) -> AsyncGenerator[Step]:
        """Look whether all new files are there, as the sources may be deleted for their sake."""
        for start in range(0, len(self._files), _CHECKED_FILES):
            some = self._files[start : start + _CHECKED_FILES]
            await self._workers.run(self._stager.check_presence, some)
            if start + _CHECKED_FILES < len(self._files):
                yield Step()

    async def clean_up(self) -> None:
        """Remove the files that were made in vain, unless the job runs elsewhere by now.

        A server that has taken the job over gives its files the same names. What stays is known by
        name to `build_abandon` and to the reconciliation of the storage area.
        """
        unused = self._unused
        if self._ahead is not None:
            [result] = await asyncio.gather(self._ahead, return_exceptions=True)
            if isinstance(result, EditedBatch):
                unused = [*unused, *(staged for _, staged in result.staged)]
        if unused:
            with suppress(ServerError):
                await self._workers.write(lambda tx: self._discard_own(tx, unused))

    def _discard_own(self, tx: Transaction, unused: Sequence[Staged]) -> None:
        if is_own(tx, self._job):
            self._stager.discard_staged(unused)

    def _take(self) -> list[EditTask]:
        """Take the next batch of sources."""
        taken: list[EditTask] = []
        size = 0
        for position in range(self._done, len(self._plan.pairs)):
            source, edit = self._plan.pairs[position]
            size += source.attachment.uncompressed_size if source.attachment else 0
            if taken and (size > _BATCH_BYTES or len(taken) == _BATCH_FILES):
                break
            name = _build_name(self._job, self._attempt, position)
            taken.append(EditTask(position, name, source, edit, self._plan.target))
        return taken

    async def _edit(self, taken: Sequence[EditTask]) -> EditedBatch:
        """Edit some sources in threads."""
        plan = self._plan
        authorship = Authorship(plan.origin, plan.publication.source_code, now())
        described = frozenset(self._described)
        waiting = deque(taken)
        edited = await asyncio.gather(
            *(
                self._workers.run(
                    self._stager.edit,
                    _iter_groups(waiting, self._threads),
                    authorship,
                    memory=self._memory,
                    described=described,
                )
                for _ in range(min(self._threads, len(taken)))
            ),
            return_exceptions=True,
        )
        batch = EditedBatch()
        errors: list[BaseException] = []
        for share in edited:
            if isinstance(share, EditedBatch):
                batch.add(share)
            else:
                errors.append(share)
        if batch.refused and not plan.is_permissive:
            errors.append(batch.refused[0].error)
        if errors:
            await self._workers.run(self._stager.discard, batch)
            raise errors[0]
        return batch

    def _note_batch(self, batch: EditedBatch) -> list[FailedItem]:
        self._done += len(batch.staged) + len(batch.refused)
        self._note_all(batch.staged)
        self._outcome.failed += len(batch.refused)
        return [
            FailedItem(refused.task.source.public_id, refused.error.code, refused.error.message)
            for refused in batch.refused
        ]

    def _note_all(self, staged: Sequence[tuple[int, Staged]]) -> None:
        for _, one in staged:
            self._outcome.add(one)
            self._files.append(one.attachment)
            for level in (Level.PATIENT, Level.STUDY, Level.SERIES):
                self._described.add((level, one.public_ids[level]))

    def _build_staging(
        self, batch: EditedBatch, failed: Sequence[FailedItem], *, is_last: bool
    ) -> Step:
        staged = [one for _, one in batch.staged]
        self._outcome.is_complete = is_last
        job_id, publication = self._job.job_id, self._plan.publication

        def apply(tx: Transaction) -> None:
            if staged:
                add_staged(tx, job_id, batch.staged)
            if is_last:
                publish_staged(tx, job_id, publication, published_at=now())
                self._plan.finish(tx, self._outcome)

        return self._build_step(apply, failed, is_last=is_last)

    def _build_step(
        self, apply: Apply, failed: Sequence[FailedItem] = (), *, is_last: bool = False
    ) -> Step:
        checkpoint = {
            "Plan": self._digest,
            "Attempt": self._attempt,
            "Done": self._done,
            "Failed": self._outcome.failed,
        }
        is_described = is_last or not self._is_described or self._outcome.failed != self._told
        self._is_described, self._told = True, self._outcome.failed
        progress = 99 * self._done // max(1, len(self._plan.pairs))
        return Step(
            checkpoint,
            100 if is_last else progress,
            # A description may name as many resources as there are steps.
            self._plan.describe(self._outcome) if is_described else None,
            apply,
            failed,
            is_last=is_last,
        )


def _iter_groups(waiting: deque[EditTask], threads: int) -> Iterator[list[EditTask]]:
    """Give what no other thread has taken, in the order of the plan.

    Less at a time towards the end, so that all threads end together.
    """
    while waiting:
        size = min(_LARGEST_GROUP, max(1, len(waiting) // (2 * threads)))
        if group := [*_iter_taken(waiting, size)]:
            yield group


def _iter_taken(waiting: deque[EditTask], most: int) -> Iterator[EditTask]:
    """Take some tasks, fewer if another thread is quicker."""
    with suppress(IndexError):
        for _ in range(most):
            yield waiting.popleft()


def _digest(pairs: Sequence[tuple[Source, Edit]]) -> str:
    """Name a plan, so that a job goes on only with the same one."""
    digest = hashlib.sha256()
    for source, _ in pairs:
        name = source.attachment.attachment_uuid if source.attachment else ""
        digest.update(f"{source.public_id}\0{name}\0".encode())
    return digest.hexdigest()
