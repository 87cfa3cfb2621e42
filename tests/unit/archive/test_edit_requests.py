"""What clients may ask for when they modify or anonymize."""

from typing import Any

import pytest

from isocenter.archive.edit_requests import (
    derive_pseudonym_key,
    parse_anonymization,
    parse_modification,
)
from isocenter.dicom.levels import Level
from isocenter.errors import RequestError

_BAD_TAGS = [
    *("0002,0010", "0002,0016", "0000,0100", "FFFE,E000", "0008,0000", "0009,0000"),
    *("ReferencedSeriesSequence[0].0002,0010", "ReferencedSeriesSequence[*].0010,0000"),
]
_BAD_IDENTIFIERS = [
    *({"SOPInstanceUID": "bad uid \u00e9"}, {"StudyInstanceUID": ""}, {"SeriesInstanceUID": " "}),
    *({"SOPInstanceUID": "1.2.abc"}, {"StudyInstanceUID": "1" * 65}, {"StudyInstanceUID": 5}),
    *({"SOPInstanceUID": None}, {"StudyInstanceUID": "1.2\\1.3"}, {"PatientID": None}),
    {"PatientID": ["x"]},
]


@pytest.mark.parametrize("tag", _BAD_TAGS)
def test_tag_that_stands_in_no_data_set_is_refused(tag: str) -> None:
    for parse in (parse_anonymization, lambda body: parse_modification(body, None)):
        with pytest.raises(RequestError) as raised:
            parse({"Replace": {tag: "1"}})
        assert raised.value.http_status == 400


@pytest.mark.parametrize("replaced", _BAD_IDENTIFIERS, ids=str)
def test_identifier_that_is_none_is_refused(replaced: dict[str, Any]) -> None:
    body = {"Replace": replaced, "Force": True}
    for parse in (parse_anonymization, lambda body: parse_modification(body, Level.PATIENT)):
        with pytest.raises(RequestError) as raised:
            parse(body)
        assert raised.value.http_status == 400


@pytest.mark.parametrize(
    "replaced",
    [
        {"SOPInstanceUID": "1.2.3"},
        {"SOPInstanceUID": "1.02.3 "},
        {"PatientID": ""},
        {"PatientID": "\u00e9"},
        {"ReferencedSeriesSequence[0].SeriesInstanceUID": ""},
    ],
    ids=str,
)
def test_identifier_that_could_be_one_is_taken(replaced: dict[str, Any]) -> None:
    assert parse_anonymization({"Replace": replaced, "Force": True}).replace


def test_key_is_stretched_and_the_same_everywhere() -> None:
    assert (
        derive_pseudonym_key("correct horse battery staple").hex()
        == "1972eb7c312b33abdca857e171e6e2563a149dbdf31943e649c3c994fd01cba6"
    )
