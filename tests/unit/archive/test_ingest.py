import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests.support.dicom_files import build_data_set, build_file, build_instance, identifiers
from tests.unit.archive.parts import REST, Parts, build_numbered, wait_until

from isocenter.archive.received import StoreStatus
from isocenter.archive.settings import Settings
from isocenter.dicom.levels import Level
from isocenter.dicom.reader import FileSummary
from isocenter.errors import (
    BackendError,
    BadFileFormatError,
    DatabaseUnavailableError,
    FullStorageError,
    MissingTagError,
    ServerError,
    StorageUnavailableError,
)
from isocenter.index.port import Transaction
from isocenter.index.reading import get_statistics, lookup_dicom_attachment
from isocenter.index.records import DicomAttachment, Overwrite
from isocenter.storage.compression import decompress
from isocenter.storage.memory import MemoryStorage
from isocenter.storage.port import Buffer

# Above what goes through a batch.
LARGE = 200_000
SIZES = pytest.mark.parametrize("pixels", [64, LARGE])


class FullStorage(MemoryStorage):
    """Refuses every blob, after having written half of a batch."""

    def write(self, attachment_uuid: str, content: Buffer) -> None:
        raise FullStorageError

    def write_many(self, blobs: Sequence[tuple[str, Buffer]], memos: Sequence[bytes] = ()) -> None:
        for name, content in blobs[: len(blobs) // 2]:
            super().write(name, content)
        raise FullStorageError


class RecordingStorage(MemoryStorage):
    """Has a journal, and notes how long the blobs are that it is given together."""

    keeps_memos = True

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[list[int]] = []

    def write_many(
        self, blobs: Sequence[tuple[str, Buffer]], memos: Sequence[bytes] = ()
    ) -> Callable[[], None] | None:
        self.groups.append([len(content) for _, content in blobs])
        return super().write_many(blobs, memos)


class StickyStorage(MemoryStorage):
    """Refuses to remove a blob."""

    def remove(self, attachment_uuid: str) -> None:
        raise StorageUnavailableError


def get_attachment(parts: Parts, public_id: str) -> DicomAttachment:
    found = parts.database.read(lambda tx: lookup_dicom_attachment(tx, public_id))
    assert found is not None
    return found


def count_instances(parts: Parts) -> int:
    return parts.database.read(get_statistics).instances


def break_index(parts: Parts) -> None:
    parts.database._writer.execute(
        "CREATE TRIGGER broken BEFORE INSERT ON resources BEGIN SELECT RAISE(ABORT, 'x'); END"
    )


@SIZES
async def test_store_new_instance_keeps_its_bytes(parts: Parts, pixels: int) -> None:
    data = build_numbered(1, pixels=pixels)

    outcome = await parts.store(data)

    assert outcome.status is StoreStatus.SUCCESS
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    attachment = get_attachment(parts, outcome.public_ids.instance).attachment
    assert (attachment.compressed_md5, attachment.uncompressed_md5) == (md5, md5)
    assert attachment.compressed_size == attachment.uncompressed_size == len(data)
    assert parts.storage.read(attachment.attachment_uuid) == data
    assert parts.list_blobs() == [data]


@SIZES
@pytest.mark.parametrize("threshold", [0, 10_000_000])
async def test_store_spooled_content_keeps_its_bytes(
    parts: Parts, pixels: int, threshold: int
) -> None:
    data = build_numbered(1, pixels=pixels)
    content = parts.new_content(data, threshold)

    outcome = await parts.new_ingest().store(content, REST)

    assert outcome.status is StoreStatus.SUCCESS
    assert parts.list_blobs() == [data]
    attachment = get_attachment(parts, outcome.public_ids.instance).attachment
    assert attachment.uncompressed_md5 == hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert parts.list_temporary() == []


@SIZES
async def test_store_again_answers_already_stored(parts: Parts, pixels: int) -> None:
    first = await parts.store(build_numbered(1, pixels=pixels))

    second = await parts.store(build_numbered(1, {0x00204000: ("LT", "new")}, pixels=pixels))

    assert second.status is StoreStatus.ALREADY_STORED
    assert second.public_ids == first.public_ids
    assert parts.list_blobs() == [build_numbered(1, pixels=pixels)]


@SIZES
async def test_store_again_overwriting_replaces_file(parts: Parts, pixels: int) -> None:
    old, new = (build_numbered(1, {0x00204000: ("LT", text)}, pixels=pixels) for text in "ab")
    first = await parts.store(old)

    second = await parts.store(new, overwrite=Overwrite.ALWAYS)

    assert second.status is StoreStatus.SUCCESS
    uuid = get_attachment(parts, first.public_ids.instance).attachment.attachment_uuid
    assert parts.storage.read(uuid) == new
    assert len(parts.list_removals()) == 1
    assert uuid not in parts.list_removals()


@SIZES
async def test_store_same_bytes_if_changed_answers_already_stored(
    parts: Parts, pixels: int
) -> None:
    data = build_numbered(1, pixels=pixels)
    await parts.store(data)

    outcome = await parts.store(data, overwrite=Overwrite.IF_CHANGED)

    assert outcome.status is StoreStatus.ALREADY_STORED
    assert parts.list_blobs() == [data]


async def test_store_many_at_once_keeps_all(parts: Parts) -> None:
    ingest = parts.new_ingest()
    files = [build_numbered(n % 40, pixels=LARGE if n % 9 == 0 else 64) for n in range(120)]

    outcomes = await asyncio.gather(*(ingest.store(data, REST) for data in files))

    winners = [outcome for outcome in outcomes if outcome.status is StoreStatus.SUCCESS]
    assert len(winners) == len({outcome.public_ids for outcome in outcomes}) == 40
    assert count_instances(parts) == 40
    assert len(parts.list_blobs()) == 40
    assert all(blob in files for blob in parts.list_blobs())


@pytest.mark.parametrize("size", [300, LARGE])
async def test_store_not_dicom_raises_and_leaves_nothing(parts: Parts, size: int) -> None:
    for content in (b"no" * size, parts.new_content(b"no" * size)):
        with pytest.raises(BadFileFormatError):
            await parts.new_ingest().store(content, REST)

    assert parts.list_blobs() == []
    assert parts.list_temporary() == []
    assert count_instances(parts) == 0


async def test_store_nothing_raises(parts: Parts) -> None:
    for content in (b"", parts.new_content(b"")):
        with pytest.raises(BadFileFormatError, match="empty"):
            await parts.new_ingest().store(content, REST)


@pytest.mark.parametrize("tag", [0x0020000D, 0x0020000E, 0x00080018])
async def test_store_missing_uid_raises(parts: Parts, tag: int) -> None:
    elements = identifiers()
    del elements[tag]

    with pytest.raises(MissingTagError):
        await parts.store(build_file(build_data_set(elements)))

    assert parts.list_blobs() == []


async def test_store_missing_patient_id_is_accepted(parts: Parts) -> None:
    elements = identifiers()
    del elements[0x00100020]

    outcome = await parts.store(build_file(build_data_set(elements)))

    assert outcome.status is StoreStatus.SUCCESS


async def test_store_bad_file_in_batch_fails_alone(parts: Parts) -> None:
    ingest = parts.new_ingest()
    files = [build_numbered(n) if n % 3 else b"no" * 200 for n in range(30)]

    results = await asyncio.gather(
        *(ingest.store(data, REST) for data in files), return_exceptions=True
    )

    assert [isinstance(result, BadFileFormatError) for result in results] == (
        [n % 3 == 0 for n in range(30)]
    )
    assert count_instances(parts) == len(parts.list_blobs()) == 20


@pytest.mark.parametrize(("pixels", "most"), [(64, 16), (900_000, 4)])
async def test_store_at_once_goes_in_batches_of_limited_length(
    parts: Parts, pixels: int, most: int
) -> None:
    storage = RecordingStorage()
    ingest = parts.new_ingest(storage=storage)

    await asyncio.gather(*(ingest.store(build_numbered(n, pixels=pixels), REST) for n in range(40)))

    assert sum(len(group) for group in storage.groups) == count_instances(parts) == 40
    assert max(len(group) for group in storage.groups) == most
    assert all(sum(group) <= 4 * 1024 * 1024 for group in storage.groups)


@SIZES
async def test_store_refused_by_check_leaves_nothing(parts: Parts, pixels: int) -> None:
    seen = []

    def refuse(summary: FileSummary) -> None:
        seen.append(summary.values[0x00080018])
        raise StorageUnavailableError

    for content in (build_numbered(1, pixels=pixels), parts.new_content(build_numbered(1))):
        with pytest.raises(StorageUnavailableError):
            await parts.new_ingest().store(content, REST, check=refuse)

    assert seen == ["1.2.3.9.1"] * 2
    assert parts.list_blobs() == []
    assert parts.list_temporary() == []


@SIZES
async def test_store_failing_storage_leaves_no_row(parts: Parts, pixels: int) -> None:
    ingest = parts.new_ingest(storage=FullStorage())

    results = await asyncio.gather(
        *(ingest.store(build_numbered(n, pixels=pixels), REST) for n in range(6)),
        return_exceptions=True,
    )

    assert all(isinstance(result, FullStorageError) for result in results)
    assert count_instances(parts) == 0
    assert list(ingest._storage.iter_uuids()) == []


@SIZES
async def test_store_failing_index_leaves_no_file(parts: Parts, pixels: int) -> None:
    break_index(parts)

    for content in (build_numbered(1, pixels=pixels), parts.new_content(build_numbered(2))):
        with pytest.raises(BackendError):
            await parts.new_ingest().store(content, REST)

    assert parts.list_blobs() == []
    assert parts.list_temporary() == []


@SIZES
@pytest.mark.parametrize("is_committed", [True, False])
@pytest.mark.parametrize("error", [DatabaseUnavailableError, BackendError])
async def test_store_lost_answer_of_commit_never_takes_the_file_of_a_row(
    parts: Parts,
    monkeypatch: pytest.MonkeyPatch,
    pixels: int,
    is_committed: bool,
    error: type[BackendError],
) -> None:
    write = parts.database.write

    def lose(change: Callable[[Transaction], Any], **options: bool) -> None:
        if is_committed:
            write(change, **options)
        raise error

    monkeypatch.setattr(parts.database, "write", lose)
    with pytest.raises(error):
        await parts.store(build_numbered(1, pixels=pixels))

    is_kept = is_committed or error is DatabaseUnavailableError
    assert count_instances(parts) == is_committed
    assert len(parts.list_blobs()) == is_kept
    monkeypatch.undo()
    again = await parts.store(build_numbered(1, pixels=pixels))
    assert (again.status is StoreStatus.ALREADY_STORED) is is_committed


async def test_store_unanswered_question_keeps_the_file(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_index(parts)

    def fail(_: object) -> None:
        raise DatabaseUnavailableError

    monkeypatch.setattr(parts.database, "read", fail)
    with pytest.raises(BackendError, match="SQLite"):
        await parts.store(build_numbered(1))

    assert len(parts.list_blobs()) == 1


async def test_store_failing_clean_up_keeps_the_first_error(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    break_index(parts)

    with pytest.raises(BackendError, match="SQLite"):
        await parts.new_ingest(storage=StickyStorage()).store(build_numbered(1), REST)

    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@SIZES
@pytest.mark.parametrize("is_spooled", [True, False])
async def test_store_compressed_keeps_both_sums(
    parts: Parts, pixels: int, is_spooled: bool
) -> None:
    data = build_numbered(1, pixels=pixels)
    ingest = parts.new_ingest(is_compressed=True)

    outcome = await ingest.store(parts.new_content(data) if is_spooled else data, REST)

    attachment = get_attachment(parts, outcome.public_ids.instance).attachment
    [stored] = parts.list_blobs()
    assert decompress(stored, 10_000_000) == data
    assert (attachment.compression, attachment.uncompressed_size) == (1, len(data))
    assert attachment.compressed_size == len(stored)
    assert attachment.compressed_md5 == hashlib.md5(stored, usedforsecurity=False).hexdigest()
    assert attachment.uncompressed_md5 == hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert parts.list_temporary() == []


@SIZES
@pytest.mark.parametrize("is_compressed", [True, False])
async def test_store_without_sums_leaves_them_empty(
    parts: Parts, pixels: int, is_compressed: bool
) -> None:
    outcome = await parts.store(
        build_numbered(1, pixels=pixels), has_md5=False, is_compressed=is_compressed
    )

    attachment = get_attachment(parts, outcome.public_ids.instance).attachment
    assert (attachment.compressed_md5, attachment.uncompressed_md5) == ("", "")


async def test_store_default_encoding_reads_names(parts: Parts) -> None:
    data = build_instance({0x00100010: ("PN", "Иванов".encode("iso8859-5"))})

    outcome = await parts.store(data, settings=Settings("Cyrillic"))

    assert (
        '"PatientName":"Иванов"' in parts.get(Level.PATIENT, outcome.public_ids.patient).main_tags
    )


async def test_store_reception_time_comes_from_the_clock(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isocenter.archive.ingest.now", lambda: 86_400)

    outcome = await parts.store(build_numbered(1))

    metadata = parts.get_metadata(Level.INSTANCE, outcome.public_ids.instance)
    assert metadata[2] == "19700102T000000"
    assert parts.get(Level.STUDY, outcome.public_ids.study).last_update == 86_400


async def test_store_series_is_one_resource(parts: Parts) -> None:
    outcomes = [await parts.store(build_numbered(n)) for n in (3, 1, 2)]

    series = parts.get(Level.SERIES, outcomes[0].public_ids.series)
    assert series.children == sorted(outcome.public_ids.instance for outcome in outcomes)


def test_store_blocking_needs_no_loop(parts: Parts) -> None:
    ingest = parts.new_ingest()

    for content in (build_numbered(1), parts.new_content(build_numbered(2))):
        assert ingest.store_blocking(content, REST).status is StoreStatus.SUCCESS


async def test_store_cancelled_caller_does_not_disturb_others(parts: Parts) -> None:
    ingest = parts.new_ingest()
    tasks = [asyncio.ensure_future(ingest.store(build_numbered(n), REST)) for n in range(20)]
    await asyncio.gather(*tasks[:1])

    for task in tasks[1::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    await wait_until(lambda: not ingest._batches)

    assert not any(isinstance(result, ServerError) for result in results)
    assert len(parts.list_blobs()) == count_instances(parts)
