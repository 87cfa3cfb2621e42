"""What the headers of alike files have in common, so that only what differs is looked at.

Files of a series mostly have the same elements in the same order, and a handful of values differ.
A pattern holds the elements of one file, and which of them have differed in others. Comparing it
with one more file takes as many steps as there are elements that differ.

References
----------
PS3.5 §7.1 (order and headers of elements)
"""

from collections.abc import Container, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from isocenter.dicom.elements import (
    IMPLICIT_LITTLE,
    PIXEL_DATA,
    UNDEFINED_LENGTH,
    Buffer,
    Layout,
    measure_within,
    read_element_header,
)
from isocenter.errors import BadFileFormatError

__all__ = [
    "LONGEST_ELEMENT",
    "LONGEST_HEADER",
    "HeaderElement",
    "HeaderPattern",
    "Match",
    "build_pattern",
    "list_header",
]

LONGEST_ELEMENT = 128 * 1024
"""A header with a longer element before the pixel data, in bytes, has no pattern."""

LONGEST_HEADER = 256 * 1024
"""Nor has one that is longer as a whole. Private headers of some vendors have 100 kB."""

_MOST_ELEMENTS = 1024
# A file that differs in more elements is of another series; to compare it would save nothing.
_MOST_VARIABLE = 24
# In a value of undefined length that may differ: items, their ends, and their elements.
_MOST_NESTED = 256
# How much longer the elements that differ may be than they were, in bytes.
_SLACK = 4096
_DELIMITERS = 0xFFFE
_FRAGMENT_VRS = frozenset({"OB", "OW"})
_PIXEL_DATA_TAGS = {"<": b"\xe0\x7f\x10\x00", ">": b"\x7f\xe0\x00\x10"}


class Match(NamedTuple):
    """Where the elements that differ stand in a file.

    Attributes
    ----------
    spans
        Offsets of each of them and of the byte behind it, in the order of the file.
    stop
        Offset of what follows the header.
    """

    spans: list[tuple[int, int]]
    stop: int


class HeaderElement(NamedTuple):
    """An element of a header.

    Attributes
    ----------
    content
        Header and value, as encoded.
    """

    tag: int
    content: bytes


def list_header(buffer: Buffer, start: int, layout: Layout) -> list[HeaderElement]:
    """List the elements in front of the pixel data, or the first ones if they are too many or long.

    Parameters
    ----------
    buffer, start
        A file, or its beginning, and where its data set begins.
    layout
        Encoding of the data set.
    """
    head = bytes(buffer[start : start + LONGEST_HEADER])
    elements: list[HeaderElement] = []
    position = 0
    while len(elements) < _MOST_ELEMENTS and position + 8 <= len(head):
        group, element, _ = layout.unpack_tag(head, position)
        tag = group << 16 | element
        stop = None if tag == PIXEL_DATA else _measure(head, position, layout)
        if stop is None:
            break
        elements.append(HeaderElement(tag, head[position:stop]))
        position = stop
    return elements


class HeaderPattern:
    """The elements of a header. Immutable.

    Parameters
    ----------
    elements
        As encoded, in ascending order of their tags.
    layout
        Encoding of the data set.
    follower
        What stands behind them: the tag of the pixel data as encoded, or nothing at the end of the
        data.
    fixed
        Indices, from 0, of elements that may not differ.
    variable
        Indices of those that may.
    """

    __slots__ = (
        "_elements",
        "_fixed",
        "_follower",
        "_head_bytes",
        "_keys",
        "_layout",
        "_segments",
        "variable",
    )

    def __init__(
        self,
        elements: Sequence[bytes],
        layout: Layout,
        follower: bytes,
        *,
        fixed: frozenset[int],
        variable: frozenset[int],
    ) -> None:
        self._elements = tuple(elements)
        self._layout = layout
        self._follower = follower
        self._fixed = fixed
        self.variable = variable
        self._head_bytes = sum(map(len, elements)) + _SLACK
        # Tag, and VR if there is one.
        length = 6 if layout.is_explicit else 4
        self._keys = [element[:length] for element in elements]
        self._segments = [
            (b"".join(elements[first:last]), self._keys[last] if last < len(elements) else b"")
            for first, last in self.iter_segments()
        ]

    def iter_segments(self) -> Iterable[tuple[int, int]]:
        """Iterate over runs of elements that are the same: first one, and the one behind the last.

        Behind each but the last one an element stands that differs.
        """
        first = 0
        for index in sorted(self.variable):
            yield first, index
            first = index + 1
        yield first, len(self._elements)

    def match(self, buffer: Buffer, start: int) -> Match | None:
        """Compare the data set of another file.

        Parameters
        ----------
        buffer, start
            The file, and where its data set begins.

        Returns
        -------
        Match or None
            ``None`` if the file has other elements, or others differ than are known to.
        """
        head, base = self._get_head(buffer, start)
        return self._lookup(head, base, start, len(buffer))

    def learn(self, buffer: Buffer, start: int) -> "tuple[HeaderPattern, Match] | None":
        """Build the pattern of this file and another one that did not match.

        Returns
        -------
        tuple or None
            The new pattern, and where the other file differs; ``None`` if it has other elements, or
            they differ where they may not.
        """
        head, base = self._get_head(buffer, start)
        grown = self._grow(head, start - base)
        match = grown._lookup(head, base, start, len(buffer)) if grown is not None else None
        return (grown, match) if grown is not None and match is not None else None

    def _get_head(self, buffer: Buffer, start: int) -> tuple[bytes, int]:
        """Give the bytes that are compared, and the offset at which they begin."""
        if isinstance(buffer, bytes):
            return buffer, 0
        return bytes(buffer[start : start + self._head_bytes]), start

    def _lookup(self, head: bytes, base: int, start: int, size: int) -> Match | None:
        position = start - base
        spans: list[tuple[int, int]] = []
        for constant, key in self._segments:
            if not head.startswith(constant, position):
                return None
            position += len(constant)
            if key:
                is_same = head.startswith(key, position)
                stop = _measure(head, position, self._layout) if is_same else None
                if stop is None:
                    return None
                spans.append((base + position, base + stop))
                position = stop
        follower = self._follower
        is_end = head.startswith(follower, position) if follower else base + position == size
        return Match(spans, base + position) if is_end else None

    def _grow(self, head: bytes, position: int) -> "HeaderPattern | None":
        """Add the elements that differ in a file; ``None`` if it has others."""
        variable = set(self.variable)
        for index, element in enumerate(self._elements):
            if index not in variable and head.startswith(element, position):
                position += len(element)
                continue
            is_same = head.startswith(self._keys[index], position)
            stop = _measure(head, position, self._layout) if is_same else None
            if stop is None or index in self._fixed or len(variable) == _MOST_VARIABLE:
                return None
            variable.add(index)
            position = stop
        return HeaderPattern(
            self._elements,
            self._layout,
            self._follower,
            fixed=self._fixed,
            variable=frozenset(variable),
        )


def build_pattern(
    elements: Sequence[HeaderElement],
    buffer: Buffer,
    stop: int,
    layout: Layout,
    *,
    fixed: Container[int],
    variable: Container[int],
) -> HeaderPattern | None:
    """Build the pattern of a file.

    Parameters
    ----------
    elements
        All before the pixel data, in the order of the file.
    buffer, stop
        The file, and the offset behind these elements.
    layout
        Encoding of the data set.
    fixed, variable
        Tags of elements that may not differ, and of those that count as different in any case.

    Returns
    -------
    HeaderPattern or None
        ``None`` if they are too many or too long or in no order: where a tag stands twice, what
        becomes of one may depend on the other. Nor if items stand where only elements may.
    """
    follower = bytes(buffer[stop : stop + 4])
    tags = [element.tag for element in elements]
    contents = [element.content for element in elements]
    is_fit = (
        follower in {b"", _PIXEL_DATA_TAGS[layout.byte_order]}
        and all(first < second for first, second in pairwise(tags))
        # Scanners and walkers differ about how long these are (PS3.5 §7.5).
        and all(tag >> 16 != _DELIMITERS for tag in tags)
        and len(contents) <= _MOST_ELEMENTS
        and sum(map(len, contents)) <= LONGEST_HEADER
        and all(len(content) <= LONGEST_ELEMENT for content in contents)
    )
    if not is_fit:
        return None
    return HeaderPattern(
        contents,
        layout,
        follower,
        fixed=frozenset(index for index, tag in enumerate(tags) if tag in fixed),
        variable=frozenset(index for index, tag in enumerate(tags) if tag in variable),
    )


def _measure(head: bytes, position: int, layout: Layout) -> int | None:
    """Find the end of an element; ``None`` if it is too long for a header."""
    end = min(len(head), position + LONGEST_ELEMENT)
    try:
        _, vr, value, length = read_element_header(head, position, end, layout)
        if length != UNDEFINED_LENGTH:
            stop = value + length
        elif vr in _FRAGMENT_VRS:
            return None
        else:
            items = IMPLICIT_LITTLE if vr == "UN" else layout
            stop, _ = measure_within(head, value, end, items, _MOST_NESTED)
    except BadFileFormatError:
        # It ends behind the part that is looked at, or it is damaged: others will tell.
        return None
    return stop if stop <= end else None
