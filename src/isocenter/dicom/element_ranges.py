"""Elements that external dictionaries describe many at a time.

References
----------
Orthanc configuration: ``ExternalDictionaries`` (behaviour manual §38)
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from isocenter.dicom.dictionary import Definition

__all__ = ["ElementRange", "RangeIndex"]


class ElementRange(NamedTuple):
    """Elements that an external dictionary describes with one entry.

    Parameters
    ----------
    groups, elements
        In steps of 1 or 2. Of private elements with a creator perhaps only the last byte.
    """

    groups: range
    elements: range
    definition: Definition
    creator: str | None = None


class RangeIndex:
    """Finds the first range that holds an element; each is tried only seldom. Thread-safe.

    Files of foreign origin hold a hundred thousand unknown elements in a megabyte, if they want to.

    Parameters
    ----------
    ranges
        In the order in which they win.
    """

    def __init__(self, ranges: Iterable[ElementRange]) -> None:
        self._ranges = tuple(ranges)
        self._creators: dict[str | None, _Groups | None] = dict.fromkeys(
            (None, *(one.creator for one in self._ranges))
        )

    def lookup(self, tag: int, creator: str | None) -> Definition | None:
        """Find what is known of an element, or ``None``.

        Parameters
        ----------
        creator
            Private creator of its block, if it is private and the creator is known.
        """
        if creator not in self._creators:
            creator = None
        groups = self._creators[creator]
        if groups is None:
            ranges = [one for one in self._ranges if one.creator in (None, creator)]
            groups = self._creators[creator] = _Groups(ranges)
        return groups.lookup(tag)


class _Cells:
    """Numbers in cells: what holds one even number of a cell holds all of them, so for odd ones."""

    def __init__(self, ranges: Iterable[range]) -> None:
        self._bounds = sorted({bound for one in ranges for bound in (one.start, one.stop)})

    def find(self, number: int) -> int:
        """Tell the cell of a number, other ones for even and for odd numbers."""
        return bisect_right(self._bounds, number) << 1 | number & 1


class _Groups:
    """The ranges of one private creator, by cells of groups."""

    def __init__(self, ranges: Sequence[ElementRange]) -> None:
        self._ranges = ranges
        self._cells = _Cells(one.groups for one in ranges)
        self._known: dict[int, _Elements] = {}

    def lookup(self, tag: int) -> Definition | None:
        """Find the first one that holds an element."""
        group = tag >> 16
        cell = self._cells.find(group)
        elements = self._known.get(cell)
        if elements is None:
            elements = _Elements([one for one in self._ranges if group in one.groups])
            self._known[cell] = elements
        return elements.lookup(tag & 0xFFFF)


class _Elements:
    """The ranges of one private creator and one cell of groups, by cells of elements."""

    def __init__(self, ranges: Sequence[ElementRange]) -> None:
        self._ranges = ranges
        self._cells = _Cells(one.elements for one in ranges)
        self._known: dict[tuple[int, bool], int] = {}

    def lookup(self, element: int) -> Definition | None:
        """Find the first one that holds an element, or the last byte of its number."""
        if not self._ranges:
            return None
        first = min(self._find(element), self._find(element & 0xFF, is_byte=True))
        return self._ranges[first].definition if first < len(self._ranges) else None

    def _find(self, number: int, *, is_byte: bool = False) -> int:
        key = (self._cells.find(number), is_byte)
        first = self._known.get(key)
        if first is None:
            first = self._known[key] = next(
                (
                    index
                    for index, one in enumerate(self._ranges)
                    if number in one.elements and not (is_byte and one.creator is None)
                ),
                len(self._ranges),
            )
        return first
