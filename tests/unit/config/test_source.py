import pytest

from isocenter.config.source import parse_source
from isocenter.errors import ConfigurationError


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{}", {}),
        ('{"a": 1} // end', {"a": 1}),
        ('// start\n{"a": /* one */ 1}', {"a": 1}),
        ('{/* "b": 2, */ "a": 1}', {"a": 1}),
        ("/**/{/***/}", {}),
        ('{"a": "http://host/*no*/"}', {"a": "http://host/*no*/"}),
        ('{"a": "\\"// no"}', {"a": '"// no'}),
        ('{"a": 1/* apart */}', {"a": 1}),
        ('{"a": [1, 2,],}', {"a": [1, 2]}),
        ('{"a": "x" , // last\n}', {"a": "x"}),
        ('{"a": ",}"}', {"a": ",}"}),
        ('{"a": "tab\there"}', {"a": "tab\there"}),
    ],
)
def test_parse_source_comments_and_commas_are_left_out(source: str, expected: object) -> None:
    assert parse_source(source, {}) == expected


@pytest.mark.parametrize(
    ("source", "environ", "expected"),
    [
        ('{"a": "${X}"}', {"X": "v"}, "v"),
        ('{"a": "<${X}|${Y}>"}', {"X": "v", "Y": "w"}, "<v|w>"),
        ('{"a": ${X}}', {"X": "[1, true]"}, [1, True]),
        ('{"a": "${X}"}', {"X": 'quote " back\\slash'}, 'quote " back\\slash'),
        ('{"a": "${X:-other}"}', {}, "other"),
        ('{"a": "${X:-}"}', {}, ""),
        ('{"a": ${X:-8042}}', {}, 8042),
        ('{"a": ${X:-"text"}}', {}, "text"),
        ('{"a": "${X:-other}"}', {"X": ""}, ""),
        ('{"a": 1 /* ${X} */ // ${Y}\n}', {}, 1),
        ('{"a": "$X ${} $${1}"}', {}, "$X ${} $${1}"),
        ('{"a": "${X}"}', {"X": "${Y}", "Y": "no"}, "${Y}"),
    ],
)
def test_parse_source_variable_is_replaced(
    source: str, environ: dict[str, str], expected: object
) -> None:
    assert parse_source(source, environ) == {"a": expected}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ('{\n  "a": 1\n  "b": 2\n}', "line 3, column 3: Expecting ',' delimiter"),
        ('{"a": /* long\ncomment */ x}', "line 2, column 12: Expecting value"),
        ('{\n"a": 1 /* no end }', "line 2, column 8: this comment has no end"),
        ('{"a": 1 /*/', "line 1, column 9: this comment has no end"),
        ('{"a": "${X}",\n "b": "${LONG}" x}', "line 2, column 17: Expecting ',' delimiter"),
        ('{"a": ${X} x}', "line 1, column 12: Expecting ',' delimiter"),
        ('{"a":\n "${MISSING}"}', "line 2, column 3: the environment variable MISSING is not set"),
        ('{"a": "http://no end}', "line 1, column 7: Unterminated string"),
        ("", "line 1, column 1: Expecting value"),
        ("[]", "must hold one JSON object"),
        ('{"a": {"b": 1, "b": 2}}', '"b" appears twice in one object'),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": -Infinity}', "-Infinity is not JSON"),
        ('{"a": ' + "1" * 5000 + "}", "a number is too long"),
        ('{"a": ' + "[" * 100 + "]" * 100 + "}", "nested too deeply"),
        ('{"a": ' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_parse_source_wrong_text_raises_place_and_reason(source: str, reason: str) -> None:
    environ = {"X": "1", "LONG": "a text that is longer than its variable"}

    with pytest.raises(ConfigurationError) as caught:
        parse_source(source, environ)

    assert reason in caught.value.details


def test_parse_source_nesting_at_the_limit_is_read() -> None:
    source = '{"a": ' + "[" * 63 + "]" * 63 + "}"

    assert list(parse_source(source, {})) == ["a"]
