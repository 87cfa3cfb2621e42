import re
from types import MappingProxyType
from typing import Any

import pytest

from isocenter.config.values import (
    BooleanKind,
    ChoiceKind,
    CustomKind,
    IntegerKind,
    Kind,
    ListKind,
    MapKind,
    ObjectKind,
    PathKind,
    TextKind,
    freeze,
    parse_environment_value,
)
from isocenter.errors import ConfigurationError

TEXTS = ListKind(TextKind())
OVERWRITE = ChoiceKind(("Never", "Always", "IfChanged"), true="Always", false="Never")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (BooleanKind(), True, True),
        (IntegerKind(1, 9), 1, 1),
        (IntegerKind(1, 9), 9, 9),
        (IntegerKind(), 2**53, 2**53),
        (TextKind(), "", ""),
        (TextKind(re.compile("a+"), "letters a"), "aa", "aa"),
        (PathKind(), "folder", "folder"),
        (OVERWRITE, "IfChanged", "IfChanged"),
        (OVERWRITE, True, "Always"),
        (OVERWRITE, False, "Never"),
        (TEXTS, ["a", "b"], ("a", "b")),
        (TEXTS, "alone", ("alone",)),
        (ListKind(PathKind()), "alone", ("alone",)),
        (ListKind(IntegerKind()), (1, 2), (1, 2)),
        (MapKind(IntegerKind()), {"a": 1}, {"a": 1}),
        (MapKind(IntegerKind(), names=("a",)), {"a": 1}, {"a": 1}),
        (ObjectKind(), {"a": [1, {"b": 2}]}, {"a": (1, {"b": 2})}),
        (ObjectKind(list), [["GET", "/"]], (("GET", "/"),)),
        (CustomKind("doubled", lambda value: [value, value]), 1, (1, 1)),
    ],
)
def test_check_fitting_value_returns_normal_form(kind: Kind, value: object, expected: Any) -> None:
    assert kind.check(value) == expected


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (BooleanKind(), 1, "must be true or false, not an integer"),
        (BooleanKind(), "true", "must be true or false, not a text"),
        (IntegerKind(), True, "must be integer of at least 0, not a boolean"),
        (IntegerKind(), 1.0, "must be integer of at least 0, not a number"),
        (IntegerKind(), -1, "must be integer of at least 0"),
        (IntegerKind(), 2**53 + 1, "must be integer of at least 0"),
        (IntegerKind(1, 9), 10, "must be integer from 1 to 9"),
        (TextKind(), None, "must be text, not null"),
        (TextKind(), "a\0b", "holds a character that no text may hold"),
        (TextKind(), "\ud800", "holds a character that no text may hold"),
        (TextKind(re.compile("a+"), "letters a"), "ab", "must be letters a"),
        (PathKind(), [], "must be path, not a list"),
        (ChoiceKind(("a", "b")), "c", 'must be one of "a", "b", not "c"'),
        (ChoiceKind(("a", "b")), True, 'must be one of "a", "b", not a boolean'),
        (
            OVERWRITE,
            1,
            'must be one of "Never", "Always", "IfChanged" or a boolean, not an integer',
        ),
        (TEXTS, {"a": 1}, "must be list of text, not an object"),
        (TEXTS, ["a", 2], "item 2: must be text, not an integer"),
        (ListKind(IntegerKind()), "1", "must be list of integer of at least 0, not a text"),
        (MapKind(TextKind()), [], "must be object of text, not a list"),
        (MapKind(TextKind()), {"": "a"}, "holds an empty name"),
        (MapKind(TextKind()), {"a": 1}, '"a": must be text, not an integer'),
        (MapKind(TextKind(), names=("x", "y")), {"z": "a"}, '"z" is not one of x, y'),
        (ObjectKind(), [], "must be object, not a list"),
        (ObjectKind(list), {}, "must be list, not an object"),
    ],
)
def test_check_other_value_raises_reason(kind: Kind, value: object, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        kind.check(value)

    assert caught.value.details == reason


def test_check_map_with_shared_code_raises_both_names() -> None:
    kind = MapKind(IntegerKind(), distinct=lambda code: code)

    with pytest.raises(ConfigurationError, match='"a" and "b" share the code 1024'):
        kind.check({"a": 1024, "b": 1024})


def test_check_wrong_text_does_not_repeat_it() -> None:
    with pytest.raises(ConfigurationError) as caught:
        MapKind(IntegerKind()).check({"alice": "secret"})

    assert "secret" not in caught.value.details


def test_freeze_nested_containers_returns_immutable_ones() -> None:
    frozen = freeze({"a": [{"b": []}]})

    assert isinstance(frozen, MappingProxyType)
    assert isinstance(frozen["a"], tuple)
    assert isinstance(frozen["a"][0], MappingProxyType)
    assert frozen["a"][0]["b"] == ()


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (IntegerKind(), "8042", 8042),
        (BooleanKind(), "true", True),
        (TextKind(), "8042", "8042"),
        (TextKind(), '"quoted"', "quoted"),
        (TextKind(), '{"not": "an object"}', '{"not": "an object"}'),
        (TextKind(), "C:\\folder", "C:\\folder"),
        (TEXTS, '["a", "b"]', ["a", "b"]),
        (TEXTS, "alone", "alone"),
        (OVERWRITE, "true", True),
        (OVERWRITE, "IfChanged", "IfChanged"),
        (MapKind(TextKind()), '{"alice": "secret"}', {"alice": "secret"}),
    ],
)
def test_parse_environment_value_fitting_text_returns_value(
    kind: Kind, text: str, expected: object
) -> None:
    assert parse_environment_value(kind, text) == expected


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (IntegerKind(), "many"),
        (IntegerKind(1, 9), "10"),
        (BooleanKind(), "True"),
        (TEXTS, "[1]"),
        (MapKind(TextKind()), "alice"),
        (MapKind(TextKind()), "{"),
        (IntegerKind(), "[" * 100_000),
    ],
)
def test_parse_environment_value_other_text_raises(kind: Kind, text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_environment_value(kind, text)
