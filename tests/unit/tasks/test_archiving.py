"""An archive that is built by a job survives a crash between any two parts."""

import asyncio
import io
import threading
import zipfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
from tests.support.directories import read_directory, walk
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.archive.parts import wait_until
from tests.unit.rest.api import Api, open_api

from isocenter.archive import exporting
from isocenter.archive.exporting import ExportRequest
from isocenter.archive.packaging import PackagedFile
from isocenter.errors import BadJobStateError, FullStorageError
from isocenter.index.job_outputs import OutputLimits, evict_outputs, list_parts
from isocenter.index.jobs import DatabaseJobs
from isocenter.index.reading import find_removals
from isocenter.jobs.claims import Limits
from isocenter.jobs.port import Recovery
from isocenter.jobs.records import Job
from isocenter.jobs.runner import Runner
from isocenter.jobs.states import JobState
from isocenter.tasks import archiving
from isocenter.tasks.archiving import ARCHIVE, ArchiveKind, build_archive_job


class Case:
    """A job that the test runs step by step, in the place of the engine."""

    def __init__(self, api: Api, files: list[SyntheticFile], *, is_media: bool) -> None:
        self.api = api
        self.is_media = is_media
        self.files = files
        self.storage = api.archive.storage
        self.database = api.archive.workers._database
        self.jobs = DatabaseJobs(self.database, history=10)
        limits = api.archive.job_outputs.limits
        self.kind = ArchiveKind(
            api.archive.workers,
            api.archive.storage,
            api.archive.exporter,
            limits,
            is_media=is_media,
        )

    async def submit(self) -> Job:
        request = ExportRequest((self.files[0].study,), is_media=self.is_media)
        plan = await self.api.archive.exporter.plan(request)
        self.jobs.insert("j", build_archive_job(plan, "x.zip"))
        return self.claim()

    def claim(self) -> Job:
        (job,) = self.jobs.claim("me", 1, Limits()).jobs
        return job

    async def run(self, job: Job, steps: int | None = None) -> Job:
        """Run and save some steps, or all."""
        async with aclosing(cast(Any, self.kind.run(job))) as iterator:
            while steps is None or steps > 0:
                try:
                    step = await anext(iterator)
                except StopAsyncIteration:
                    return job
                saved = self.jobs.save(job, step, runtime=1)
                assert saved is not None
                job = saved
                steps = None if steps is None else steps - 1
        return job

    async def read(self) -> dict[str, bytes]:
        output = await self.api.archive.job_outputs.lookup("j", ARCHIVE)
        assert output is not None
        content = b"".join([piece async for piece in output.stream(0, output.size_bytes)])
        assert len(content) == output.size_bytes
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None
            files = {name: archive.read(name) for name in archive.namelist()}
        if self.is_media:
            _, roots = read_directory(files.pop("DICOMDIR"))
            leaves = [node.record for depth, node in walk(roots) if depth == 3]
            assert {"/".join(leaf.ReferencedFileID) for leaf in leaves} == files.keys()
        return files

    def list_parts(self) -> list[str]:
        parts = self.database.read(lambda tx: list_parts(tx, "j", ARCHIVE))
        return [part.attachment_uuid for part in parts]

    def list_removals(self) -> list[str]:
        return self.database.read(lambda tx: find_removals(tx, 100))


@pytest_asyncio.fixture(params=[False, True], ids=["archive", "media"])
async def case(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Case]:
    monkeypatch.setattr(archiving, "_PART_BYTES", 1)
    async with open_api(tmp_path, {}) as api:
        await api.jobs.stop(1.0)
        await api.archive.deleter.stop()
        study = build_synthetic(study="1.2", patient_id="P")
        files = [
            await api.store(
                build_synthetic(
                    {0x00200013: ("IS", str(number))}, study="1.2", series="1.3", patient_id="P"
                )
            )
            for number in range(1, 6)
        ]
        assert files[0].study == study.study
        yield Case(api, files, is_media=request.param)


# The first step names the first part, the sixth one is the last one.
@pytest.mark.parametrize("done", range(6))
async def test_archive_goes_on_behind_its_last_part(case: Case, done: int) -> None:
    await case.run(await case.submit(), steps=done)
    before = case.list_parts()
    case.jobs.recover("other", Recovery.RESUME)
    job = await case.run(case.claim())
    assert job.state is JobState.SUCCESS
    assert case.list_parts()[: len(before)] == before
    assert sorted((await case.read()).values()) == sorted(f.content for f in case.files)


@pytest.mark.parametrize("ahead", [1, 3])
async def test_so_many_files_are_read_at_once(
    case: Case, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    monkeypatch.setattr(archiving, "_SMALL_BYTES", 1)
    monkeypatch.setattr(archiving, "_PART_BYTES", 1 << 20)
    exporter, gate = case.api.archive.exporter, threading.Event()
    begin, read = exporter._begin, exporter._read
    begun: list[str] = []
    reading: list[str] = []

    def note(file: PackagedFile, request: ExportRequest) -> Any:
        begun.append(file.public_id)
        return begin(file, request)

    def wait(file: PackagedFile, request: ExportRequest) -> Any:
        reading.append(file.public_id)
        assert gate.wait(20)
        return read(file, request)

    monkeypatch.setattr(exporter, "_begin", note)
    monkeypatch.setattr(exporter, "_read", wait)
    case.kind._ahead = ahead
    task = asyncio.create_task(case.run(await case.submit()))
    try:
        await wait_until(lambda: len(reading) == ahead)
        assert len(begun) == ahead
    finally:
        gate.set()
    assert (await task).state is JobState.SUCCESS


@pytest.mark.parametrize("parts", [1, 2], ids=["small part", "large part"])
async def test_full_disk_fails_the_job_and_leaves_nothing(
    case: Case, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    if parts == 2:
        monkeypatch.setattr(archiving, "_CHUNK_BYTES", 1)
    monkeypatch.setattr(archiving, "_SMALL_BYTES", 1)
    job = await case.run(await case.submit(), steps=3)
    stored = set(case.list_parts())
    assert len(stored) == 2

    def fail(*_: Any) -> None:
        raise FullStorageError

    monkeypatch.setattr(case.storage, "write", fail)
    monkeypatch.setattr(case.storage, "open_writer", fail)
    runner = Runner(case.jobs, case.api.archive.workers.run, case.kind, job, lambda _: None)
    failed = await runner.run()
    assert failed is not None
    assert failed.failure is not None
    assert (failed.state, failed.failure.code) == (JobState.FAILURE, FullStorageError.code)
    assert case.list_parts() == []
    assert stored <= set(case.list_removals())
    assert await case.api.archive.job_outputs.lookup("j", ARCHIVE) is None


async def test_archive_of_something_that_changed_begins_anew(case: Case) -> None:
    await case.run(await case.submit(), steps=3)
    before = case.list_parts()
    await case.api.request("DELETE", f"/instances/{case.files[0].instance}")
    case.jobs.recover("other", Recovery.RESUME)
    await case.run(case.claim())
    assert not set(before) & set(case.list_parts())
    assert set(before) <= set(case.list_removals())
    contents = sorted((await case.read()).values())
    assert contents == sorted(f.content for f in case.files[1:])


async def test_abandoned_archive_leaves_nothing(case: Case) -> None:
    job = await case.run(await case.submit(), steps=4)
    parts = case.list_parts()
    assert len(parts) == 3
    abandon = case.kind.abandon(job)
    assert abandon is not None
    case.database.write(abandon)
    assert case.list_parts() == []
    assert set(case.list_removals()) >= set(parts)


@pytest.mark.parametrize("is_given_up", [True, False])
@pytest.mark.parametrize("done", [1, 3])
async def test_part_that_a_crash_cuts_off_is_removed(
    case: Case, done: int, is_given_up: bool
) -> None:
    job = await case.run(await case.submit(), steps=done)
    before = set(case.storage.iter_uuids())
    # The next part is written and its step is never saved.
    async with aclosing(cast(Any, case.kind.run(job))) as steps:
        saved = case.jobs.save(job, await anext(steps), runtime=1)
        assert saved is not None
        await anext(steps)
    [cut_off] = set(case.storage.iter_uuids()) - before
    if is_given_up:
        abandon = case.kind.abandon(saved)
        assert abandon is not None
        case.database.write(abandon)
    else:
        case.jobs.recover("other", Recovery.RESUME)
        await case.run(case.claim())
        assert sorted((await case.read()).values()) == sorted(f.content for f in case.files)
    assert cut_off in case.list_removals()
    assert cut_off not in case.list_parts()


@pytest.mark.parametrize(("few", "in_threads"), [(1, 2), (4, 1), (5, 0)])
async def test_plan_is_made_on_the_loop_only_if_it_is_short(
    case: Case, monkeypatch: pytest.MonkeyPatch, few: int, in_threads: int
) -> None:
    workers = case.api.archive.workers
    run = workers.run
    hops: list[Any] = []

    def observed(operation: Any, *arguments: Any, **keywords: Any) -> Any:
        hops.append(operation)
        return run(operation, *arguments, **keywords)

    monkeypatch.setattr(workers, "run", observed)
    monkeypatch.setattr(exporting, "_FEW_PLANNED", few)
    requests = [
        ExportRequest((case.files[0].study,), is_media=case.is_media),
        ExportRequest(
            (case.files[0].instance, case.files[1].instance, case.files[0].instance),
            is_media=case.is_media,
        ),
    ]
    plans = [await case.api.archive.exporter.plan(request) for request in requests]
    assert [len(plan.files) for plan in plans] == [5, 2]
    assert len(hops) == in_threads


async def test_short_archive_takes_one_step(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiving, "_PART_BYTES", 1 << 20)
    job = await case.run(await case.submit(), steps=1)
    assert job.state is JobState.SUCCESS
    assert sorted((await case.read()).values()) == sorted(f.content for f in case.files)
    assert case.list_removals() == []


@pytest.mark.parametrize("fate", ["canceled", "forgotten", "resumed"])
async def test_short_archive_that_a_crash_cuts_off_is_removed(
    case: Case, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    monkeypatch.setattr(archiving, "_PART_BYTES", 1 << 20)
    job = await case.submit()
    before = set(case.storage.iter_uuids())
    async with aclosing(cast(Any, case.kind.run(job))) as steps:
        await anext(steps)
    [cut_off] = set(case.storage.iter_uuids()) - before
    if fate == "canceled":
        abandon = case.kind.abandon(job)
        assert abandon is not None
        case.database.write(abandon)
    elif fate == "forgotten":
        assert case.jobs.recover("other", Recovery.FORGET, case.kind.abandon) == 1
    else:
        case.jobs.recover("other", Recovery.RESUME)
        await case.run(case.claim())
        assert sorted((await case.read()).values()) == sorted(f.content for f in case.files)
    assert case.list_removals() == [cut_off]
    assert cut_off not in case.list_parts()


async def test_deleted_job_takes_its_output_with_it(case: Case) -> None:
    await case.run(await case.submit())
    parts = case.list_parts()
    case.jobs.delete("j")
    assert await case.api.archive.job_outputs.lookup("j", ARCHIVE) is None
    assert set(case.list_removals()) >= set(parts)


async def test_failed_items_cannot_be_completed(case: Case) -> None:
    job = await case.submit()
    with pytest.raises(BadJobStateError):
        case.kind.build_retry(job, [])


@pytest.mark.parametrize(
    ("limits", "evicted"),
    [
        (OutputLimits(count=1, size_bytes=10**9, age_us=10**12), 0),
        (OutputLimits(count=1, size_bytes=1, age_us=10**12), 0),
        (OutputLimits(count=9, size_bytes=10**9, age_us=-(10**12)), 1),
    ],
)
async def test_newest_output_stays_until_it_is_old(
    case: Case, limits: OutputLimits, evicted: int
) -> None:
    job = await case.run(await case.submit())
    assert job.completed_at is not None
    now = job.completed_at
    assert case.database.write(lambda tx: evict_outputs(tx, limits, now_us=now)) == evicted
