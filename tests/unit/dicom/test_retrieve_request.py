"""Reading the identifiers of C-MOVE and C-GET."""

import pytest

from isocenter.dicom.data_sets import DataSet, Element
from isocenter.dicom.levels import Level
from isocenter.dicom.query import AnyOf
from isocenter.dicom.retrieve_request import parse_retrieve_request
from isocenter.errors import BadParameterError, BadRequestError

PATIENT, STUDY, SERIES, INSTANCE = 0x00100020, 0x0020000D, 0x0020000E, 0x00080018
ACCESSION, LEVEL = 0x00080050, 0x00080052


def build(level: str | None, keys: dict[int, str]) -> DataSet:
    data_set = {tag: Element("UI", text) for tag, text in keys.items()}
    return data_set if level is None else {LEVEL: Element("CS", level), **data_set}


@pytest.mark.parametrize(
    ("level", "keys", "found", "tag", "values"),
    [
        ("PATIENT", {PATIENT: "P1"}, Level.PATIENT, PATIENT, ("P1",)),
        ("STUDY", {STUDY: "1.2\\1.3"}, Level.STUDY, STUDY, ("1.2", "1.3")),
        ("STUDY", {STUDY: "", ACCESSION: "A1"}, Level.STUDY, ACCESSION, ("A1",)),
        ("STUDY", {STUDY: "1.2", ACCESSION: "A1"}, Level.STUDY, STUDY, ("1.2",)),
        ("STUDY", {STUDY: "1.2", SERIES: "1.3", PATIENT: "x"}, Level.STUDY, STUDY, ("1.2",)),
        ("SERIES", {SERIES: "1.3", STUDY: "9"}, Level.SERIES, SERIES, ("1.3",)),
        ("IMAGE", {INSTANCE: "1.4\\\\1.5\\"}, Level.INSTANCE, INSTANCE, ("1.4", "1.5")),
        (None, {PATIENT: "P1"}, Level.PATIENT, PATIENT, ("P1",)),
        (None, {PATIENT: "P1", STUDY: "1.2"}, Level.STUDY, STUDY, ("1.2",)),
        (None, {STUDY: "1.2", SERIES: "1.3"}, Level.SERIES, SERIES, ("1.3",)),
        (None, {STUDY: "1.2", INSTANCE: "1.4"}, Level.INSTANCE, INSTANCE, ("1.4",)),
    ],
)
def test_key_of_the_level_counts(
    level: str | None, keys: dict[int, str], found: Level, tag: int, values: tuple[str, ...]
) -> None:
    query = parse_retrieve_request(build(level, keys))
    (criterion,) = query.criteria
    assert (query.level, criterion.tag, criterion.test) == (found, tag, AnyOf(values))


@pytest.mark.parametrize(
    ("level", "keys", "error"),
    [
        ("STUDY", {}, BadRequestError),
        ("STUDY", {STUDY: " "}, BadRequestError),
        ("STUDY", {STUDY: "\\\\"}, BadRequestError),
        ("SERIES", {STUDY: "1.2"}, BadRequestError),
        (None, {}, BadRequestError),
        ("FRAME", {STUDY: "1.2"}, BadParameterError),
        ("STUDY", {STUDY: "1.*"}, BadParameterError),
        ("PATIENT", {PATIENT: "P?"}, BadParameterError),
        ("IMAGE", {INSTANCE: "\\".join(map(str, range(10_001)))}, BadParameterError),
    ],
)
def test_identifier_that_names_nothing_is_refused(
    level: str | None, keys: dict[int, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        parse_retrieve_request(build(level, keys))
