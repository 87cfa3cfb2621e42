"""How the header of one file was rewritten, so that alike ones are not walked element by element.

References
----------
PS3.5 §7.8.1 (private creators)
"""

from collections import deque
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from isocenter.dicom.elements import EXPLICIT_LITTLE, PIXEL_DATA, Buffer, Layout
from isocenter.dicom.header_patterns import (
    LONGEST_ELEMENT,
    LONGEST_HEADER,
    HeaderElement,
    HeaderPattern,
    Match,
    build_pattern,
)
from isocenter.dicom.new_elements import NewElement, NewItems
from isocenter.dicom.rewriting import Found, Output, Piece, Place, Rules, Walker, add_missing
from isocenter.dicom.tags import DEFAULT_DICTIONARY, TagDictionary, is_private_creator

__all__ = ["Note", "Recipe", "Source", "record_rewriting", "repeat_rewriting"]

_SHORT_VRS = frozenset(EXPLICIT_LITTLE.vr_names[vr] for vr in EXPLICIT_LITTLE.short_vrs)


class Note(NamedTuple):
    """What became of one element.

    Attributes
    ----------
    added
        Elements that the data set got in front of it, encoded.
    written
        What stands in its place, encoded.
    fate
        True if it stays whatever its value is, False if it goes; ``None`` if that has to be asked.
    creator
        Who reserved its block, if it is private and that is known.
    """

    added: bytes
    written: bytes
    fate: bool | None
    creator: str | None


@dataclass(frozen=True, slots=True)
class Recipe:
    """What became of all elements before the pixel data.

    Attributes
    ----------
    notes
        One for each element of the pattern.
    additions
        What the data set may still get behind them.
    creators
        Who has reserved which blocks by then.
    steps
        What is written for elements that are the same in all files, and the note of the element
        behind them, which differs; ``None`` behind the last ones.
    """

    pattern: HeaderPattern
    notes: Sequence[Note]
    additions: Sequence[tuple[int, NewElement | NewItems]]
    creators: Mapping[int, str]
    steps: Sequence[tuple[bytes, Note | None]] = field(init=False)

    def change_pattern(self, pattern: HeaderPattern) -> "Recipe":
        """Build the same with a pattern that has learned."""
        return Recipe(pattern, self.notes, self.additions, self.creators)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", [*self._iter_steps()])

    def _iter_steps(self) -> Iterator[tuple[bytes, Note | None]]:
        for first, last in self.pattern.iter_segments():
            same = self.notes[first:last]
            written = [text for note in same for text in (note.added, note.written)]
            note = self.notes[last] if last < len(self.notes) else None
            if note is not None:
                written.append(note.added)
            yield b"".join(written), note


class Source(NamedTuple):
    """A data set that is to be rewritten (see `rewrite_data_set`)."""

    buffer: Buffer
    start: int
    layout: Layout
    dictionary: TagDictionary = DEFAULT_DICTIONARY


def record_rewriting(
    source: Source, rules: Rules, *, fixed: Container[int], observed: Container[int]
) -> tuple[list[Piece], Recipe | None]:
    """Rewrite the data set of a file as `rewrite_data_set` does, and note how.

    Parameters
    ----------
    fixed
        Tags of elements whose values the rules know beforehand.
    observed
        Tags of elements that the rules must see in every file.

    Returns
    -------
    tuple
        The pieces; and what `repeat_rewriting` needs for others, unless it is too much.

    Raises
    ------
    BadFileFormatError, BadRequestError
        See `rewrite_data_set`.
    """
    view, layout = memoryview(source.buffer), source.layout
    walker = Walker(view, rules, source.dictionary)
    output, place = Output(view), walker.begin(())
    elements: list[HeaderElement] = []
    notes: list[Note] = []
    position = source.start
    while position < min(len(view), source.start + LONGEST_HEADER):
        found = walker.read(position, len(view), layout)
        if found.tag == PIXEL_DATA or found.stop - found.start > LONGEST_ELEMENT:
            break
        note = _rewrite(walker, found, layout, place)
        elements.append(HeaderElement(found.tag, bytes(view[position : found.stop])))
        notes.append(note)
        output.add([note.added, note.written])
        position = found.stop
    stays = {tag for tag, _ in elements if tag in fixed or is_private_creator(tag)}
    pattern = build_pattern(elements, view, position, layout, fixed=stays, variable=observed)
    recipe = None
    if pattern is not None:
        recipe = Recipe(pattern, notes, tuple(place.additions), dict(place.creators))
    walker.go_on(output, position, len(view), layout, place)
    return output.finish(), recipe


def _rewrite(walker: Walker, found: Found, layout: Layout, place: Place) -> Note:
    added, written = Output(walker.view), Output(walker.view)
    add_missing(added, place, found.tag, layout)
    fate = walker.rewrite(written, found, layout, place)
    creator = place.creators.get(found.tag & 0xFFFFFF00)
    if fate is not None and found.tag & 0xFFFF:
        # What may hold items, or has a VR that only the dictionary knows, is looked at each time.
        element = walker.build_element(found, (place.path, creator))
        is_plain = found.encoded_vr in _SHORT_VRS
        fate = None if not is_plain or walker.rules.depends_on_value(element) else fate
    return Note(added.join(), written.join(), fate, creator)


def repeat_rewriting(source: Source, rules: Rules, recipe: Recipe, match: Match) -> list[Piece]:
    """Rewrite the data set of a file that is like another one, as `rewrite_data_set` does.

    Parameters
    ----------
    rules
        The same as for the other one, as if they had seen no file yet.
    match
        Where the file differs from the pattern of the recipe.

    Raises
    ------
    BadFileFormatError, BadRequestError
        See `rewrite_data_set`.
    """
    view, layout = memoryview(source.buffer), source.layout
    walker, output = Walker(view, rules, source.dictionary), Output(view)
    spans = iter(match.spans)
    for written, note in recipe.steps:
        output.add([written])
        if note is not None:
            start, stop = next(spans)
            if note.fate is None:
                walker.apply(output, walker.read(start, stop, layout), layout, ((), note.creator))
            elif note.fate:
                output.keep(start, stop)
    place = Place((), deque(recipe.additions), dict(recipe.creators))
    walker.go_on(output, match.stop, len(view), layout, place)
    return output.finish()
