import json
from typing import Any

import pytest
from tests.support.dicom_files import (
    CT_IMAGE_STORAGE,
    EXPLICIT_LITTLE,
    JPEG_BASELINE,
    Elements,
    build_data_set,
    build_file,
    build_instance,
    encode_element,
    encode_fragments,
    encode_sequence,
    identifiers,
)

from isocenter.archive.description import (
    FileDescription,
    count_expected_instances,
    read_index_in_series,
)
from isocenter.archive.received import Origin, OriginKind
from isocenter.dicom.levels import Level
from isocenter.dicom.main_tags import build_main_tags
from isocenter.dicom.reader import read_summary
from isocenter.index.records import MetadataCode, NewResource

# 2024-02-29 12:34:56 UTC.
RECEIVED_AT = 1_709_210_096
DICOM = Origin(
    OriginKind.DICOM_PROTOCOL, remote_ip="10.0.0.7", remote_aet="MODALITY", called_aet="ARCHIVE"
)
REST = Origin(OriginKind.REST_API, remote_ip="10.0.0.8", http_username="alice")


def describe(data: bytes, level: Level, origin: Origin = REST) -> NewResource:
    tags = build_main_tags()
    summary = read_summary(data, wanted=tags.wanted, default_encoding="Latin1")
    return FileDescription(summary, tags, origin, RECEIVED_AT).build(level)


def read_metadata(row: NewResource) -> dict[MetadataCode, str]:
    return {MetadataCode(int(code)): value for code, value in json.loads(row.metadata).items()}


def read_main_tags(row: NewResource) -> dict[str, Any]:
    tags: dict[str, Any] = json.loads(row.main_tags)
    return tags


EVERYTHING: Elements = {
    0x00100010: ("PN", "Doe^Jane"),
    0x00100030: ("DA", "19700101"),
    0x00100040: ("CS", "F"),
    0x00080020: ("DA", "20240229"),
    0x00080050: ("SH", "ACC-1"),
    0x00081030: ("LO", "Head"),
    0x00080060: ("CS", "CT"),
    0x00200011: ("IS", "4"),
    0x00200013: ("IS", "17"),
    0x00204000: ("LT", "a comment"),
    0x00280010: ("US", b"\x10\x00"),
}


def test_build_patient_keeps_its_tags() -> None:
    row = describe(build_instance(EVERYTHING), Level.PATIENT)

    assert read_main_tags(row) == {
        "PatientBirthDate": "19700101",
        "PatientID": "P-1",
        "PatientName": "Doe^Jane",
        "PatientSex": "F",
    }
    assert row.patient_tags is None


def test_build_study_keeps_patient_tags_apart() -> None:
    row = describe(build_instance(EVERYTHING), Level.STUDY)

    assert read_main_tags(row) == {
        "AccessionNumber": "ACC-1",
        "StudyDate": "20240229",
        "StudyDescription": "Head",
        "StudyInstanceUID": "1.2.3.1",
    }
    assert row.patient_tags == describe(build_instance(EVERYTHING), Level.PATIENT).main_tags


def test_build_series_and_instance_keep_their_tags() -> None:
    data = build_instance(EVERYTHING)

    assert read_main_tags(describe(data, Level.SERIES)) == {
        "Modality": "CT",
        "SeriesInstanceUID": "1.2.3.1.1",
        "SeriesNumber": "4",
    }
    assert read_main_tags(describe(data, Level.INSTANCE)) == {
        "ImageComments": "a comment",
        "InstanceNumber": "17",
        "SOPInstanceUID": "1.2.3.1.1.1",
    }


def test_build_main_tags_keys_are_sorted() -> None:
    row = describe(build_instance(EVERYTHING), Level.PATIENT)

    assert list(read_main_tags(row)) == sorted(read_main_tags(row))


def test_build_long_value_is_kept_whole() -> None:
    data = build_instance({0x00204000: ("LT", "x" * 10_000)})

    assert read_main_tags(describe(data, Level.INSTANCE))["ImageComments"] == "x" * 10_000


@pytest.mark.parametrize(
    ("level", "identifier"),
    [
        (Level.PATIENT, "p-1"),
        (Level.STUDY, "1.2.3.1"),
        (Level.SERIES, "1.2.3.1.1"),
        (Level.INSTANCE, "1.2.3.1.1.1"),
    ],
)
def test_build_level_has_its_identifier(level: Level, identifier: str) -> None:
    assert describe(build_instance(), level).identifier == identifier


def test_build_missing_patient_id_is_empty() -> None:
    elements = identifiers()
    del elements[0x00100020]

    row = describe(build_file(build_data_set(elements)), Level.PATIENT)

    assert row.identifier == ""


def test_build_search_holds_identifying_tags() -> None:
    data = build_instance(EVERYTHING)

    assert dict(describe(data, Level.PATIENT).search) == {
        0x00100010: "doe^jane",
        0x00100030: "19700101",
    }
    assert dict(describe(data, Level.STUDY).search) == {
        0x00100010: "doe^jane",
        0x00100020: "p-1",
        0x00100030: "19700101",
        0x00080020: "20240229",
        0x00080050: "acc-1",
        0x00081030: "head",
    }
    assert describe(data, Level.SERIES).search == ()
    assert describe(data, Level.INSTANCE).search == ()


def test_build_instance_of_rest_client_has_its_metadata() -> None:
    metadata = read_metadata(describe(build_instance(EVERYTHING), Level.INSTANCE))

    signature = metadata.pop(MetadataCode.MAIN_DICOM_TAGS_SIGNATURE)
    assert metadata == {
        MetadataCode.RECEPTION_DATE: "20240229T123456",
        MetadataCode.TRANSFER_SYNTAX: EXPLICIT_LITTLE,
        MetadataCode.SOP_CLASS_UID: CT_IMAGE_STORAGE,
        MetadataCode.INDEX_IN_SERIES: "17",
        MetadataCode.ORIGIN: "RestApi",
        MetadataCode.REMOTE_IP: "10.0.0.8",
        MetadataCode.HTTP_USERNAME: "alice",
        MetadataCode.REMOTE_AET: "",
    }
    assert "0008,0018" in signature.split(";")
    assert signature.split(";") == sorted(signature.split(";"))


def test_build_instance_of_modality_has_its_metadata() -> None:
    metadata = read_metadata(describe(build_instance(EVERYTHING), Level.INSTANCE, DICOM))

    assert metadata[MetadataCode.ORIGIN] == "DicomProtocol"
    assert metadata[MetadataCode.REMOTE_AET] == "MODALITY"
    assert metadata[MetadataCode.CALLED_AET] == "ARCHIVE"
    assert metadata[MetadataCode.REMOTE_IP] == "10.0.0.7"
    assert MetadataCode.HTTP_USERNAME not in metadata


def test_build_series_remembers_its_sender() -> None:
    data = build_instance(EVERYTHING)

    assert read_metadata(describe(data, Level.SERIES, DICOM))[MetadataCode.REMOTE_AET] == "MODALITY"
    assert read_metadata(describe(data, Level.SERIES, REST))[MetadataCode.REMOTE_AET] == ""


@pytest.mark.parametrize("level", [Level.PATIENT, Level.STUDY])
def test_build_upper_level_has_only_a_signature(level: Level) -> None:
    metadata = read_metadata(describe(build_instance(EVERYTHING), level))

    assert set(metadata) == {MetadataCode.MAIN_DICOM_TAGS_SIGNATURE}


@pytest.mark.parametrize(
    ("pixels", "syntax", "vr"),
    [
        (encode_element(0x7FE00010, "OW", b"\0\0"), EXPLICIT_LITTLE, None),
        (encode_element(0x7FE00010, "OB", b"\0\0"), EXPLICIT_LITTLE, "OB"),
        (encode_fragments([b"\0\0"]), JPEG_BASELINE, None),
    ],
)
def test_build_instance_with_pixels_knows_where_they_begin(
    pixels: bytes, syntax: str, vr: str | None
) -> None:
    data_set = build_data_set(identifiers())
    data = build_file(data_set + pixels, syntax=syntax)

    metadata = read_metadata(describe(data, Level.INSTANCE))

    assert int(metadata[MetadataCode.PIXEL_DATA_OFFSET]) == len(data) - len(pixels)
    assert metadata.get(MetadataCode.PIXEL_DATA_VR) == vr


def test_build_instance_without_number_has_no_index() -> None:
    row = describe(build_instance(), Level.INSTANCE)

    assert MetadataCode.INDEX_IN_SERIES not in read_metadata(row)
    assert MetadataCode.PIXEL_DATA_OFFSET not in read_metadata(row)
    assert row.index_in_series is None


def test_build_series_with_request_attributes_keeps_the_sequence() -> None:
    item = encode_element(0x00400009, "SH", "STEP-1")
    sequence = encode_sequence(0x00400275, [item])

    row = describe(build_instance(tail=sequence), Level.SERIES)

    document = json.loads(read_metadata(row)[MetadataCode.MAIN_DICOM_SEQUENCES])
    expected = {"RequestAttributesSequence": [{"ScheduledProcedureStepID": "STEP-1"}]}
    assert document == {"Version": 1, "Sequences": expected}
    assert read_main_tags(row)["RequestAttributesSequence"] == expected["RequestAttributesSequence"]


IMAGES, POSITIONS = 0x00201002, 0x00200105
SLICES, TIMES = 0x00540081, 0x00540101
CARDIAC = 0x00181090


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        ({IMAGES: "10"}, None),
        ({IMAGES: "10", POSITIONS: "3"}, 30),
        ({SLICES: "7", TIMES: "2"}, 14),
        ({SLICES: "7", CARDIAC: "5"}, 5),
        ({CARDIAC: " 12 "}, 12),
        ({IMAGES: "10", POSITIONS: "3", SLICES: "7", TIMES: "2", CARDIAC: "5"}, 30),
        ({IMAGES: "x", POSITIONS: "3", CARDIAC: "5"}, None),
        ({IMAGES: "", POSITIONS: "3"}, None),
        ({CARDIAC: "0"}, None),
        ({CARDIAC: "-4"}, None),
        ({CARDIAC: "1.5"}, None),
        ({CARDIAC: "99999999999999"}, None),
        ({IMAGES: "2000000000", POSITIONS: "2"}, None),
    ],
)
def test_count_expected_instances_first_rule_decides(
    values: dict[int, str], expected: int | None
) -> None:
    assert count_expected_instances(values) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        ({0x00200013: "3"}, 3),
        ({0x00200013: " +3 "}, 3),
        ({0x00541330: "4"}, 4),
        ({0x00200013: "3", 0x00541330: "4"}, 3),
        ({0x00200013: ""}, None),
        ({0x00200013: "three"}, None),
        ({0x00200013: "-2"}, -2),
        ({0x00200013: "1\\2"}, None),
        ({0x00200013: "99999999999"}, None),
    ],
)
def test_read_index_in_series_instance_number_decides(
    values: dict[int, str], expected: int | None
) -> None:
    assert read_index_in_series(values) == expected


def test_build_series_with_expectation_counts_it() -> None:
    row = describe(build_instance({CARDIAC: ("IS", "12")}), Level.SERIES)

    assert row.expected_instances == 12
    assert read_metadata(row)[MetadataCode.EXPECTED_NUMBER_OF_INSTANCES] == "12"
