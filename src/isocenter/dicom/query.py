r"""What a search asks for: one immutable tree for REST, C-FIND and QIDO-RS.

A `Query` names a level and what its resources must fulfil: `Criterion` on their tags or those of
their ancestors and descendants, labels, metadata, ancestors; and which part of the answer, in which
order, is wanted. Nothing here knows of SQL or of files: `matching` says what a criterion means.

References
----------
PS3.4 §C.2.2.2; Orthanc REST: POST /tools/find (behaviour manual §15.1)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from isocenter.dicom.levels import Level
from isocenter.dicom.tags import format_tag
from isocenter.errors import BadParameterError

__all__ = [
    "SINGLE_VALUED_VRS",
    "AnyOf",
    "Criterion",
    "Exists",
    "Items",
    "LabelConstraint",
    "LabelFilter",
    "MetadataCriterion",
    "OrderKey",
    "OrderSource",
    "OrderType",
    "Query",
    "Range",
    "Test",
    "Universal",
    "Wildcards",
    "build_items_criterion",
    "parse_criterion",
    "parse_test",
]

WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
"""Where ``*`` and ``?`` are wildcards; elsewhere they are an error (behaviour manual §15.1)."""

RANGE_VRS = frozenset({"DA", "DT", "TM"})
"""Where a hyphen makes a range (PS3.4 §C.2.2.2.5)."""

SINGLE_VALUED_VRS = frozenset({"LT", "ST", "UR", "UT"})
"""Where a backslash is a character of the value (PS3.5 §6.2)."""

_CASELESS_VRS = frozenset({"AS", "DA", "DS", "DT", "IS", "TM", "UI"})

_MOST_ALTERNATIVES = 10_000
_MOST_PATTERNS = 100
_LONGEST_PATTERN = 1024


@dataclass(frozen=True, slots=True)
class Universal:
    """Every resource matches, also one without the attribute (PS3.4 §C.2.2.2.3)."""


@dataclass(frozen=True, slots=True)
class Exists:
    """The resource has the attribute, if only with an empty value."""


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of the values equals one of these (PS3.4 §C.2.2.2.1, §C.2.2.2.2)."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wildcards:
    """One of the values matches one of these patterns of ``*`` and ``?`` (PS3.4 §C.2.2.2.4)."""

    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """One of the values lies between two texts, both included; ``None`` means no bound.

    References
    ----------
    PS3.4 §C.2.2.2.5; compared as text: behaviour manual §15.1
    """

    lower: str | None
    upper: str | None


@dataclass(frozen=True, slots=True)
class Items:
    """One of the items of the sequence fulfils all criteria (PS3.4 §C.2.2.2.6)."""

    criteria: tuple["Criterion", ...]


Test: TypeAlias = Universal | Exists | AnyOf | Wildcards | Range | Items


@dataclass(frozen=True, slots=True)
class Criterion:
    """What a data element must be.

    Attributes
    ----------
    vr
        Value representation by the dictionary; it decides how values are split.
    is_case_sensitive
        Compare the text as it is. Otherwise case, accents and forms of width do not matter.
    """

    tag: int
    vr: str
    test: Test
    is_case_sensitive: bool = False

    @property
    def needs_exact_text(self) -> bool:
        """True if more is asked for than that the folded texts match."""
        has_text = isinstance(self.test, (AnyOf, Range, Wildcards))
        return self.is_case_sensitive and has_text and self.vr not in _CASELESS_VRS


class LabelConstraint(Enum):
    """How many of the labels a resource must have."""

    ALL = "All"
    ANY = "Any"
    NONE = "None"


@dataclass(frozen=True, slots=True)
class LabelFilter:
    """Which labels a resource must have; `LabelConstraint.NONE` of no label means no label at all.

    References
    ----------
    Orthanc REST: ``Labels``, ``LabelsConstraint`` (behaviour manual §15.1)
    """

    labels: frozenset[str]
    constraint: LabelConstraint = LabelConstraint.ALL

    @property
    def is_universal(self) -> bool:
        """True if every resource passes."""
        return not self.labels and self.constraint is not LabelConstraint.NONE


@dataclass(frozen=True, slots=True)
class MetadataCriterion:
    """What a metadata must be; the case of letters does not matter.

    References
    ----------
    Orthanc REST: ``MetadataQuery`` (behaviour manual §15.1)
    """

    code: int
    test: Test


class OrderType(Enum):
    """What the values that give the order are compared as; what is no number comes last."""

    TEXT = "text"
    INTEGER = "integer"
    FLOAT = "float"


class OrderSource(Enum):
    """Where the values that give the order come from."""

    TAG = "tag"
    METADATA = "metadata"


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One key of the order; resources without it come last in both directions.

    Attributes
    ----------
    key
        A tag or the code of a metadata.

    References
    ----------
    Orthanc REST: ``OrderBy`` (behaviour manual §15.1)
    """

    source: OrderSource
    key: int
    order_type: OrderType = OrderType.TEXT
    is_descending: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A whole search.

    Attributes
    ----------
    ancestors
        Public identifiers of resources that those found must lie below; all count.
    order
        Keys of the order, the most important first; equals follow in the order of identifiers.
    since
        Number of matches to skip.
    limit
        Most resources to find, or ``None``.
    """

    level: Level
    criteria: tuple[Criterion, ...] = ()
    labels: LabelFilter = LabelFilter(frozenset())
    metadata: tuple[MetadataCriterion, ...] = ()
    ancestors: Mapping[Level, str] = field(default_factory=dict)
    order: tuple[OrderKey, ...] = ()
    since: int = 0
    limit: int | None = None

    @property
    def texts(self) -> int:
        """Number of the texts that values are compared with."""
        tests = [criterion.test for criterion in self.criteria]
        tests += [criterion.test for criterion in self.metadata]
        return sum(map(_count_texts, tests)) + len(self.labels.labels)


def _count_texts(test: Test) -> int:
    if isinstance(test, AnyOf):
        return len(test.values)
    if isinstance(test, Wildcards):
        return len(test.patterns)
    if isinstance(test, Items):
        return sum(_count_texts(criterion.test) for criterion in test.criteria)
    return 1


def parse_criterion(tag: int, vr: str, text: str, *, is_case_sensitive: bool = False) -> Criterion:
    """Read the text that a client gave for an attribute.

    Raises
    ------
    BadParameterError
        If a wildcard stands where none is allowed, or there are too many alternatives.

    References
    ----------
    Orthanc REST: POST /tools/find (behaviour manual §15.1)
    """
    if vr not in WILDCARD_VRS and _has_wildcard(text):
        raise BadParameterError(f"Wildcards are not allowed on tag {format_tag(tag)}")
    if vr in RANGE_VRS and "-" in text:
        return Criterion(tag, vr, _parse_range(text), is_case_sensitive)
    test = parse_test(text, keeps_whole=vr in SINGLE_VALUED_VRS)
    return Criterion(tag, vr, test, is_case_sensitive)


def build_items_criterion(tag: int, criteria: Iterable[Criterion]) -> Criterion:
    """Ask for a sequence of which one item fulfils all criteria; without any, for everything.

    References
    ----------
    PS3.4 §C.2.2.2.6
    """
    kept = tuple(c for c in criteria if not isinstance(c.test, Universal))
    return Criterion(tag, "SQ", Items(kept) if kept else Universal())


def parse_test(text: str, *, keeps_whole: bool = False) -> Test:
    r"""Read a text with alternatives and wildcards.

    Parameters
    ----------
    text
        Everything from its first NUL on is left out, as in values.
    keeps_whole
        The text itself is an alternative, too, as a backslash may belong to the value.

    Raises
    ------
    BadParameterError
        If there are too many alternatives, or a pattern is too long.
    """
    if not text:
        return Universal()
    text = text.partition("\0")[0]
    if text.count("\\") >= _MOST_ALTERNATIVES:
        message = f"a search may have {_MOST_ALTERNATIVES} alternatives at most"
        raise BadParameterError(message)
    alternatives = list(dict.fromkeys(text.split("\\")))
    if keeps_whole and len(alternatives) > 1:
        alternatives.append(text)
    if not _has_wildcard(text):
        return AnyOf(tuple(alternatives))
    if any(alternative and not alternative.strip("*") for alternative in alternatives):
        return Exists()
    if len(alternatives) > _MOST_PATTERNS or len(text) > _LONGEST_PATTERN:
        message = (
            f"a search with wildcards may have {_MOST_PATTERNS} alternatives and "
            f"{_LONGEST_PATTERN} characters at most"
        )
        raise BadParameterError(message)
    return Wildcards(tuple(alternatives))


def _has_wildcard(text: str) -> bool:
    return "*" in text or "?" in text


def _parse_range(text: str) -> Test:
    """Cut a range at its first hyphen; a lone hyphen asks for nothing."""
    lower, _, upper = text.partition("\0")[0].partition("-")
    if not lower and not upper:
        return Universal()
    return Range(lower or None, upper or None)
