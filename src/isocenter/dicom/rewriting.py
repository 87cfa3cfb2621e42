"""Data sets rewritten element by element: what no rule changes is never copied or decoded.

A data set is walked once. Rules say of each element whether it stays, goes, gets another value, or
has items to be walked. The result is a list of pieces: views of the source for what stayed
(pixel data among it) and fresh bytes for what changed, in the encoding of the source.

References
----------
PS3.5 §7.1 (elements), §7.5 (sequences), §A.4 (fragments)
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from operator import itemgetter
from typing import NamedTuple, Protocol, TypeAlias

from isocenter.dicom.elements import (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_DELIMITATION,
    MAXIMUM_DEPTH,
    PIXEL_DATA,
    SEQUENCE_DELIMITATION,
    UNDEFINED_LENGTH,
    Buffer,
    Layout,
    measure_fragments,
    measure_undefined_length,
    read_element_header,
    read_item_header,
    truncated,
)
from isocenter.dicom.new_elements import (
    NewElement,
    NewItems,
    encode_element,
    encode_header,
    encode_item_header,
)
from isocenter.dicom.tags import DEFAULT_DICTIONARY, TagDictionary, is_private, is_private_creator
from isocenter.errors import BadFileFormatError

__all__ = [
    "Action",
    "AppendedItem",
    "Decision",
    "Element",
    "Found",
    "Output",
    "Path",
    "Piece",
    "Place",
    "Rules",
    "Walker",
    "add_missing",
    "rewrite_data_set",
]

Piece: TypeAlias = bytes | memoryview
"""A part of the result: fresh bytes, or a view of the source."""

Path: TypeAlias = tuple[tuple[int, int], ...]
"""Where a data set is: (tag of a sequence, index of the item from 0) for each level around it."""

_SEQUENCE = "SQ"
_UNKNOWN = "UN"
_FRAGMENT_VRS = frozenset({"OB", "OW"})
# (FFFE,E000) in both byte orders.
_ITEM_TAGS = frozenset({b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"})
_VRS = frozenset(EXPLICIT_LITTLE.vr_names.values())


class Action(Enum):
    """What becomes of an element."""

    KEEP = "keep"
    REMOVE = "remove"
    DESCEND = "descend"
    """Walk its items; an element that is no sequence stays."""


@dataclass(frozen=True, slots=True)
class AppendedItem:
    """One more item, an encoded data set, at the end of a sequence that stays otherwise."""

    item: bytes


Decision: TypeAlias = Action | NewElement | NewItems | AppendedItem


class Element:
    """One element of the source, as rules see it.

    Attributes
    ----------
    vr
        As encoded, or of the dictionary in implicit encoding.
    path
        Of the data set that it stands in.
    private_creator
        Who reserved its block, if it is private and that is known.
    """

    __slots__ = ("_buffer", "_start", "_stop", "path", "private_creator", "tag", "vr")

    def __init__(
        self, tag: int, vr: str, path: Path, private_creator: str | None, span: "_Span"
    ) -> None:
        self.tag = tag
        self.vr = vr
        self.path = path
        self.private_creator = private_creator
        self._buffer, self._start, self._stop = span

    @property
    def value(self) -> bytes:
        """A copy of the encoded value, padding included."""
        return bytes(self._buffer[self._start : self._stop])


_Span: TypeAlias = tuple[memoryview, int, int]


class Rules(Protocol):
    """What is to be changed.

    Attributes
    ----------
    removes_unreadable
        What may hide a sequence that cannot be walked goes, instead of staying as it is.
    """

    removes_unreadable: bool

    def depends_on_value(self, element: Element) -> bool:
        """Tell whether an element that stays or goes might not have done so with another value."""
        ...

    def decide(self, element: Element) -> Decision:
        """Say what becomes of an element.

        Called for each element once, in the order of the file, pixel data included; not for group
        lengths (gggg,0000), which are dropped.
        """
        ...

    def get_additions(self, path: Path) -> Mapping[int, NewElement | NewItems]:
        """Give elements that a data set gets if it lacks them, by their tags."""
        ...


def rewrite_data_set(
    buffer: Buffer,
    start: int,
    layout: Layout,
    rules: Rules,
    dictionary: TagDictionary = DEFAULT_DICTIONARY,
) -> list[Piece]:
    """Rewrite the data set of a file.

    Parameters
    ----------
    buffer, start
        The file, and where its data set begins; it must stay as it is while the pieces are used.
    layout
        Encoding of the data set, which is not deflated.

    Returns
    -------
    list
        Pieces that follow one another; views of ``buffer`` among them.

    Raises
    ------
    BadFileFormatError
        If the data set is damaged or nests too deep.
    BadRequestError
        If a new value is too long.
    """
    view = memoryview(buffer)
    return Walker(view, rules, dictionary).walk(start, len(view), layout, ()).finish()


class Output:
    """Pieces in which untouched neighbors are one view."""

    __slots__ = ("_pieces", "_start", "_stop", "_view", "is_changed")

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._pieces: list[Piece] = []
        self._start = self._stop = -1
        self.is_changed = False

    def keep(self, start: int, stop: int) -> None:
        """Take a part of the source as it is."""
        if start != self._stop:
            self._flush()
            self._start = start
        self._stop = stop

    def add(self, pieces: Iterable[Piece]) -> None:
        """Take something else."""
        self._flush()
        self._pieces.extend(pieces)
        self.is_changed = True

    def _flush(self) -> None:
        if self._stop > self._start:
            self._pieces.append(self._view[self._start : self._stop])
        self._start = self._stop = -1

    def finish(self) -> list[Piece]:
        """Give all pieces."""
        self._flush()
        return self._pieces

    def join(self) -> bytes:
        """Give all pieces as one."""
        return b"".join(self.finish())


class Found(NamedTuple):
    """An element of the source: offsets of its header and value, and the end of the value."""

    tag: int
    encoded_vr: str | None
    start: int
    value: int
    length: int
    stop: int


class _Item(NamedTuple):
    """An item: offsets of its header, its content, the end of that, and the end of all."""

    start: int
    first: int
    last: int
    stop: int

    @property
    def is_defined(self) -> bool:
        """True if the header tells the length."""
        return self.last == self.stop


class Place(NamedTuple):
    """A data set or an item on the way.

    Attributes
    ----------
    additions
        What it gets if it lacks it, in the order of tags.
    creators
        Who has reserved which blocks so far.
    """

    path: Path
    additions: deque[tuple[int, NewElement | NewItems]]
    creators: dict[int, str]


class Walker:
    """Walks one file.

    Attributes
    ----------
    view, rules
        The file, and what is to be done to it.
    """

    def __init__(self, view: memoryview, rules: Rules, dictionary: TagDictionary) -> None:
        self.view = view
        self.rules = rules
        self._dictionary = dictionary

    def walk(self, position: int, end: int, layout: Layout, path: Path) -> Output:
        """Rewrite a data set or an item that ends at ``end``."""
        output = Output(self.view)
        self.go_on(output, position, end, layout, self.begin(path))
        return output

    def begin(self, path: Path) -> Place:
        """Stand in front of a data set or of an item."""
        additions = sorted(self.rules.get_additions(path).items(), key=itemgetter(0))
        return Place(path, deque(additions), {})

    def go_on(self, output: Output, position: int, end: int, layout: Layout, place: Place) -> None:
        """Rewrite what is left of it."""
        while position < end:
            found = self.read(position, end, layout)
            add_missing(output, place, found.tag, layout)
            self.rewrite(output, found, layout, place)
            position = found.stop
        if place.additions:
            output.add([encode_element(*addition, layout) for addition in place.additions])

    def rewrite(self, output: Output, found: Found, layout: Layout, place: Place) -> bool | None:
        """Rewrite one element.

        Returns
        -------
        bool or None
            True if it stays as it is, False if it goes.
        """
        if not found.tag & 0xFFFF:
            output.is_changed = True
            return False
        creator = self._note_creator(found, place.creators) if is_private(found.tag) else None
        return self.apply(output, found, layout, (place.path, creator))

    def read(self, position: int, end: int, layout: Layout) -> Found:
        """Read the header of an element, and find its end."""
        tag, vr, value, length = read_element_header(self.view, position, end, layout)
        if length != UNDEFINED_LENGTH:
            stop = value + length
            if stop > end:
                raise truncated()
        elif tag == PIXEL_DATA or vr in _FRAGMENT_VRS:
            stop = measure_fragments(self.view, value, end)
        else:
            inner = IMPLICIT_LITTLE if vr == _UNKNOWN else layout
            stop = measure_undefined_length(self.view, value, end, inner)
        return Found(tag, vr, position, value, length, stop)

    def _note_creator(self, found: Found, creators: dict[int, str]) -> str | None:
        """Remember who reserves a block, or find who reserved that of an element (PS3.5 §7.8.1)."""
        tag = found.tag
        if is_private_creator(tag):
            name = bytes(self.view[found.value : found.stop]).decode("latin-1").strip(" \0")
            creators[tag & 0xFFFF0000 | (tag & 0xFF) << 8] = name
            return None
        return creators.get(tag & 0xFFFFFF00)

    def build_element(self, found: Found, where: tuple[Path, str | None]) -> Element:
        """Show an element as rules see it."""
        path, creator = where
        vr = found.encoded_vr
        if vr is None or vr == _UNKNOWN:
            vr = self._dictionary.lookup_vr(found.tag, creator)
        return Element(found.tag, vr, path, creator, (self.view, found.value, found.stop))

    def apply(
        self, output: Output, found: Found, layout: Layout, where: tuple[Path, str | None]
    ) -> bool | None:
        """Do with an element as the rules say (see `rewrite`).

        Parameters
        ----------
        where
            Path of its data set, and who has reserved its block.
        """
        element = self.build_element(found, where)
        decision, vr, path = self.rules.decide(element), element.vr, element.path
        if decision is Action.DESCEND and self._seems_to_hold_items(found, vr):
            self._try_to_descend(output, found, layout, path)
        elif decision is Action.DESCEND and _holds_items(found, vr):
            self._descend(output, found, layout, path)
        elif decision is Action.KEEP or decision is Action.DESCEND:
            output.keep(found.start, found.stop)
            return True
        elif decision is Action.REMOVE:
            output.is_changed = True
            return False
        elif isinstance(decision, AppendedItem):
            self._append(output, found, decision.item, layout)
        else:
            output.add([encode_element(found.tag, decision, layout)])
        return None

    def _append(self, output: Output, found: Found, item: bytes, layout: Layout) -> None:
        """Add an item to a sequence; one that hides in an unknown element stays as it is."""
        if found.encoded_vr == _UNKNOWN:
            output.keep(found.start, found.stop)
            return
        added = encode_item_header(len(item), layout) + item
        if found.length == UNDEFINED_LENGTH:
            last = found.stop - 8
            output.add([self.view[found.start : last], added, self.view[last : found.stop]])
            return
        length = found.length + len(added)
        header = encode_header(found.tag, found.encoded_vr or _SEQUENCE, length, layout)
        output.add([header, self.view[found.value : found.stop], added])

    def _descend(self, output: Output, found: Found, layout: Layout, path: Path) -> None:
        if len(path) >= MAXIMUM_DEPTH:
            raise BadFileFormatError("The sequences nest too deep")
        inner = IMPLICIT_LITTLE if found.encoded_vr == _UNKNOWN else layout
        items, tail = self._list_items(found, inner)
        pieces: list[Piece] = []
        is_changed = False
        for index, item in enumerate(items):
            if found.encoded_vr == _UNKNOWN and self._seems_explicit(item):
                raise BadFileFormatError("An element of unknown VR holds explicit items")
            content = self.walk(item.first, item.last, inner, (*path, (found.tag, index)))
            is_changed = is_changed or content.is_changed
            pieces.extend(self._rebuild_item(item, content, inner))
        has_rest = found.length != UNDEFINED_LENGTH and tail < found.stop
        if not (is_changed or (has_rest and self.rules.removes_unreadable)):
            output.keep(found.start, found.stop)
            return
        if found.length == UNDEFINED_LENGTH:
            start, end = self.view[found.start : found.value], self.view[tail : found.stop]
            output.add([start, *pieces, end])
        else:
            size = sum(len(piece) for piece in pieces)
            header = encode_header(found.tag, found.encoded_vr or _SEQUENCE, size, layout)
            output.add([header, *pieces])

    def _seems_to_hold_items(self, found: Found, vr: str) -> bool:
        """Tell whether a value of unknown VR begins like the items of a sequence.

        Whoever does not know a sequence passes it on as UN, with its length (PS3.5 §6.2.2).
        """
        is_unknown = found.encoded_vr == _UNKNOWN or (vr == _UNKNOWN and found.encoded_vr is None)
        if found.tag == PIXEL_DATA or not is_unknown:
            return False
        return vr == _SEQUENCE or bytes(self.view[found.value : found.value + 4]) in _ITEM_TAGS

    def _seems_explicit(self, item: _Item) -> bool:
        """Tell whether an item that must be implicit begins with a VR (PS3.5 §6.2.2).

        Taken for a part of a length, it would hide the elements behind it from the rules.
        """
        vr = bytes(self.view[item.first + 4 : min(item.first + 6, item.last)])
        return self.rules.removes_unreadable and vr.decode("latin-1") in _VRS

    def _try_to_descend(self, output: Output, found: Found, layout: Layout, path: Path) -> None:
        """Walk what seems to be a sequence; if it is none, nobody knows what it holds."""
        try:
            self._descend(output, found, layout, path)
        except BadFileFormatError:
            if self.rules.removes_unreadable:
                output.is_changed = True
            else:
                output.keep(found.start, found.stop)

    def _rebuild_item(self, item: _Item, content: Output, layout: Layout) -> list[Piece]:
        if not content.is_changed:
            return [self.view[item.start : item.stop]]
        pieces = content.finish()
        if item.is_defined:
            return [encode_item_header(sum(len(piece) for piece in pieces), layout), *pieces]
        start, end = self.view[item.start : item.first], self.view[item.last : item.stop]
        return [start, *pieces, end]

    def _list_items(self, found: Found, layout: Layout) -> tuple[list[_Item], int]:
        """List the items of a sequence, and tell where they end."""
        items: list[_Item] = []
        position, end = found.value, found.stop
        while position < end:
            tag, length = read_item_header(self.view, position, end, layout)
            if tag == SEQUENCE_DELIMITATION:
                break
            if tag != ITEM:
                raise BadFileFormatError("A sequence holds something that is not an item")
            first = position + 8
            if length == UNDEFINED_LENGTH:
                last = self._find_item_end(first, end, layout)
                item = _Item(position, first, last, last + 8)
            else:
                item = _Item(position, first, first + length, first + length)
            if item.stop > end:
                raise truncated()
            items.append(item)
            position = item.stop
        return items, position

    def _find_item_end(self, position: int, end: int, layout: Layout) -> int:
        """Find the item delimitation item of an item of undefined length."""
        while True:
            tag, _, _, _ = read_element_header(self.view, position, end, layout)
            if tag == ITEM_DELIMITATION:
                return position
            position = self.read(position, end, layout).stop


def _holds_items(found: Found, vr: str) -> bool:
    if found.tag == PIXEL_DATA or found.encoded_vr in _FRAGMENT_VRS:
        return False
    return vr == _SEQUENCE or found.length == UNDEFINED_LENGTH


def add_missing(output: Output, place: Place, tag: int, layout: Layout) -> None:
    """Add what a data set lacks in front of an element that it has."""
    additions = place.additions
    while additions and additions[0][0] < tag:
        output.add([encode_element(*additions.popleft(), layout)])
    if additions and additions[0][0] == tag:
        additions.popleft()
