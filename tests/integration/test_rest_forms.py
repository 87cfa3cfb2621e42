"""Long lists over real connections, a server without the level of patients, both databases."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.support.dicom_files import encode_element
from tests.support.postgresql import new_schema
from tests.support.server import SyntheticFile, TestServer, build_synthetic, run_server

# More than one page of a list.
COUNT = 510


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestServer]:
    """Run a server without the level of patients, filled with more studies than fit on a page."""
    options: dict[str, Any] = {"PatientLevelEnabled": False, "StorageCompression": True}
    with ExitStack() as stack:
        if request.param == "postgresql":
            uri = request.getfixturevalue("postgresql_uri")
            schema = stack.enter_context(new_schema(uri))
            options["PostgreSQL"] = {"EnableIndex": True, "ConnectionUri": uri, "Schema": schema}
        opened = stack.enter_context(run_server(tmp_path_factory.mktemp("forms"), options))
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            for number in range(COUNT):
                file.writestr(str(number), build_file(number).content)
        assert opened.upload(archive.getvalue()).status == 200
        yield opened


def build_file(number: int) -> SyntheticFile:
    pixels = encode_element(0x7FE00010, "OW", bytes(64))
    return build_synthetic(
        {0x00280010: ("US", bytes((number % 256, 1))), 0x00080060: ("CS", "CT")},
        patient_id=f"P{number}",
        study=f"1.2.{number}",
        series=f"1.2.{number}.1",
        instance=f"1.2.{number}.1.1",
        tail=pixels,
    )


def test_long_list_is_the_join_of_its_pages(server: TestServer) -> None:
    whole = server.get("/studies?expand")
    halves = [server.get(f"/studies?expand&since={since}&limit=300").json() for since in (0, 300)]
    assert whole.status == 200
    assert whole.headers["content-type"] == "application/json; charset=utf-8"
    assert whole.json() == [*halves[0], *halves[1]]
    assert len(whole.json()) == COUNT
    assert server.request("HEAD", "/studies?expand").status == 200


def test_long_list_has_the_requested_tags_of_each(server: TestServer) -> None:
    tags = "Rows;PatientID;ModalitiesInStudy;NumberOfStudyRelatedInstances;EthnicGroup"
    answer = server.get(f"/studies?response-content=&requested-tags={tags}")
    found = {one["RequestedTags"]["PatientID"]: one["RequestedTags"] for one in answer.json()}
    assert found == {
        f"P{number}": {
            "EthnicGroup": None,
            "ModalitiesInStudy": "CT",
            "NumberOfStudyRelatedInstances": "1",
            "PatientID": f"P{number}",
            "Rows": str(256 + number % 256),
        }
        for number in range(COUNT)
    }


def test_server_without_patients_lacks_their_routes_only(server: TestServer) -> None:
    file = build_file(7)
    for method, target in (
        ("GET", "/patients"),
        ("GET", f"/patients/{file.patient}"),
        ("GET", f"/patients/{file.patient}/studies"),
        ("DELETE", f"/patients/{file.patient}"),
        ("POST", f"/patients/{file.patient}/reconstruct"),
    ):
        answer = server.request(method, target)
        assert (answer.status, answer.json()["OrthancStatus"]) == (404, 17), (method, target)
    parent = server.get(f"/studies/{file.study}/patient")
    assert (parent.status, parent.json()["ID"]) == (200, file.patient)
    assert server.get("/system").json()["PatientLevelEnabled"] is False
    paths = server.get("/openapi.json").json()["paths"]
    assert not any(path.startswith("/patients") for path in paths)


def test_archive_is_rebuilt_as_it_was(server: TestServer) -> None:
    target = "/series?response-content=MainDicomTags;Metadata;Attachments"
    before = server.get(target).json()
    assert server.request("POST", "/tools/reconstruct").status == 200
    assert server.get(target).json() == before
