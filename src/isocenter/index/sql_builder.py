"""A query compiled to SQL.

Values are always parameters. What the tables cannot decide exactly is only preselected: the query
then selects the values themselves, and a `Residual` of each tells what to make of them. What the
index does not hold at all is for `list_file_criteria`.

SQLite follows the text and not the contents of the tables. So the condition that will leave the
fewest rows is written as a set of keys from which the search starts; all others are looked up for
each row that is left.

References
----------
Behaviour manual §15.1; `dicom.matching` says what each test means
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec

from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import MainTags, build_index_value
from isocenter.dicom.matching import build_matcher, build_metadata_matcher, is_plain
from isocenter.dicom.query import (
    AnyOf,
    Criterion,
    Exists,
    Items,
    LabelConstraint,
    LabelFilter,
    MetadataCriterion,
    OrderKey,
    OrderSource,
    OrderType,
    Query,
    Range,
    Universal,
    Wildcards,
)
from isocenter.errors import BadRequestError
from isocenter.index.places import COUNTERS, INSTANCE_AVAILABILITY, Place, lookup_place
from isocenter.index.records import MetadataCode, build_search_key
from isocenter.index.sql_values import ValueTests
from isocenter.index.statements import Dialect

__all__ = ["Residual", "Search", "Wanted", "build_search", "list_file_criteria"]

_NOTHING = "1 = 0"
_ONLINE = "ONLINE"
_SOP_INSTANCE_UID = 0x00080018
_LAST = 2**63 - 1
_LONGEST_NUMBER = 18

_LABELS_RANK = 5

# Tags of which a value belongs to a few resources.
_IDENTIFYING = frozenset({0x00080018, 0x00080050, 0x0020000D, 0x0020000E, 0x00100020})

_decode = msgspec.json.Decoder(list[str | None]).decode


class Wanted(Enum):
    """What a search is to tell of each resource."""

    ROW = "r.internal_id"
    PUBLIC_ID = "r.public_id"
    COUNT = "COUNT(*)"
    """Nothing but their number."""


@dataclass(frozen=True, slots=True)
class Residual:
    """What is still to be tested of a row: one of the columns that follow the first.

    Attributes
    ----------
    is_list
        The column is a JSON array of the values of relatives, one of which must match.
    """

    matches: Callable[[str | None], bool]
    is_list: bool

    def test(self, column: str | None) -> bool:
        """Tell whether a row passes."""
        if not self.is_list:
            return self.matches(column)
        return column is not None and any(map(self.matches, _decode(column)))


@dataclass(frozen=True, slots=True)
class Search:
    """A query in the words of a database.

    Attributes
    ----------
    text, parameters
        Selects what is wanted, and the columns of the residuals.
    residuals
        What is to be tested of each row, in the order of the columns.
    is_exact
        The SQL does all of it.
    """

    text: str
    parameters: dict[str, Any]
    residuals: tuple[Residual, ...]
    is_exact: bool


def build_search(query: Query, main_tags: MainTags, dialect: Dialect, wanted: Wanted) -> Search:
    """Compile a query; criteria on what only the files hold are left out.

    Notes
    -----
    ``since`` and ``limit`` are part of the SQL if nothing remains to be tested afterwards, and so
    is the number; else there is one row for each resource.

    Raises
    ------
    BadRequestError
        If the order follows a tag that the index does not hold.
    """
    builder = _Builder(query.level, main_tags, ValueTests(dialect))
    builder.add_ancestors(query)
    for criterion in query.criteria:
        builder.add_criterion(criterion)
    builder.add_labels(query.labels)
    for metadata in query.metadata:
        builder.add_metadata(metadata)
    is_exact = not builder.residuals and not list_file_criteria(query, main_tags)
    first = "1" if wanted is Wanted.COUNT and not is_exact else wanted.value
    text = builder.build(first)
    if wanted is not Wanted.COUNT:
        text += builder.build_order(query.order)
        text += builder.build_page(query) if is_exact else ""
    return Search(text, builder.values.parameters, tuple(builder.residuals), is_exact=is_exact)


def list_file_criteria(query: Query, main_tags: MainTags) -> tuple[Criterion, ...]:
    """List the criteria that only the files can answer."""
    return tuple(
        criterion
        for criterion in query.criteria
        if not isinstance(criterion.test, Universal)
        and criterion.tag not in COUNTERS
        and criterion.tag != INSTANCE_AVAILABILITY
        # The index keeps sequences for answers only.
        and (
            isinstance(criterion.test, Items)
            or lookup_place(criterion.tag, query.level, main_tags) is None
        )
    )


@dataclass(frozen=True, slots=True)
class _Choice:
    """A condition that can be written in two ways.

    Attributes
    ----------
    rank
        The lower, the fewer rows it will leave.
    write_set
        Writes that the row belongs to a set of keys.
    write_test
        Writes a test of the row.
    is_complete
        True if the set holds rows of the level only.
    """

    rank: int
    write_set: Callable[[], str]
    write_test: Callable[[], str]
    is_complete: bool = True


@dataclass(slots=True)
class _Builder:
    """Gathers conditions on the rows ``r`` of one level."""

    level: Level
    main_tags: MainTags
    values: ValueTests
    choices: list[_Choice] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    residuals: list[Residual] = field(default_factory=list)

    def build(self, first: str) -> str:
        """Write the query without its order."""
        columns = ", ".join([first, *self.columns])
        conditions = self._build_start()
        rows = f"SELECT {columns} FROM resources r WHERE "
        return rows + " AND ".join([*conditions, *self.conditions])

    def _build_start(self) -> list[str]:
        """Write the condition to start from, and the tests of the others."""
        if not self.choices:
            return [f"r.level = {self.values.bind(int(self.level))}"]
        start, *others = sorted(self.choices, key=lambda choice: choice.rank)
        conditions = [start.write_set()]
        if not start.is_complete:
            # The sign keeps SQLite from the index of the level.
            conditions.append(f"+r.level = {self.values.bind(int(self.level))}")
        return [*conditions, *(other.write_test() for other in others)]

    def build_page(self, query: Query) -> str:
        """Write which part of the result is wanted."""
        if not query.since and query.limit is None:
            return ""
        limit = self.values.bind(_LAST if query.limit is None else query.limit)
        return f" LIMIT {limit} OFFSET {self.values.bind(query.since)}"

    # Criteria on tags

    def add_criterion(self, criterion: Criterion) -> None:
        """Add a condition on a tag, unless only the files know it."""
        test = criterion.test
        if isinstance(test, Universal | Items):
            return
        if criterion.tag == INSTANCE_AVAILABILITY:
            if not build_matcher(criterion)(_ONLINE):
                self.conditions.append(_NOTHING)
        elif criterion.tag in COUNTERS:
            self._add_counter(criterion)
        elif place := lookup_place(criterion.tag, self.level, self.main_tags):
            self._add_placed(criterion, place)

    def _add_placed(self, criterion: Criterion, place: Place) -> None:
        if criterion.vr == "SQ":
            self.conditions.append(_NOTHING)  # A text has no items.
        elif place.is_searchable:
            self._add_searched(criterion, place)
        elif place.tag == _SOP_INSTANCE_UID and isinstance(criterion.test, AnyOf):
            self._add_instances(criterion.test, place)
        else:
            self._add_extracted(criterion, place)

    def _add_searched(self, criterion: Criterion, place: Place) -> None:
        """Select by the table of folded values."""
        key = build_search_key(place.home, place.tag)

        def write_rows() -> str:
            condition = self.values.build_folded("s.value", criterion)
            both = [f"s.tag = {self.values.bind(key)}", *([condition] if condition else [])]
            return " AND ".join(both)

        def write_set() -> str:
            ids = f"SELECT s.resource_id FROM search s WHERE {write_rows()}"
            return self._lift(ids, place)

        def write_test() -> str:
            holders = self._name_holders(place)
            rows = f"SELECT 1 FROM search s WHERE s.resource_id {holders} AND {write_rows()}"
            return f"EXISTS ({rows})"

        self.choices.append(_Choice(_rank(criterion, place), write_set, write_test))
        if criterion.needs_exact_text:
            self._add_residual(criterion, place)

    def _add_instances(self, test: AnyOf, place: Place) -> None:
        """Select by the SOP Instance UID, which is a column of its own."""
        keys = sorted({build_index_value(text) for text in test.values})

        def write_set() -> str:
            listed = self.values.bind_list(keys, "text")
            rows = f"resources i WHERE i.identifier IN {listed} AND +i.level = 3"
            return self._lift(f"SELECT i.internal_id FROM {rows}", place)

        self.choices.append(_Choice(0, write_set, write_set))

    def _lift(self, ids: str, place: Place) -> str:
        """Write that the row is related to one of the rows that hold a value."""
        top = min(place.anchor, self.level)
        for _ in range(place.home - top):
            ids = f"SELECT c.parent_id FROM resources c WHERE c.internal_id IN ({ids})"
        return self._belong(ids, top)

    def _belong(self, ids: str, level: Level) -> str:
        """Write that the row lies at or below one of some resources of a level."""
        for _ in range(level + 1, self.level):
            ids = f"SELECT c.internal_id FROM resources c WHERE c.parent_id IN ({ids})"
        column = "r.internal_id" if level == self.level else "r.parent_id"
        return f"{column} IN ({ids})"

    def _name_holders(self, place: Place) -> str:
        """Name the rows that hold the values of the row, to stand behind a column."""
        top = min(place.anchor, self.level)
        key = self._climb(top)
        if place.home == top:
            return f"= {key}"
        holders = _descend("c", key, place.home - top)
        return f"IN (SELECT c.internal_id FROM resources c WHERE {holders})"

    def _climb(self, level: Level) -> str:
        """Name the key of the ancestor of the row at a level at or above its own."""
        if level == self.level:
            return "r.internal_id"
        key = "r.parent_id"
        for _ in range(level + 1, self.level):
            key = f"(SELECT c.parent_id FROM resources c WHERE c.internal_id = {key})"
        return key

    def _add_extracted(self, criterion: Criterion, place: Place) -> None:
        """Select by the main tags of instances, which are in no table of their own."""
        key = self.values.bind(place.key)
        if place.home == place.anchor == self.level:
            value = self._read(f"r.{place.column}", key)
            self.conditions.append(self._preselect(value, criterion))
        else:
            test = self._preselect(self._read(f"h.{place.column}", key), criterion)
            holders = self._name_holders(place)
            rows = f"SELECT 1 FROM resources h WHERE h.internal_id {holders} AND {test}"
            self.conditions.append(f"EXISTS ({rows})")
        if not isinstance(criterion.test, Exists):
            self._add_residual(criterion, place)

    def _read(self, column: str, key: str) -> str:
        return self.values.dialect.json_text.format(column, key)

    def _preselect(self, value: str, criterion: Criterion) -> str:
        """Let pass whatever may match.

        A text of ASCII that is no list is folded as Python does it; any other passes.
        """
        if isinstance(criterion.test, Exists) or criterion.vr == "PN":
            return f"{value} IS NOT NULL"
        folded = self.values.dialect.lower.format(f"trim({value})")
        condition = self.values.build_folded(folded, criterion)
        is_foreign = f"octet_length({value}) <> length({value})"
        is_listed = f"replace({value}, '\\', '') <> {value}"
        return f"({condition} OR {is_foreign} OR {is_listed})"

    def _add_residual(self, criterion: Criterion, place: Place) -> None:
        """Select the values of a criterion, to be tested exactly."""
        key = self.values.bind(place.key)
        is_list = not place.home == place.anchor == self.level
        if is_list:
            value = self._read(f"h.{place.column}", key)
            holders = self._name_holders(place)
            values = self.values.dialect.json_array.format(value)
            rows = f"SELECT {values} FROM resources h WHERE h.internal_id {holders}"
            self.columns.append(f"({rows})")
        else:
            self.columns.append(self._read(f"r.{place.column}", key))
        self.residuals.append(Residual(build_matcher(criterion), is_list=is_list))

    def _add_counter(self, criterion: Criterion) -> None:
        """Compare the number of descendants, which is no text but written in one way only."""
        anchor, counted = COUNTERS[criterion.tag]
        texts = criterion.test.values if isinstance(criterion.test, AnyOf) else ()
        numbers = sorted({int(text) for text in texts if _is_number(text)})
        listed = self.values.bind_list(numbers, "bigint")

        def compare(key: str) -> str:
            rows = _descend("n", key, counted - anchor)
            return f"(SELECT COUNT(*) FROM resources n WHERE {rows}) IN {listed}"

        if anchor <= self.level:
            self.conditions.append(compare(self._climb(anchor)))
            return
        below = _descend("h", "r.internal_id", anchor - self.level)
        equal = compare("h.internal_id")
        self.conditions.append(f"EXISTS (SELECT 1 FROM resources h WHERE {below} AND {equal})")

    # Other conditions

    def add_ancestors(self, query: Query) -> None:
        """Add the resources below which those found must lie."""
        for level, public_id in sorted(query.ancestors.items()):

            def write(level: Level = level, public_id: str = public_id) -> str:
                keys = [self.values.bind(int(level)), self.values.bind(public_id)]
                rows = "resources a WHERE a.level = {} AND a.public_id = {}".format(*keys)
                return self._belong(f"SELECT a.internal_id FROM {rows}", level)

            # The deeper, the fewer rows lie below.
            self.choices.append(_Choice(-level, write, write))

    def add_labels(self, wanted: LabelFilter) -> None:
        """Add the labels that resources must have or lack."""
        if wanted.is_universal:
            return
        own = "labels l WHERE l.resource_id = r.internal_id"
        if not wanted.labels:
            self.conditions.append(f"NOT EXISTS (SELECT 1 FROM {own})")
            return
        listed = f"l.label IN {self.values.bind_list(sorted(wanted.labels), 'text')}"
        if wanted.constraint is LabelConstraint.NONE:
            self.conditions.append(f"NOT EXISTS (SELECT 1 FROM {own} AND {listed})")
            return
        count = 1 if wanted.constraint is LabelConstraint.ANY else len(wanted.labels)
        least = f">= {self.values.bind(count)}"
        rows = f"SELECT l.resource_id FROM labels l WHERE {listed}"
        grouped = f"{rows} GROUP BY l.resource_id HAVING COUNT(*) {least}"
        self.choices.append(
            _Choice(
                _LABELS_RANK,
                lambda: f"r.internal_id IN ({grouped})",
                lambda: f"(SELECT COUNT(*) FROM {own} AND {listed}) {least}",
                is_complete=False,
            )
        )

    def add_metadata(self, wanted: MetadataCriterion) -> None:
        """Add a condition on a metadata."""
        test = wanted.test
        if isinstance(test, Universal):
            return
        value = self._read_metadata(wanted.code)
        if isinstance(test, Exists):
            self.conditions.append(f"{value} IS NOT NULL")
        elif is_plain(test):
            lower = self.values.dialect.lower.format(value)
            self.conditions.append(self.values.build_metadata(lower, test))
        else:
            # Letters beyond ASCII are not folded in the same way by all databases.
            self.conditions.append(f"{value} IS NOT NULL")
            self.columns.append(value)
            self.residuals.append(Residual(build_metadata_matcher(wanted), is_list=False))

    def _read_metadata(self, code: int) -> str:
        """Give a metadata as it is now: as it was written last, else as it was stored."""
        if code == MetadataCode.LAST_UPDATE and self.level is not Level.INSTANCE:
            return self.values.dialect.timestamp.format("r.last_update")
        stored = self._read("r.metadata", self.values.bind(str(code)))
        written = (
            "SELECT m.value FROM metadata m "
            f"WHERE m.resource_id = r.internal_id AND m.code = {self.values.bind(code)}"
        )
        return f"COALESCE(({written}), {stored})"

    # Order

    def build_order(self, order: Sequence[OrderKey]) -> str:
        """Write the order; what is equal follows in the order of the identifiers."""
        keys = [self._build_order_key(key) for key in order]
        return " ORDER BY " + ", ".join([*keys, "r.public_id"])

    def _build_order_key(self, key: OrderKey) -> str:
        return f"{self._build_order_value(key)} {'DESC' if key.is_descending else 'ASC'} NULLS LAST"

    def _build_order_value(self, key: OrderKey) -> str:
        if key.source is OrderSource.METADATA:
            is_time = key.key == MetadataCode.LAST_UPDATE and self.level is not Level.INSTANCE
            if is_time and key.order_type is OrderType.TEXT:
                return "r.last_update"
            return self._convert(self._read_metadata(key.key), key)
        place = lookup_place(key.key, self.level, self.main_tags)
        if place is None:
            message = "resources can be ordered by main tags only"
            raise BadRequestError(message)
        json_key = self.values.bind(place.key)
        if place.home == place.anchor == self.level:
            return self._convert(self._read(f"r.{place.column}", json_key), key)
        value = self._convert(self._read(f"h.{place.column}", json_key), key)
        # Of several values below a resource that which comes first in the order.
        choose = "MAX" if key.is_descending else "MIN"
        holders = f"resources h WHERE h.internal_id {self._name_holders(place)}"
        return f"(SELECT {choose}({value}) FROM {holders})"

    def _convert(self, value: str, key: OrderKey) -> str:
        if key.order_type is OrderType.INTEGER:
            return self.values.dialect.integer.format(value)
        if key.order_type is OrderType.FLOAT:
            return self.values.dialect.real.format(value)
        return value


def _rank(criterion: Criterion, place: Place) -> int:
    """Guess how many rows a criterion leaves: the lower, the fewer."""
    test = criterion.test
    if isinstance(test, AnyOf):
        if place.tag in _IDENTIFYING:
            return 0
        return 4 if criterion.vr == "CS" else 2
    if isinstance(test, Range):
        return 6
    if isinstance(test, Wildcards):
        starts = [pattern[0] not in "*?" for pattern in test.patterns if pattern]
        return 3 if starts and all(starts) else 7
    return 8


def _descend(alias: str, key: str, steps: int) -> str:
    """Name the rows that lie some levels below the row with a key."""
    parents = f"= {key}"
    for _ in range(steps - 1):
        parents = f"IN (SELECT c.internal_id FROM resources c WHERE c.parent_id {parents})"
    return f"{alias}.parent_id {parents}"


def _is_number(text: str) -> bool:
    """Tell whether a text is a number as it is written in answers."""
    is_short = text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER
    return is_short and str(int(text)) == text
