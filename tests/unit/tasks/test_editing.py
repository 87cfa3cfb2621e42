"""What becomes of new files when a job is stopped, taken over, or loses one of them."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import pytest_asyncio
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api, open_api

from isocenter.archive.modifications import Modifications
from isocenter.archive.received import Origin, OriginKind
from isocenter.dicom.levels import Level
from isocenter.errors import CorruptedBlobError, MissingFileError
from isocenter.index.jobs import DatabaseJobs
from isocenter.index.staging import list_staged, publish_staged
from isocenter.jobs.claims import Limits
from isocenter.jobs.port import Recovery
from isocenter.jobs.records import Job
from isocenter.tasks import editing
from isocenter.tasks.editing import StagedEdits, _build_name
from isocenter.tasks.modification import (
    ModificationCall,
    ModificationKind,
    build_modification_job,
    parse_edit_request,
)

_DEADLINE_S = 20.0


class Case:
    """A modification of three instances that the test runs in the place of the engine."""

    def __init__(self, api: Api, files: list[SyntheticFile]) -> None:
        archive = api.archive
        self.api = api
        self.files = files
        self.storage = archive.storage
        self.database = archive.workers._database
        self.jobs = DatabaseJobs(self.database, history=10)
        edits = StagedEdits(archive.workers, archive.edits.stager, threads=1)
        self.modifications: Modifications = archive.edits.modifications
        self.kind = ModificationKind(archive.workers, self.modifications, edits)

    async def submit(self) -> Job:
        body = {"Replace": {"StudyDescription": "X"}, "KeepSource": False}
        call = ModificationCall(
            ((Level.STUDY, self.files[0].study),),
            Level.STUDY,
            is_anonymization=False,
            body=body,
            origin=Origin(OriginKind.REST_API),
        )
        request = parse_edit_request(call, self.modifications.options)
        sources = await self.modifications.find_sources(call.public_ids, request)
        self.jobs.insert("j", build_modification_job(call, sources, number=1))
        return self.claim("me")

    def claim(self, owner: str) -> Job:
        (job,) = self.jobs.claim(owner, 1, Limits()).jobs
        return job

    async def save(self, job: Job, steps: Any) -> Job:
        saved = await asyncio.to_thread(self.jobs.save, job, await anext(steps), runtime=1)
        assert saved is not None
        return saved

    async def save_all(self, job: Job, steps: Any) -> None:
        while True:
            job = await self.save(job, steps)

    def has(self, job: Job, position: int) -> bool:
        try:
            return self.storage.size_bytes(_build_name(job, 0, position)) > 0
        except MissingFileError:
            return False

    async def wait_for(self, job: Job, position: int) -> None:
        async with asyncio.timeout(_DEADLINE_S):
            while not self.has(job, position):  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.001)

    async def count_sources(self) -> int:
        return len(await self.api.get_json(f"/studies/{self.files[0].study}/instances"))


@pytest_asyncio.fixture
async def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Case]:
    monkeypatch.setattr(editing, "_BATCH_FILES", 1)
    async with open_api(tmp_path, {}) as api:
        await api.jobs.stop(1.0)
        await api.archive.deleter.stop()
        files = [
            build_synthetic(study="1.2", series="1.3", instance=f"1.3.{number}", patient_id="P")
            for number in range(3)
        ]
        yield Case(api, [await api.store(file) for file in files])


@pytest.mark.parametrize("is_taken_over", [False, True])
async def test_files_edited_ahead_are_removed_only_by_the_owner_of_the_job(
    case: Case, is_taken_over: bool
) -> None:
    job = await case.submit()
    async with aclosing(cast(Any, case.kind.run(job))) as steps:
        await case.save(job, steps)
        await case.wait_for(job, 1)
        if is_taken_over:
            assert case.jobs.recover("other", Recovery.RESUME) == 1
            case.claim("other")
    assert case.has(job, 0)
    assert case.has(job, 1) == is_taken_over


async def test_lost_file_ends_the_job_before_the_sources_go(case: Case) -> None:
    job = await case.submit()
    async with aclosing(cast(Any, case.kind.run(job))) as steps:
        job = await case.save(job, steps)
        case.storage.remove(_build_name(job, 0, 0))
        with pytest.raises(MissingFileError):
            await case.save_all(job, steps)
    assert await case.count_sources() == 3


async def test_shortened_file_ends_the_job_before_the_sources_go(case: Case) -> None:
    job = await case.submit()
    async with aclosing(cast(Any, case.kind.run(job))) as steps:
        job = await case.save(job, steps)
        case.storage.write(_build_name(job, 0, 0), b"short")
        with pytest.raises(CorruptedBlobError):
            await case.save_all(job, steps)
    assert await case.count_sources() == 3


async def test_files_stay_if_the_job_is_stopped_while_they_are_published(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_publishing, may_go_on = threading.Event(), threading.Event()

    def publish(*arguments: Any, **keywords: Any) -> None:
        is_publishing.set()
        assert may_go_on.wait(_DEADLINE_S)
        publish_staged(*arguments, **keywords)

    monkeypatch.setattr(editing, "publish_staged", publish)
    job = await case.submit()
    steps = cast(Any, case.kind.run(job))
    job = await case.save(job, steps)
    job = await case.save(job, steps)
    publishing = asyncio.create_task(case.save(job, steps))
    assert await asyncio.to_thread(is_publishing.wait, _DEADLINE_S)
    closing = asyncio.create_task(steps.aclose())
    may_go_on.set()
    await asyncio.gather(publishing, closing)
    assert all(case.has(job, position) for position in range(3))


async def test_file_without_sum_counts_as_damaged(case: Case) -> None:
    stager = case.api.archive.edits.stager
    job = await case.submit()
    async with aclosing(cast(Any, case.kind.run(job))) as steps:
        await case.save(job, steps)
        [(_, staged)] = case.database.read(lambda tx: list_staged(tx, "j"))
        no_sum = replace(staged.attachment, compressed_md5="", uncompressed_md5="")
        assert stager.is_whole(staged)
        assert not stager.is_whole(msgspec.structs.replace(staged, attachment=no_sum))


async def test_description_is_written_only_if_it_is_new(case: Case) -> None:
    job = await case.submit()
    contents = []
    async with aclosing(cast(Any, case.kind.run(job))) as steps:
        async for step in steps:
            contents.append(step.content is not None)
            saved = await asyncio.to_thread(case.jobs.save, job, step, runtime=1)
            assert saved is not None
            job = saved
            if step.is_last:
                break
    assert contents == [True, False, True]
    assert job.content["ID"]


async def test_new_files_share_folders_and_no_names(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await case.submit()
    monkeypatch.setattr(editing, "_BATCH_FILES", 64)
    names = [_build_name(job, attempt, at) for attempt in (0, 1) for at in range(128)]
    assert len(set(names)) == 256
    assert len({name[:4] for name in names}) == 4
    assert names == [_build_name(job, attempt, at) for attempt in (0, 1) for at in range(128)]
