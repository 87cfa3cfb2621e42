"""Creation over HTTP: answers, parents, all or nothing, files that come out."""

import io
import json
from typing import Any

import pydicom
import pytest
from tests.support.images import build_data_uri, build_png
from tests.unit.rest.api import Api

from isocenter.errors import FullStorageError

pytestmark = pytest.mark.asyncio(loop_scope="module")
PNG = build_data_uri("image/png", build_png((2, 1), 8, 0, b"\1\2"))
BAD = build_data_uri("image/png", b"x")


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    return {"Isocenter.SpoolThresholdKB": 1}


async def create(api: Api, body: Any, *, status: int = 200) -> Any:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    result = await api.request("POST", "/tools/create-dicom", body=text)
    assert result.status_code == status, result.text
    return result.json


async def read(api: Api, public_id: str) -> pydicom.Dataset:
    result = await api.get(f"/instances/{public_id}/file")
    return pydicom.dcmread(io.BytesIO(result.content))


async def test_instance_is_answered_like_an_upload(api: Api) -> None:
    answer = await create(api, {"Tags": {"PatientID": "P"}, "Content": PNG})
    assert answer.keys() == {
        "ID", "ParentPatient", "ParentStudy", "ParentSeries", "Path", "Status",
    }  # fmt: skip
    assert answer["Status"] == "Success"
    assert (await read(api, answer["ID"])).PixelData == b"\1\2"
    metadata = await api.get_json(f"/instances/{answer['ID']}/metadata?expand")
    assert metadata["Origin"] == "RestApi"


async def test_forced_identifiers_make_the_same_instance_again(api: Api) -> None:
    names = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    body = {"Tags": {name: f"1.{i}" for i, name in enumerate(names)}, "Force": True}
    first, second = await create(api, body), await create(api, body)
    assert (first["ID"], second["Status"]) == (second["ID"], "AlreadyStored")
    both = {**body, "Content": [PNG, PNG]}
    assert (await create(api, both))["Status"] == "Success"


@pytest.mark.parametrize("level", ["patient", "study", "series"])
async def test_parent_takes_the_instance_in(api: Api, level: str) -> None:
    file = await api.store()
    parent = getattr(file, level)
    answer = await create(api, {"Tags": {}, "Parent": parent, "Content": PNG})
    assert parent in answer.values()
    above = {"patient": ["patient"], "study": ["patient", "study"]}
    for name in above.get(level, ["patient", "study", "series"]):
        assert answer[f"Parent{name.capitalize()}"] == getattr(file, name)


async def test_parent_that_is_none_is_refused(api: Api) -> None:
    file = await api.store()
    for parent, code in ((file.instance, 2025), ("nothing", 2024), ("x" * 100, 2024), (5, 2024)):
        body: dict[str, object] = {"Tags": {}, "Parent": parent}
        assert (await create(api, body, status=400))["OrthancStatus"] == code


async def test_series_is_answered_and_complete(api: Api) -> None:
    large = build_data_uri("application/octet-stream", bytes(5000))
    answer = await create(api, {"Tags": {"PatientID": "P"}, "Content": [PNG, large, PNG]})
    assert answer == {"ID": answer["ID"], "Path": f"/series/{answer['ID']}", "Status": "Success"}
    series = await api.get_json(answer["Path"])
    assert (len(series["Instances"]), series["Status"]) == (3, "Complete")
    for public_id in series["Instances"]:
        assert (await read(api, public_id)).ImagesInAcquisition == 3


async def test_series_with_a_wrong_item_leaves_nothing(api: Api) -> None:
    body = {"Tags": {"PatientID": "P"}, "Content": [PNG, BAD]}
    assert (await create(api, body, status=400))["OrthancStatus"] == 15
    assert (await api.get_json("/statistics"))["CountInstances"] == 0
    assert list(api.archive.storage.iter_uuids()) == []


async def test_series_that_finds_no_room_leaves_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise FullStorageError

    monkeypatch.setattr("isocenter.index.group_commit.GroupCommit.store_jointly", refuse)
    large = build_data_uri("application/octet-stream", bytes(5000))
    await create(api, {"Tags": {"PatientID": "P"}, "Content": [PNG, large]}, status=507)
    assert (await api.get_json("/statistics"))["CountInstances"] == 0
    assert list(api.archive.storage.iter_uuids()) == []


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"5", b"\xff", b"[" * 100_000])
async def test_body_that_is_no_object_is_refused(api: Api, body: bytes) -> None:
    assert (await create(api, body, status=400))["OrthancStatus"] == 8


async def test_body_beyond_the_limit_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isocenter.rest.creation.LARGEST_CREATION_BYTES", 10)
    await create(api, {"Tags": {"PatientID": "P"}}, status=413)


async def test_result_beyond_the_limit_leaves_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isocenter.archive.creation._LARGEST_RESULT_BYTES", 2000)
    await create(api, {"Tags": {}, "Content": PNG})
    await create(api, {"Tags": {}, "Content": [PNG] * 4}, status=413)
    assert (await api.get_json("/statistics"))["CountInstances"] == 1
