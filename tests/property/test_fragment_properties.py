"""Fragments of encapsulated pixel data: what is written is found again, whatever it is cut into."""

import struct
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
from tests.support.dicom_files import encode_item

from isocenter.errors import BadFileFormatError
from isocenter.pixels.fragments import build_offset_tables, group_frames, read_fragments

_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
_frames = st.lists(
    st.lists(st.binary(max_size=9).map(lambda b: b + b"\0" * (len(b) % 2)), min_size=1, max_size=4),
    min_size=1,
    max_size=6,
)


def _join(view: memoryview, starts: list[int], lengths: list[int], group: range) -> bytes:
    return b"".join(bytes(view[starts[i] : starts[i] + lengths[i]]) for i in group)


@given(_frames, st.booleans())
def test_frames_are_found_by_their_table(frames: list[list[bytes]], is_extended: bool) -> None:
    offsets, position = [], 0
    for frame in frames:
        offsets.append(position)
        position += sum(8 + len(piece) for piece in frame)
    table = b"" if is_extended else struct.pack(f"<{len(offsets)}I", *offsets)
    items = [table, *(piece for frame in frames for piece in frame)]
    view = memoryview(b"".join(map(encode_item, items)) + _END)
    found = read_fragments(view, 0)
    groups = group_frames(view, found, len(frames), tuple(offsets) if is_extended else ())
    starts, lengths = list(found.starts), list(found.lengths)
    assert [_join(view, starts, lengths, group) for group in groups] == [
        b"".join(frame) for frame in frames
    ]


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=9))
def test_table_that_is_built_is_the_one_that_is_read(frames: list[bytes]) -> None:
    items = [build_offset_tables([len(frame) for frame in frames]).basic]
    items += [frame + b"\0" * (len(frame) % 2) for frame in frames]
    view = memoryview(b"".join(map(encode_item, items)) + _END)
    found = read_fragments(view, 0)
    groups = group_frames(view, found, len(frames), tuple(found.offsets))
    assert groups == [range(index, index + 1) for index in range(len(frames))]


@given(st.binary(max_size=200), st.integers(1, 5))
def test_any_bytes_are_refused_or_grouped_without_a_rest(data: bytes, frames: int) -> None:
    view = memoryview(encode_item(b"") + data + _END)
    with suppress(BadFileFormatError):
        found = read_fragments(view, 0)
        groups = group_frames(view, found, frames)
        assert [index for group in groups for index in group] == list(range(len(found.starts)))
