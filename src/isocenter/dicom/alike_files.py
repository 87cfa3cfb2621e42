"""Kinds of files that were seen before, so that one more of a kind is known by its header."""

from collections.abc import Hashable
from typing import Generic, Protocol, Self, TypeVar

from isocenter.dicom.elements import Buffer
from isocenter.dicom.header_patterns import HeaderPattern, Match

__all__ = ["AlikeFiles", "Kind"]

# Kinds that are remembered at once.
_MOST_KINDS = 8
# A file that is like no other counts as so many that are. Beyond the limit few are learned from;
# beyond the ceiling nothing is counted, so that what comes later is learned as soon as ever.
_PRICE_OF_MISS = 2
_MOST_MISSES = 32
_CEILING = 2 * _MOST_MISSES
# While few are learned from, one of so many.
_RARELY = 16


class Kind(Protocol):
    """What is known of a kind of files.

    Attributes
    ----------
    question
        What was asked about them.
    """

    @property
    def question(self) -> Hashable:
        """What was asked about them; others may know them for another purpose."""
        ...

    @property
    def pattern(self) -> HeaderPattern:
        """What their headers have in common."""
        ...

    def change_pattern(self, pattern: HeaderPattern) -> Self:
        """Build the same for a pattern with more elements that differ."""
        ...


K = TypeVar("K", bound=Kind)


class AlikeFiles(Generic[K]):
    """Remembers some kinds of files. Threads may share it: none sees half of a change."""

    def __init__(self) -> None:
        # The one that was seen last comes first.
        self._kinds: tuple[K, ...] = ()
        self._misses = 0
        self._unlike = 0

    def lookup(self, question: Hashable, buffer: Buffer, start: int) -> tuple[K, Match] | None:
        """Find the kind of a file.

        Parameters
        ----------
        question
            What is asked about it.
        buffer, start
            The file, and where its data set begins.

        Returns
        -------
        tuple or None
            The kind, and where the file differs; ``None`` if it is like none.
        """
        kinds = [kind for kind in self._kinds if kind.question == question]
        for kind in kinds:
            match = kind.pattern.match(buffer, start)
            if match is not None:
                self._note_hit(kind, kind)
                return kind, match
        for kind in kinds if self.is_learning else ():
            learned = kind.pattern.learn(buffer, start)
            if learned is not None:
                pattern, match = learned
                extended = kind.change_pattern(pattern)
                self._note_hit(kind, extended)
                return extended, match
        return None

    @property
    def is_learning(self) -> bool:
        """False while most files are like no other: then only some of them are learned from."""
        return self._misses < _MOST_MISSES or not self._unlike % _RARELY

    def note_miss(self) -> None:
        """Note that a sound file was like no other."""
        self._unlike += 1
        self._misses = min(self._misses + _PRICE_OF_MISS, _CEILING)

    def add(self, kind: K) -> None:
        """Remember one more kind, and forget the one that was not seen for longest."""
        self._put_first(None, kind)

    def _note_hit(self, old: K, new: K) -> None:
        if self._misses:
            self._misses -= 1
        if new is not self._kinds[0]:
            self._put_first(old, new)

    def _put_first(self, old: K | None, new: K) -> None:
        others = [kind for kind in self._kinds if kind is not old and kind is not new]
        self._kinds = (new, *others[: _MOST_KINDS - 1])
