"""Which fragments make which frame (PS3.5 §A.4)."""

import struct

import pytest
from tests.support.dicom_files import encode_item

from isocenter.errors import BadFileFormatError
from isocenter.pixels.fragments import (
    MOST_FRAMES,
    build_offset_tables,
    group_frames,
    read_fragments,
)

_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
_JPEG = b"\xff\xd8\xff\xe0"


def _encode(*items: bytes) -> memoryview:
    return memoryview(b"".join(map(encode_item, items)) + _END)


def _group(view: memoryview, frames: int, extended: tuple[int, ...] = ()) -> list[list[int]]:
    fragments = read_fragments(view, 0)
    return [list(group) for group in group_frames(view, fragments, frames, extended)]


def test_fragments_are_found_with_their_offset_table() -> None:
    view = _encode(struct.pack("<2I", 0, 12), b"abcd", b"efghij")
    fragments = read_fragments(view, 0)
    assert list(fragments.offsets) == [0, 12]
    found = zip(fragments.starts, fragments.lengths, strict=True)
    assert [bytes(view[start : start + length]) for start, length in found] == [b"abcd", b"efghij"]


def test_single_frame_takes_all_fragments() -> None:
    assert _group(_encode(b"", b"aa", b"bb", b"cc"), 1) == [[0, 1, 2]]


def test_frames_of_several_fragments_follow_the_basic_table() -> None:
    view = _encode(struct.pack("<2I", 0, 20), b"aa", b"bb", b"cc")
    assert _group(view, 2) == [[0, 1], [2]]


def test_frames_follow_the_extended_table() -> None:
    view = _encode(b"", b"aa", b"bb", b"cc")
    assert _group(view, 2, (0, 10)) == [[0], [1, 2]]


def test_as_many_fragments_as_frames_are_one_each() -> None:
    assert _group(_encode(b"", b"aa", b"bb"), 2) == [[0], [1]]


@pytest.mark.parametrize("table", [(0, 11), (10, 20), (20, 0), (0, 0), (0, 10_000)])
def test_wrong_table_gives_way_to_the_starts_of_streams(table: tuple[int, int]) -> None:
    view = _encode(struct.pack("<2I", *table), _JPEG, b"aa", _JPEG + b"bb")
    assert _group(view, 2) == [[0, 1], [2]]


@pytest.mark.parametrize("frames", [0, 2, 4])
def test_frames_that_nothing_tells_apart_are_refused(frames: int) -> None:
    with pytest.raises(BadFileFormatError):
        _group(_encode(b"", b"aa", b"bb", b"cc"), frames)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        _END,
        bytes(_encode(b"", b"aa"))[:-1],
        bytes(_encode(b"", b"aa"))[:12],
        encode_item(b"") + struct.pack("<HHI", 0xFFFE, 0xE000, 4) + b"aa",
        encode_item(b"abc") + _END,
        struct.pack("<HHI", 0x0008, 0x0018, 0) + _END,
        encode_item(b"") + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + _END,
    ],
)
def test_damaged_fragments_are_refused(data: bytes) -> None:
    with pytest.raises(BadFileFormatError):
        read_fragments(memoryview(data), 0)


def test_tables_tell_where_padded_frames_begin() -> None:
    tables = build_offset_tables([3, 4, 5])
    assert tables.basic == struct.pack("<3I", 0, 12, 24)
    assert (tables.offsets, tables.lengths) == (b"", b"")


def test_tables_beyond_4_gb_are_extended() -> None:
    lengths = [3 << 30, 3 << 30, 5]
    tables = build_offset_tables(lengths)
    assert tables.basic == b""
    assert tables.offsets == struct.pack("<3Q", 0, (3 << 30) + 8, (6 << 30) + 16)
    assert tables.lengths == struct.pack("<3Q", *lengths)


def test_number_of_frames_is_limited() -> None:
    view = memoryview(encode_item(bytes(4 * (MOST_FRAMES + 1))) + _END)
    with pytest.raises(BadFileFormatError):
        read_fragments(view, 0)
