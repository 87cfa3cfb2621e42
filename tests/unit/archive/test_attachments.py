import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.archive.parts import REST, Parts, build_numbered

from isocenter.archive.attachments import Attachments
from isocenter.archive.group_writes import GroupWrites
from isocenter.archive.received import Content
from isocenter.archive.reconciliation import Damage, Report, reconcile
from isocenter.archive.registry import ContentTypes
from isocenter.dicom.levels import Level
from isocenter.errors import (
    BackendError,
    DatabaseUnavailableError,
    ForbiddenError,
    FullStorageError,
    RevisionConflictError,
    ServerError,
    UnknownItemError,
)
from isocenter.index.annotations import Address
from isocenter.index.reading import get_statistics, list_public_ids
from isocenter.index.sqlite import SQLiteDatabase
from isocenter.storage.memory import MemoryStorage
from isocenter.storage.port import Buffer, Storage

CONTENT = b"content " * 100
FORMS = pytest.mark.parametrize("is_spooled", [True, False])


class FullStorage(MemoryStorage):
    """Refuses every new blob."""

    def write(self, attachment_uuid: str, content: Buffer) -> None:
        raise FullStorageError

    def adopt(self, attachment_uuid: str, path: Path) -> None:
        raise FullStorageError


class FailingDatabase:
    """Loses the answers of commits, or fails to commit."""

    def __init__(self, database: SQLiteDatabase, error: ServerError, *, is_done: bool) -> None:
        self._database = database
        self._error = error
        self._is_done = is_done

    def read(self, query: Callable[[Any], Any]) -> Any:
        return self._database.read(query)

    def write(self, change: Callable[[Any], Any]) -> Any:
        if self._is_done:
            self._database.write(change)
        raise self._error


@pytest.fixture
def study(parts: Parts) -> Address:
    stored = parts.new_ingest().store_blocking(build_numbered(1), REST)
    return Address(Level.STUDY, stored.public_ids.study)


def build(
    parts: Parts, *, storage: Storage | None = None, database: Any = None, **options: Any
) -> Attachments:
    storage, database = storage or parts.storage, database or parts.database
    return Attachments(
        parts.workers,
        database,
        storage,
        blobs=parts.new_ingest(storage=storage, **options).blobs,
        writes=GroupWrites(database),
        content_types=ContentTypes({}),
        on_removal=lambda: None,
        has_checked_revisions=False,
    )


def new_content(parts: Parts, is_spooled: bool) -> Content:
    return parts.new_content(CONTENT) if is_spooled else CONTENT


@FORMS
@pytest.mark.parametrize("is_compressed", [True, False])
async def test_store_keeps_the_content_and_no_temporary_file(
    parts: Parts, study: Address, is_spooled: bool, is_compressed: bool
) -> None:
    attachments = build(parts, is_compressed=is_compressed)

    stored = await attachments.store(study, 1024, new_content(parts, is_spooled))

    assert stored.attachment.compression == int(is_compressed)
    file = await attachments.get_file(study, 1024)
    assert await file.read_small(0, len(CONTENT)) == CONTENT
    assert parts.list_temporary() == []


@FORMS
@pytest.mark.parametrize(
    ("refused", "error"),
    [
        (("x", 1024, None), UnknownItemError),
        (("", 1024, "5-x"), RevisionConflictError),
        (("", 1, None), ForbiddenError),
        (("", 65536, None), ForbiddenError),
    ],
)
async def test_store_that_is_refused_leaves_nothing(
    parts: Parts,
    study: Address,
    is_spooled: bool,
    refused: tuple[str, int, str | None],
    error: type[Exception],
) -> None:
    attachments = build(parts)
    await attachments.store(study, 1024, b"older")
    before = sorted(parts.list_blobs())
    public_id, code, tag = refused
    address = Address(Level.STUDY, public_id or study.public_id)

    with pytest.raises(error):
        await attachments.check(address, code, tag=tag)
    with pytest.raises(error):
        await attachments.store(address, code, new_content(parts, is_spooled), tag=tag)

    assert sorted(parts.list_blobs()) == before
    assert parts.list_temporary() == []


@FORMS
async def test_store_on_a_full_disk_changes_nothing(
    parts: Parts, study: Address, is_spooled: bool
) -> None:
    attachments = build(parts, storage=FullStorage())

    with pytest.raises(FullStorageError):
        await attachments.store(study, 1024, new_content(parts, is_spooled))

    assert await attachments.list_content_types(study) == []
    assert parts.list_temporary() == []


async def test_store_that_the_index_does_not_take_leaves_no_blob(
    parts: Parts, study: Address
) -> None:
    database = FailingDatabase(parts.database, BackendError(), is_done=False)

    with pytest.raises(BackendError):
        await build(parts, database=database).store(study, 1024, CONTENT)

    assert len(parts.list_blobs()) == 1


@pytest.mark.parametrize("error", [BackendError(), DatabaseUnavailableError()])
async def test_store_whose_answer_was_lost_keeps_its_blob(
    parts: Parts, study: Address, error: ServerError, caplog: pytest.LogCaptureFixture
) -> None:
    database = FailingDatabase(parts.database, error, is_done=True)

    with caplog.at_level(logging.WARNING), pytest.raises(BackendError):
        await build(parts, database=database).store(study, 1024, CONTENT)

    file = await build(parts).get_file(study, 1024)
    assert await file.read_small(0, len(CONTENT)) == CONTENT
    assert bool(caplog.records) == isinstance(error, DatabaseUnavailableError)


async def test_compress_that_the_index_does_not_take_leaves_the_older_form(
    parts: Parts, study: Address
) -> None:
    stored = await build(parts).store(study, 1024, CONTENT)
    database = FailingDatabase(parts.database, BackendError(), is_done=False)

    with pytest.raises(BackendError):
        await build(parts, database=database).compress(study, 1024)

    assert await build(parts).get(study, 1024) == stored
    assert len(parts.list_blobs()) == 2


async def replace_behind(parts: Parts, attachments: Attachments, study: Address) -> Any:
    """Give what was read of an attachment before another one took its place, blob and all."""
    stored = await attachments.store(study, 1024, CONTENT)
    await attachments.store(study, 1024, b"newer")
    parts.storage.remove(stored.attachment.attachment_uuid)

    async def get_older(_: Attachments, __: Address, ___: int) -> Any:
        return stored

    return get_older


async def test_compress_what_was_replaced_meanwhile_conflicts(
    parts: Parts, study: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    attachments = build(parts)
    get_older = await replace_behind(parts, attachments, study)
    monkeypatch.setattr(Attachments, "get", get_older)

    with pytest.raises(RevisionConflictError):
        await attachments.compress(study, 1024)


async def test_verify_what_was_replaced_meanwhile_verifies_the_newer(
    parts: Parts, study: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    attachments = build(parts)
    get_older = await replace_behind(parts, attachments, study)
    get, calls = Attachments.get, 0

    async def get_in_turn(owner: Attachments, address: Address, code: int) -> Any:
        nonlocal calls
        calls += 1
        return await (get_older if calls == 1 else get)(owner, address, code)

    monkeypatch.setattr(Attachments, "get", get_in_turn)

    await attachments.verify(study, 1024)

    assert calls == 2


async def test_reconcile_compares_attachments_of_users(parts: Parts, study: Address) -> None:
    attachments = build(parts)
    for code in (1024, 2000):
        await attachments.store(study, code, CONTENT)
    await attachments.compress(study, 2000)
    await attachments.remove(study, 1024)
    await attachments.store(study, 1024, b"other")

    report = reconcile(parts.database, parts.storage, has_content=True)
    assert (report.checked_attachments, report.is_clean) == (3, True)

    name = (await attachments.get(study, 1024)).attachment.attachment_uuid
    parts.storage.write(name, b"OTHER")

    report = reconcile(parts.database, parts.storage, has_content=True)
    reason = "attachment 1024: the content of the file has changed"
    assert report.damaged == [Damage(Level.STUDY, study.public_id, reason)]


async def test_reconcile_repair_removes_a_damaged_attachment_and_not_its_resource(
    parts: Parts, study: Address
) -> None:
    attachments = build(parts)
    for code in (1024, 2000):
        await attachments.store(study, code, CONTENT)
    parts.storage.remove((await attachments.get(study, 1024)).attachment.attachment_uuid)

    report = reconcile(parts.database, parts.storage, has_repair=True)

    assert report.damaged_count == 1
    assert await attachments.list_content_types(study) == [2000]
    statistics = parts.database.read(get_statistics)
    assert statistics.instances == 1
    assert statistics.disk_size == sum(map(len, parts.list_blobs()))
    assert reconcile(parts.database, parts.storage) == Report(checked_attachments=2)


async def test_reconcile_repair_of_a_wholly_damaged_instance_goes_on(
    parts: Parts, study: Address
) -> None:
    attachments = build(parts)
    [public_id] = parts.database.read(lambda tx: list_public_ids(tx, Level.INSTANCE))
    instance = Address(Level.INSTANCE, public_id)
    await attachments.store(instance, 1024, CONTENT)
    for name in list(parts.storage.iter_uuids()):
        parts.storage.remove(name)

    report = reconcile(parts.database, parts.storage, has_repair=True)

    assert (report.checked_attachments, report.damaged_count) == (2, 1)
    assert parts.database.read(get_statistics).instances == 0
    assert reconcile(parts.database, parts.storage) == Report()
