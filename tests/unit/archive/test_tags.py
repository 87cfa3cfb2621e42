"""The tags of single instances, as the archive reads them."""

import json
from typing import Any

import pytest
from tests.support.dicom_files import Elements, build_instance, encode_element, encode_meta
from tests.unit.archive.parts import REST, Parts, build_numbered
from tests.unit.archive.storages import ColdStorage, CountingStorage

from isocenter.archive.settings import Settings
from isocenter.archive.tags import TagsReader, TagsRequest
from isocenter.dicom.json_forms import Shape
from isocenter.dicom.levels import Level
from isocenter.dicom.tags import DEFAULT_DICTIONARY
from isocenter.errors import BadFileFormatError, MissingFileError
from isocenter.index.records import Overwrite
from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.memory import MemoryStorage
from isocenter.storage.port import Storage

SHORT = TagsRequest(Shape.SHORT)
HUMAN = TagsRequest(Shape.HUMAN)
# More than is read at once of the start of a file.
LONG_HEADER = 5 * 1024 * 1024


def new_reader(
    parts: Parts,
    storage: Storage | None = None,
    cache_bytes: int = 1 << 20,
    settings: Settings | None = None,
) -> TagsReader:
    storage = storage or parts.storage
    return TagsReader(
        parts.workers,
        storage,
        parts.new_buffers(storage, cache_bytes=cache_bytes),
        settings=settings or Settings(),
        dictionary=DEFAULT_DICTIONARY,
        cache_bytes=cache_bytes,
    )


async def store(parts: Parts, data: bytes, *, is_compressed: bool = False) -> str:
    outcome = await parts.store(data, is_compressed=is_compressed)
    return outcome.public_ids.instance


def load(document: bytes | None) -> Any:
    assert document is not None
    return json.loads(document)


BOTH = pytest.mark.parametrize("is_compressed", [True, False])


async def test_unknown_instance_has_no_tags(parts: Parts) -> None:
    reader = new_reader(parts)

    assert await reader.lookup_tags("unknown", SHORT) is None
    assert await reader.lookup_header("unknown", Shape.SHORT) is None
    for level in Level:
        assert await reader.lookup_module((level, "unknown"), level, SHORT) is None


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


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
@BOTH
async def test_tags_of_one_instance_never_need_more_than_its_header(
    parts: Parts, is_compressed: bool, cache_bytes: int
) -> None:
    storage = CountingStorage()
    ingest = parts.new_ingest(storage=storage, is_compressed=is_compressed)
    data = build_numbered(1, pixels=100_000)
    public_id = (await ingest.store(data, REST)).public_ids.instance
    reader = new_reader(parts, storage, cache_bytes)
    storage.ranges.clear()

    assert load(await reader.lookup_tags(public_id, SHORT))["0020,0013"] == "1"
    assert load(await reader.lookup_header(public_id, Shape.SHORT))["0002,0003"] == "1.2.3.4"
    module = await reader.lookup_module((Level.INSTANCE, public_id), Level.INSTANCE, SHORT)
    assert load(module)["0020,0013"] == "1"

    if not is_compressed:
        assert max(stop for _, stop in storage.ranges if stop is not None) <= 4096
        assert (0, None) not in storage.ranges


async def test_tags_of_a_cold_file_are_read_in_a_worker(parts: Parts) -> None:
    storage = ColdStorage()
    outcome = await parts.new_ingest(storage=storage).store(build_numbered(3), REST)
    reader = new_reader(parts, storage)

    public_id = outcome.public_ids.instance
    assert load(await reader.lookup_tags(public_id, SHORT))["0020,0013"] == "3"
    assert "0002,0010" in load(await reader.lookup_header(public_id, Shape.SHORT))


@BOTH
async def test_tags_of_a_vanished_file_raise(parts: Parts, is_compressed: bool) -> None:
    public_id = await store(parts, build_numbered(1), is_compressed=is_compressed)
    for name in list(parts.storage.iter_uuids()):
        parts.storage.remove(name)
    reader = new_reader(parts)

    with pytest.raises(MissingFileError):
        await reader.lookup_tags(public_id, SHORT)
    with pytest.raises(MissingFileError):
        await reader.lookup_header(public_id, Shape.SHORT)
    with pytest.raises(MissingFileError):
        await reader.lookup_module((Level.INSTANCE, public_id), Level.INSTANCE, SHORT)


@pytest.mark.parametrize("cache_bytes", [0, 1 << 26])
@BOTH
async def test_tags_behind_a_very_long_header_are_read(
    parts: Parts, is_compressed: bool, cache_bytes: int
) -> None:
    long: Elements = {0x00091001: ("OB", bytes(LONG_HEADER)), 0x00090010: ("LO", "NOBODY")}
    data = build_numbered(5, long)
    storage = FileSystemStorage(parts.folder / "storage", sync=False)
    ingest = parts.new_ingest(storage=storage, is_compressed=is_compressed)
    public_id = (await ingest.store(data, REST)).public_ids.instance

    reader = new_reader(parts, storage, cache_bytes)

    assert load(await reader.lookup_tags(public_id, SHORT))["0020,0013"] == "5"


@BOTH
async def test_header_longer_than_usual_is_read_as_a_whole(
    parts: Parts, is_compressed: bool
) -> None:
    # The group length is wrong then, and nobody believes it.
    more = b"".join(encode_element(0x00020100 + n, "UI", "1.2." * 15 + "3") for n in range(80))
    data = build_numbered(1)
    meta = encode_meta()
    public_id = await store(parts, meta + more + data[len(meta) :], is_compressed=is_compressed)

    header = load(await new_reader(parts).lookup_header(public_id, Shape.SHORT))

    assert sum(key.startswith("0002,01") for key in header) == 80


async def test_header_of_a_bare_data_set_is_empty(parts: Parts) -> None:
    public_id = await store(parts, build_numbered(1)[len(encode_meta()) :])

    assert load(await new_reader(parts).lookup_header(public_id, Shape.FULL)) == {}


async def test_module_holds_the_tags_of_its_level_alone(parts: Parts) -> None:
    extra: Elements = {
        0x00080005: ("CS", "ISO_IR 100"),
        0x00080020: ("DA", "20200102"),
        0x00080060: ("CS", "CT"),
        0x00100010: ("PN", "Müller^Eva".encode("latin1")),
        0x00280109: ("US", b"\7\0"),
        0x00290010: ("LO", "NOBODY"),
        0x00290109: ("US", b"\7\0"),
    }
    ids = (await parts.store(build_numbered(4, extra))).public_ids
    reader = new_reader(parts)

    modules = {
        level: load(await reader.lookup_module((level, public_id), level, HUMAN))
        for level, public_id in zip(Level, ids, strict=True)
    }

    assert modules[Level.PATIENT] == {"PatientID": "P-1", "PatientName": "Müller^Eva"}
    assert modules[Level.STUDY] == {"StudyDate": "20200102", "StudyInstanceUID": "1.2.3.1"}
    assert modules[Level.SERIES] == {
        "LargestPixelValueInSeries": "7",
        "Modality": "CT",
        "SeriesInstanceUID": "1.2.3.1.1",
    }
    assert modules[Level.INSTANCE]["InstanceNumber"] == "4"
    assert "PatientID" not in modules[Level.INSTANCE]
    patient = await reader.lookup_module((Level.STUDY, ids.study), Level.PATIENT, HUMAN)
    assert load(patient) == modules[Level.PATIENT]


async def test_module_respects_shape_and_ignore_length(parts: Parts) -> None:
    ids = (await parts.store(build_numbered(4, {0x00104000: ("LT", "x" * 300)}))).public_ids
    reader = new_reader(parts)

    async def read(request: TagsRequest) -> Any:
        return load(
            await reader.lookup_module((Level.PATIENT, ids.patient), Level.PATIENT, request)
        )

    long = frozenset({0x00104000})
    assert (await read(SHORT))["0010,4000"] is None
    assert (await read(TagsRequest(Shape.SHORT, long)))["0010,4000"] == "x" * 300
    assert (await read(TagsRequest(Shape.FULL)))["0010,4000"]["Type"] == "TooLong"


async def test_forget_empties_the_cache(parts: Parts) -> None:
    public_id = await store(parts, build_numbered(1))
    reader = new_reader(parts)
    await reader.lookup_tags(public_id, SHORT)
    assert reader.get_statistics().count == 1

    reader.forget()

    statistics = reader.get_statistics()
    assert (statistics.count, statistics.size_bytes) == (0, 0)
    assert statistics.largest_size_bytes > 0


async def test_unreadable_tags_are_an_error_and_not_cached(parts: Parts) -> None:
    public_id = await store(parts, build_numbered(1))
    [name] = parts.storage.iter_uuids()
    data = parts.storage.read(name)
    parts.storage.write(name, data[:140] + b"\x01" * (len(data) - 140))
    reader = new_reader(parts)

    with pytest.raises(BadFileFormatError):
        await reader.lookup_tags(public_id, SHORT)
    assert reader.get_statistics().count == 0


async def test_tags_follow_the_default_encoding_at_once(parts: Parts) -> None:
    public_id = await store(parts, build_numbered(1, {0x00100010: ("PN", b"\xcf\xf0")}))
    settings = Settings("Latin1")
    reader = new_reader(parts, settings=settings)
    names = []

    for encoding in ("Latin1", "Cyrillic", "Latin1"):
        settings.default_encoding = encoding
        names.append(load(await reader.lookup_tags(public_id, HUMAN))["PatientName"])

    assert names == ["Ïð", b"\xcf\xf0".decode("iso8859_5"), "Ïð"]
