import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.dicom_files import build_data_set, encode_element, encode_sequence

from isocenter.dicom.commitment_reports import (
    CommitmentReport,
    build_commitment_request,
    parse_commitment_report,
)
from isocenter.dicom.data_sets import get_layout, read_data_set
from isocenter.errors import BadRequestError, RequestError

EXPLICIT = "1.2.840.10008.1.2.1"


def build_item(sop_class_uid: str, sop_instance_uid: str, reason: bytes = b"") -> bytes:
    elements = encode_element(0x00081150, "UI", sop_class_uid)
    elements += encode_element(0x00081155, "UI", sop_instance_uid)
    if reason:
        elements += encode_element(0x00081197, "US", reason)
    return elements


def parse(data: bytes) -> CommitmentReport:
    return parse_commitment_report(read_data_set(data, get_layout(EXPLICIT)))


def test_report_tells_what_is_kept_and_what_not() -> None:
    data = build_data_set({0x00081195: ("UI", "2.25.1")})
    failed = [build_item("1.1", "1.3", b"\x12\x01"), build_item("1.1", "1.4")]
    data += encode_sequence(0x00081198, failed)
    data += encode_sequence(0x00081199, [build_item("1.1", "1.2")])
    assert parse(data) == CommitmentReport(
        "2.25.1", (("1.1", "1.2"),), ((("1.1", "1.3"), 0x0112), (("1.1", "1.4"), 0x0110))
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        build_data_set({0x00081195: ("UI", "")}),
        build_data_set({0x00081195: ("UI", "1")})
        + encode_sequence(0x00081199, [build_item("", "1.2")]),
    ],
)
def test_report_that_lacks_something_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequestError):
        parse(data)


@given(st.binary(max_size=200))
def test_foreign_bytes_are_a_report_or_refused(data: bytes) -> None:
    start = build_data_set({0x00081195: ("UI", "1")})
    try:
        parse(start + data)
    except RequestError:
        return


def test_request_is_read_as_it_was_built() -> None:
    references = [("1.1", "1.2"), ("1.1", "1.33")]
    for uid in ("1.2.840.10008.1.2", EXPLICIT):
        data = build_commitment_request("2.25.1", references, transfer_syntax_uid=uid)
        found = parse_commitment_report(read_data_set(data, get_layout(uid)))
        assert found == CommitmentReport("2.25.1", tuple(references), ())
