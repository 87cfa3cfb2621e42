import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocenter.dicom.data_sets import DataSet, Element
from isocenter.dicom.matching import (
    Pattern,
    build_element_matcher,
    build_matcher,
    build_metadata_matcher,
    parse_pattern,
    split_values,
)
from isocenter.dicom.query import (
    MetadataCriterion,
    build_items_criterion,
    parse_criterion,
    parse_test,
)

YAMADA = "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce=\u3084\u307e\u3060^\u305f\u308d\u3046"


@pytest.mark.parametrize(
    ("vr", "text", "expected"),
    [
        ("LO", "a", ["a"]),
        ("LO", "", [""]),
        ("LO", "a\\b", ["a\\b", "a", "b"]),
        ("CS", "a\\a", ["a\\a", "a"]),
        ("LT", "a\\b", ["a\\b"]),
        ("LO", "a=b", ["a=b"]),
        ("PN", "Doe^J", ["Doe^J"]),
        ("PN", "a=b=", ["a=b=", "a", "b"]),
        ("PN", "a=b\\c", ["a=b\\c", "a=b", "c", "a", "b"]),
        ("DA", "20240101\\20250101", ["20240101", "20250101"]),
    ],
)
def test_split_values_lists_values_and_groups(vr: str, text: str, expected: list[str]) -> None:
    assert split_values(text, vr) == expected


@pytest.mark.parametrize(
    ("vr", "pattern", "value", "expected"),
    [
        # PS3.4 §C.2.2.2.1: single value, without regard to case, accents and padding.
        ("PN", "doe^jane", "Doe^Jane", True),
        ("PN", "Doe^Jane ", "Doe^Jane", True),
        ("PN", "doe", "Doe^Jane", False),
        ("PN", "muller", "M\u00dcLLER", True),
        ("PN", "M\u00dcLLER", "Mu\u0308ller", True),
        ("LO", "strasse", "Stra\u00dfe", True),
        ("LO", "\uff21\uff11", "a1", True),
        # Quirks 28 and 52.
        ("PN", "M?LLER*", "M\u00dcLLER^J", True),
        ("PN", "\u0391\u039b\u03a6\u0391", "\u03b1\u03bb\u03c6\u03b1", True),
        # The groups of a name (PS3.5 §6.2.1).
        ("PN", "\u5c71\u7530*", YAMADA, True),
        ("PN", "\u3084\u307e\u3060^\u305f\u308d\u3046", YAMADA, True),
        ("PN", "yamada*", YAMADA, True),
        ("PN", "*tarou", YAMADA, True),
        ("PN", "*tarou=*", YAMADA, True),
        ("PN", "\u7530*", YAMADA, False),
        # §C.2.2.2.2: a list.
        ("UI", "1.2\\1.3", "1.3", True),
        ("CS", "CT\\MR", "US", False),
        ("CS", "primary", "ORIGINAL\\PRIMARY", True),
        ("CS", "original\\primary", "ORIGINAL\\PRIMARY", True),
        ("LT", "b", "a\\b", False),
        ("LT", "a\\b", "a\\b", True),
        # §C.2.2.2.4: wildcards.
        ("LO", "*", "", True),
        ("LO", "?", "", False),
        ("LO", "a*c", "abbbc", True),
        ("LO", "a*c", "ac", True),
        ("LO", "a*bc*d", "a bcbc d", True),
        ("LO", "a?c", "ac", False),
        ("LO", "*a*b", "ab ba", False),
        ("LO", "a*a", "a", False),
        ("LO", "50%_[x]!*", "50%_[X]!", True),
        ("LO", "5_", "50", False),
        ("LO", "a.c", "abc", False),
        ("LO", "*x", "a\nx", True),
        ("CS", "orig*", "ORIGINAL\\PRIMARY", True),
        ("CS", "*al\\prim*", "ORIGINAL\\PRIMARY", True),
        # §C.2.2.2.5: ranges, as text.
        ("DA", "20240101-20240131", "20240115", True),
        ("DA", "20240101-20240131", "20240201", False),
        ("DA", "-20240131", "20231231", True),
        ("DA", "-20240131", "", True),
        ("TM", "1000-", "095959", False),
        ("DA", "20250101-", "20200101\\20260101", True),
        ("DA", "20210101-20211231", "20200101\\20260101", False),
        # No text has items.
        ("SQ", "x", "x", False),
    ],
)
def test_matcher_follows_the_standard(vr: str, pattern: str, value: str, expected: bool) -> None:
    assert build_matcher(parse_criterion(1, vr, pattern))(value) is expected


@pytest.mark.parametrize(("pattern", "expected"), [("", True), ("*", False), ("a", False)])
def test_matcher_of_what_is_absent_lets_only_universal_pass(pattern: str, expected: bool) -> None:
    assert build_matcher(parse_criterion(1, "LO", pattern))(None) is expected


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("Doe", "Doe", True),
        ("doe", "Doe", False),
        ("D?e*", "Doe", True),
        ("d*", "Doe", False),
        ("M?ller", "M\u00fcller", True),
        ("Muller", "M\u00fcller", False),
        ("Stra?e", "Stra\u00dfe", True),
        ("Doe ", "Doe", True),
        ("b", "A\\b", True),
    ],
)
def test_matcher_that_distinguishes_case_compares_the_text(
    pattern: str, value: str, expected: bool
) -> None:
    wanted = parse_criterion(1, "LO", pattern, is_case_sensitive=True)
    assert build_matcher(wanted)(value) is expected


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_pattern_means_what_the_same_regular_expression_does(pattern: str, text: str) -> None:
    expression = "".join({"*": ".*", "?": "."}.get(c, c) for c in pattern)

    assert parse_pattern(pattern, str).build_matcher()(text) == bool(re.fullmatch(expression, text))


def test_pattern_of_many_wildcards_comes_to_an_end() -> None:
    # One that goes back for each asterisk would never do.
    matches = parse_pattern("*a" * 500 + "*b", str).build_matcher()
    assert not matches("a" * 5000)
    assert matches("a" * 5000 + "b")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("abc", Pattern((("abc",),))),
        ("abc*", Pattern((("abc",), ("",)))),
        ("a?c**d?", Pattern((("a", "c"), ("d", "")))),
        ("*", Pattern((("",), ("",)))),
        (" A* ", Pattern((("a",), ("",)))),
        ("\u3000A*", Pattern((("a",), ("",)))),
    ],
)
def test_parse_pattern_cuts_at_the_wildcards(pattern: str, expected: Pattern) -> None:
    assert parse_pattern(pattern) == expected


def test_pattern_knows_what_it_begins_with() -> None:
    assert parse_pattern("ab?c*").prefix == "ab"
    assert parse_pattern("ab*").is_prefix_only
    assert not parse_pattern("ab*c").is_prefix_only
    assert not parse_pattern("ab?*").is_prefix_only
    assert not parse_pattern("ab").is_prefix_only


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("", None, True),
        ("*", None, False),
        ("*", "", True),
        ("OPEN", "open", True),
        ("op?n\\closed", "Closed", True),
        ("\u00dcber", "\u00fcber", True),
        ("uber", "\u00fcber", False),
        # Blanks count, unlike in the values of tags.
        ("open ", "open", False),
        (" *", " x", True),
        (" *", "x", False),
        # Only a pattern beyond ASCII folds letters beyond ASCII.
        ("k", "\u212a", False),
    ],
)
def test_metadata_matcher_ignores_case(pattern: str, value: str | None, expected: bool) -> None:
    wanted = MetadataCriterion(1024, parse_test(pattern))
    assert build_metadata_matcher(wanted)(value) is expected


def test_items_match_if_one_of_them_fulfils_everything() -> None:
    # PS3.4 §C.2.2.2.6.
    modality = parse_criterion(0x00080060, "CS", "MR")
    station = parse_criterion(0x00400001, "AE", "S*")
    step: DataSet = {0x00080060: Element("CS", "MR"), 0x00400001: Element("AE", "S1")}
    other: DataSet = {0x00080060: Element("CS", "CT"), 0x00400001: Element("AE", "S1")}
    matches = build_element_matcher(build_items_criterion(0x00400100, (modality, station)))

    assert matches(Element("SQ", [other, step]))
    assert not matches(Element("SQ", [other, {0x00080060: Element("CS", "MR")}]))
    assert not matches(Element("SQ", []))
    assert not matches(Element("LO", "text"))
    assert not matches(None)


def test_items_of_items_match() -> None:
    code = build_items_criterion(0x00400008, [parse_criterion(0x00080100, "SH", "X")])
    matches = build_element_matcher(build_items_criterion(0x00400100, [code]))
    inner = Element("SQ", [{0x00080100: Element("SH", "X")}])
    assert matches(Element("SQ", [{0x00400008: inner}]))
    assert not matches(Element("SQ", [{0x00400008: Element("SQ", [])}]))


def test_sequence_asked_for_nothing_or_for_being_there() -> None:
    everything = build_items_criterion(0x00400100, [parse_criterion(0x00080060, "CS", "")])
    assert build_element_matcher(everything)(None)
    assert build_element_matcher(everything)(Element("SQ", []))
    is_there = build_element_matcher(parse_criterion(0x00400100, "LO", "*"))
    assert is_there(Element("SQ", []))
    assert not is_there(None)
