import json
import os

import pytest
from tests.support.dicom_files import build_instance
from tests.unit.archive.parts import REST, Parts, build_numbered

from isocenter.archive.content import ContentReader, StoredFile, TagsRequest
from isocenter.archive.settings import Settings
from isocenter.dicom.json_forms import Shape
from isocenter.errors import CorruptedBlobError, MissingFileError
from isocenter.index.records import Overwrite
from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.memory import MemoryStorage
from isocenter.storage.port import Storage

SHORT = TagsRequest(Shape.SHORT)
HUMAN = TagsRequest(Shape.HUMAN)
# Larger than what is answered from memory.
LARGE = 5 * 1024 * 1024


class CountingStorage(MemoryStorage):
    """Counts how often a blob is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def read(self, attachment_uuid: str, start: int = 0, stop: int | None = None) -> bytes:
        self.reads += 1
        return super().read(attachment_uuid, start, stop)

    def read_cached(self, attachment_uuid: str, start: int, stop: int) -> bytes | None:
        self.reads += 1
        return super().read_cached(attachment_uuid, start, stop)


class ColdStorage(MemoryStorage):
    """Has nothing at hand without waiting for the disk."""

    def read_cached(self, attachment_uuid: str, start: int, stop: int) -> None:
        return None


def new_reader(
    parts: Parts, storage: Storage | None = None, cache_bytes: int = 1 << 20
) -> ContentReader:
    return ContentReader(
        parts.workers,
        storage or parts.storage,
        settings=Settings(),
        cache_bytes=cache_bytes,
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
    assert await reader.lookup_tags("unknown", SHORT) is None


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
    tags = await new_reader(parts, storage).lookup_tags(outcome.public_ids.instance, SHORT)

    assert await file.read_small(0, len(data)) == data
    assert tags is not None


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
    with pytest.raises(MissingFileError):
        await new_reader(parts).lookup_tags(public_id, SHORT)


async def test_read_damaged_compressed_file_raises(parts: Parts) -> None:
    public_id = await store(parts, build_numbered(1), is_compressed=True)
    [name] = parts.storage.iter_uuids()
    parts.storage.write(name, parts.storage.read(name)[:-6])
    file = await open_file(parts, public_id)

    with pytest.raises(CorruptedBlobError):
        await file.read_small(0, 10)
    with pytest.raises(CorruptedBlobError):
        await stream(file, 0, file.size_bytes)


@BOTH
@pytest.mark.parametrize("extra", [64, 60_000])
async def test_lookup_tags_writes_sorted_json(
    parts: Parts, is_compressed: bool, extra: int
) -> None:
    data = build_numbered(
        7, {0x00100010: ("PN", "Müller^Eva".encode("latin1")), 0x00204000: ("LT", "x" * extra)}
    )
    public_id = await store(parts, data, is_compressed=is_compressed)

    document = await new_reader(parts).lookup_tags(public_id, HUMAN)

    assert document is not None
    tags = json.loads(document)
    assert tags["PatientName"] == "Müller^Eva"
    assert tags["InstanceNumber"] == "7"
    assert list(tags) == sorted(tags)
    assert document.startswith(b'{\n   "')
    assert document.endswith(b"}\n")


async def test_lookup_tags_shapes_differ(parts: Parts) -> None:
    public_id = await store(parts, build_numbered(7))
    reader = new_reader(parts)

    short = await reader.lookup_tags(public_id, SHORT)
    full = await reader.lookup_tags(public_id, TagsRequest(Shape.FULL))

    assert short is not None
    assert full is not None
    assert json.loads(short)["0020,0013"] == "7"
    assert json.loads(full)["0020,0013"]["Name"] == "InstanceNumber"


@pytest.mark.parametrize("kind", ["memory", "filesystem"])
async def test_lookup_tags_without_pixels_reads_the_whole_file(parts: Parts, kind: str) -> None:
    storage: Storage = MemoryStorage()
    if kind == "filesystem":
        storage = FileSystemStorage(parts.folder / "storage", sync=False)
    ingest = parts.new_ingest(storage=storage)
    outcome = await ingest.store(build_instance({0x00200013: ("IS", "9")}), REST)

    document = await new_reader(parts, storage).lookup_tags(outcome.public_ids.instance, HUMAN)

    assert document is not None
    assert json.loads(document)["InstanceNumber"] == "9"


async def test_lookup_tags_whole_goes_on_after_the_pixels(parts: Parts) -> None:
    data = build_numbered(1)
    trailing = bytes.fromhex("fcfffcff4f42000004000000") + bytes(4)
    public_id = await store(parts, data + trailing)

    reader = new_reader(parts)
    short = await reader.lookup_tags(public_id, SHORT)
    whole = await reader.lookup_tags(public_id, TagsRequest(Shape.SHORT, is_whole=True))

    assert short is not None
    assert whole is not None
    assert "fffc,fffc" not in json.loads(short)
    assert "fffc,fffc" in json.loads(whole)


async def test_lookup_tags_again_comes_from_the_cache(parts: Parts) -> None:
    storage = CountingStorage()
    ingest = parts.new_ingest(storage=storage)
    public_id = (await ingest.store(build_numbered(1), REST)).public_ids.instance
    reader = new_reader(parts, storage)

    first = await reader.lookup_tags(public_id, SHORT)
    reads = storage.reads
    second = await reader.lookup_tags(public_id, SHORT)

    assert first == second
    assert storage.reads == reads > 0
    await reader.lookup_tags(public_id, HUMAN)
    assert storage.reads > reads


async def test_lookup_tags_replaced_instance_is_not_stale(parts: Parts) -> None:
    reader = new_reader(parts)
    public_id = await store(parts, build_numbered(1, {0x00204000: ("LT", "old")}))
    await reader.lookup_tags(public_id, HUMAN)

    await parts.store(build_numbered(1, {0x00204000: ("LT", "new")}), overwrite=Overwrite.ALWAYS)
    document = await reader.lookup_tags(public_id, HUMAN)

    assert document is not None
    assert json.loads(document)["ImageComments"] == "new"


async def test_lookup_tags_ignore_length_shows_long_values(parts: Parts) -> None:
    public_id = await store(parts, build_numbered(1, {0x00204000: ("LT", "x" * 300)}))
    request = TagsRequest(Shape.HUMAN, ignore_length=frozenset({0x00204000}))

    cut = await new_reader(parts).lookup_tags(public_id, HUMAN)
    whole = await new_reader(parts).lookup_tags(public_id, request)

    assert cut is not None
    assert whole is not None
    assert json.loads(cut)["ImageComments"] is None
    assert json.loads(whole)["ImageComments"] == "x" * 300
