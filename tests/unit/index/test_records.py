import pytest

from isocenter.dicom.levels import Level
from isocenter.index.records import NEW_CHANGES, STABLE_CHANGES, ChangeType, MetadataCode

# Orthanc REST: GET /changes (behaviour manual §10.1).
CHANGES = {
    1: "CompletedSeries",
    2: "NewInstance",
    3: "NewPatient",
    4: "NewSeries",
    5: "NewStudy",
    6: "AnonymizedStudy",
    7: "AnonymizedSeries",
    8: "ModifiedStudy",
    9: "ModifiedSeries",
    10: "AnonymizedPatient",
    11: "ModifiedPatient",
    12: "StablePatient",
    13: "StableStudy",
    14: "StableSeries",
    15: "UpdatedAttachment",
    16: "UpdatedMetadata",
    4096: "Deleted",
}

# Orthanc REST: metadata (behaviour manual §11).
METADATA = {
    1: "INDEX_IN_SERIES",
    2: "RECEPTION_DATE",
    3: "REMOTE_AET",
    4: "EXPECTED_NUMBER_OF_INSTANCES",
    5: "MODIFIED_FROM",
    6: "ANONYMIZED_FROM",
    7: "LAST_UPDATE",
    8: "ORIGIN",
    9: "TRANSFER_SYNTAX",
    10: "SOP_CLASS_UID",
    11: "REMOTE_IP",
    12: "CALLED_AET",
    13: "HTTP_USERNAME",
    14: "PIXEL_DATA_OFFSET",
    15: "MAIN_DICOM_TAGS_SIGNATURE",
    16: "MAIN_DICOM_SEQUENCES",
    17: "PIXEL_DATA_VR",
}


def test_change_types_have_their_codes_and_titles() -> None:
    assert {int(change_type): change_type.title for change_type in ChangeType} == CHANGES


@pytest.mark.parametrize("level", list(Level))
def test_change_types_of_levels_name_them(level: Level) -> None:
    assert NEW_CHANGES[level].title == f"New{level.name.title()}"
    if level is not Level.INSTANCE:
        assert STABLE_CHANGES[level].title == f"Stable{level.name.title()}"


def test_metadata_codes_are_those_of_the_manual() -> None:
    assert {int(code): code.name for code in MetadataCode} == METADATA
