"""Instances whose files are not kept (option StoreDicom)."""

import pytest
from tests.unit.rest.api import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    return {"StoreDicom": False}


async def test_instance_without_file_is_described(api: Api) -> None:
    file = await api.store()

    found = await api.get_json(f"/instances/{file.instance}")

    assert found["MainDicomTags"]["SOPInstanceUID"] == file.uids[2]
    assert (found["FileUuid"], found["FileSize"]) == (None, None)
    assert (await api.get_json("/statistics"))["TotalDiskSize"] == "0"
    assert (await api.get_json(f"/studies/{file.study}"))["ID"] == file.study


@pytest.mark.parametrize("route", ["file", "tags", "simplified-tags"])
async def test_content_without_file_is_404_with_its_reason(api: Api, route: str) -> None:
    file = await api.store()

    result = await api.get(f"/instances/{file.instance}/{route}")

    assert (result.status_code, result.json["OrthancStatus"]) == (404, 13)
    assert "StoreDicom" in result.json["Details"]


async def test_content_of_an_unknown_instance_is_404_as_ever(api: Api) -> None:
    result = await api.get("/instances/nobody/file")
    assert (result.status_code, result.json["OrthancStatus"]) == (404, 17)
