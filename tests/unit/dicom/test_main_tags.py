"""Main tags and what of them is searched."""

import pytest

from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import (
    build_index_value,
    build_main_tags,
    normalize_for_search,
)
from isocenter.dicom.tags import parse_tag

# Typed from the behaviour manual §4.1.
NAMES = {
    Level.PATIENT: "PatientName PatientBirthDate PatientSex OtherPatientIDs PatientID",
    Level.STUDY: "StudyDate StudyTime StudyID StudyDescription AccessionNumber StudyInstanceUID "
    "RequestedProcedureDescription InstitutionName RequestingPhysician ReferringPhysicianName "
    "TimezoneOffsetFromUTC",
    Level.SERIES: "SeriesDate SeriesTime Modality Manufacturer StationName SeriesDescription "
    "BodyPartExamined SequenceName ProtocolName SeriesNumber CardiacNumberOfImages "
    "ImagesInAcquisition NumberOfTemporalPositions NumberOfSlices NumberOfTimeSlices "
    "SeriesInstanceUID ImageOrientationPatient SeriesType OperatorsName "
    "PerformedProcedureStepDescription AcquisitionDeviceProcessingDescription "
    "ContrastBolusAgent TimezoneOffsetFromUTC PerformedProcedureStepStartDate "
    "PerformedProcedureStepStartTime RequestAttributesSequence",
    Level.INSTANCE: "InstanceCreationDate InstanceCreationTime AcquisitionNumber ImageIndex "
    "InstanceNumber NumberOfFrames TemporalPositionIdentifier SOPInstanceUID "
    "ImagePositionPatient ImageComments ImageOrientationPatient",
}


@pytest.mark.parametrize("level", Level)
def test_default_main_tags_are_those_of_the_manual(level: Level) -> None:
    assert build_main_tags().by_level[level] == {parse_tag(name) for name in NAMES[level].split()}


@pytest.mark.parametrize(
    ("level", "signature"),
    [
        (Level.PATIENT, "0010,0010;0010,0020;0010,0030;0010,0040;0010,1000"),
        (
            Level.STUDY,
            (
                "0008,0020;0008,0030;0008,0050;0008,0080;0008,0090;0008,0201;0008,1030;0020,000d;"
                "0020,0010;0032,1032;0032,1060"
            ),
        ),
        (
            Level.INSTANCE,
            (
                "0008,0012;0008,0013;0008,0018;0020,0012;0020,0013;0020,0032;0020,0037;0020,0100;"
                "0020,4000;0028,0008;0054,1330"
            ),
        ),
    ],
)
def test_signature_of_default_tags_is_the_captured_one(level: Level, signature: str) -> None:
    assert build_main_tags().build_signature(level) == signature


def test_extra_tags_are_added_to_their_level_alone() -> None:
    tags = build_main_tags({Level.PATIENT: [0x00102160, 0x00100010]})
    assert tags.build_signature(Level.PATIENT).endswith("0010,1000;0010,2160")
    assert 0x00102160 in tags.wanted
    assert 0x00102160 not in tags.by_level[Level.STUDY]


def test_stored_tags_of_a_study_include_those_of_its_patient() -> None:
    tags = build_main_tags()
    assert tags.get_stored(Level.STUDY) >= tags.by_level[Level.PATIENT]
    assert tags.get_stored(Level.SERIES) == tags.by_level[Level.SERIES]


def test_selection_keeps_the_tags_of_one_level_that_are_there() -> None:
    values = {0x00100010: "DOE^JANE", 0x00080060: "CT"}
    assert build_main_tags().select(values, Level.PATIENT) == {0x00100010: "DOE^JANE"}


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        (" DOE^Jane ", "doe^jane"),
        ("Müller^Jörg", "muller^jorg"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("ΑΣΚΛΗΠΙΌΣ", "ασκληπιοσ"),
        ("Фёдор", "федор"),
        ("山田^太郎", "山田^太郎"),
        ("ヤマダ", "ヤマダ"),
        ("ﾔﾏﾀﾞ", "ヤマダ"),
        ("김희중", "김희중"),
        ("ABC\0", "abc"),
    ],
)
def test_normalization_folds_case_accents_and_width_only(text: str, folded: str) -> None:
    assert normalize_for_search(text) == folded
    assert normalize_for_search(folded) == folded


@pytest.mark.parametrize("letter", ["x", "é", "山", "\U00020000"])
def test_index_value_of_long_text_is_its_first_256_bytes(letter: str) -> None:
    value = build_index_value(letter * 300)
    assert 252 < len(value.encode()) <= 256
    assert normalize_for_search(letter * 300).startswith(value)


def test_index_value_of_short_text_is_whole() -> None:
    assert build_index_value("Müller") == "muller"
