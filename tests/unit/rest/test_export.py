"""Export to the host, where it is allowed."""

from pathlib import Path

import pytest
from tests.unit.rest.api import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")
UNKNOWN = "-".join(["11111111"] * 5)


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    return {"RestApiWriteToFileSystemEnabled": True}


async def test_export_writes_the_file(api: Api, tmp_path: Path) -> None:
    file = await api.store()
    path = tmp_path / "exported.dcm"
    target = f"/instances/{file.instance}/export"
    result = await api.request("POST", target, body=str(path).encode())
    assert (result.status_code, result.json) == (200, {})
    assert path.read_bytes() == file.content


@pytest.mark.parametrize("body", [b"", b"/nonexistent/folder/x", b"/", b"a\0b", b"{}/x"])
async def test_export_to_an_impossible_path_is_400(api: Api, body: bytes) -> None:
    file = await api.store()
    result = await api.request("POST", f"/instances/{file.instance}/export", body=body)
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 14)


async def test_export_into_the_storage_is_400(api: Api) -> None:
    file = await api.store()
    storage = api.configuration.path("StorageDirectory")
    body = str(storage / "index").encode()
    result = await api.request("POST", f"/instances/{file.instance}/export", body=body)
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 14)


async def test_export_with_a_body_that_is_no_path_is_refused(api: Api) -> None:
    file = await api.store()
    target = f"/instances/{file.instance}/export"
    assert (await api.request("POST", target, body=b"\xff\xfe")).status_code == 400
    assert (await api.request("POST", target, body=b"x" * 5000)).status_code == 413


async def test_export_of_an_unknown_instance_is_404(api: Api, tmp_path: Path) -> None:
    body = str(tmp_path / "file").encode()
    result = await api.request("POST", f"/instances/{UNKNOWN}/export", body=body)
    assert (result.status_code, result.json["OrthancStatus"]) == (404, 17)
