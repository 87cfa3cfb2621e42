"""The order of the instances of a series."""

import random
from collections.abc import Sequence

import pytest

from isocenter.dicom.slice_order import SliceSource, order_slices, parse_slice

AXIAL = "1\\0\\0\\0\\1\\0"
FEET_FIRST = "1\\0\\0\\0\\-1\\0"
CORONAL = "1\\0\\0\\0\\0\\-1"


def build(
    number: int,
    position: str | None = None,
    orientation: str | None = AXIAL,
    *,
    index: int | None = None,
    frames: str = "",
) -> SliceSource:
    tags = {
        "ImagePositionPatient": position,
        "ImageOrientationPatient": orientation,
        "NumberOfFrames": frames,
    }
    return parse_slice(str(number), tags, index)


def order(slices: Sequence[SliceSource]) -> tuple[bool, str] | None:
    shuffled = random.sample(slices, len(slices))
    ordered = order_slices(shuffled)
    if ordered is None:
        return None
    return ordered.is_volume, "".join(one.public_id for one in ordered.slices)


@pytest.mark.parametrize(
    ("orientation", "expected"), [(AXIAL, "231"), (FEET_FIRST, "132"), ("2\\0\\0\\0\\3\\0", "231")]
)
def test_parallel_planes_are_a_volume_along_their_normal(orientation: str, expected: str) -> None:
    slices = [
        build(1, "0\\0\\30.5", orientation, index=1),
        build(2, "0\\0\\-1e1", orientation, index=2),
        build(3, "0\\0\\2", orientation, index=3),
    ]
    assert order(slices) == (True, expected)


@pytest.mark.parametrize(
    "second",
    [
        build(2, "0\\0\\1", index=1),
        build(2, "0\\0\\1.0000001", index=1),
        build(2, "0\\0\\2", CORONAL, index=1),
        build(2, None, index=1),
        build(2, "0\\0\\2", None, index=1),
        build(2, "0\\2", index=1),
        build(2, "0\\0\\x", index=1),
        build(2, "0\\0\\nan", index=1),
        build(2, "0\\0\\inf", index=1),
        build(2, "0\\0\\2", "0\\0\\0\\0\\0\\0", index=1),
        build(2, "0\\0\\2", "1\\0\\0\\1\\0\\0", index=1),
        build(2, "0\\0\\2", "1e308\\0\\0\\0\\1e308\\0", index=1),
    ],
)
def test_what_is_no_volume_is_a_sequence_by_number(second: SliceSource) -> None:
    first = build(1, "0\\0\\1", index=2)
    assert order([first, second]) == (False, "21")


def test_equal_numbers_are_ordered_by_identifier() -> None:
    assert order([build(n, index=7) for n in (1, 2, 3)]) == (False, "123")


def test_nothing_that_tells_the_order_is_no_order() -> None:
    assert order([build(1), build(2)]) is None
    assert order([build(1, index=1), build(2)]) is None


def test_one_instance_is_a_sequence() -> None:
    assert order([build(1, "0\\0\\1")]) == (False, "1")


@pytest.mark.parametrize(
    ("text", "frames"),
    [("4", 4), (" 4 ", 4), ("0", 1), ("-4", 1), ("x", 1), ("", 1), ("9" * 30, 1), ("٣", 1)],
)
def test_number_of_frames_is_at_least_1(text: str, frames: int) -> None:
    assert build(1, frames=text).frames == frames
