"""Uploads: one file, gzip, ZIP, multipart, and everything that is none of them."""

import gzip
import io
import zipfile
from typing import Any

import pytest
from falcon.testing import Result
from tests.support.dicom_files import CT_IMAGE_STORAGE, build_data_set, build_file, encode_element
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    return {"MaximumRequestBodySizeMB": 1, "MaximumFileSizeInArchiveMB": 2}


def build_zip(entries: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Build an archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def build_form(parts: list[bytes], *, end: bytes = b"--BOUNDARY--\r\n") -> bytes:
    """Build the body of a form with a file in each part."""
    head = b'Content-Disposition: form-data; name="f"; filename="a.dcm"\r\n'
    return b"".join(b"--BOUNDARY\r\n" + head + b"\r\n" + part + b"\r\n" for part in parts) + end


async def post(api: Api, body: bytes, **headers: str) -> Result:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await api.request("POST", "/instances", body=body, headers=named)


async def post_form(api: Api, body: bytes, *, boundary: str = "BOUNDARY") -> Result:
    return await post(api, body, Content_Type=f"multipart/form-data; boundary={boundary}")


def describe(file: SyntheticFile, status: str = "Success") -> dict[str, str]:
    """Write what the answer to a stored file must be."""
    return {
        "ID": file.instance,
        "ParentPatient": file.patient,
        "ParentStudy": file.study,
        "ParentSeries": file.series,
        "Path": f"/instances/{file.instance}",
        "Status": status,
    }


async def count(api: Api) -> Any:
    return (await api.get_json("/statistics"))["CountInstances"]


async def test_one_file_answers_one_object(api: Api) -> None:
    file = build_synthetic()
    result = await post(api, file.content)
    assert result.headers["content-type"] == "application/json; charset=utf-8"
    assert (result.status_code, result.json) == (200, describe(file))
    again = await post(api, file.content)
    assert (again.status_code, again.json) == (200, describe(file, "AlreadyStored"))
    assert await count(api) == 1


@pytest.mark.parametrize("media_type", ["application/dicom", "text/html", "nonsense", ""])
async def test_content_type_of_a_file_is_not_believed(api: Api, media_type: str) -> None:
    file = build_synthetic()
    assert (await post(api, file.content, Content_Type=media_type)).json == describe(file)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " gzip "])
async def test_gzip_body_is_decompressed(api: Api, encoding: str) -> None:
    file = build_synthetic()
    result = await post(api, gzip.compress(file.content), Content_Encoding=encoding)
    assert result.json == describe(file)
    stored = await api.get(f"/instances/{file.instance}/file")
    assert stored.content == file.content


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        gzip.compress(b"x" * 1000, mtime=0)[:-9],
        gzip.compress(b"x" * 1000, mtime=0)[:-1] + b"\xff",
        b"\x1f\x8b" + bytes(20),
        gzip.compress(b"", mtime=0),
    ],
)
async def test_gzip_body_that_is_damaged_is_400(api: Api, body: bytes) -> None:
    result = await post(api, body, Content_Encoding="gzip")
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 15)


async def test_gzip_bomb_is_413_and_leaves_nothing(api: Api) -> None:
    result = await post(api, gzip.compress(bytes(64 * MIB)), Content_Encoding="gzip")
    assert result.status_code == 413
    assert await count(api) == 0


async def test_zip_answers_the_dicom_files_in_their_order(api: Api) -> None:
    first, second = build_synthetic(), build_synthetic()
    body = build_zip(
        {
            "z/first.dcm": first.content,
            "readme.txt": b"hello",
            "DICOMDIR": build_synthetic().content,
            "sub/dicomdir": build_synthetic().content,
            "empty": b"",
            "../../escape.dcm": second.content,
        }
    )
    result = await post(api, body)
    assert result.status_code == 200
    assert result.json == [describe(first), describe(second)]
    assert await count(api) == 2


async def test_zip_with_the_same_file_twice_stores_it_once(api: Api) -> None:
    file = build_synthetic()
    result = await post(api, build_zip({"a": file.content, "b": file.content}))
    # The entries are stored side by side, and either may be the first.
    statuses = [entry["Status"] for entry in result.json]
    assert sorted(statuses) == ["AlreadyStored", "Success"]
    assert await count(api) == 1


async def test_zip_without_dicom_answers_an_empty_list(api: Api) -> None:
    for body in (build_zip({"a.txt": b"hello"}), build_zip({})):
        result = await post(api, body)
        assert (result.status_code, result.json) == (200, [])


async def test_zip_that_is_damaged_is_400(api: Api) -> None:
    body = build_zip({"a.dcm": build_synthetic().content}, method=zipfile.ZIP_STORED)
    broken = body[:60] + bytes([body[60] ^ 1]) + body[61:]
    for damaged in (body[:-30], body[:100], broken):
        result = await post(api, damaged)
        assert (result.status_code, result.json["OrthancStatus"]) == (400, 15)
    assert await count(api) == 0


async def test_zip_bomb_is_413_and_leaves_nothing(api: Api) -> None:
    result = await post(api, build_zip({"bomb": bytes(64 * MIB)}))
    assert result.status_code == 413
    assert await count(api) == 0


async def test_form_with_one_part_is_stored(api: Api) -> None:
    file = build_synthetic()
    result = await post_form(api, build_form([file.content]))
    assert (result.status_code, result.json) == (200, [describe(file)])


async def test_form_with_several_parts_stores_them_all(api: Api) -> None:
    files = [build_synthetic() for _ in range(5)]
    result = await post_form(api, build_form([file.content for file in files]))
    assert result.json == [describe(file) for file in files]
    assert await count(api) == 5


async def test_form_with_a_zip_in_it_stores_its_files(api: Api) -> None:
    first, second = build_synthetic(), build_synthetic()
    body = build_form([build_zip({"a": first.content}), second.content])
    assert (await post_form(api, body)).json == [describe(first), describe(second)]


async def test_form_without_end_is_400(api: Api) -> None:
    file = build_synthetic()
    for body in (
        build_form([file.content], end=b""),
        build_form([file.content])[:200],
        b"no form at all",
    ):
        result = await post_form(api, body)
        assert result.status_code == 400, body
    assert await count(api) == 0


async def test_form_with_another_boundary_is_400(api: Api) -> None:
    result = await post_form(api, build_form([build_synthetic().content]), boundary="OTHER")
    assert result.status_code == 400
    assert await count(api) == 0


@pytest.mark.parametrize("media_type", ["multipart/form-data", "multipart/form-data; boundary="])
async def test_form_without_boundary_is_400(api: Api, media_type: str) -> None:
    result = await post(api, build_form([build_synthetic().content]), Content_Type=media_type)
    assert result.status_code == 400
    assert await count(api) == 0


async def test_form_without_parts_is_400(api: Api) -> None:
    for body in (b"--BOUNDARY--\r\n", b""):
        assert (await post_form(api, body)).status_code == 400


async def test_form_with_a_part_that_is_not_dicom_is_400(api: Api) -> None:
    result = await post_form(api, build_form([b"hello"]))
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 15)


async def test_form_with_a_huge_number_of_parts_is_refused(api: Api) -> None:
    result = await post_form(api, build_form([b"x"] * 5000))
    assert result.status_code in {400, 413}
    assert await count(api) == 0


async def test_form_with_huge_part_headers_is_refused(api: Api) -> None:
    body = b"--BOUNDARY\r\nX-Long: " + b"x" * 200_000 + b"\r\n\r\nabc\r\n--BOUNDARY--\r\n"
    assert (await post_form(api, body)).status_code in {400, 413}


async def test_form_with_a_part_over_the_limit_is_413(api: Api) -> None:
    result = await post_form(api, build_form([bytes(MIB + 1)]))
    assert result.status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"hello",
        bytes(1000),
        build_synthetic().content[:150],
        build_synthetic().content[128:],
        b"\xff" * 1000,
        b"%PDF-1.7",
        b"<?xml version='1.0'?>",
    ],
    ids=["text", "zeros", "truncated", "no preamble", "ones", "pdf", "xml"],
)
async def test_garbage_is_400_and_leaves_nothing(api: Api, body: bytes) -> None:
    result = await post(api, body)
    assert result.status_code == 400
    assert result.json["OrthancStatus"] == 15
    assert await count(api) == 0


async def test_file_without_any_element_lacks_its_identifiers(api: Api) -> None:
    result = await post(api, bytes(128) + b"DICM")
    assert (result.status_code, result.json["OrthancStatus"]) == (404, 21)


async def test_empty_body_is_400_with_orthancs_reason(api: Api) -> None:
    result = await post(api, b"")
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 15)
    assert result.json["Details"] == "Received an empty DICOM file"


@pytest.mark.parametrize("tag", [0x0020000D, 0x0020000E, 0x00080018])
async def test_missing_identifier_is_404_and_empty_identifier_is_400(api: Api, tag: int) -> None:
    elements: dict[int, tuple[str, bytes | str]] = {
        0x00080016: ("UI", CT_IMAGE_STORAGE),
        0x00080018: ("UI", "1.2.3.4"),
        0x00100020: ("LO", "P"),
        0x0020000D: ("UI", "1.2"),
        0x0020000E: ("UI", "1.2.3"),
    }
    missing = {key: value for key, value in elements.items() if key != tag}
    result = await post(api, build_file(build_data_set(missing)))
    assert (result.status_code, result.json["OrthancStatus"]) == (404, 21)
    result = await post(api, build_file(build_data_set({**elements, tag: ("UI", "")})))
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 15)
    assert await count(api) == 0


async def test_body_over_the_limit_is_413(api: Api) -> None:
    pixels = encode_element(0x7FE00010, "OW", bytes(MIB))
    result = await post(api, build_synthetic(tail=pixels).content)
    assert result.status_code == 413
    assert await count(api) == 0
    assert (await post(api, build_synthetic().content)).status_code == 200


async def test_missing_patient_id_is_accepted(api: Api) -> None:
    elements: dict[int, tuple[str, bytes | str]] = {
        0x00080018: ("UI", "1.2.3.4"),
        0x0020000D: ("UI", "1.2"),
        0x0020000E: ("UI", "1.2.3"),
    }
    result = await post(api, build_file(build_data_set(elements)))
    assert result.json["ParentPatient"] == "da39a3ee-5e6b4b0d-3255bfef-95601890-afd80709"
