"""Names and numbers of data elements."""

import pytest

from isocenter.dicom.dictionary import Definition
from isocenter.dicom.tags import (
    DEFAULT_DICTIONARY,
    UNKNOWN_NAME,
    ConfiguredElement,
    TagDictionary,
    format_tag,
    is_private,
    parse_tag,
)
from isocenter.errors import UnknownTagError


@pytest.mark.parametrize(
    "text", ["PatientName", "0010,0010", "0010-0010", "00100010", " PatientName "]
)
def test_tag_in_any_form_is_the_number(text: str) -> None:
    assert parse_tag(text) == 0x00100010


@pytest.mark.parametrize("text", ["0020,000D", "0020,000d", "StudyInstanceUID"])
def test_tag_number_in_any_case_is_the_number(text: str) -> None:
    assert parse_tag(text) == 0x0020000D


@pytest.mark.parametrize("text", ["RETIRED_StudyComments", "StudyComments"])
def test_retired_tag_with_or_without_prefix_is_found(text: str) -> None:
    assert parse_tag(text) == 0x00324000


@pytest.mark.parametrize("text", ["", "Nope", "0010,001", "0010:0010", "patientname"])
def test_unknown_tag_is_an_error(text: str) -> None:
    assert DEFAULT_DICTIONARY.lookup_tag(text) is None
    with pytest.raises(UnknownTagError, match="knows the tag"):
        parse_tag(text)


# Observed at a running server.
@pytest.mark.parametrize(
    ("tag", "creator", "name"),
    [
        (0x00100010, None, "PatientName"),
        (0x00101000, None, "OtherPatientIDs"),
        (0x00321030, None, "RETIRED_ReasonForStudy"),
        (0x50040010, None, "RETIRED_NumberOfPoints"),
        (0x60020010, None, "OverlayRows"),
        (0x7FD00010, None, "RETIRED_VariablePixelData"),
        (0x00080F01, None, UNKNOWN_NAME),
        (0x00080000, None, "GenericGroupLength"),
        (0x00090000, None, "GenericGroupLength"),
        (0x00090010, None, "PrivateCreator"),
        (0x000900FF, None, "PrivateCreator"),
        (0x00090001, None, UNKNOWN_NAME),
        (0x00091001, None, UNKNOWN_NAME),
        (0x00091001, "NOBODY", UNKNOWN_NAME),
        (0x00091001, "GEMS_IDEN_01", "FullFidelity"),
        (0x00095A27, "GEMS_IDEN_01", "ImageActualDate"),
        (0x00191014, "GEMS_ACQU_01", "EndNumberForBaseline"),
        (0x60031010, "PAPYRUS 3.0", "OverlayRows"),
        (0x70031010, "SIEMENS MED", "Header"),
    ],
)
def test_name_of_element_is_the_observed_one(tag: int, creator: str | None, name: str) -> None:
    assert DEFAULT_DICTIONARY.get_name(tag, creator) == name


@pytest.mark.parametrize(
    ("tag", "creator", "vr"),
    [
        (0x00100010, None, "PN"),
        (0x00280106, None, "US"),
        (0x00283006, None, "OW"),
        (0x7FE00010, None, "OW"),
        (0x60003000, None, "OW"),
        (0x00091027, "GEMS_IDEN_01", "SL"),
        (0x00091027, None, "UN"),
        (0x00080F01, None, "UN"),
    ],
)
def test_vr_of_element_is_that_of_implicit_encoding(tag: int, creator: str | None, vr: str) -> None:
    assert DEFAULT_DICTIONARY.lookup_vr(tag, creator) == vr


def test_configured_elements_win_over_the_built_in_ones() -> None:
    dictionary = TagDictionary(
        [
            ConfiguredElement(0x00100010, Definition("PN", "1", "CalledName")),
            ConfiguredElement(0x00091001, Definition("DS", "1", "Dose"), "NOBODY"),
        ]
    )
    assert dictionary.get_name(0x00100010) == "CalledName"
    assert dictionary.get_name(0x00091101, "NOBODY") == "Dose"
    assert dictionary.parse_tag("Dose") == 0x00091001
    assert dictionary.parse_tag("PatientID") == 0x00100020
    assert DEFAULT_DICTIONARY.get_name(0x00100010) == "PatientName"
    assert DEFAULT_DICTIONARY.lookup_tag("Dose") is None


def test_tag_is_written_with_a_comma_in_lower_case() -> None:
    assert format_tag(0x0020000D) == "0020,000d"


def test_private_tags_have_odd_groups() -> None:
    assert is_private(0x00090010)
    assert not is_private(0x00080010)


@pytest.mark.parametrize(
    ("tag", "key"),
    [
        (0x00100010, "PatientName"),
        (0x00324000, "RETIRED_StudyComments"),
        (0x00091001, "0009,1001"),
        (0x00090010, "0009,0010"),
        (0x60003000, "6000,3000"),
        (0x00080000, "0008,0000"),
        (0x00081111, "ReferencedPerformedProcedureStepSequence"),
    ],
)
def test_key_of_an_element_leads_back_to_it(tag: int, key: str) -> None:
    assert DEFAULT_DICTIONARY.get_key(tag) == key
    assert DEFAULT_DICTIONARY.lookup_tag(key) == tag
