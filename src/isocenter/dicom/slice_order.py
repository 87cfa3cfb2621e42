"""The order of the instances of a series: along the normal of their planes, or by their numbers.

References
----------
PS3.3 §C.7.6.2.1.1 (position and orientation of an image in space)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Any

__all__ = ["SliceOrder", "SliceSource", "order_slices", "parse_slice"]

# Planes closer than this, in millimeters, are the same one; single precision tells no more.
_CLOSEST = 1e-6
# Normals of parallel planes may differ by so much in each component.
_LARGEST_DEVIATION = 1e-3
_LONGEST_NUMBER = 10

Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class SliceSource:
    """What tells the place of an instance.

    Attributes
    ----------
    position
        Image Position (Patient) in millimeters; ``None`` if it cannot be used.
    normal
        Unit vector across the plane of Image Orientation (Patient).
    index
        Its number in the series.
    frames
        How many there are, at least 1.
    """

    public_id: str
    position: Vector | None
    normal: Vector | None
    index: int | None
    frames: int


@dataclass(frozen=True, slots=True)
class SliceOrder:
    """The instances in order.

    Attributes
    ----------
    is_volume
        They are parallel planes in space; else a sequence by number.
    """

    is_volume: bool
    slices: tuple[SliceSource, ...]


def parse_slice(public_id: str, tags: Mapping[str, Any], index: int | None) -> SliceSource:
    """Read main tags by keyword; what cannot be used counts as absent."""
    position = _parse_numbers(tags.get("ImagePositionPatient"), 3)
    orientation = _parse_numbers(tags.get("ImageOrientationPatient"), 6)
    return SliceSource(
        public_id,
        None if position is None else (position[0], position[1], position[2]),
        None if orientation is None else _build_normal(orientation),
        index,
        _parse_frames(tags.get("NumberOfFrames")),
    )


def order_slices(slices: Sequence[SliceSource]) -> SliceOrder | None:
    """Order the instances of a series; ``None`` if nothing tells their order.

    References
    ----------
    Orthanc REST: GET /series/{id}/ordered-slices, as measured
    """
    along = _order_along_normal(slices) if len(slices) > 1 else None
    if along is not None:
        return SliceOrder(is_volume=True, slices=along)
    indexes = [one.index for one in slices if one.index is not None]
    if len(indexes) < len(slices) and len(slices) > 1:
        return None
    by_number = sorted(slices, key=lambda one: (one.index or 0, one.public_id))
    return SliceOrder(is_volume=False, slices=tuple(by_number))


def _order_along_normal(slices: Sequence[SliceSource]) -> tuple[SliceSource, ...] | None:
    normal = slices[0].normal
    if normal is None:
        return None
    places: list[tuple[float, SliceSource]] = []
    for one in slices:
        if one.position is None or one.normal is None or not _are_parallel(one.normal, normal):
            return None
        place = sum(a * b for a, b in zip(one.position, normal, strict=True))
        if not math.isfinite(place):
            return None
        places.append((place, one))
    places.sort(key=itemgetter(0))
    if any(b - a <= _CLOSEST for (a, _), (b, _) in pairwise(places)):
        return None
    return tuple(one for _, one in places)


def _are_parallel(one: Vector, other: Vector) -> bool:
    return all(abs(a - b) <= _LARGEST_DEVIATION for a, b in zip(one, other, strict=True))


def _build_normal(orientation: Sequence[float]) -> Vector | None:
    """Compute the unit normal of the plane of a row and a column."""
    (a, b, c), (d, e, f) = orientation[:3], orientation[3:]
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    length = math.hypot(*normal)
    if not math.isfinite(length) or length <= _CLOSEST:
        return None
    return normal[0] / length, normal[1] / length, normal[2] / length


def _parse_numbers(text: object, count: int) -> list[float] | None:
    parts = text.split("\\") if isinstance(text, str) else []
    if len(parts) != count:
        return None
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _parse_frames(text: object) -> int:
    digits = text.strip() if isinstance(text, str) else ""
    is_number = digits.isascii() and digits.isdecimal() and len(digits) <= _LONGEST_NUMBER
    return max(1, int(digits)) if is_number else 1
