"""Tests of single values in SQL, and the parameters of a query."""

import re
from collections.abc import Sequence
from typing import Any

from isocenter.dicom.main_tags import build_index_value
from isocenter.dicom.matching import Pattern, fold_metadata, loosen, parse_pattern
from isocenter.dicom.query import AnyOf, Criterion, Range, Test, Wildcards
from isocenter.index.statements import Dialect

__all__ = ["ValueTests"]

# The character that frees the next one from its meaning in LIKE.
_ESCAPE = "!"
_SPECIAL = re.compile(f"[{_ESCAPE}%_]")
_LAST_CHARACTER = "\U0010ffff"
_SURROGATES = range(0xD800, 0xE000)


class ValueTests:
    """Writes tests, and gathers the values they compare with.

    Attributes
    ----------
    parameters
        All values so far, by name.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.parameters: dict[str, Any] = {}

    def bind(self, value: Any) -> str:
        """Add a parameter and give its place in the text."""
        return self.dialect.parameter.format(self._add(value))

    def bind_list(self, values: Sequence[Any], kind: str) -> str:
        """Add a list of ``text`` or ``bigint``, to stand behind ``IN``."""
        return self.dialect.array.format(self._add(list(values)), kind)

    def _add(self, value: Any) -> str:
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return name

    def build_folded(self, value: str, criterion: Criterion) -> str:
        """Test a value that was folded for the index; empty if any will do."""
        test = criterion.test
        if isinstance(test, AnyOf):
            return self._build_equal(value, {build_index_value(text) for text in test.values})
        if isinstance(test, Range):
            return self._build_range(value, test)
        if isinstance(test, Wildcards):
            is_loose = criterion.needs_exact_text
            texts = [loosen(text) if is_loose else text for text in test.patterns]
            return self._build_patterns(value, [parse_pattern(text) for text in texts])
        return ""

    def build_metadata(self, value: str, test: Test) -> str:
        """Test a metadata whose letters from A to Z were made small."""
        if isinstance(test, AnyOf):
            return self._build_equal(value, {fold_metadata(text) for text in test.values})
        if isinstance(test, Wildcards):
            patterns = [parse_pattern(text, fold_metadata, padding="") for text in test.patterns]
            return self._build_patterns(value, patterns)
        raise TypeError(test)

    def _build_equal(self, value: str, keys: set[str]) -> str:
        if len(keys) == 1:
            return f"{value} = {self.bind(*keys)}"
        return f"{value} IN {self.bind_list(sorted(keys), 'text')}"

    def _build_range(self, value: str, test: Range) -> str:
        bounds = ((">=", test.lower), ("<=", test.upper))
        return " AND ".join(
            f"{value} {sign} {self.bind(build_index_value(bound))}"
            for sign, bound in bounds
            if bound is not None
        )

    def _build_patterns(self, value: str, patterns: Sequence[Pattern]) -> str:
        return "(" + " OR ".join(self._build_pattern(value, one) for one in patterns) + ")"

    def _build_pattern(self, value: str, pattern: Pattern) -> str:
        """Test a value with LIKE; a literal beginning is a range, which an index can answer."""
        conditions = []
        if pattern.prefix:
            conditions.append(f"{value} >= {self.bind(pattern.prefix)}")
            successor = _build_successor(pattern.prefix)
            if successor is not None:
                conditions.append(f"{value} < {self.bind(successor)}")
        if not pattern.prefix or not pattern.is_prefix_only:
            conditions.append(f"{value} LIKE {self.bind(_write_like(pattern))} ESCAPE '{_ESCAPE}'")
        return " AND ".join(conditions)


def _write_like(pattern: Pattern) -> str:
    """Write a pattern for LIKE, whose own wildcards are ``%`` and ``_``."""
    return "%".join("_".join(map(_escape, piece)) for piece in pattern.pieces)


def _escape(text: str) -> str:
    return _SPECIAL.sub(rf"{_ESCAPE}\g<0>", text)


def _build_successor(prefix: str) -> str | None:
    """Give the least text behind all that begin with a prefix, ``None`` if there is none.

    Texts are compared by their code points, which is the order of their bytes in UTF-8.
    """
    kept = prefix.rstrip(_LAST_CHARACTER)
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    if following in _SURROGATES:
        following = _SURROGATES.stop
    return kept[:-1] + chr(following)
