import pytest

from isocenter.dicom.query import (
    AnyOf,
    Criterion,
    Exists,
    LabelConstraint,
    LabelFilter,
    Range,
    Test,
    Universal,
    Wildcards,
    parse_criterion,
    parse_test,
)
from isocenter.errors import BadParameterError

TAG = 0x00100010
# PS3.4 §C.2.2.2.4 with PS3.5 §6.2: the text VRs; of the others those that Orthanc was asked about.
WITH_WILDCARDS = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
WITHOUT_WILDCARDS = ("AS", "DA", "DS", "DT", "FD", "IS", "OB", "SQ", "TM", "UI", "UN", "US")


@pytest.mark.parametrize(
    ("vr", "text", "expected"),
    [
        ("PN", "", Universal()),
        ("PN", "*", Exists()),
        ("PN", "**", Exists()),
        ("PN", "a\\*", Exists()),
        ("PN", "Doe", AnyOf(("Doe",))),
        ("PN", " Doe ", AnyOf((" Doe ",))),
        ("PN", "a\\b\\a", AnyOf(("a", "b"))),
        ("PN", "a\\", AnyOf(("a", ""))),
        ("PN", "a*\\b", Wildcards(("a*", "b"))),
        ("CS", "?", Wildcards(("?",))),
        ("LO", "a-b", AnyOf(("a-b",))),
        ("LT", "a\\b", AnyOf(("a", "b", "a\\b"))),
        ("LT", "a*\\b", Wildcards(("a*", "b", "a*\\b"))),
        ("PN", "a\0b", AnyOf(("a",))),
        ("PN", "\0b", AnyOf(("",))),
        ("DA", "20240101", AnyOf(("20240101",))),
        ("DA", "20240101-20241231", Range("20240101", "20241231")),
        ("DA", "20240101-", Range("20240101", None)),
        ("TM", "-1200", Range(None, "1200")),
        ("DT", "-", Universal()),
        ("DA", "a-b\\c", Range("a", "b\\c")),
        ("DA", "1-2-3", Range("1", "2-3")),
        ("DA", "20240101\\20240102", AnyOf(("20240101", "20240102"))),
        ("UI", "1.2\\1.3", AnyOf(("1.2", "1.3"))),
    ],
)
def test_parse_criterion_reads_what_the_text_asks(vr: str, text: str, expected: Test) -> None:
    assert parse_criterion(TAG, vr, text) == Criterion(TAG, vr, expected)


@pytest.mark.parametrize("vr", WITH_WILDCARDS)
def test_parse_criterion_wildcard_in_a_text_is_allowed(vr: str) -> None:
    assert "a?b*" in getattr(parse_criterion(TAG, vr, "a?b*").test, "patterns", ())


@pytest.mark.parametrize("vr", WITHOUT_WILDCARDS)
@pytest.mark.parametrize("text", ["*", "1?", "1-*"])
def test_parse_criterion_wildcard_elsewhere_is_refused(vr: str, text: str) -> None:
    with pytest.raises(BadParameterError, match="0010,0010"):
        parse_criterion(TAG, vr, text)


@pytest.mark.parametrize(
    "text", ["\\".join(map(str, range(10_001))), "*" + "a" * 1024, "\\".join(["a*"] * 2 * 1024)]
)
def test_parse_test_with_too_much_is_refused(text: str) -> None:
    with pytest.raises(BadParameterError):
        parse_test(text)


def test_parse_test_takes_many_alternatives_without_wildcards() -> None:
    assert parse_test("\\".join(map(str, range(10_000)))) == AnyOf(tuple(map(str, range(10_000))))


@pytest.mark.parametrize(
    ("vr", "text", "expected"),
    [("PN", "a", True), ("PN", "a*", True), ("PN", "*", False), ("PN", "", False)]
    + [(vr, "1", False) for vr in ("AS", "DA", "DS", "DT", "IS", "TM", "UI")],
)
def test_criterion_needs_the_exact_text_only_where_there_is_case(
    vr: str, text: str, expected: bool
) -> None:
    wanted = parse_criterion(TAG, vr, text, is_case_sensitive=True)
    assert wanted.needs_exact_text is expected
    assert not parse_criterion(TAG, vr, text).needs_exact_text


def test_label_filter_without_labels_is_universal_unless_it_forbids_any() -> None:
    assert LabelFilter(frozenset()).is_universal
    assert LabelFilter(frozenset(), LabelConstraint.ANY).is_universal
    assert not LabelFilter(frozenset(), LabelConstraint.NONE).is_universal
    assert not LabelFilter(frozenset("a")).is_universal
