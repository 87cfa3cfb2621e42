"""Resources as JSON objects, without a database."""

from typing import Any

import msgspec
import pytest
from tests.support.instances import NOON

from isocenter.archive.browse import Described
from isocenter.archive.records import AttachmentRow, Part, ResourceRow, ResourceSize
from isocenter.archive.registry import NameRegistry
from isocenter.config.codes import SYSTEM_METADATA
from isocenter.dicom.json_forms import Shape
from isocenter.dicom.levels import Level
from isocenter.http.answers import format_json
from isocenter.rest.resource_json import (
    SeriesStatus,
    describe_resource,
    describe_size,
    get_series_status,
)

MIB = 1024 * 1024


def build_row(level: Level, **changes: object) -> ResourceRow:
    """Build a row with a parent, two children and little else."""
    row = ResourceRow(
        internal_id=5,
        parent_id=4,
        is_protected=False,
        level=level,
        public_id="id",
        main_tags='{"Modality":"CT"}',
        patient_tags='{"PatientID":"p"}' if level is Level.STUDY else None,
        metadata="{}",
        last_update=NOON,
        is_stable=True,
        index_in_series=None,
        expected_instances=None,
        parent=None if level is Level.PATIENT else "parent",
        children=["a", "b"],
        labels=["x", "y"],
        indexes_in_series=[],
        attachment_uuid="uuid",
        file_size=7,
    )
    return msgspec.structs.replace(row, **changes)


def describe(row: ResourceRow, parts: Part = Part.CLASSIC, **options: Any) -> Any:
    """Build the object of a row, as a client reads it."""
    requested = options.pop("requested", None)
    names = NameRegistry(SYSTEM_METADATA, {"MyState": 1024})
    described = describe_resource(Described(row, requested), names, parts, **options)
    return msgspec.json.decode(format_json(described))


@pytest.mark.parametrize(
    ("expected", "indexes", "status"),
    [
        (None, [], SeriesStatus.UNKNOWN),
        (None, [1, 1], SeriesStatus.UNKNOWN),
        (2, [], SeriesStatus.MISSING),
        (2, [1], SeriesStatus.MISSING),
        (2, [2, 1], SeriesStatus.COMPLETE),
        (2, [1, 1], SeriesStatus.INCONSISTENT),
        (2, [1, 2, 2], SeriesStatus.INCONSISTENT),
        (2, [0], SeriesStatus.INCONSISTENT),
        (2, [1, 3], SeriesStatus.INCONSISTENT),
        (2, [-1], SeriesStatus.INCONSISTENT),
        (1, [1], SeriesStatus.COMPLETE),
    ],
)
def test_series_status_follows_expectation_and_indexes(
    expected: int | None, indexes: list[int], status: SeriesStatus
) -> None:
    assert get_series_status(expected, indexes) is status


@pytest.mark.parametrize(
    ("level", "keys"),
    [
        (Level.PATIENT, {"IsProtected", "Studies"}),
        (Level.STUDY, {"ParentPatient", "PatientMainDicomTags", "Series"}),
        (Level.SERIES, {"ParentStudy", "Status", "ExpectedNumberOfInstances", "Instances"}),
    ],
)
def test_object_of_a_group_has_the_keys_of_its_level(level: Level, keys: set[str]) -> None:
    described = describe(build_row(level))
    common = {"ID", "Type", "MainDicomTags", "Labels", "IsStable", "LastUpdate"}
    assert set(described) == common | keys
    assert described["Type"] == level.title
    assert described["LastUpdate"] == "20231114T221320"
    assert described["Labels"] == ["x", "y"]


def test_object_of_an_instance_has_its_file_and_no_state() -> None:
    described = describe(build_row(Level.INSTANCE, index_in_series=3))
    assert described == {
        "FileSize": 7,
        "FileUuid": "uuid",
        "ID": "id",
        "IndexInSeries": 3,
        "Labels": ["x", "y"],
        "MainDicomTags": {"Modality": "CT"},
        "ParentSeries": "parent",
        "Type": "Instance",
    }


def test_modified_resource_names_its_sources() -> None:
    described = describe(build_row(Level.STUDY, metadata='{"5":"one","6":"two"}'))
    assert (described["ModifiedFrom"], described["AnonymizedFrom"]) == ("one", "two")
    described = describe(build_row(Level.STUDY, metadata='{"15":"5:"}'))
    assert not {"ModifiedFrom", "AnonymizedFrom"} & set(described)


def test_sequence_among_the_main_tags_takes_the_shape_inside_too() -> None:
    tags = '{"RequestAttributesSequence":[{"ScheduledProcedureStepID":"S"}]}'
    row = build_row(Level.SERIES, main_tags=tags)
    short = describe(row, shape=Shape.SHORT)["MainDicomTags"]
    assert short == {"0040,0275": [{"0040,0009": "S"}]}
    full = describe(row, shape=Shape.FULL)["MainDicomTags"]
    assert full == {
        "0040,0275": {
            "Name": "RequestAttributesSequence",
            "Type": "Sequence",
            "Value": [
                {"0040,0009": {"Name": "ScheduledProcedureStepID", "Type": "String", "Value": "S"}}
            ],
        }
    }


def test_sizes_are_texts_in_bytes_and_whole_numbers_in_mib() -> None:
    size = ResourceSize({Level.SERIES: 1, Level.INSTANCE: 2}, 3 * MIB - 1, MIB, 2 * MIB, 0)
    assert describe_size(Level.STUDY, size) == {
        "CountInstances": 2,
        "CountSeries": 1,
        "DiskSize": str(3 * MIB - 1),
        "DiskSizeMB": 2,
        "UncompressedSize": str(MIB),
        "UncompressedSizeMB": 1,
        "DicomDiskSize": str(2 * MIB),
        "DicomDiskSizeMB": 2,
        "DicomUncompressedSize": "0",
        "DicomUncompressedSizeMB": 0,
    }


EVERYTHING = Part.CLASSIC | Part.METADATA | Part.ATTACHMENTS
CHOSEN = EVERYTHING & ~Part.SOURCES & ~Part.FILE


@pytest.mark.parametrize(
    ("level", "keys"),
    [
        (Level.PATIENT, {"IsProtected", "IsStable", "Studies"}),
        (Level.STUDY, {"IsStable", "ParentPatient", "PatientMainDicomTags", "Series"}),
        (Level.SERIES, {"IsStable", "ParentStudy", "Status", "Instances"}),
        (Level.INSTANCE, {"ParentSeries"}),
    ],
)
def test_chosen_parts_leave_out_what_only_the_classic_form_has(
    level: Level, keys: set[str]
) -> None:
    common = {"ID", "Type", "MainDicomTags", "Labels", "Metadata", "Attachments"}
    assert set(describe(build_row(level), CHOSEN)) == common | keys


@pytest.mark.parametrize("level", list(Level))
def test_no_part_leaves_identifier_and_type(level: Level) -> None:
    assert describe(build_row(level), Part(0)) == {"ID": "id", "Type": level.title}


def test_status_is_told_without_the_metadata() -> None:
    row = build_row(Level.SERIES, expected_instances=2, indexes_in_series=[2, 1])
    assert describe(row, Part.STATUS)["Status"] == "Complete"


def test_protected_patient_says_so() -> None:
    row = build_row(Level.PATIENT, is_protected=True)
    assert describe(row, Part.IS_PROTECTED) == {"ID": "id", "IsProtected": True, "Type": "Patient"}


def test_metadata_written_later_go_before_those_of_storing() -> None:
    row = build_row(
        Level.STUDY,
        metadata='{"15":"0008,0020","3":"AET"}',
        written_metadata={3: "OTHER", 1024: "mine", 2000: "nameless"},
    )
    assert describe(row, Part.METADATA)["Metadata"] == {
        "2000": "nameless",
        "LastUpdate": "20231114T221320",
        "MainDicomTagsSignature": "0008,0020",
        "MyState": "mine",
        "RemoteAET": "OTHER",
    }


def test_instance_has_no_last_update_among_its_metadata() -> None:
    assert describe(build_row(Level.INSTANCE), Part.METADATA)["Metadata"] == {}


def test_source_written_later_goes_before_that_of_storing() -> None:
    row = build_row(Level.STUDY, metadata='{"5":"one"}', modified_from="two", anonymized_from="x")
    described = describe(row)
    assert (described["ModifiedFrom"], described["AnonymizedFrom"]) == ("two", "x")


def test_attachments_are_described_in_full() -> None:
    row = build_row(Level.STUDY, attachments=[AttachmentRow(1025, "u", 7, 9, "c", "m")])
    assert describe(row, Part.ATTACHMENTS)["Attachments"] == [
        {
            "CompressedMD5": "c",
            "CompressedSize": 7,
            "ContentType": 1025,
            "UncompressedMD5": "m",
            "UncompressedSize": 9,
            "Uuid": "u",
        }
    ]


REQUESTED: dict[int, Any] = {
    0x00280010: "16",
    0x00102160: None,
    0x00091001: "private",
    0x00400275: [],
}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (
            Shape.HUMAN,
            {
                "0009,1001": "private",
                "EthnicGroup": None,
                "RequestAttributesSequence": [],
                "Rows": "16",
            },
        ),
        (
            Shape.SHORT,
            {"0009,1001": "private", "0010,2160": None, "0028,0010": "16", "0040,0275": []},
        ),
        (
            Shape.FULL,
            {
                "0009,1001": {"Name": "Unknown Tag & Data", "Type": "String", "Value": "private"},
                "0010,2160": {"Name": "EthnicGroup", "Type": "Null", "Value": None},
                "0028,0010": {"Name": "Rows", "Type": "String", "Value": "16"},
                "0040,0275": {
                    "Name": "RequestAttributesSequence",
                    "Type": "Sequence",
                    "Value": [],
                },
            },
        ),
    ],
)
def test_requested_tags_take_the_shape(shape: Shape, expected: object) -> None:
    described = describe(build_row(Level.SERIES), Part(0), shape=shape, requested=REQUESTED)
    assert described["RequestedTags"] == expected
