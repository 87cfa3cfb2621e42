"""The identifier of a C-FIND: at which level, which keys come back, and what they ask for.

References
----------
PS3.4 §C.2.2.2 (matching), §C.4.1 (C-FIND), §K (worklists); Orthanc: C-FIND (behaviour manual §25.3)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from isocenter.dicom.data_sets import DataSet, Element, get_text
from isocenter.dicom.levels import Level
from isocenter.dicom.query import (
    Criterion,
    Universal,
    build_items_criterion,
    parse_criterion,
)
from isocenter.dicom.tags import DEFAULT_DICTIONARY, is_private_creator
from isocenter.errors import BadParameterError, BadRequestError

__all__ = [
    "MOST_CONDITIONS",
    "MOST_KEYS",
    "QUERY_RETRIEVE_LEVEL",
    "RETRIEVE_AE_TITLE",
    "FindRequest",
    "NameRule",
    "parse_conditions",
    "parse_find_request",
    "parse_level",
    "select_keys",
]

QUERY_RETRIEVE_LEVEL = 0x00080052
RETRIEVE_AE_TITLE = 0x00080054
_SPECIFIC_CHARACTER_SET = 0x00080005
_TIMEZONE_OFFSET_FROM_UTC = 0x00080201
_PERSON_NAME = "PN"
_UNKNOWN = "UN"

MOST_KEYS = 1000
"""An identifier with more elements, those in its items included, is refused."""

MOST_CONDITIONS = 50
"""An identifier that asks for more, apart from items, is refused."""

# What no instance is asked for: it describes the question, or where the answer comes from.
_NEVER_MATCHED = frozenset(
    {
        _SPECIFIC_CHARACTER_SET,
        QUERY_RETRIEVE_LEVEL,
        RETRIEVE_AE_TITLE,
        _TIMEZONE_OFFSET_FROM_UTC,
    }
)

_LEVELS = {
    "PATIENT": Level.PATIENT,
    "STUDY": Level.STUDY,
    "SERIES": Level.SERIES,
    "IMAGE": Level.INSTANCE,
    "INSTANCE": Level.INSTANCE,
}


@dataclass(frozen=True, slots=True)
class NameRule:
    """Whether the case of letters counts.

    Attributes
    ----------
    in_names
        In names of persons (option ``CaseSensitivePN``).
    in_other_texts
        In all others.
    """

    in_names: bool = False
    in_other_texts: bool = True

    def is_case_sensitive(self, vr: str) -> bool:
        """Tell whether case counts in a value representation."""
        return self.in_names if vr == _PERSON_NAME else self.in_other_texts


@dataclass(frozen=True, slots=True)
class FindRequest:
    """What a C-FIND asks.

    Attributes
    ----------
    level_name
        The level as the question wrote it; answers repeat it.
    keys
        The elements that come back, with the values of the question.
    character_set
        Value of (0008,0005), empty if there is none.
    """

    level: Level
    level_name: str
    keys: DataSet
    criteria: tuple[Criterion, ...]
    character_set: str


def parse_find_request(identifier: Mapping[int, Element], rule: NameRule) -> FindRequest:
    """Read the identifier of a C-FIND of patient or study root.

    Raises
    ------
    BadRequestError
        If the level is missing, or there are too many keys.
    BadParameterError
        If the level is unknown, or a key asks for something impossible.

    References
    ----------
    PS3.4 §C.4.1.2.1; Orthanc: C-FIND (behaviour manual §25.3)
    """
    level = parse_level(identifier)
    if level is None:
        raise BadRequestError("the identifier has no QueryRetrieveLevel")
    kept = {
        tag: element
        for tag, element in identifier.items()
        if tag & 0xFFFF and tag not in {_SPECIFIC_CHARACTER_SET, QUERY_RETRIEVE_LEVEL}
    }
    return FindRequest(
        level,
        get_text(identifier, QUERY_RETRIEVE_LEVEL),
        dict(sorted(kept.items())),
        parse_conditions(kept, rule),
        get_text(identifier, _SPECIFIC_CHARACTER_SET),
    )


def parse_level(identifier: Mapping[int, Element]) -> Level | None:
    """Read the level of an identifier, ``None`` if it has none.

    Raises
    ------
    BadParameterError
        If it is not one of the four.

    References
    ----------
    PS3.4 §C.6.1.1, §C.6.2.1; INSTANCE as by Orthanc (measured)
    """
    name = get_text(identifier, QUERY_RETRIEVE_LEVEL).strip()
    if not name:
        return None
    level = _LEVELS.get(name.upper())
    if level is None:
        raise BadParameterError("QueryRetrieveLevel must be PATIENT, STUDY, SERIES or IMAGE")
    return level


def parse_conditions(keys: Mapping[int, Element], rule: NameRule) -> tuple[Criterion, ...]:
    """List what the keys of an identifier ask for; those that match everything are left out.

    Raises
    ------
    BadRequestError
        If there are too many keys or conditions.
    BadParameterError
        If a wildcard or a range is not allowed where it stands.

    References
    ----------
    PS3.4 §C.2.2.2
    """
    _check_count(keys)
    criteria = [
        criterion for criterion in _iter_criteria(keys, rule) if not _is_universal(criterion)
    ]
    if len(criteria) > MOST_CONDITIONS:
        raise BadRequestError(f"an identifier may have {MOST_CONDITIONS} conditions at most")
    return tuple(criteria)


def _check_count(keys: Mapping[int, Element]) -> None:
    """Refuse too many keys, those in the items that count included."""
    count = 0
    left = [keys]
    while left:
        current = left.pop()
        count += len(current)
        if count > MOST_KEYS:
            raise BadRequestError(f"an identifier may have {MOST_KEYS} keys at most")
        values = (element.value for element in current.values())
        left.extend(value[0] for value in values if isinstance(value, list) and value)


def _is_universal(criterion: Criterion) -> bool:
    return isinstance(criterion.test, Universal)


def _iter_criteria(keys: Mapping[int, Element], rule: NameRule) -> Iterable[Criterion]:
    for tag, element in keys.items():
        if tag in _NEVER_MATCHED or not tag & 0xFFFF or is_private_creator(tag):
            continue
        if isinstance(element.value, list):
            # An identifier has one item at most (PS3.4 §C.2.2.2.6); others are not looked at.
            items = element.value[:1]
            inner = [c for item in items for c in _iter_criteria(item, rule)]
            yield build_items_criterion(tag, inner)
        elif isinstance(element.value, str) and element.value:
            vr = DEFAULT_DICTIONARY.lookup_vr(tag)
            vr = element.vr if vr == _UNKNOWN else vr
            is_exact = rule.is_case_sensitive(vr)
            yield parse_criterion(tag, vr, element.value, is_case_sensitive=is_exact)


def select_keys(answer: Element, key: Element) -> Element:
    """Reduce the items of an answer to the keys that the question names in its item, if any.

    A key that an item lacks comes back empty.

    References
    ----------
    PS3.4 §C.2.2.1.3, §K.2.2.2 (return keys in sequences)
    """
    if not isinstance(answer.value, list) or not isinstance(key.value, list):
        return answer
    asked = key.value[0] if key.value else {}
    if not asked:
        return answer
    return Element("SQ", [_select_item(item, asked) for item in answer.value])


def _select_item(item: Mapping[int, Element], asked: Mapping[int, Element]) -> DataSet:
    selected: DataSet = {}
    for tag, key in asked.items():
        found = item.get(tag)
        if found is None:
            selected[tag] = Element(key.vr, [] if isinstance(key.value, list) else "")
        else:
            selected[tag] = select_keys(found, key)
    return selected
