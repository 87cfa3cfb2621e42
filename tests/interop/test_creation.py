"""Created instances, compared with those of Orthanc tag by tag; errors of wrong requests."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from tests.support.dicom_files import build_instance
from tests.support.images import build_data_uri, build_jpeg, build_pam, build_png
from tests.support.orthanc import Answer, Pair, Server, run_pair

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

PNG = build_data_uri("image/png", build_png((3, 2), 8, 0, b"\1\2\3", b"\4\5\6"))
PDF = build_data_uri("application/pdf", b"%PDF-1.7 odd")
JPEG = build_data_uri("image/jpeg", build_jpeg((200, 30, 0)))
RAW = build_data_uri("application/octet-stream", b"\1\2\3")
# What is new in each file, or the time of its creation.
_RANDOM = {"SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"}
_TIMES = {"StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime", "InstanceCreationTime"}
# Quirk 44: without a class an instance cannot be sent. PS3.3 §C.7.6.1.1.5: lossy is said for ever.
_SERIES = "ParentSeries"
_OURS = {"SOPClassUID", "LossyImageCompression", "LossyImageCompressionMethod"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with run_pair(tmp_path_factory.mktemp("creation") / "pair") as servers:
        servers.load([_PARENT])
        yield servers


_PARENT = build_instance(
    {
        0x00080005: ("CS", "ISO_IR 144"),
        0x00080050: ("SH", "ACC"),
        0x00080070: ("LO", "MAKER"),
        0x0008103E: ("LO", "SERIES"),
        0x00081030: ("LO", "HEAD"),
        0x00100010: ("PN", b"\xb9^A "),
    },
    patient_id="PARENT",
    study="9.1",
    series="9.1.1",
    instance="9.1.1.1",
)


def _create(pair: Pair, body: Any) -> tuple[Answer, Answer]:
    return pair.both("POST", "/tools/create-dicom", json.dumps(body).encode())


def _read(server: Server, path: str) -> Dataset:
    return pydicom.dcmread(io.BytesIO(server.request("GET", f"{path}/file").body))


def _describe(ds: Dataset, body: Any) -> dict[str, Any]:
    """List the values by their names; of those that are random only that they are there."""
    values: dict[str, Any] = {}
    for element in ds:
        name = element.keyword or str(element.tag)
        is_random = name in _RANDOM or (name == "PatientID" and len(element.value) == 36)
        value = element.value
        if name == "PixelData":
            value = bytes(value)
        elif element.VR == "SQ":
            value = [_describe(item, body) for item in value]
        values[name] = "new" if is_random or name in _TIMES else value
    return values


def _compare(pair: Pair, body: Any, paths: tuple[str, str]) -> None:
    ours = _describe(_read(pair.isocenter, paths[0]), body)
    theirs = _describe(_read(pair.orthanc, paths[1]), body)
    for name in _OURS - theirs.keys():
        ours.pop(name, None)
    assert ours == theirs


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"Tags": {}},
        {"Tags": {"PatientID": "P", "PatientName": "MÜLLER^A", "StudyDate": "20200101"}},
        {"PatientID": "P", "StudyDescription": "flat", "PixelData": PNG},
        {"PatientID": "P", "StudyInstanceUID": "1.2.3", "PixelData": PDF},
        {"Tags": {"PatientID": "P", "Rows": "9"}, "Content": PNG},
        {"Tags": {"PatientID": "P", "PhotometricInterpretation": "MONOCHROME1"}, "Content": PNG},
        {
            "Tags": {},
            "Content": build_data_uri("image/png", build_png((1, 1), 8, 2, b"\1\2\3")),
        },
        {
            "Tags": {},
            "Content": build_data_uri("image/png", build_png((2, 1), 8, 6, b"\1\2\3\x80\4\5\6\7")),
        },
        {"Tags": {}, "Content": build_data_uri("image/png", build_png((1, 1), 16, 0, b"\1\2"))},
        {
            "Tags": {},
            "Content": build_data_uri(
                "image/x-portable-arbitrarymap", build_pam((1, 1), 1, 65535, b"\1\2")
            ),
        },
        {"Tags": {"PatientID": "P"}, "Content": JPEG},
        {"Tags": {"PatientID": "P", "Rows": "1", "Columns": "3"}, "Content": RAW},
        {"Tags": {"PatientID": "P"}, "Content": PDF},
        {"Tags": {"PatientID": "P", "Modality": "DOC"}, "Content": PDF},
        {"Tags": {"EncapsulatedDocument": PDF}},
        {"Tags": {"EncapsulatedDocument": PDF}, "InterpretBinaryTags": False},
        {"Tags": {"PatientName": "Й", "SpecificCharacterSet": "ISO_IR 192"}},
        {"Tags": {"OtherPatientIDsSequence": [{"PatientID": "é"}, {"PatientID": "b"}]}},
        {"Tags": {"OtherPatientIDsSequence": []}},
        {"Tags": {"PatientID": None}},
        {"Tags": {}, "Content": []},
        {"Tags": {"StudyInstanceUID": "1.2"}, "Force": True, "Content": PNG},
    ],
    ids=lambda body: json.dumps(body, ensure_ascii=True)[:70],
)
def test_instance_is_created_as_by_orthanc(pair: Pair, body: Any) -> None:
    ours, theirs = _create(pair, body)
    assert (ours.status, theirs.status) == (200, 200), ours.body
    assert ours.json().keys() == theirs.json().keys()
    assert ours.json()["Status"] == theirs.json()["Status"]
    _compare(pair, body, (ours.json()["Path"], theirs.json()["Path"]))


@pytest.mark.parametrize("level", ["patients", "studies", "series"])
def test_parent_is_inherited_as_by_orthanc(pair: Pair, level: str) -> None:
    stored = pair.isocenter.upload(_PARENT).json()
    public_id = stored[{"patients": "ParentPatient", "studies": "ParentStudy"}.get(level, _SERIES)]
    body = {"Tags": {"ImageComments": "x"}, "Parent": public_id, "Content": PNG}
    ours, theirs = _create(pair, body)
    assert (ours.status, theirs.status) == (200, 200), ours.body
    for name in ("ParentPatient", *(["ParentStudy"] if level != "patients" else [])):
        assert ours.json()[name] == theirs.json()[name]
    first, second = (
        _describe(_read(server, answer.json()["Path"]), body)
        for server, answer in ((pair.isocenter, ours), (pair.orthanc, theirs))
    )
    # Orthanc dates a study and a series anew that have no date of their own.
    for name in ("StudyDate", "StudyTime", "SeriesDate", "SeriesTime"):
        if name not in first:
            second.pop(name, None)
    first.pop("SOPClassUID")
    assert first == second
    path = ours.json()["Path"]
    assert pair.isocenter.request("DELETE", path).status == 200
    assert pair.orthanc.request("DELETE", theirs.json()["Path"]).status == 200


def test_series_is_created_as_by_orthanc(pair: Pair) -> None:
    item = {"Content": PNG, "Tags": {"ImageComments": "c", "InstanceNumber": "9"}}
    body = {"Tags": {"PatientID": "P"}, "Content": [PNG, item]}
    ours, theirs = _create(pair, body)
    assert ours.json().keys() == theirs.json().keys()
    lists = [
        sorted(
            (
                _describe(_read(server, f"/instances/{found['ID']}"), body)
                for found in server.request("GET", f"{answer.json()['Path']}/instances").json()
            ),
            key=lambda values: int(values["InstanceNumber"]),
        )
        for server, answer in ((pair.isocenter, ours), (pair.orthanc, theirs))
    ]
    for values in lists[0]:
        values.pop("SOPClassUID")
    assert lists[0] == lists[1]


@pytest.mark.parametrize(
    "body",
    [
        [],
        5,
        {"Tags": []},
        {"Tags": {"PatientID": 5}},
        {"Tags": {"PatientID": ["a"]}},
        {"Tags": {"OtherPatientIDsSequence": [{"PatientID": 5}]}},
        {"Tags": {"OtherPatientIDsSequence": ["a"]}},
        {"Tags": {}, "Content": 5},
        {"Tags": {}, "Content": {}},
        {"Tags": {}, "Content": None},
        {"Tags": {}, "Content": "hello"},
        {"Tags": {}, "Content": "data:image/png;base64,$$$"},
        {"Tags": {}, "Content": build_data_uri("foo/bar", b"x")},
        {"Tags": {}, "Content": build_data_uri("image/png", b"x")},
        {"Tags": {}, "Content": build_data_uri("image/x-portable-arbitrarymap", b"x")},
        {"Tags": {}, "Content": build_data_uri("application/pdf", b"x")},
        {"Tags": {"StudyInstanceUID": "1.2"}},
        {"Tags": {"SeriesInstanceUID": "1.2"}},
        {"Tags": {"SOPInstanceUID": "1.2"}},
        {"Tags": {"PixelData": PNG}},
        {"Tags": {}, "Force": "x"},
        {"Tags": {}, "InterpretBinaryTags": 1},
        {"Tags": {}, "PrivateCreator": 5},
        {"Tags": {}, "Parent": 5},
        {"Tags": {}, "Parent": None},
        {"Tags": {}, "Parent": "nothing"},
        {"Tags": {"SpecificCharacterSet": "nope"}},
        {"Tags": {"SpecificCharacterSet": ""}},
        {"PatientID": 5},
        {"PatientID": "x", "Force": True},
        {"PixelData": "hello"},
        {"Tags": {}, "Content": [PNG, "x"]},
    ],
    ids=lambda body: json.dumps(body)[:70],
)
def test_wrong_request_is_refused_as_by_orthanc(pair: Pair, body: Any) -> None:
    ours, theirs = _create(pair, body)
    assert (ours.status, ours.json()["OrthancStatus"]) == (
        theirs.status,
        theirs.json()["OrthancStatus"],
    )


def test_instance_as_parent_is_refused_as_by_orthanc(pair: Pair) -> None:
    public_id = pair.isocenter.upload(_PARENT).json()["ID"]
    for answer in _create(pair, {"Tags": {}, "Parent": public_id}):
        assert (answer.status, answer.json()["OrthancStatus"]) == (400, 2025)


@pytest.mark.parametrize(
    ("body", "ours", "theirs", "reason"),
    [
        ({"Tags": {"Nonsense": "x"}}, (400, 27), (500, 27), "quirk 43"),
        ({"Tags": {"Rows": "abc"}}, (400, 3), (400, 15), "as in modifications"),
        ({"Tags": {}, "Content": build_data_uri("image/jpeg", b"x")}, (400, 15), (500, -1), "500"),
        ({"Tags": {}, "Content": [{"Tags": {}}]}, (400, 2022), (404, 17), "an item is refused"),
        ({"Tags": {}, "Content": [5]}, (400, 2023), (404, 17), "an item is refused"),
        ({"Tags": {}, "Content": [{"Content": PNG, "Tags": {"StudyInstanceUID": "1"}}]},
         (400, 2020), (404, 17), "an item is refused"),
    ],
)  # fmt: skip
def test_difference_from_orthanc_is_wanted(
    pair: Pair, body: Any, ours: tuple[int, int], theirs: tuple[int, int], reason: str
) -> None:
    answers = [(a.status, a.json()["OrthancStatus"]) for a in _create(pair, body)]
    assert answers == [ours, theirs], reason
