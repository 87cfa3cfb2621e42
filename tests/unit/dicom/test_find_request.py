"""Reading the identifiers of C-FIND."""

import pytest

from isocenter.dicom.data_sets import DataSet, Element
from isocenter.dicom.find_request import (
    MOST_CONDITIONS,
    MOST_KEYS,
    FindRequest,
    NameRule,
    parse_find_request,
    select_keys,
)
from isocenter.dicom.levels import Level
from isocenter.dicom.query import AnyOf, Items, Range, Wildcards
from isocenter.errors import BadParameterError, BadRequestError, RequestError

LEVEL, NAME, STUDY_UID, STUDY_DATE, STEPS = (
    0x00080052,
    0x00100010,
    0x0020000D,
    0x00080020,
    0x00400100,
)
STATION, CODE = 0x00400001, 0x00400008


def parse(keys: DataSet, rule: NameRule | None = None) -> FindRequest:
    return parse_find_request({LEVEL: Element("CS", "STUDY"), **keys}, rule or NameRule())


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("PATIENT", Level.PATIENT),
        ("STUDY", Level.STUDY),
        ("series ", Level.SERIES),
        ("IMAGE", Level.INSTANCE),
        ("INSTANCE", Level.INSTANCE),
    ],
)
def test_level_is_read_and_repeated(name: str, level: Level) -> None:
    request = parse({LEVEL: Element("CS", name)})
    assert (request.level, request.level_name) == (level, name)
    assert LEVEL not in request.keys


@pytest.mark.parametrize(
    ("identifier", "error"),
    [
        ({}, BadRequestError),
        ({LEVEL: Element("CS", " ")}, BadRequestError),
        ({LEVEL: Element("SQ", [])}, BadRequestError),
        ({LEVEL: Element("CS", "FRAME")}, BadParameterError),
        ({LEVEL: Element("CS", "STUDY"), STUDY_DATE: Element("DA", "2024*")}, BadParameterError),
        ({LEVEL: Element("CS", "STUDY"), STUDY_UID: Element("UI", "1.*")}, BadParameterError),
    ],
)
def test_impossible_identifier_is_refused(identifier: DataSet, error: type[RequestError]) -> None:
    with pytest.raises(error):
        parse_find_request(identifier, NameRule())


def test_keys_become_criteria_and_empty_ones_do_not() -> None:
    request = parse(
        {
            STUDY_UID: Element("UI", "1.2\\1.3"),
            STUDY_DATE: Element("DA", "20240101-"),
            NAME: Element("PN", "Doe*"),
            0x00100020: Element("LO", ""),
            0x00080005: Element("CS", "ISO_IR 100"),
            0x00080054: Element("AE", "OTHER"),
            0x00080201: Element("SH", "+0100"),
            0x00080000: Element("UL", "10"),
        }
    )
    assert {criterion.tag: criterion.test for criterion in request.criteria} == {
        STUDY_UID: AnyOf(("1.2", "1.3")),
        STUDY_DATE: Range("20240101", None),
        NAME: Wildcards(("Doe*",)),
    }
    assert list(request.keys) == sorted(request.keys)
    assert 0x00080005 not in request.keys
    assert request.character_set == "ISO_IR 100"


def test_case_counts_but_in_names_unless_configured() -> None:
    keys = {NAME: Element("PN", "a"), 0x00081030: Element("LO", "a")}
    cases = [c.is_case_sensitive for c in parse(keys).criteria]
    assert cases == [False, True]
    strict = parse(keys, NameRule(in_names=True))
    assert [c.is_case_sensitive for c in strict.criteria] == [True, True]


def test_sequences_ask_for_their_first_item() -> None:
    inner = Element("SQ", [{0x00080100: Element("SH", "X")}])
    item: DataSet = {STATION: Element("AE", "S1"), CODE: inner, 0x00400002: Element("DA", "")}
    request = parse({STEPS: Element("SQ", [item, {STATION: Element("AE", "S2")}])})
    (criterion,) = request.criteria
    assert isinstance(criterion.test, Items)
    assert [c.tag for c in criterion.test.criteria] == [STATION, CODE]
    assert parse({STEPS: Element("SQ", [])}).criteria == ()
    assert parse({STEPS: Element("SQ", [{STATION: Element("AE", "")}])}).criteria == ()


def test_private_creator_names_a_block_and_is_no_condition() -> None:
    keys = {0x00090010: Element("LO", "ACME"), 0x00091001: Element("LO", "x")}
    request = parse(keys)
    assert [criterion.tag for criterion in request.criteria] == [0x00091001]
    assert request.criteria[0].vr == "LO"


def test_number_of_keys_and_conditions_is_limited() -> None:
    many = {0x00100020 + 2 * i: Element("LO", "") for i in range(MOST_KEYS + 1)}
    with pytest.raises(BadRequestError):
        parse(many)
    with pytest.raises(BadRequestError):
        parse({STEPS: Element("SQ", [many])})
    conditions = {0x00100020 + 2 * i: Element("LO", "x") for i in range(MOST_CONDITIONS + 1)}
    with pytest.raises(BadRequestError):
        parse(conditions)


def test_items_of_an_answer_hold_what_was_asked_for() -> None:
    step: DataSet = {STATION: Element("AE", "S1"), 0x00400002: Element("DA", "20240101")}
    answer = Element("SQ", [step])
    assert select_keys(answer, Element("SQ", [])) == answer
    assert select_keys(answer, Element("SQ", [{}])) == answer
    asked = Element("SQ", [{STATION: Element("AE", ""), CODE: Element("SQ", [])}])
    assert select_keys(answer, asked) == Element(
        "SQ", [{STATION: Element("AE", "S1"), CODE: Element("SQ", [])}]
    )
