"""The data sets of storage commitment (PS3.4 Tables J.3-1, J.3-2)."""

import pytest

from isocenter.dicom.commitment_data import build_report, parse_commitment_request
from isocenter.dicom.data_sets import DataSet, Element, get_layout, read_data_set
from isocenter.errors import BadRequestError

EXPLICIT = "1.2.840.10008.1.2.1"
TRANSACTION, REASON, FAILED, KEPT = 0x00081195, 0x00081197, 0x00081198, 0x00081199
SOP_CLASS, SOP_INSTANCE = 0x00081150, 0x00081155


def item(sop_class: str, sop_instance: str) -> DataSet:
    return {SOP_CLASS: Element("UI", sop_class), SOP_INSTANCE: Element("UI", sop_instance)}


def test_request_names_the_instances() -> None:
    request: DataSet = {
        TRANSACTION: Element("UI", "1.2.3"),
        KEPT: Element("SQ", [item("1.1", "2.1"), item("1.1", "2.2")]),
    }
    expected = ("1.2.3", [("1.1", "2.1"), ("1.1", "2.2")])
    assert parse_commitment_request(request) == expected


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {TRANSACTION: Element("UI", "1.2.3")},
        {TRANSACTION: Element("UI", ""), KEPT: Element("SQ", [])},
        {TRANSACTION: Element("UI", "1.2.3"), KEPT: Element("UI", "1.2")},
        {TRANSACTION: Element("UI", "1.2.3"), KEPT: Element("SQ", [item("1.1", "")])},
        {TRANSACTION: Element("UI", "1.2.3"), KEPT: Element("SQ", [{}])},
    ],
)
def test_incomplete_request_is_refused(request_: DataSet) -> None:
    with pytest.raises(BadRequestError):
        parse_commitment_request(request_)


def test_report_has_the_failures_only_if_there_are_some() -> None:
    data = build_report("1.2.3", [("1.1", "2.1")], [], transfer_syntax_uid=EXPLICIT)
    assert read_data_set(data, get_layout(EXPLICIT)) == {
        TRANSACTION: Element("UI", "1.2.3"),
        KEPT: Element("SQ", [item("1.1", "2.1")]),
    }
    data = build_report("1.2.3", [], [(("1.1", "2.2"), 274)], transfer_syntax_uid=EXPLICIT)
    assert read_data_set(data, get_layout(EXPLICIT)) == {
        TRANSACTION: Element("UI", "1.2.3"),
        FAILED: Element("SQ", [item("1.1", "2.2") | {REASON: Element("US", "274")}]),
        KEPT: Element("SQ", []),
    }
