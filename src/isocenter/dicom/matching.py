r"""What a criterion means: the tests of PS3.4 on values that are at hand.

`index.sql_builder` compiles the same meaning to SQL. Both build on three functions: `split_values`
says which texts of a value are compared, `main_tags.normalize_for_search` what does not matter in
them, and `parse_pattern` what a pattern of wildcards is.

References
----------
PS3.4 §C.2.2.2; Orthanc REST: matching of one criterion (behaviour manual §15.1), quirks 28 and 52
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from isocenter.dicom.data_sets import Element
from isocenter.dicom.main_tags import fold_text, normalize_for_search
from isocenter.dicom.query import (
    RANGE_VRS,
    SINGLE_VALUED_VRS,
    AnyOf,
    Criterion,
    Exists,
    Items,
    MetadataCriterion,
    Range,
    Test,
    Universal,
    Wildcards,
)

__all__ = [
    "PADDING",
    "Pattern",
    "build_element_matcher",
    "build_matcher",
    "build_metadata_matcher",
    "fold_metadata",
    "is_plain",
    "loosen",
    "parse_pattern",
    "split_values",
]

Matcher = Callable[[str | None], bool]
"""Tells whether the text of a value matches; ``None`` stands for an attribute that is absent."""

PADDING = " \0"
"""What does not count at the ends of a value (PS3.5 §6.2)."""

_TOKENS = re.compile(r"[*?]")


def split_values(text: str, vr: str) -> list[str]:
    r"""List the texts of a value that a criterion is compared with.

    These are the values of a multi-valued text; for names of persons also their alphabetic,
    ideographic and phonetic groups; and the whole text, but for dates and times.

    References
    ----------
    PS3.5 §6.2 (value multiplicity, VR PN); behaviour manual §15.1
    """
    if vr in SINGLE_VALUED_VRS or ("\\" not in text and (vr != "PN" or "=" not in text)):
        return [text]
    values = text.split("\\")
    texts = values if vr in RANGE_VRS else [text, *values]
    if vr == "PN":
        groups = [group for value in values for group in value.split("=") if "=" in value]
        texts = [*texts, *(group for group in groups if group)]
    return list(dict.fromkeys(texts))


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern of wildcards.

    Attributes
    ----------
    pieces
        What stands between the asterisks: runs of literal texts, with one character of any kind
        between each two of them. The first and the last piece are bound to the ends of the text.
    """

    pieces: tuple[tuple[str, ...], ...]

    @property
    def prefix(self) -> str:
        """The literal text that every match begins with."""
        return self.pieces[0][0]

    @property
    def is_prefix_only(self) -> bool:
        """True if the pattern is its prefix and an asterisk."""
        return len(self.pieces[0]) == 1 and self.pieces[1:] == (("",),)

    def build_matcher(self) -> Callable[[str], bool]:
        """Build a test that takes time in proportion to the text, whatever the pattern is."""
        if len(self.pieces) == 1:
            whole = _compile(self.pieces[0])
            return lambda text: whole.fullmatch(text) is not None
        first, *middle, last = (_compile(piece) for piece in self.pieces)
        last_length = sum(map(len, self.pieces[-1])) + len(self.pieces[-1]) - 1

        def matches(text: str) -> bool:
            found = first.match(text)
            for piece in middle:
                if found is None:
                    return False
                found = piece.search(text, found.end())
            start = len(text) - last_length
            return found is not None and start >= found.end() and bool(last.match(text, start))

        return matches


def _compile(piece: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(".".join(map(re.escape, piece)), re.DOTALL)


def parse_pattern(
    text: str, fold: Callable[[str], str] = fold_text, *, padding: str = PADDING
) -> Pattern:
    """Cut a pattern at its wildcards and fold what is between them.

    Parameters
    ----------
    padding
        Characters that do not count at both ends of the text, as they do not in values.
    """
    text = text.strip(padding)
    literals = [fold(literal) for literal in _TOKENS.split(text)]
    literals[0] = literals[0].lstrip(padding)
    literals[-1] = literals[-1].rstrip(padding)
    pieces: list[list[str]] = [[literals[0]]]
    for wildcard, literal in zip(_TOKENS.findall(text), literals[1:], strict=True):
        if wildcard == "*":
            pieces.append([literal])
        else:
            pieces[-1].append(literal)
    # Asterisks next to each other mean the same as one.
    kept = [piece for piece in pieces[1:-1] if piece != [""]]
    return Pattern(tuple(map(tuple, [pieces[0], *kept, *pieces[1:][-1:]])))


def loosen(pattern: str) -> str:
    """Let a pattern match a folded text wherever it matches the text itself.

    A letter may become two when it is folded, so a question mark stands for any number then.
    """
    return pattern.replace("?", "*")


def build_matcher(criterion: Criterion) -> Matcher:
    """Build the test of a criterion on the text of a value, multiple values joined by backslashes.

    A criterion that distinguishes case also has to hold if it did not, as a search of the index
    selects by that first.
    """
    test, vr = criterion.test, criterion.vr
    if isinstance(test, Universal):
        return lambda _: True
    if isinstance(test, Exists):
        return lambda text: text is not None
    if isinstance(test, Items) or vr == "SQ":
        return lambda _: False  # A text has no items.
    is_exact = criterion.needs_exact_text
    folded = _build_text_test(test, normalize_for_search, fold_text, is_loose=is_exact)
    exact = _build_text_test(test, _strip, _keep) if is_exact else None

    def matches(text: str | None) -> bool:
        if text is None:
            return False
        values = split_values(text, vr)
        if not any(folded(normalize_for_search(value)) for value in values):
            return False
        return exact is None or any(exact(_strip(value)) for value in values)

    return matches


def _build_text_test(
    test: Test,
    normalize: Callable[[str], str],
    fold: Callable[[str], str],
    *,
    is_loose: bool = False,
    padding: str = PADDING,
) -> Callable[[str], bool]:
    """Build the test of one normalized text."""
    if isinstance(test, AnyOf):
        return frozenset(map(normalize, test.values)).__contains__
    if isinstance(test, Range):
        lower = "" if test.lower is None else normalize(test.lower)
        upper = None if test.upper is None else normalize(test.upper)
        return lambda text: lower <= text and (upper is None or text <= upper)
    if isinstance(test, Wildcards):
        patterns = [loosen(text) if is_loose else text for text in test.patterns]
        matchers = [parse_pattern(p, fold, padding=padding).build_matcher() for p in patterns]
        return lambda text: any(matches(text) for matches in matchers)
    raise TypeError(test)


def _strip(text: str) -> str:
    return text.strip(PADDING)


def _keep(text: str) -> str:
    return text


def build_element_matcher(criterion: Criterion) -> Callable[[Element | None], bool]:
    """Build the test of a criterion on a data element, a sequence perhaps; ``None`` if absent.

    References
    ----------
    PS3.4 §C.2.2.2.6
    """
    if isinstance(criterion.test, Items):
        matches_item = _build_item_matcher(criterion.test)
        return lambda element: (
            element is not None
            and isinstance(element.value, list)
            and any(map(matches_item, element.value))
        )
    if isinstance(criterion.test, Exists):
        return lambda element: element is not None
    matches = build_matcher(criterion)

    def matches_element(element: Element | None) -> bool:
        if element is None:
            return matches(None)
        if isinstance(element.value, str):
            return matches(element.value)
        return isinstance(criterion.test, Universal)

    return matches_element


def _build_item_matcher(test: Items) -> Callable[[Mapping[int, Element]], bool]:
    matchers = [(criterion.tag, build_element_matcher(criterion)) for criterion in test.criteria]
    return lambda item: all(matches(item.get(tag)) for tag, matches in matchers)


def fold_metadata(text: str) -> str:
    """Fold the case of the letters from A to Z, which all databases fold in the same way."""
    return re.sub("[A-Z]+", lambda match: match[0].lower(), text)


def build_metadata_matcher(criterion: MetadataCriterion) -> Matcher:
    """Build the test of a metadata.

    References
    ----------
    Orthanc REST: ``MetadataQuery`` (behaviour manual §15.1)
    """
    test = criterion.test
    if isinstance(test, Universal):
        return lambda _: True
    if isinstance(test, Exists):
        return lambda text: text is not None
    fold = fold_metadata if is_plain(test) else str.casefold
    matches = _build_text_test(test, fold, fold, padding="")
    return lambda text: text is not None and matches(fold(text))


def is_plain(test: Test) -> bool:
    """Tell whether a test asks for letters of ASCII only, which a database can fold."""
    texts = test.values if isinstance(test, AnyOf) else ()
    if isinstance(test, Wildcards):
        texts = test.patterns
    return all(text.isascii() for text in texts)
