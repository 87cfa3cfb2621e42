"""The lines of the table: what is measured, and the ratio to Orthanc that is asked for."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from benchmarks.queries import FindSCU, GetSCU, Keys, Query
from benchmarks.retrieving import MoveSCU, Retrieve
from benchmarks.sending import Send, SendToPeer
from benchmarks.stage import Stage
from benchmarks.workloads import (
    Annotate,
    CStore,
    Delete,
    Download,
    Edit,
    Find,
    FindInFiles,
    FirstRead,
    Jobs,
    Merge,
    Read,
    Split,
    Upload,
    Workload,
)


class Variant(Enum):
    """Which pair of servers a line compares."""

    TUNED = "tuned"
    """Orthanc with ``TCP_NODELAY=1``, Isocenter with its defaults."""

    STOCK = "stock"
    """As tuned, but Orthanc without ``TCP_NODELAY``, as its users find it installed."""

    RELAXED = "relaxed"
    """As tuned, but Isocenter with ``"Isocenter": {"DurableIndex": false}``."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.

    Attributes
    ----------
    name
        What is measured.
    unit
        Unit of the values.
    workload
        How it is measured.
    target
        Lowest ratio asked for; None: for information only, not part of the geometric mean.
    variant
        Which servers are compared.
    is_duration
        Whether a lower value is better.
    is_alone
        Whether Orthanc 1.10 lacks what is measured, so that there is nothing to compare with.
    """

    name: str
    unit: str
    workload: Workload
    target: float | None
    variant: Variant = Variant.TUNED
    is_duration: bool = False
    is_alone: bool = False


def _study_paths(stage: Stage) -> list[str]:
    return [f"/studies/{keys[0].public_study_id}" for keys in stage.mr_studies]


def _instance_paths(stage: Stage) -> list[str]:
    return [f"/instances/{key.public_id}" for keys in stage.mr_studies for key in keys]


def _tags_paths(stage: Stage) -> list[str]:
    return [f"{path}/simplified-tags" for path in _instance_paths(stage)]


def _instances_tags_paths(stage: Stage) -> list[str]:
    return [f"/studies/{stage.ct_study[0].public_study_id}/instances-tags?simplify"]


def _archive_path(stage: Stage) -> str:
    return f"/studies/{stage.ct_study[0].public_study_id}/archive"


def _transcoded_path(stage: Stage) -> str:
    # JPEG lossless, first-order prediction.
    return f"{_archive_path(stage)}?transcode=1.2.840.10008.1.2.4.70"


def _media_path(stage: Stage) -> str:
    return f"/studies/{stage.ct_study[0].public_study_id}/media"


def _file_paths(stage: Stage) -> list[str]:
    return [f"/instances/{key.public_id}/file" for key in stage.ct_study]


def _metadata_paths(stage: Stage) -> list[str]:
    return [f"{path}/metadata?expand" for path in _instance_paths(stage)]


def _attachment_paths(stage: Stage) -> list[str]:
    return [f"{path}/attachments/dicom/data" for path in _instance_paths(stage)]


def _find_studies(_stage: Stage) -> list[dict[str, Any]]:
    # The studies 10 to 19 of the population.
    return [{"Level": "Study", "Query": {"PatientName": "*number*1?"}, "Expand": True}]


def _find_instances(stage: Stage) -> list[dict[str, Any]]:
    patients = [keys[0].patient_id for keys in stage.mr_studies]
    return [
        {"Level": "Instance", "Query": {"PatientID": patient}, "Expand": True}
        for patient in patients
    ]


# Each request changes something: a label is given to all instances, then taken from all of them.
_LABELS = (("PUT", "labels/benchmark", ""), ("DELETE", "labels/benchmark", ""))


def _query_studies(_stage: Stage) -> list[Keys]:
    return [_build_study_keys("")]


def _query_anew(_stage: Stage) -> list[Keys]:
    # More questions than are asked in a round, with the same answers.
    return [_build_study_keys(f"{year:04}0101-29991231") for year in range(1900)] * 2


def _build_study_keys(date: str) -> Keys:
    return [
        (0x00080020, "DA", date),
        (0x00080030, "TM", ""),
        (0x00080050, "SH", ""),
        (0x00080052, "CS", "STUDY"),
        (0x00080061, "CS", ""),
        (0x00100010, "PN", ""),
        (0x00100020, "LO", ""),
        (0x0020000D, "UI", ""),
        (0x00201206, "IS", ""),
        (0x00201208, "IS", ""),
    ]


def _read(name: str, paths: list[str], target: float) -> Line:
    """A line that asks for fixed paths."""
    return Line(name, "1/s", Read(lambda _stage: paths), target)


LINES: tuple[Line, ...] = (
    # Reading comes first: /studies?expand must show the population of 25 studies and no more.
    Line("GET /studies/{id}", "1/s", Read(_study_paths), 1.1),
    Line("GET /instances/{id}", "1/s", Read(_instance_paths), 1.1),
    Line("GET /studies/{id}, asked anew", "1/s", Read(_study_paths, is_anew=True), None),
    Line("GET /instances/{id}, asked anew", "1/s", Read(_instance_paths, is_anew=True), None),
    Line("GET /instances/{id}/file, CT", "1/s", Read(_file_paths), 1.0),
    Line("GET /instances/{id}/simplified-tags, MR", "1/s", Read(_tags_paths), 3.0),
    Line(
        "GET /studies/{id}/instances-tags?simplify, 200 CT",
        "1/s",
        Read(_instances_tags_paths, connections=2),
        10.0,
    ),
    Line("GET /instances/{id}/metadata?expand", "1/s", Read(_metadata_paths), 1.1),
    Line("GET …/attachments/dicom/data, MR", "1/s", Read(_attachment_paths), 1.0),
    _read("GET /studies?expand, 25 studies", ["/studies?expand"], 2.0),
    Line("POST /tools/find, 10 studies by wildcards", "1/s", Find(_find_studies, 10), 5.0),
    Line(
        "POST /tools/find, 10 studies by wildcards, asked anew",
        "1/s",
        Find(_find_studies, 10, is_anew=True),
        None,
    ),
    Line("POST /tools/find, 20 instances of a patient", "1/s", Find(_find_instances, 20), 3.0),
    Line(
        "POST /tools/find, 20 instances of a patient, asked anew",
        "1/s",
        Find(_find_instances, 20, is_anew=True),
        None,
    ),
    Line("C-FIND, 25 studies, 1 association", "1/s", Query(_query_studies, 25), 5.0),
    Line("C-FIND, 25 studies, asked anew", "1/s", Query(_query_anew, 25), None),
    Line("findscu, 25 studies", "ms", FindSCU(20), 2.0, is_duration=True),
    _read("GET /changes?limit=100", ["/changes?limit=100"], 2.0),
    _read("GET /statistics", ["/statistics"], 2.0),
    Line(
        "GET /studies/{id}/archive, 200 CT",
        "ms",
        Download(_archive_path, 20_000_000),
        10.0,
        is_duration=True,
    ),
    Line(
        "GET /studies/{id}/archive, 200 CT to JPEG lossless",
        "ms",
        Download(_transcoded_path, 10_000_000),
        2.0,
        is_duration=True,
    ),
    Line(
        "GET /studies/{id}/media, 200 CT",
        "ms",
        Download(_media_path, 20_000_000),
        6.0,
        is_duration=True,
    ),
    Line("POST …/media by jobs, one MR each, submitted and finished", "1/s", Jobs(1000), None),
    Line("anonymize a study of 200 CT", "ms", Edit("anonymize", {}, 200), 4.0, is_duration=True),
    Line(
        "modify a study of 200 CT, KeepSource",
        "ms",
        Edit("modify", {"Replace": {"StudyDescription": "corrected"}}, 200),
        4.0,
        is_duration=True,
    ),
    # Orthanc does not wait for the disk; Isocenter does, once for all that write at the same time.
    Line("PUT …/metadata/1024, 8 connections", "1/s", Annotate(8), 2.0),
    Line("PUT …/metadata/1024, 64 connections", "1/s", Annotate(64), 2.0),
    Line(
        "PUT …/metadata/1024, 64 connections, rows not durable",
        "1/s",
        Annotate(64),
        None,
        variant=Variant.RELAXED,
    ),
    Line(
        "PUT, DELETE …/labels/{label}, 8 connections",
        "1/s",
        Annotate(8, _LABELS),
        None,
        is_alone=True,
    ),
    Line(
        "PUT, DELETE …/labels/{label}, 64 connections",
        "1/s",
        Annotate(64, _LABELS),
        None,
        is_alone=True,
    ),
    Line("POST /instances, MR, 8 connections", "1/s", Upload("MR", 800, 8), 2.0),
    Line("POST /instances, CT, 8 connections", "1/s", Upload("CT", 300, 8), 1.5),
    Line("POST /instances, CT, 1 connection", "1/s", Upload("CT", 150, 1), 2.0),
    Line(
        "C-STORE, MR, 1 association, stock sockets",
        "1/s",
        CStore("MR", 400, is_no_delay=False, orthanc_count=40),
        20.0,
        variant=Variant.STOCK,
    ),
    Line("C-STORE, MR, 1 association", "1/s", CStore("MR", 600), 3.0),
    Line(
        "C-STORE, MR, 1 association, rows not durable",
        "1/s",
        CStore("MR", 600),
        None,
        variant=Variant.RELAXED,
    ),
    Line("C-STORE, MR, 3 associations", "1/s", CStore("MR", 300, studies=3), 3.0),
    Line("C-STORE, CT, 1 association", "1/s", CStore("CT", 200), 2.0),
    Line("C-GET, CT, getscu", "1/s", GetSCU("CT", 200), 2.0),
    Line("C-GET, MR, getscu", "1/s", GetSCU("MR", 1000), 2.0),
    Line("C-MOVE, 200 CT, movescu", "1/s", MoveSCU("CT", 200), 2.0),
    Line("C-MOVE, 1000 MR, movescu", "1/s", MoveSCU("MR", 1000), 2.0),
    Line("retrieve by C-MOVE, 200 CT", "1/s", Retrieve("CT", 200), 2.0),
    Line("retrieve by C-MOVE, 1000 MR", "1/s", Retrieve("MR", 1000), 2.0),
    Line("retrieve by C-GET, 200 CT", "1/s", Retrieve("CT", 200, is_get=True), None, is_alone=True),
    Line(
        "retrieve by C-GET, 1000 MR", "1/s", Retrieve("MR", 1000, is_get=True), None, is_alone=True
    ),
    Line("POST /modalities/{id}/store, 200 CT", "1/s", Send("CT", 200), 1.5),
    Line("POST /modalities/{id}/store, 1000 MR", "1/s", Send("MR", 1000), 2.0),
    Line("POST /peers/{id}/store, 200 CT", "1/s", SendToPeer("CT", 200), None),
    Line("POST /peers/{id}/store, 1000 MR", "1/s", SendToPeer("MR", 1000), None),
    Line(
        "POST /tools/find, 1000 instances by a tag that is not indexed",
        "ms",
        FindInFiles(1000),
        5.0,
        is_duration=True,
    ),
    Line(
        "GET /studies/{id}/instances-tags?simplify, 200 CT, for the first time",
        "ms",
        FirstRead(200, "instances-tags?simplify"),
        None,
        is_duration=True,
    ),
    Line("split 200 CT off a study", "ms", Split(200), 4.0, is_duration=True),
    Line("merge a study of 200 CT into another", "ms", Merge(200), 4.0, is_duration=True),
    Line("DELETE /studies/{id}, 200 CT", "ms", Delete(200), 2.0, is_duration=True),
)
"""All lines, in the order in which they are measured and shown."""
