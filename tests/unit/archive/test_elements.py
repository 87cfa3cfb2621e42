"""Single elements, as the archive reads them."""

import pytest
from tests.support.dicom_files import (
    EXPLICIT_BIG,
    build_data_set,
    build_file,
    encode_element,
    encode_fragments,
    identifiers,
)
from tests.unit.archive.parts import REST, Parts, build_numbered
from tests.unit.archive.storages import CountingStorage

from isocenter.archive.elements import ElementReader, ItemList, StoredValue, TagList
from isocenter.dicom.tags import DEFAULT_DICTIONARY
from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.port import Storage

PIXELS = 0x7FE00010
LARGE = bytes(range(256)) * 12_000
BOTH = pytest.mark.parametrize("is_compressed", [True, False])


async def read(
    parts: Parts,
    data: bytes,
    *path: int,
    is_compressed: bool = False,
    storage: Storage | None = None,
) -> TagList | ItemList | StoredValue | None:
    storage = storage or FileSystemStorage(parts.folder / "storage", sync=False)
    ingest = parts.new_ingest(storage=storage, is_compressed=is_compressed)
    outcome = await ingest.store(data, REST)
    reader = ElementReader(
        parts.workers, storage, parts.new_buffers(storage), dictionary=DEFAULT_DICTIONARY
    )
    elements = await reader.open(outcome.public_ids.instance)
    assert elements is not None
    return await elements.lookup(path)


async def collect(value: object) -> bytes:
    assert isinstance(value, StoredValue)
    return b"".join([piece async for piece in value.stream()])


@BOTH
async def test_small_value_is_read_at_once(parts: Parts, is_compressed: bool) -> None:
    value = await read(parts, build_numbered(7), 0x00200013, is_compressed=is_compressed)

    assert isinstance(value, StoredValue)
    assert (value.data, value.size_bytes) == (b"7", 1)


@BOTH
async def test_large_value_is_streamed_in_pieces(parts: Parts, is_compressed: bool) -> None:
    data = build_file(build_data_set({**identifiers(), PIXELS: ("OW", LARGE)}))

    value = await read(parts, data, PIXELS, 0, is_compressed=is_compressed)

    assert isinstance(value, StoredValue)
    assert (value.data, value.size_bytes) == (None, len(LARGE))
    assert await collect(value) == LARGE


@BOTH
async def test_large_words_of_big_endian_are_turned_across_pieces(
    parts: Parts, is_compressed: bool
) -> None:
    # An odd offset in the file, so that words are cut in two.
    elements = {**identifiers(), 0x00081030: ("LO", b"odd"), PIXELS: ("OW", LARGE + b"\1\2")}
    data = build_file(build_data_set(elements, syntax=EXPLICIT_BIG), syntax=EXPLICIT_BIG)
    turned = bytearray(LARGE + b"\1\2")
    turned[::2], turned[1::2] = turned[1::2], turned[::2]

    value = await read(parts, data, PIXELS, 0, is_compressed=is_compressed)

    assert await collect(value) == turned


@BOTH
async def test_fragments_are_counted_and_read(parts: Parts, is_compressed: bool) -> None:
    fragments = encode_fragments([LARGE, b"abcd"])
    data = build_file(build_data_set(identifiers()) + fragments)

    assert await read(parts, data, PIXELS, is_compressed=is_compressed) == ItemList(3)
    value = await read(parts, data, PIXELS, 2, is_compressed=is_compressed)
    assert isinstance(value, StoredValue)
    assert value.data == b"abcd"


async def test_element_before_the_pixel_data_needs_no_more_than_the_header(parts: Parts) -> None:
    storage = CountingStorage()
    data = build_numbered(7, pixels=100_000)

    value = await read(parts, data, 0x00200013, storage=storage)

    assert isinstance(value, StoredValue)
    [(start, stop)] = storage.ranges
    assert start == 0
    assert stop == data.index(encode_element(PIXELS, "OW", b"", length=100_000))


async def test_unknown_instance_has_no_elements(parts: Parts) -> None:
    buffers = parts.new_buffers()
    reader = ElementReader(parts.workers, parts.storage, buffers, dictionary=DEFAULT_DICTIONARY)

    assert await reader.open("unknown") is None
