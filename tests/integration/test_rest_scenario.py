"""The life of a study over HTTP and DICOM, on both databases and both forms of storage."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE
from tests.support.dicom_files import CT_IMAGE_STORAGE, EXPLICIT_LITTLE, encode_element
from tests.support.server import SyntheticFile, TestServer, build_synthetic, run_server, wait_until

VARIANTS: dict[str, dict[str, Any]] = {
    "sqlite": {},
    "sqlite compressed": {"StorageCompression": True},
    "sqlite unsynced": {"SyncStorageArea": False},
    "postgresql": {"PostgreSQL": {"EnableIndex": True}},
}


@pytest.fixture(params=VARIANTS)
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Give the options of a variant."""
    chosen = VARIANTS[request.param]
    if "PostgreSQL" not in chosen:
        return chosen
    uri = request.getfixturevalue("postgresql_uri")
    schema = request.getfixturevalue("postgresql_schema")
    return {"PostgreSQL": {"EnableIndex": True, "ConnectionUri": uri, "Schema": schema}}


@pytest.fixture
def server(tmp_path: Path, options: dict[str, Any]) -> Iterator[TestServer]:
    with run_server(tmp_path, {**options, "StableAge": 1}) as opened:
        yield opened


def build_study() -> list[SyntheticFile]:
    """Build a study of two series with two images each."""
    pixels = encode_element(0x7FE00010, "OW", bytes(range(256)) * 40)
    first = build_synthetic(tail=pixels)
    study, series, _ = first.uids
    second = build_synthetic(patient_id=first.patient_id, study=study, series=series, tail=pixels)
    third = build_synthetic(patient_id=first.patient_id, study=study, tail=pixels)
    fourth = build_synthetic(
        patient_id=first.patient_id, study=study, series=third.uids[1], tail=pixels
    )
    return [first, second, third, fourth]


def send_by_dicom(server: TestServer, study_of: SyntheticFile) -> str:
    """Send one more image of the study; gives its SOP Instance UID."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = UID(CT_IMAGE_STORAGE), UID(f"{study_of.uids[2]}.5")
    ds.PatientID = study_of.patient_id
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study_of.uids[:2]
    ds.ensure_file_meta()
    ds.file_meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
    ae = AE("SCENARIO")
    ae.add_requested_context(CT_IMAGE_STORAGE, EXPLICIT_LITTLE)
    association = ae.associate("127.0.0.1", server.dicom_port)
    assert association.send_c_store(ds).Status == 0
    association.release()
    return str(ds.SOPInstanceUID)


def test_study_lives_from_its_first_image_to_its_deletion(server: TestServer) -> None:
    files = build_study()
    first = files[0]
    for file in files:
        server.store(file)
        assert server.upload(file.content).json()["Status"] == "AlreadyStored"
    send_by_dicom(server, first)

    counts = server.get("/statistics").json()
    levels = ("Patients", "Studies", "Series", "Instances")
    assert [counts[f"Count{level}"] for level in levels] == [1, 1, 2, 5]
    study = server.get(f"/studies/{first.study}").json()
    assert study["Series"] == sorted({file.series for file in files})
    assert len(server.get(f"/studies/{first.study}/instances?expand=false").json()) == 5
    for file in files:
        target = f"/instances/{file.instance}/file"
        assert server.get(target).body == file.content
        part = server.get(target, Range="bytes=128-131")
        assert (part.status, part.body) == (206, b"DICM")
        assert server.get(f"/instances/{file.instance}/tags").status == 200
    sizes = server.get(f"/studies/{first.study}/statistics").json()
    stored = sum(len(file.content) for file in files)
    assert int(sizes["DicomUncompressedSize"]) > stored
    assert sizes["CountInstances"] == 5

    def read_stable() -> Any:
        return server.get("/changes?type=StableStudy").json()["Changes"]

    wait_until(read_stable, "the study is stable")
    assert server.get(f"/studies/{first.study}").json()["IsStable"] is True

    answer = server.request("DELETE", f"/series/{files[2].series}")
    assert answer.json()["RemainingAncestor"]["ID"] == first.study
    answer = server.request("DELETE", f"/studies/{first.study}")
    assert answer.json() == {"RemainingAncestor": None}
    assert server.get("/changes").json()["Changes"] == []
    wait_until(lambda: not server.list_stored_files(), "no files are left")


def test_what_was_stored_is_there_after_a_restart(tmp_path: Path, options: dict[str, Any]) -> None:
    files = build_study()
    with run_server(tmp_path, options) as server:
        for file in files:
            server.store(file)
        before = server.get("/studies?expand").json()
    with run_server(tmp_path, options) as server:
        assert server.get("/studies?expand").json() == before
        for file in files:
            assert server.get(f"/instances/{file.instance}/file").body == file.content


def search(server: TestServer, **fields: Any) -> Any:
    """Search for studies; what is asked twice is answered the same."""
    body = json.dumps({"Level": "Study", "Query": {}, **fields}).encode()
    first, second = (server.request("POST", "/tools/find", body) for _ in range(2))
    assert first.status == second.status
    assert first.body == second.body
    return first.json()


def test_what_was_stored_is_found(server: TestServer) -> None:
    names = {0x00100010: ("PN", "Doe^Jane"), 0x00080060: ("CS", "CT")}
    first = server.store(build_synthetic({**names, 0x00280010: ("US", b"\x10\0")}))
    assert search(server, Query={"PatientName": "doe*"}) == [first.study]
    second = server.store(build_synthetic({**names, 0x00280010: ("US", b"\x20\0")}))
    both = sorted([first.study, second.study])

    assert search(server, Query={"PatientName": "doe*", "Modality": "ct"}) == both
    # A tag that only the files hold.
    assert search(server, Query={"Rows": "32"}) == [second.study]
    assert [one["ID"] for one in search(server, Expand=True)] == both
    wanted = {"PatientName": "\u0000", "PatientID": "' OR 1=1 --", "StudyDescription": "%_\\"}
    for name, text in wanted.items():
        assert search(server, Query={name: text}) == []
    assert search(server, Query={"PatientName": 1})["OrthancStatus"] == 8
    answer = server.request(
        "POST", "/tools/count-resources", b'{"Level": "Series", "Query": {"PatientName": "d*"}}'
    )
    assert answer.json() == {"Count": 2}


def test_errors_are_not_described_where_that_is_off(tmp_path: Path) -> None:
    with run_server(tmp_path, {"HttpDescribeErrors": False}) as server:
        for method, target, status in [
            ("GET", "/nowhere", 404),
            ("GET", "/studies?expand=maybe", 400),
            ("POST", "/instances", 400),
            ("GET", "/instances/none/file", 404),
        ]:
            answer = server.request(method, target, b"" if method == "POST" else None)
            assert (answer.status, answer.body) == (status, b"")


def test_description_of_a_running_server_is_complete_json(tmp_path: Path) -> None:
    with run_server(tmp_path) as server:
        document = server.get("/openapi.json").json()
        assert document["openapi"] == "3.1.0"
        assert "/instances/{public_id}/file" in document["paths"]
        assert server.get("/api.html").status == 200
