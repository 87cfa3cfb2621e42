"""Jobs that modify and anonymize, compared with Orthanc's: answers, metadata, files tag by tag.

New identifiers are random, so each is compared by what it stands for: the copy of which source.
"""

import json
import time
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from tests.support.dicom_files import EXPLICIT_LITTLE, build_instance, encode_sequence
from tests.support.orthanc import Pair, Server, run_pair

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

_LEVELS = ("patients", "studies", "series", "instances")
_DEADLINE_S = 30
# What Orthanc 1.10.1 does not tell yet.
_LATER = {"ParentResources", "Resources"}
_NOT_COMPARED = {"(6000,3000)", "(6000,4000)"}
_METHOD = "(0012,0063)"
_NAME = "(0010,0010)"
_PATHS = ("P1/1/1/1", "P1/1/1/2", "P1/1/2/1", "P1/2/1/1", "P2/3/1/1")


def _uid(path: str) -> dict[str, str]:
    patient, study, series, instance = path.split("/")
    return {
        "patient_id": patient,
        "study": f"7.{study}",
        "series": f"7.{study}.{series}",
        "instance": f"7.{study}.{series}.{instance}",
    }


def _build(path: str) -> bytes:
    elements = {
        0x00080050: ("SH", "ACC"),
        0x00080060: ("CS", "CT"),
        0x00081030: ("LO", "study of " + path),
        0x0008103E: ("LO", "series of " + path),
        0x00090010: ("LO", "CREATOR"),
        0x00091001: ("LO", "private"),
        0x00100010: ("PN", "DOE^JANE"),
        0x00200013: ("IS", path[-1]),
        0x00204000: ("LT", path),
    }
    item = Dataset()
    item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    item.ReferencedSOPInstanceUID = "7.1.1.1"
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    pydicom.filewriter.write_dataset(buffer, item)
    tail = encode_sequence(0x00081140, [buffer.getvalue()], syntax=EXPLICIT_LITTLE)
    return build_instance(elements, tail=tail, **_uid(path))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with run_pair(tmp_path_factory.mktemp("modification") / "pair") as servers:
        yield servers


@pytest.fixture(autouse=True)
def sources(pair: Pair) -> Mapping[str, Mapping[str, str]]:
    """Give both servers the same archive; tell the identifiers by level and path."""
    for server in (pair.isocenter, pair.orthanc):
        for patient in server.request("GET", "/patients").json():
            server.request("DELETE", f"/patients/{patient}")
    names: dict[str, dict[str, str]] = {level: {} for level in _LEVELS}
    for path in _PATHS:
        ours, _ = pair.both("POST", "/instances", _build(path))
        stored = ours.json()
        parts = path.split("/")
        for depth, (level, key) in enumerate(
            zip(_LEVELS, ("ParentPatient", "ParentStudy", "ParentSeries", "ID"), strict=True)
        ):
            names[level]["/".join(parts[: depth + 1])] = stored[key]
    return names


def _flatten(data_set: Dataset, path: str = "") -> dict[str, Any]:
    """List the values by their paths; of new UIDs only that they are new."""
    values: dict[str, Any] = {}
    for element in data_set:
        name = f"{path}{element.tag}"
        if name in _NOT_COMPARED:
            continue
        if element.VR == "SQ":
            values[name] = len(element.value)
            for index, item in enumerate(element.value):
                values |= _flatten(item, f"{name}[{index}]")
        elif element.VR == "UI" and str(element.value).startswith(("2.25.", "1.2.276.")):
            values[name] = "new"
        else:
            values[name] = str(element.value)
    return values


def _describe(server: Server, known: set[str]) -> list[Any]:
    """Describe everything, in an order that does not depend on new identifiers."""
    described: list[Any] = []
    for level in _LEVELS:
        for name in server.request("GET", f"/{level}").json():
            metadata = server.request("GET", f"/{level}/{name}/metadata?expand").json()
            sources = {k: v for k, v in metadata.items() if k in {"ModifiedFrom", "AnonymizedFrom"}}
            entry: dict[str, Any] = {
                "Level": level,
                "IsNew": name not in known,
                "Metadata": sources,
                "Origin": {k: metadata.get(k) for k in ("Origin", "RemoteIP", "RemoteAET")},
            }
            if level == "instances":
                data = server.request("GET", f"/instances/{name}/file").body
                entry["File"] = _flatten(pydicom.dcmread(BytesIO(data), force=True))
                entry["File"].pop(_METHOD, None)
                if entry["IsNew"] and entry["File"].get(_NAME, "").startswith("Anonymized"):
                    entry["File"] |= {_NAME: "Anonymized", "(0010,0020)": "anonymous"}
            described.append(entry)
    return sorted(described, key=lambda entry: json.dumps(entry, sort_keys=True))


def _simplify(answer: Any, known: set[str]) -> Any:
    """Replace new identifiers by a word."""
    if isinstance(answer, dict):
        return {k: _simplify(v, known) for k, v in answer.items() if k not in _LATER}
    if isinstance(answer, str) and len(answer.rsplit("/", 1)[-1]) == 44:
        head, _, name = answer.rpartition("/")
        return answer if name in known else f"{head}/new"
    return answer


_CANNOT_STORE = 2018
_FORCED = {"Force": True}


@pytest.mark.parametrize(
    ("level", "path", "action", "body"),
    [
        ("series", "P1/1/1", "modify", {"Replace": {"SeriesDescription": "X"}}),
        ("series", "P1/1/1", "modify", {"Replace": {"StudyDescription": "X"}}),
        ("series", "P1/1/1", "modify", {"Keep": ["SOPInstanceUID"], **_FORCED}),
        ("series", "P1/1/1", "modify", {"Replace": {"SeriesInstanceUID": "5.5"}, **_FORCED}),
        ("studies", "P1/1", "modify", {}),
        ("studies", "P1/1", "modify", {"KeepSource": False, "Remove": ["StudyDescription"]}),
        ("studies", "P1/1", "modify", {"RemovePrivateTags": True}),
        ("studies", "P1/1", "modify", {"Replace": {"StudyInstanceUID": "5.5"}, **_FORCED}),
        ("studies", "P1/1", "modify", {"Replace": {"SeriesInstanceUID": "5.5"}, **_FORCED}),
        ("studies", "P1/1", "modify", {"Keep": ["SeriesInstanceUID"], **_FORCED}),
        ("studies", "P1/1", "modify", {"Keep": ["StudyInstanceUID"], **_FORCED}),
        ("patients", "P1", "modify", {"Replace": {"PatientID": "P9"}, **_FORCED}),
        ("patients", "P1", "modify", {"Replace": {"PatientID": "P2"}, **_FORCED}),
        (
            "patients",
            "P1",
            "modify",
            {"Replace": {"PatientID": "P9", "PatientName": "N"}, "KeepSource": False, **_FORCED},
        ),
        ("series", "P1/1/1", "anonymize", {"DicomVersion": "2017c"}),
        ("studies", "P1/1", "anonymize", {"DicomVersion": "2008"}),
        ("studies", "P1/1", "anonymize", {"DicomVersion": "2017c", "KeepSource": False}),
        ("studies", "P1/1", "anonymize", {"DicomVersion": "2017c", "KeepPrivateTags": True}),
        (
            "studies",
            "P1/1",
            "anonymize",
            {"DicomVersion": "2017c", "Keep": ["SOPInstanceUID"], **_FORCED},
        ),
        (
            "studies",
            "P1/1",
            "anonymize",
            {"DicomVersion": "2017c", "Replace": {"PatientID": "A", "PatientName": "B"}, **_FORCED},
        ),
        ("patients", "P1", "anonymize", {"DicomVersion": "2017c", "Keep": ["StudyDescription"]}),
    ],
    ids=str,
)
def test_result_of_a_job_is_that_of_orthanc(
    pair: Pair,
    sources: Mapping[str, Mapping[str, str]],
    level: str,
    path: str,
    action: str,
    body: dict[str, Any],
) -> None:
    known = {name for names in sources.values() for name in names.values()}
    target = f"/{level}/{sources[level][path]}/{action}"

    ours, theirs = pair.both("POST", target, json.dumps(body).encode())

    assert (ours.status, theirs.status) == (200, 200), (ours.body, theirs.body)
    assert _simplify(ours.json(), known) == _simplify(theirs.json(), known)
    mine, orthancs = (_describe(s, known) for s in (pair.isocenter, pair.orthanc))
    if action == "modify" or "Keep" in body:
        # References follow here, and to kept instances they stay; Orthanc leaves them dangling.
        _ignore(mine, body)
        _ignore(orthancs, body)
    assert mine == orthancs


def _ignore(described: list[Any], body: Mapping[str, Any]) -> None:
    """Leave out references, and which one of several sources that become one is named."""
    are_merged = {"StudyInstanceUID", "SeriesInstanceUID"} & body.get("Replace", {}).keys()
    for entry in described:
        entry.get("File", {}).pop("(0008,1140)[0](0008,1155)", None)
        if are_merged and entry["Level"] in {"studies", "series"}:
            entry["Metadata"] = sorted(entry["Metadata"])
    described.sort(key=lambda entry: json.dumps(entry, sort_keys=True))


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("bulk-modify", {"Replace": {"PatientComments": "x"}}),
        ("bulk-modify", {"Level": "Series"}),
        ("bulk-modify", {"Level": "Study", "KeepSource": False}),
        ("bulk-modify", {"Replace": {"StudyInstanceUID": "5.5"}, **_FORCED}),
        ("bulk-modify", {"Replace": {"PatientID": "P7"}, **_FORCED}),
        ("bulk-anonymize", {"DicomVersion": "2017c"}),
        ("bulk-anonymize", {"DicomVersion": "2017c", "KeepSource": False}),
    ],
    ids=str,
)
def test_result_of_a_bulk_job_is_that_of_orthanc(
    pair: Pair, sources: Mapping[str, Mapping[str, str]], action: str, body: dict[str, Any]
) -> None:
    known = {name for names in sources.values() for name in names.values()}
    resources = [
        sources["series"]["P1/1/1"],
        sources["studies"]["P1/2"],
        sources["instances"]["P1/1/2/1"],
    ]
    data = json.dumps({"Resources": resources, **body}).encode()

    ours, theirs = pair.both("POST", f"/tools/{action}", data)

    assert (ours.status, theirs.status) == (200, 200), (ours.body, theirs.body)
    lists = []
    for answer in (ours.json(), theirs.json()):
        kinds = [made["Type"] for made in answer["Resources"]]
        names = [made["ID"] for made in answer["Resources"]]
        assert [made["Path"].rsplit("/")[-1] for made in answer["Resources"]] == names
        lists.append((kinds, sorted(name if name in known else "new" for name in names)))
    assert lists[0] == lists[1]
    assert _simplify(ours.json(), known) == _simplify(theirs.json(), known)
    mine, orthancs = (_describe(s, known) for s in (pair.isocenter, pair.orthanc))
    if action == "bulk-modify":
        _ignore(mine, body)
        _ignore(orthancs, body)
    assert mine == orthancs


def test_asynchronous_job_is_described_as_by_orthanc(
    pair: Pair, sources: Mapping[str, Mapping[str, str]]
) -> None:
    known = {name for names in sources.values() for name in names.values()}
    body = json.dumps({"Asynchronous": True, "Priority": 7}).encode()
    described = []
    for server in (pair.isocenter, pair.orthanc):
        target = f"/studies/{sources['studies']['P1/1']}/anonymize"
        answer = server.request("POST", target, body).json()
        assert answer == {"ID": answer["ID"], "Path": f"/jobs/{answer['ID']}"}
        described.append(_wait(server, answer["Path"]))
    for job in described:
        for name in ("ID", "CreationTime", "CompletionTime", "Timestamp", "EffectiveRuntime"):
            del job[name]
        job["Content"] = _simplify(job["Content"], known)
    assert described[0] == described[1]


def _wait(server: Server, path: str) -> Any:
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        job = server.request("GET", path).json()
        if job["State"] in {"Success", "Failure"}:
            return job
        assert time.monotonic() < deadline
        # There is nothing to wait for but the state of the other server's job.
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/series/{series}/modify", {"Replace": {"PatientID": "x"}, **_FORCED}),
        ("/series/{series}/modify", {"Replace": {"StudyInstanceUID": "1"}, **_FORCED}),
        ("/studies/{study}/modify", {"Replace": {"PatientID": "x"}}),
        ("/studies/{study}/modify", {"Remove": ["PatientID"], **_FORCED}),
        ("/studies/{study}/modify", {"Replace": {"SOPInstanceUID": "1.2"}, **_FORCED}),
        ("/studies/{study}/anonymize", {"DicomVersion": "1999"}),
        ("/studies/nothing/modify", {}),
        ("/tools/bulk-modify", {}),
        ("/tools/bulk-modify", {"Resources": ["nothing"]}),
        ("/tools/bulk-modify", {"Resources": ["{study}"], "Level": "Nope"}),
    ],
    ids=str,
)
def test_what_orthanc_refuses_is_refused_with_its_code(
    pair: Pair, sources: Mapping[str, Mapping[str, str]], target: str, body: Any
) -> None:
    names = {"study": sources["studies"]["P1/1"], "series": sources["series"]["P1/1/1"]}
    data = json.dumps(body).replace("{study}", names["study"]).encode()

    ours, theirs = pair.both("POST", target.format(**names), data)

    code = theirs.json()["OrthancStatus"]
    # A conflict is no fault of the server.
    assert ours.status == (409 if code == _CANNOT_STORE else theirs.status)
    assert ours.json()["OrthancStatus"] == code
