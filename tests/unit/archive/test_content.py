import os

import pytest
from tests.unit.archive.parts import REST, Parts, build_numbered
from tests.unit.archive.storages import ColdStorage, CountingStorage

from isocenter.archive.content import ContentReader, StoredFile
from isocenter.errors import CorruptedBlobError, MissingFileError
from isocenter.storage.port import Storage

# Larger than what is answered from memory.
LARGE = 5 * 1024 * 1024


def new_reader(
    parts: Parts, storage: Storage | None = None, *, cache_bytes: int = 0
) -> ContentReader:
    storage = storage or parts.storage
    return ContentReader(
        parts.workers, storage, parts.new_buffers(storage, cache_bytes=cache_bytes)
    )


async def store(parts: Parts, data: bytes, *, is_compressed: bool = False) -> str:
    outcome = await parts.store(data, is_compressed=is_compressed)
    return outcome.public_ids.instance


async def open_file(parts: Parts, public_id: str, storage: Storage | None = None) -> StoredFile:
    file = await new_reader(parts, storage).lookup_file(public_id)
    assert file is not None
    return file


async def stream(file: StoredFile, start: int, stop: int) -> bytes:
    return b"".join([piece async for piece in file.stream(start, stop)])


BOTH = pytest.mark.parametrize("is_compressed", [True, False])


@BOTH
async def test_lookup_file_tells_size_and_sum(parts: Parts, is_compressed: bool) -> None:
    data = build_numbered(1, pixels=1000)
    public_id = await store(parts, data, is_compressed=is_compressed)

    file = await open_file(parts, public_id)

    assert (file.size_bytes, file.revision, file.media_type) == (len(data), 0, "application/dicom")
    assert len(file.md5) == 32


async def test_lookup_unknown_instance_returns_nothing(parts: Parts) -> None:
    reader = new_reader(parts)

    assert await reader.lookup_file("unknown") is None


@BOTH
@pytest.mark.parametrize("pixels", [1000, 700_000])
async def test_read_ranges_give_their_bytes(parts: Parts, is_compressed: bool, pixels: int) -> None:
    data = build_numbered(1, pixels=pixels) + os.urandom(1000)
    file = await open_file(parts, await store(parts, data, is_compressed=is_compressed))

    size = len(data)
    for start, stop in ((0, size), (0, 1), (size - 1, size), (100, 100), (133, size - 77)):
        assert await file.read_small(start, stop) == data[start:stop]
        assert await stream(file, start, stop) == data[start:stop]


@BOTH
async def test_read_large_file_is_streamed_in_pieces(parts: Parts, is_compressed: bool) -> None:
    data = build_numbered(1, pixels=LARGE)
    file = await open_file(parts, await store(parts, data, is_compressed=is_compressed))

    pieces = [piece async for piece in file.stream(5, len(data))]

    assert b"".join(pieces) == data[5:]
    assert max(map(len, pieces)) <= 256 * 1024
    assert await file.read_small(0, len(data)) is None


async def test_read_small_part_of_large_file_is_at_once(parts: Parts) -> None:
    data = build_numbered(1, pixels=LARGE)
    plain = await open_file(parts, await store(parts, data))

    assert await plain.read_small(1000, 2000) == data[1000:2000]


async def test_read_small_part_of_large_compressed_file_is_streamed(parts: Parts) -> None:
    data = build_numbered(1, pixels=LARGE)
    file = await open_file(parts, await store(parts, data, is_compressed=True))

    assert await file.read_small(1000, 2000) is None
    assert await stream(file, 1000, 2000) == data[1000:2000]


async def test_stream_left_early_ends_cleanly(parts: Parts) -> None:
    file = await open_file(parts, await store(parts, build_numbered(1, pixels=LARGE)))

    pieces = file.stream(0, file.size_bytes)
    await anext(pieces)
    await pieces.aclose()  # type: ignore[attr-defined]


async def test_read_cold_blob_waits_in_a_worker(parts: Parts) -> None:
    data = build_numbered(1)
    storage = ColdStorage()
    outcome = await parts.new_ingest(storage=storage).store(data, REST)

    file = await open_file(parts, outcome.public_ids.instance, storage)

    assert await file.read_small(0, len(data)) == data


@BOTH
async def test_read_vanished_file_raises(parts: Parts, is_compressed: bool) -> None:
    public_id = await store(parts, build_numbered(1), is_compressed=is_compressed)
    for name in list(parts.storage.iter_uuids()):
        parts.storage.remove(name)
    file = await open_file(parts, public_id)

    with pytest.raises(MissingFileError):
        await file.read_small(0, 10)
    with pytest.raises(MissingFileError):
        await stream(file, 0, 10)


async def test_read_damaged_compressed_file_raises(parts: Parts) -> None:
    public_id = await store(parts, build_numbered(1), is_compressed=True)
    [name] = parts.storage.iter_uuids()
    parts.storage.write(name, parts.storage.read(name)[:-6])
    file = await open_file(parts, public_id)

    with pytest.raises(CorruptedBlobError):
        await file.read_small(0, 10)
    with pytest.raises(CorruptedBlobError):
        await stream(file, 0, file.size_bytes)


async def test_read_compressed_file_again_comes_from_the_cache(parts: Parts) -> None:
    data = build_numbered(1, pixels=1000)
    storage = CountingStorage()
    outcome = await parts.new_ingest(storage=storage, is_compressed=True).store(data, REST)
    public_id = outcome.public_ids.instance
    buffers = parts.new_buffers(storage, cache_bytes=1 << 20)
    reader = ContentReader(parts.workers, storage, buffers)

    for start, stop in ((0, len(data)), (10, 20)):
        file = await reader.lookup_file(public_id)
        assert file is not None
        assert await file.read_small(start, stop) == data[start:stop]

    assert storage.reads == 1
    statistics = buffers.get_statistics()
    assert (statistics.count, statistics.size_bytes, statistics.hits) == (1, len(data), 1)
