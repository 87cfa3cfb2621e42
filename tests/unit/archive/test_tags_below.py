"""The tags of many instances."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.support.dicom_files import Elements
from tests.unit.archive.parts import REST, Parts, build_numbered
from tests.unit.archive.storages import CountingStorage

from isocenter.archive import tags_below
from isocenter.archive.settings import Settings
from isocenter.archive.tags import TagsReader, TagsRequest
from isocenter.archive.tags_below import TagsBelow
from isocenter.dicom.identifiers import PublicIds
from isocenter.dicom.json_forms import Shape
from isocenter.dicom.levels import Level
from isocenter.dicom.tags import DEFAULT_DICTIONARY
from isocenter.errors import MissingFileError
from isocenter.index import files
from isocenter.storage.port import Storage

SHORT = TagsRequest(Shape.SHORT)
HUMAN = TagsRequest(Shape.HUMAN)
STALE = "0f8fad5b-d9cb-469f-a165-70867728950e"


def new_reader(parts: Parts, storage: Storage | None = None) -> tuple[TagsReader, TagsBelow]:
    storage = storage or parts.storage
    tags = TagsReader(
        parts.workers,
        storage,
        parts.new_buffers(storage),
        settings=Settings(),
        dictionary=DEFAULT_DICTIONARY,
        cache_bytes=1 << 20,
    )
    return tags, TagsBelow(parts.workers, tags)


async def store_many(
    parts: Parts, count: int, extra: Elements | None = None, storage: Storage | None = None
) -> list[PublicIds]:
    ingest = parts.new_ingest(storage=storage)
    return [
        (await ingest.store(build_numbered(number, extra), REST)).public_ids
        for number in range(1, count + 1)
    ]


async def read_all(below: TagsBelow, ids: PublicIds, request: TagsRequest = SHORT) -> Any:
    pieces = below.iter_instances_tags(Level.SERIES, ids.series, request)
    return json.loads(b"".join([piece async for piece in pieces]))


@pytest.fixture(params=[1, 2, 32])
def batch_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    size: int = request.param
    monkeypatch.setattr(tags_below, "_MOST_IN_BATCH", size)
    return size


async def test_each_instance_has_its_entry(parts: Parts, batch_size: int) -> None:
    stored = await store_many(parts, 9)
    tags, below = new_reader(parts)

    document = await read_all(below, stored[0])

    assert list(document) == sorted(ids.instance for ids in stored)
    for ids in stored:
        single = await tags.lookup_tags(ids.instance, SHORT)
        assert single is not None
        assert document[ids.instance] == json.loads(single)


async def test_pages_are_joined(
    parts: Parts, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await store_many(parts, 7)
    find = files.find_files_below
    monkeypatch.setattr(tags_below, "FILES_PAGE", 3)
    monkeypatch.setattr(
        tags_below,
        "find_kept_files",
        lambda tx, level, public_id, *, after: find(tx, level, public_id, after=after, limit=3),
    )
    _, below = new_reader(parts)

    assert len(await read_all(below, stored[0])) == 7
    shared = await below.lookup_shared_tags(Level.SERIES, stored[0].series, HUMAN)
    assert shared is not None
    assert "InstanceNumber" not in json.loads(shared)


async def test_unknown_resource_has_no_document(parts: Parts) -> None:
    _, below = new_reader(parts)

    assert [p async for p in below.iter_instances_tags(Level.STUDY, "nobody", SHORT)] == []
    assert await below.lookup_shared_tags(Level.STUDY, "nobody", SHORT) is None


async def test_tags_of_many_come_from_the_cache_the_second_time(parts: Parts) -> None:
    storage = CountingStorage()
    stored = await store_many(parts, 5, storage=storage)
    _, below = new_reader(parts, storage)
    first = await read_all(below, stored[0])
    reads = storage.reads

    assert await read_all(below, stored[0]) == first
    assert storage.reads == reads


async def test_tags_of_very_many_leave_room_in_the_cache(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tags_below, "_MOST_IN_BATCH", 1)
    monkeypatch.setattr(tags_below, "_MOST_CACHED", 2)
    stored = await store_many(parts, 5)
    tags, below = new_reader(parts)

    await read_all(below, stored[0])

    assert tags.get_statistics().count == 2


async def test_long_headers_make_small_batches(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tags_below, "_MOST_BATCH_BYTES", 1000)
    stored = await store_many(parts, 3, {0x00204000: ("LT", "x" * 900)})
    _, below = new_reader(parts)

    pieces = [
        piece async for piece in below.iter_instances_tags(Level.SERIES, stored[0].series, SHORT)
    ]

    assert len(pieces) == 4  # Three entries, and the end.


async def test_lost_file_is_an_error_but_a_deleted_instance_is_not(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await store_many(parts, 3)
    for name in list(parts.storage.iter_uuids())[:1]:
        parts.storage.remove(name)
    _, below = new_reader(parts)

    with pytest.raises(MissingFileError):
        await read_all(below, stored[0])

    monkeypatch.setattr(tags_below, "lookup_dicom_attachment", lambda tx, public_id: None)
    assert len(await read_all(below, stored[0])) == 2


async def test_instance_that_was_replaced_meanwhile_is_read_anew(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await store_many(parts, 2)
    find = files.find_files_below

    def find_stale(tx: Any, level: Level, public_id: str, *, after: str) -> Any:
        return [
            (name, replace(file, attachment=replace(file.attachment, attachment_uuid=STALE)))
            for name, file in find(tx, level, public_id, after=after)
        ]

    monkeypatch.setattr(tags_below, "find_kept_files", find_stale)
    _, below = new_reader(parts)

    assert len(await read_all(below, stored[0])) == 2


async def test_shared_tags_leave_out_what_cannot_be_read(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    stored = await store_many(parts, 3)
    for name in list(parts.storage.iter_uuids())[:1]:
        parts.storage.remove(name)
    _, below = new_reader(parts)

    shared = await below.lookup_shared_tags(Level.SERIES, stored[0].series, HUMAN)

    assert shared is not None
    assert json.loads(shared)["PatientID"] == "P-1"
    assert "a file cannot be read" in caplog.messages


async def test_shared_tags_of_lost_files_alone_are_an_error(parts: Parts) -> None:
    stored = await store_many(parts, 2)
    for name in list(parts.storage.iter_uuids()):
        parts.storage.remove(name)
    _, below = new_reader(parts)

    with pytest.raises(MissingFileError):
        await below.lookup_shared_tags(Level.SERIES, stored[0].series, HUMAN)


async def test_reading_that_is_given_up_leaves_nothing_behind(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tags_below, "_MOST_IN_BATCH", 1)
    stored = await store_many(parts, 8)
    _, below = new_reader(parts)
    pieces = below.iter_instances_tags(Level.SERIES, stored[0].series, SHORT)

    await anext(pieces)
    await pieces.aclose()

    assert len(await read_all(below, stored[0])) == 8


async def test_resource_without_any_file_is_told_from_an_unknown_one(parts: Parts) -> None:
    ids = (await parts.store(build_numbered(1), keeps_files=False)).public_ids
    tags, below = new_reader(parts)

    with pytest.raises(MissingFileError):
        await read_all(below, ids)
    with pytest.raises(MissingFileError):
        await below.lookup_shared_tags(Level.PATIENT, ids.patient, HUMAN)
    with pytest.raises(MissingFileError):
        await tags.lookup_tags(ids.instance, HUMAN)
    with pytest.raises(MissingFileError):
        await tags.lookup_module((Level.STUDY, ids.study), Level.STUDY, HUMAN)


async def test_instances_without_files_are_left_out(parts: Parts) -> None:
    kept = (await parts.store(build_numbered(1))).public_ids
    await parts.store(build_numbered(2), keeps_files=False)
    _, below = new_reader(parts)

    assert list(await read_all(below, kept)) == [kept.instance]
