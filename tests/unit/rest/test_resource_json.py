"""Resources as JSON objects, without a database."""

import msgspec
import pytest
from tests.support.instances import NOON

from isocenter.archive.records import ResourceRow, ResourceSize
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
    described = describe_resource(build_row(level))
    common = {"ID", "Type", "MainDicomTags", "Labels", "IsStable", "LastUpdate"}
    assert set(described) == common | keys
    assert described["Type"] == level.title
    assert described["LastUpdate"] == "20231114T221320"
    assert described["Labels"] == ["x", "y"]


def test_object_of_an_instance_has_its_file_and_no_state() -> None:
    described = describe_resource(build_row(Level.INSTANCE, index_in_series=3))
    assert msgspec.json.decode(format_json(described)) == {
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
    described = describe_resource(build_row(Level.STUDY, metadata='{"5":"one","6":"two"}'))
    assert (described["ModifiedFrom"], described["AnonymizedFrom"]) == ("one", "two")
    described = describe_resource(build_row(Level.STUDY, metadata='{"15":"5:"}'))
    assert not {"ModifiedFrom", "AnonymizedFrom"} & set(described)


def test_sequence_among_the_main_tags_takes_the_shape_inside_too() -> None:
    tags = '{"RequestAttributesSequence":[{"ScheduledProcedureStepID":"S"}]}'
    row = build_row(Level.SERIES, main_tags=tags)
    short = describe_resource(row, Shape.SHORT)["MainDicomTags"]
    assert short == {"0040,0275": [{"0040,0009": "S"}]}
    full = describe_resource(row, Shape.FULL)["MainDicomTags"]
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
