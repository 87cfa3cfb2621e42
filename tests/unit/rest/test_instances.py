"""The file of an instance."""

import base64
import hashlib
from pathlib import Path

import pytest
from falcon.testing import Result
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")
UNKNOWN = "-".join(["11111111"] * 5)
PIXELS = 0x7FE00010


async def test_file_is_what_was_stored_byte_for_byte(api: Api) -> None:
    file = await api.store()
    result = await api.get(f"/instances/{file.instance}/file")
    assert result.content == file.content
    assert result.headers["content-type"] == "application/dicom"
    assert result.headers["content-disposition"] == f'filename="{file.instance}.dcm"'
    assert result.headers["content-length"] == str(len(file.content))
    md5 = hashlib.md5(file.content, usedforsecurity=False).hexdigest()
    assert result.headers["etag"] == f'"0-{md5}"'


async def test_file_is_answered_in_the_json_model(api: Api) -> None:
    file = await api.store(build_synthetic({0x00100010: ("PN", "DOE^JANE"), PIXELS: ("OW", b"ab")}))
    for accept in ("application/dicom+json", "text/html, Application/Dicom+JSON;q=0.9"):
        result = await get_file(api, file, accept)
        assert result.headers["content-type"] == "application/dicom+json"
        assert result.json["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "DOE^JANE"}]}
        assert result.json["7FE00010"] == {"vr": "OW", "InlineBinary": "YWI="}
        assert "content-disposition" not in result.headers


async def test_file_is_answered_in_the_xml_model(api: Api) -> None:
    file = await api.store(build_synthetic({0x00080060: ("CS", "CT")}))
    result = await get_file(api, file, "application/dicom+xml")
    assert result.headers["content-type"] == "application/dicom+xml"
    assert b'keyword="Modality"><Value number="1">CT</Value>' in result.content


@pytest.mark.parametrize(
    "accept", ["*/*", "application/dicom", "application/json", "dicom+json", ""]
)
async def test_file_is_answered_as_it_is_unless_a_model_is_asked(api: Api, accept: str) -> None:
    file = await api.store()
    assert (await get_file(api, file, accept)).content == file.content


async def test_large_model_is_streamed(api: Api) -> None:
    pixels = bytes(range(256)) * 20_000
    file = await api.store(build_synthetic({PIXELS: ("OW", pixels)}))
    result = await get_file(api, file, "application/dicom+json")
    assert "content-length" not in result.headers
    assert base64.b64decode(result.json["7FE00010"]["InlineBinary"]) == pixels
    head = await api.request(
        "HEAD", f"/instances/{file.instance}/file", headers={"Accept": "application/dicom+json"}
    )
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("accept", ["*/*", "application/dicom+json", "application/dicom+xml"])
async def test_file_of_an_unknown_instance_is_404(api: Api, accept: str) -> None:
    result = await api.get(f"/instances/{UNKNOWN}/file", headers={"Accept": accept})
    assert (result.status_code, result.json["OrthancStatus"]) == (404, 17)


async def get_file(api: Api, file: SyntheticFile, accept: str) -> Result:
    return await api.get(f"/instances/{file.instance}/file", headers={"Accept": accept})


async def test_export_is_forbidden_by_default(api: Api, tmp_path: Path) -> None:
    file = await api.store()
    path = tmp_path / "file.dcm"
    target = f"/instances/{file.instance}/export"
    result = await api.request("POST", target, body=str(path).encode())
    assert result.status_code == 403
    assert not path.exists()
