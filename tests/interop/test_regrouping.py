"""Split and merged studies, compared with Orthanc's tag by tag."""

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from tests.support.dicom_files import build_instance, encode_element, encode_item
from tests.support.orthanc import Pair, Server, run_pair
from tests.support.samples import list_samples

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

_UNKNOWN = "-".join(["11111111"] * 5)
# Sequences of the modules, which Orthanc drops (quirk 11).
_SEQUENCES = {"ReferencedStudySequence", "ProcedureCodeSequence"}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with run_pair(tmp_path_factory.mktemp("regrouping") / "pair") as pair:
        yield pair


@pytest.fixture
def pair(servers: Pair) -> Pair:
    for server in (servers.isocenter, servers.orthanc):
        for patient in server.request("GET", "/patients").json():
            server.request("DELETE", f"/patients/{patient}")
    return servers


def _build(path: str, **more: str) -> bytes:
    patient, study, series, instance = path.split("/")
    code = encode_item(encode_element(0x00080100, "SH", f"CODE {study}"))
    elements: dict[int, tuple[str, bytes | str]] = {
        0x00080050: ("SH", more.get("accession", f"A{study}")),
        0x00080060: ("CS", "CT"),
        0x00080080: ("LO", f"HOSPITAL {study}"),
        0x00081030: ("LO", f"STUDY {study}"),
        0x00081032: ("SQ", code),
        0x0008103E: ("LO", f"SERIES {series}"),
        0x00081110: ("SQ", encode_item(encode_element(0x00081155, "UI", f"1.9.{study}"))),
        0x00090010: ("LO", "CREATOR"),
        0x00091001: ("LO", "private"),
        0x00100010: ("PN", f"{patient}^JANE"),
        0x00200013: ("IS", instance),
    }
    if "sex" in more:
        elements[0x00100040] = ("CS", more["sex"])
    return build_instance(
        elements,
        patient_id=patient,
        study=f"1.{study}",
        series=f"1.{study}.{series}",
        instance=f"1.{study}.{series}.{instance}",
    )


def _load(pair: Pair, *paths: str, **more: str) -> list[dict[str, str]]:
    answers = [pair.both("POST", "/instances", _build(path, **more)) for path in paths]
    assert all(theirs.status == 200 for _, theirs in answers)
    return [ours.json() for ours, _ in answers]


def _describe(ds: Dataset) -> tuple[tuple[str, str], ...]:
    """List the values by their names; of new UIDs only that they are new."""
    values: dict[str, str] = {}
    for element in ds:
        name = element.keyword or str(element.tag)
        if name in _SEQUENCES:
            continue
        is_new = element.VR == "UI" and str(element.value).startswith(("2.25.", "1.2.276."))
        values[name] = "new" if is_new else str(element.value)
    return tuple(sorted(values.items()))


def _describe_all(server: Server) -> tuple[Counter[Any], list[int]]:
    """Describe all instances, and count the resources of each level."""
    files = [
        pydicom.dcmread(io.BytesIO(server.request("GET", f"/instances/{name}/file").body))
        for name in server.request("GET", "/instances").json()
    ]
    levels = ("patients", "studies", "series", "instances")
    counts = [len(server.request("GET", f"/{level}").json()) for level in levels]
    return Counter(map(_describe, files)), counts


def _compare(pair: Pair, study: str, action: str, body: Any) -> tuple[dict[str, Any], Any]:
    answers = pair.both("POST", f"/studies/{study}/{action}", json.dumps(body).encode())
    assert [answer.status for answer in answers] == [200, 200], answers[0].body
    assert _describe_all(pair.isocenter) == _describe_all(pair.orthanc)
    ours, theirs = (answer.json() for answer in answers)
    assert ours.keys() == theirs.keys()
    same = ("Description", "InstancesCount", "FailedInstancesCount")
    assert [ours[name] for name in same] == [theirs[name] for name in same]
    return ours, theirs


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"KeepSource": True},
        {"Replace": {"PatientName": "NEW", "StudyDescription": ""}, "Remove": ["AccessionNumber"]},
        {"Replace": {"PatientID": "OTHER", "PatientSex": "O"}},
        {"Remove": ["PatientID"]},
    ],
    ids=str,
)
def test_study_is_split_as_by_orthanc(pair: Pair, body: dict[str, Any]) -> None:
    loaded = _load(pair, "P/2/1/1", "P/2/1/2", "P/2/2/1", "P/2/3/1")
    named = {"Series": [loaded[0]["ParentSeries"]], "Instances": [loaded[2]["ID"]]}
    ours, theirs = _compare(pair, loaded[0]["ParentStudy"], "split", body | named)
    for server, answer in ((pair.isocenter, ours), (pair.orthanc, theirs)):
        study = server.request("GET", f"/studies/{answer['TargetStudy']}").json()
        assert study["MainDicomTags"]["StudyInstanceUID"] == answer["TargetStudyUID"]


def test_whole_study_is_split_as_by_orthanc(pair: Pair) -> None:
    loaded = _load(pair, "P/2/1/1", "P/2/2/1")
    series = [stored["ParentSeries"] for stored in loaded]
    _compare(pair, loaded[0]["ParentStudy"], "split", {"Series": series})


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("level", ["ParentStudy", "ParentSeries", "ID"])
def test_study_is_merged_as_by_orthanc(pair: Pair, level: str, keep: bool) -> None:
    [target] = _load(pair, "T/9/1/1", sex="F ")
    sources = _load(pair, "P/2/1/1", "P/2/1/2", accession="GONE")
    body = {"Resources": [sources[0][level]], "KeepSource": keep}
    ours, theirs = _compare(pair, target["ParentStudy"], "merge", body)
    assert ours == theirs
    answers = pair.both("GET", f"/studies/{target['ParentStudy']}")
    tags = [answer.json() for answer in answers]
    for name in ("MainDicomTags", "PatientMainDicomTags"):
        assert tags[0][name] == tags[1][name]


def test_merge_of_nothing_is_answered_as_by_orthanc(pair: Pair) -> None:
    [target] = _load(pair, "T/9/1/1")
    ours, theirs = _compare(pair, target["ParentStudy"], "merge", {"Resources": []})
    assert ours == theirs


def test_sequences_of_the_modules_are_those_of_the_target(pair: Pair) -> None:
    [target] = _load(pair, "T/9/1/1")
    [source] = _load(pair, "P/2/1/1")
    _compare(pair, target["ParentStudy"], "merge", {"Resources": [source["ParentStudy"]]})
    for name in pair.isocenter.request("GET", "/instances").json():
        tags = pair.isocenter.request("GET", f"/instances/{name}/simplified-tags").json()
        assert tags["ProcedureCodeSequence"] == [{"CodeValue": "CODE 9"}]


Call = Callable[[dict[str, str], dict[str, str]], Any]


@pytest.mark.parametrize("action", ["split", "merge"])
@pytest.mark.parametrize(
    "build",
    [
        lambda _a, _b: None,
        lambda _a, _b: {},
        lambda _a, _b: {"Series": [], "Instances": []},
        lambda _a, _b: {"Series": "x", "Resources": "x"},
        lambda _a, _b: {"Series": [5], "Resources": [5]},
        lambda _a, _b: {"Series": [_UNKNOWN], "Resources": [_UNKNOWN]},
        lambda _a, _b: {"Instances": [_UNKNOWN], "Resources": [_UNKNOWN]},
        lambda a, b: {"Series": [b["ParentSeries"]], "Resources": [a["ParentSeries"]]},
        lambda a, b: {"Instances": [b["ID"]], "Resources": [a["ID"]]},
        lambda a, _b: {"Series": [_UNKNOWN], "Resources": [a["ParentStudy"]]},
        lambda a, b: {"Series": [_UNKNOWN], "Resources": [b["ParentPatient"]]},
        lambda a, b: {
            "Series": [a["ParentSeries"]],
            "Resources": [b["ParentStudy"]],
            "KeepSource": 5,
        },
        lambda a, _b: {"Series": [a["ParentSeries"]], "Replace": {"Modality": "x"}},
        lambda a, _b: {"Series": [a["ParentSeries"]], "Replace": {"StudyInstanceUID": "1"}},
        lambda a, _b: {"Series": [a["ParentSeries"]], "Replace": []},
        lambda a, _b: {"Series": [a["ParentSeries"]], "Remove": ["Modality"]},
        lambda a, _b: {"Series": [a["ParentSeries"]], "Remove": {}},
    ],
)
def test_wrong_call_is_refused_as_by_orthanc(pair: Pair, build: Call, action: str) -> None:
    [a, b] = _load(pair, "P/2/1/1", "Q/3/1/1")
    body = build(a, b)
    data = b"" if body is None else json.dumps(body).encode()
    ours, theirs = pair.both("POST", f"/studies/{a['ParentStudy']}/{action}", data)
    assert ours.status == theirs.status >= 400
    assert ours.json()["OrthancStatus"] == theirs.json()["OrthancStatus"]


@pytest.mark.parametrize("action", ["split", "merge"])
def test_unknown_study_is_refused_as_by_orthanc(pair: Pair, action: str) -> None:
    body = json.dumps({"Series": [_UNKNOWN], "Resources": []}).encode()
    for answer in pair.both("POST", f"/studies/{_UNKNOWN}/{action}", body):
        assert (answer.status, answer.json()["OrthancStatus"]) == (404, 17)


def _flatten(ds: Dataset, path: str = "") -> dict[str, str]:
    """List the values by their paths, sequences of the modules left out."""
    values: dict[str, str] = {}
    for element in ds:
        name = f"{path}{element.keyword or element.tag}"
        if str(element.tag).endswith("0000)") or name in _SEQUENCES | _MODULE_SEQUENCES:
            continue
        if element.VR == "SQ":
            values[name] = str(len(element.value))
            for index, item in enumerate(element.value):
                values |= _flatten(item, f"{name}[{index}]")
        else:
            values[name] = str(element.value)
    return values


def _is_same(ours: str, theirs: str) -> bool:
    """Tell whether two values are equal, new UIDs and rewritten references aside."""
    return ours in (theirs, _TARGET) or ours.startswith("2.25.")


# The study that references are rewritten to.
_TARGET = "1.9"
_MODULE_SEQUENCES = {
    "ReferencedPatientSequence",
    "OtherPatientIDsSequence",
    "PatientSpeciesCodeSequence",
    "PatientBreedCodeSequence",
    "BreedRegistrationSequence",
    "DeidentificationMethodCodeSequence",
    "IssuerOfAccessionNumberSequence",
    "IssuerOfPatientIDQualifiersSequence",
    "PhysiciansOfRecordIdentificationSequence",
    "PhysiciansReadingStudyIdentificationSequence",
    "ReferringPhysicianIdentificationSequence",
    "RequestingServiceCodeSequence",
    "ReasonForPerformedProcedureCodeSequence",
}


def test_samples_are_merged_as_by_orthanc(pair: Pair) -> None:
    samples = list_samples()
    if not samples:
        pytest.skip("The folder of sample files is absent")
    [target] = _load(pair, "T/9/1/1", sex="F ")
    count = 0
    for sample in samples:
        stored = pair.both("POST", "/instances", Path(sample).read_bytes())
        answers = [answer.json() if answer.status == 200 else [] for answer in stored]
        if not all("ParentStudy" in answer for answer in answers):
            continue
        body = json.dumps({"Resources": [answers[0]["ParentStudy"]]}).encode()
        merged = pair.both("POST", f"/studies/{target['ParentStudy']}/merge", body)
        assert [answer.status for answer in merged] == [200, 200], (sample, merged[0].body)
        files = [_take_merged(server, target) for server in (pair.isocenter, pair.orthanc)]
        ours, theirs = map(_flatten, files)
        different = {
            name: (ours.get(name), theirs.get(name))
            for name in ours.keys() | theirs.keys()
            if not _is_same(ours.get(name, ""), theirs.get(name, ""))
        }
        assert different == {}, sample
        count += 1
    assert count > 20


def _take_merged(server: Server, target: dict[str, str]) -> Dataset:
    """Read the instance that was merged into a study of one, and delete it."""
    found = server.request("GET", f"/studies/{target['ParentStudy']}/instances").json()
    [name] = {child["ID"] for child in found} - {target["ID"]}
    ds = pydicom.dcmread(
        io.BytesIO(server.request("GET", f"/instances/{name}/file").body), force=True
    )
    server.request("DELETE", f"/instances/{name}")
    return ds
