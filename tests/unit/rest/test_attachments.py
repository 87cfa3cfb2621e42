import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from falcon.testing import Result
from tests.unit.rest.api import Api, open_api

from isocenter.storage.compression import compress

LEVELS = ["patients", "studies", "series", "instances"]
EVERY_LEVEL = pytest.mark.parametrize("level", LEVELS)
UNKNOWN = "/studies/" + "-".join(["11111111"] * 5)
CONTENT = b"name,value\n" * 20
OPERATIONS = [
    "compress",
    "compressed-data",
    "compressed-md5",
    "compressed-size",
    "data",
    "info",
    "is-compressed",
    "md5",
    "size",
    "uncompress",
    "verify-md5",
]
READING = [name for name in OPERATIONS if name not in {"compress", "uncompress", "verify-md5"}]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    return {
        "UserContentType": {"report": 1024, "sheet": [1025, "text/csv"]},
        "Isocenter.SpoolThresholdKB": 64,
        "MaximumRequestBodySizeMB": 8,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def packed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """Give an API that compresses what it stores."""
    async with open_api(tmp_path_factory.mktemp("packed"), {"StorageCompression": True}) as api:
        yield api


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unsummed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """Give an API that computes no MD5 sums."""
    values = {"StoreMD5ForAttachments": False}
    async with open_api(tmp_path_factory.mktemp("unsummed"), values) as api:
        yield api


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def tag_of(revision: int, content: bytes) -> str:
    return f'"{revision}-{md5(content)}"'


async def put(api: Api, target: str, content: bytes = CONTENT, tag: str | None = None) -> Result:
    headers = None if tag is None else {"If-Match": tag}
    return await api.request("PUT", target, body=content, headers=headers)


async def post(api: Api, target: str) -> None:
    result = await api.request("POST", target)
    assert (result.status_code, result.content) == (200, b"{}"), result.text
    assert result.headers["content-type"] == "application/json"


async def get_info(api: Api, path: str) -> Any:
    return await api.get_json(f"{path}/info")


def list_blobs(api: Api) -> set[str]:
    return set(api.archive.storage.iter_uuids())


async def settle_removals(api: Api) -> None:
    """Remove what is to go, as the server does by itself."""
    await api.archive.workers.run(api.archive.deleter.remove_files)


async def list_updates(api: Api) -> list[Any]:
    changes = (await api.get_json("/changes"))["Changes"]
    return [change["Path"] for change in changes if change["ChangeType"] == "UpdatedAttachment"]


async def get_sizes(api: Api) -> tuple[str, str]:
    statistics = await api.get_json("/statistics")
    return statistics["TotalDiskSize"], statistics["TotalUncompressedSize"]


@EVERY_LEVEL
async def test_put_attachment_can_be_read(api: Api, level: str) -> None:
    file = await api.store()
    path = f"{file.paths[level]}/attachments/sheet"

    written = await put(api, path)

    assert (written.status_code, written.content) == (200, b"{}")
    assert written.headers["content-type"] == "application/json"
    assert written.headers["etag"] == tag_of(0, CONTENT)
    read = await api.get(f"{path}/data")
    assert (read.status_code, read.content) == (200, CONTENT)
    assert read.headers["content-type"] == "text/csv"
    info = await get_info(api, path)
    assert read.headers["content-disposition"] == f'filename="{info["Uuid"]}"'
    assert info == {
        "Uuid": info["Uuid"],
        "ContentType": 1025,
        "UncompressedSize": len(CONTENT),
        "CompressedSize": len(CONTENT),
        "UncompressedMD5": md5(CONTENT),
        "CompressedMD5": md5(CONTENT),
    }
    assert (await list_updates(api))[-1] == file.paths[level]
    size = len(file.content) + len(CONTENT)
    assert await get_sizes(api) == (str(size), str(size))


async def test_list_attachments_names_them_in_the_order_of_codes(api: Api) -> None:
    path = (await api.store()).paths["instances"] + "/attachments"
    await put(api, f"{path}/2000")
    await put(api, f"{path}/report")

    assert await api.get_json(path) == ["dicom", "report", "2000"]
    assert await api.get_json(f"{path}?full") == {"dicom": 1, "report": 1024, "2000": 2000}
    assert await api.get_json(f"{path}?full=false") == ["dicom", "report", "2000"]


async def test_attachments_of_study_are_none_at_first(api: Api) -> None:
    path = (await api.store()).paths["studies"] + "/attachments"
    assert await api.get_json(path) == []
    assert await api.get_json(f"{path}?full") == {}


async def test_dicom_attachment_offers_all_operations(api: Api) -> None:
    file = await api.store()
    path = file.paths["instances"] + "/attachments"
    size, digest = str(len(file.content)).encode(), md5(file.content).encode()
    expected = {
        "size": size,
        "compressed-size": size,
        "md5": digest,
        "compressed-md5": digest,
        "is-compressed": b"0",
        "data": file.content,
        "compressed-data": file.content,
    }

    assert await api.get_json(f"{path}/dicom") == OPERATIONS
    assert await api.get_json(f"{path}/1") == OPERATIONS
    for name, content in expected.items():
        result = await api.get(f"{path}/dicom/{name}")
        assert (result.status_code, result.content) == (200, content)
        assert result.headers["etag"] == tag_of(0, file.content)
    data = await api.get(f"{path}/dicom/data")
    assert data.headers["content-type"] == "application/dicom"
    stored = await api.get(f"{path}/dicom/compressed-data")
    assert stored.headers["content-type"] == "application/octet-stream"
    assert "content-disposition" not in stored.headers
    assert (await api.get(f"{path}/dicom/size")).headers["content-type"] == "text/plain"


@pytest.mark.parametrize("name", ["", *(f"/{name}" for name in READING)])
async def test_attachment_the_client_has_is_304(api: Api, name: str) -> None:
    file = await api.store()
    path = f"{file.paths['instances']}/attachments/dicom{name}"
    etag = tag_of(0, file.content)
    for condition in (etag, etag.strip('"'), f'"x", W/{etag}'):
        result = await api.get(path, headers={"If-None-Match": condition})
        assert (result.status_code, result.content, result.headers["etag"]) == (304, b"", etag)
    assert (await api.get(path, headers={"If-None-Match": '"1-x"'})).status_code == 200


@pytest.mark.parametrize(
    ("header", "part", "content_range"),
    [
        ("bytes=0-3", CONTENT[:4], "0-3"),
        ("bytes=5-", CONTENT[5:], "5-219"),
        ("bytes=-7", CONTENT[-7:], "213-219"),
        ("bytes=-9999", CONTENT, "0-219"),
        ("bytes=210-9999", CONTENT[210:], "210-219"),
    ],
)
@pytest.mark.parametrize("action", ["compress", "uncompress"])
async def test_range_of_attachment_is_206(
    api: Api, action: str, header: str, part: bytes, content_range: str
) -> None:
    path = (await api.store()).paths["series"] + "/attachments/sheet"
    await put(api, path)
    await post(api, f"{path}/{action}")

    result = await api.get(f"{path}/data", headers={"Range": header})

    assert (result.status_code, result.content) == (206, part)
    assert result.headers["content-range"] == f"bytes {content_range}/220"
    assert result.headers["content-type"] == "application/octet-stream"
    assert "content-disposition" not in result.headers


@pytest.mark.parametrize("header", ["bytes=220-", "bytes=5-3", "bytes=-0", "bytes=-", "bytes=a-b"])
async def test_impossible_range_of_attachment_is_416(api: Api, header: str) -> None:
    path = (await api.store()).paths["series"] + "/attachments/sheet"
    await put(api, path)

    result = await api.get(f"{path}/data", headers={"Range": header})

    assert (result.status_code, result.json["OrthancStatus"]) == (416, 41)
    assert result.headers["content-range"] == "bytes */220"


async def test_data_is_named_as_asked(api: Api) -> None:
    path = (await api.store()).paths["series"] + "/attachments/sheet"
    await put(api, path)

    result = await api.get(f'{path}/data?filename=a%0D%0AX:%20"b".csv')

    assert result.headers["content-disposition"] == 'filename="aX: b.csv"'


async def test_put_empty_attachment_can_be_read(api: Api) -> None:
    path = (await api.store()).paths["studies"] + "/attachments/report"

    assert (await put(api, path, b"")).headers["etag"] == tag_of(0, b"")

    for name in ("data", "compressed-data"):
        result = await api.get(f"{path}/{name}")
        assert (result.status_code, result.content) == (200, b"")
    for action in ("verify-md5", "compress", "verify-md5", "uncompress"):
        await post(api, f"{path}/{action}")
    assert (await api.get(f"{path}/data")).content == b""


async def test_put_attachment_again_replaces_it(api: Api) -> None:
    file = await api.store()
    path = file.paths["studies"] + "/attachments/report"
    await put(api, path)
    older = (await get_info(api, path))["Uuid"]

    written = await put(api, path, b"newer")

    assert written.headers["etag"] == tag_of(1, b"newer")
    assert (await api.get(f"{path}/data")).content == b"newer"
    assert await get_sizes(api) == (str(len(file.content) + 5),) * 2
    await settle_removals(api)
    assert older not in list_blobs(api)
    assert len(list_blobs(api)) == 2


async def test_delete_attachment_removes_it_and_its_blob(api: Api) -> None:
    file = await api.store()
    path = file.paths["studies"] + "/attachments/report"
    await put(api, path)

    removed = await api.request("DELETE", path)
    again = await api.request("DELETE", path)

    assert (removed.status_code, removed.content) == (200, b"")
    assert removed.headers["content-type"] == "text/plain"
    assert (again.status_code, again.json["OrthancStatus"]) == (404, 17)
    assert await get_sizes(api) == (str(len(file.content)),) * 2
    assert await list_updates(api) == [file.paths["studies"]] * 2
    await settle_removals(api)
    assert len(list_blobs(api)) == 1
    assert (await put(api, path)).headers["etag"] == tag_of(0, CONTENT)


async def test_delete_resource_removes_the_blobs_of_all_attachments(api: Api) -> None:
    file = await api.store()
    for level in LEVELS:
        for name in ("report", "2000"):
            await put(api, f"{file.paths[level]}/attachments/{name}")
    assert len(list_blobs(api)) == 9

    await api.request("DELETE", file.paths["instances"])
    await settle_removals(api)

    assert list_blobs(api) == set()
    assert await get_sizes(api) == ("0", "0")


@pytest.mark.parametrize(
    "name", ["dicom", "dicom-until-pixel-data", "1", "3", "500", "1023", "65536", "0", "-1"]
)
async def test_change_of_system_attachment_is_forbidden_without_a_body(api: Api, name: str) -> None:
    file = await api.store()
    for path in (file.paths["instances"], UNKNOWN):
        for method in ("PUT", "DELETE"):
            refused = await api.request(method, f"{path}/attachments/{name}", body=b"x")
            assert (refused.status_code, refused.content) == (403, b"")
    assert (await api.get(file.paths["instances"] + "/file")).content == file.content


async def test_dicom_as_json_may_be_deleted_but_not_put(api: Api) -> None:
    path = (await api.store()).paths["instances"] + "/attachments/dicom-as-json"
    assert (await put(api, path)).status_code == 403
    removed = await api.request("DELETE", path)
    assert (removed.status_code, removed.json["OrthancStatus"]) == (404, 17)


@pytest.mark.parametrize("name", ["Nope", "Dicom", "%C3%A9", "%00", "..", "<script>", "x" * 3000])
async def test_attachment_of_unregistered_name_is_unknown(api: Api, name: str) -> None:
    file = await api.store()
    for path in (file.paths["instances"], UNKNOWN):
        for method, end in (("GET", ""), ("GET", "/data"), ("PUT", ""), ("DELETE", "")):
            refused = await api.request(method, f"{path}/attachments/{name}{end}")
            assert (refused.status_code, refused.json["OrthancStatus"]) == (404, 7)


@pytest.mark.parametrize("name", ["report", "2000", "500", "dicom-until-pixel-data", "99999"])
async def test_attachment_that_is_not_there_is_404(api: Api, name: str) -> None:
    path = f"{(await api.store()).paths['instances']}/attachments/{name}"
    for end in ("", *(f"/{name}" for name in READING)):
        result = await api.get(path + end)
        assert (result.status_code, result.json["OrthancStatus"]) == (404, 17)
    for action in ("compress", "uncompress", "verify-md5"):
        result = await api.request("POST", f"{path}/{action}")
        assert (result.status_code, result.json["OrthancStatus"]) == (404, 17)


async def test_put_attachment_of_unknown_resource_stores_nothing(api: Api) -> None:
    # Files of tests before may be on their way out.
    before = list_blobs(api)
    refused = await put(api, f"{UNKNOWN}/attachments/report")
    assert (refused.status_code, refused.json["OrthancStatus"]) == (404, 7)
    assert list_blobs(api) <= before


@pytest.mark.parametrize("tag", ["0-x", tag_of(1, CONTENT)])
async def test_change_of_attachment_with_another_tag_is_409(api: Api, tag: str) -> None:
    path = (await api.store()).paths["studies"] + "/attachments/report"
    await put(api, path)

    for method in ("PUT", "DELETE"):
        refused = await api.request(method, path, body=b"newer", headers={"If-Match": tag})
        assert (refused.status_code, refused.json["OrthancStatus"]) == (409, 43)

    assert (await api.get(f"{path}/data")).content == CONTENT
    assert len(list_blobs(api)) == 2
    assert (await put(api, path, b"x", tag_of(0, CONTENT))).headers["etag"] == tag_of(1, b"x")


async def test_put_attachment_with_malformed_tag_is_400(api: Api) -> None:
    path = (await api.store()).paths["studies"] + "/attachments/report"
    for tag in ("*", "x", ""):
        assert (await put(api, path, CONTENT, tag)).status_code == 400


async def test_put_attachment_at_once_with_one_tag_has_one_winner(api: Api) -> None:
    path = (await api.store()).paths["studies"] + "/attachments/report"
    etag = (await put(api, path)).headers["etag"]

    results = await asyncio.gather(*(put(api, path, b"%d" % n, etag) for n in range(30)))

    winners = [n for n, result in enumerate(results) if result.status_code == 200]
    assert len(winners) == 1
    assert {result.status_code for result in results} == {200, 409}
    assert (await api.get(f"{path}/data")).content == b"%d" % winners[0]
    await settle_removals(api)
    assert len(list_blobs(api)) == 2


async def test_put_attachment_larger_than_memory_is_streamed(api: Api, tmp_path: Path) -> None:
    path = (await api.store()).paths["studies"] + "/attachments/report"
    content = bytes(range(256)) * 4 * 1024 * 5

    assert (await put(api, path, content)).headers["etag"] == tag_of(0, content)

    read = await api.get(f"{path}/data")
    assert read.content == content
    for action in ("compress", "verify-md5"):
        await post(api, f"{path}/{action}")
    part = await api.get(f"{path}/data", headers={"Range": "bytes=5000000-5000009"})
    assert part.content == content[5000000:5000010]
    stored = await api.get(f"{path}/compressed-data")
    assert len(stored.content) == (await get_info(api, path))["CompressedSize"] < len(content)
    await post(api, f"{path}/uncompress")
    assert (await api.get(f"{path}/data")).content == content


async def test_put_attachment_beyond_the_limit_is_413(api: Api) -> None:
    path = (await api.store()).paths["studies"] + "/attachments/report"
    refused = await put(api, path, bytes(8 * 1024 * 1024 + 1))
    assert refused.status_code == 413
    assert len(list_blobs(api)) == 1
    assert await api.get_json((path.rpartition("/"))[0]) == []


@pytest.mark.parametrize("name", ["instances", "studies"])
async def test_compress_and_uncompress_change_the_stored_form(api: Api, name: str) -> None:
    file = await api.store()
    is_dicom = name == "instances"
    path = f"{file.paths[name]}/attachments/{'dicom' if is_dicom else 'report'}"
    content = file.content if is_dicom else CONTENT
    if not is_dicom:
        await put(api, path)
    first = await get_info(api, path)

    await post(api, f"{path}/compress")
    second = await get_info(api, path)
    await post(api, f"{path}/compress")
    assert await get_info(api, path) == second

    stored = compress(content)
    assert second == {
        **first,
        "Uuid": second["Uuid"],
        "CompressedSize": len(stored),
        "CompressedMD5": md5(stored),
    }
    assert second["Uuid"] != first["Uuid"]
    assert (await api.get(f"{path}/is-compressed")).content == b"1"
    assert (await api.get(f"{path}/compressed-data")).content == stored
    data = await api.get(f"{path}/data")
    assert (data.content, data.headers["etag"]) == (content, tag_of(1, content))
    await post(api, f"{path}/verify-md5")
    assert (await list_updates(api)).count(file.paths[name]) == (0 if is_dicom else 2)

    await post(api, f"{path}/uncompress")
    await post(api, f"{path}/uncompress")
    third = await get_info(api, path)
    assert third == {**first, "Uuid": third["Uuid"]}
    assert (await api.get(f"{path}/data")).headers["etag"] == tag_of(2, content)
    await post(api, f"{path}/verify-md5")
    await settle_removals(api)
    assert list_blobs(api) >= {third["Uuid"]}
    assert not list_blobs(api) & {first["Uuid"], second["Uuid"]}
    size = str(len(file.content) + (0 if is_dicom else len(CONTENT)))
    assert await get_sizes(api) == (size, size)


async def test_compressed_dicom_is_read_as_before(api: Api) -> None:
    file = await api.store()
    path = file.paths["instances"]
    tags = (await api.get(f"{path}/tags")).content
    await post(api, f"{path}/attachments/dicom/compress")
    assert (await api.get(f"{path}/file")).content == file.content
    assert (await api.get(f"{path}/tags")).content == tags


async def test_compress_at_once_makes_one_form(api: Api) -> None:
    path = (await api.store()).paths["studies"] + "/attachments/report"
    await put(api, path)

    results = await asyncio.gather(*(api.request("POST", f"{path}/compress") for _ in range(10)))

    assert {result.status_code for result in results} <= {200, 409}
    assert (await api.get(f"{path}/data")).content == CONTENT
    assert (await api.get(f"{path}/data")).headers["etag"] == tag_of(1, CONTENT)
    await settle_removals(api)
    assert len(list_blobs(api)) == 2


@pytest.mark.parametrize("action", ["compress", "uncompress"])
async def test_verify_damaged_attachment_is_404_with_the_reason(api: Api, action: str) -> None:
    path = (await api.store()).paths["studies"] + "/attachments/report"
    await put(api, path)
    await post(api, f"{path}/{action}")
    name = (await get_info(api, path))["Uuid"]
    stored = bytearray(api.archive.storage.read(name))
    stored[-1] ^= 1
    api.archive.storage.write(name, stored)

    result = await api.request("POST", f"{path}/verify-md5")

    assert (result.status_code, result.json["OrthancStatus"]) == (404, 20)


async def test_damaged_attachment_is_not_compressed(api: Api) -> None:
    path = (await api.store()).paths["studies"] + "/attachments/report"
    await put(api, path)
    info = await get_info(api, path)
    api.archive.storage.write(info["Uuid"], CONTENT.upper())

    result = await api.request("POST", f"{path}/compress")

    assert (result.status_code, result.json["OrthancStatus"]) == (500, 20)
    assert await get_info(api, path) == info
    assert len(list_blobs(api)) == 2


async def test_vanished_attachment_is_404_with_its_code(api: Api) -> None:
    path = (await api.store()).paths["studies"] + "/attachments/report"
    await put(api, path)
    api.archive.storage.remove((await get_info(api, path))["Uuid"])

    for method, end in (("GET", "data"), ("POST", "verify-md5"), ("POST", "compress")):
        result = await api.request(method, f"{path}/{end}")
        assert (result.status_code, result.json["OrthancStatus"]) == (404, 13)


async def test_data_that_is_replaced_while_it_is_read_is_the_newer(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = (await api.store()).paths["studies"] + "/attachments/report"
    await put(api, path)
    get_file = api.archive.attachments.get_file
    calls = 0

    async def get_and_replace(*place: Any) -> Any:
        nonlocal calls
        calls += 1
        file = await get_file(*place)
        if calls == 1:
            await put(api, path, b"newer")
            await settle_removals(api)
        return file

    monkeypatch.setattr(
        type(api.archive.attachments), "get_file", lambda _, *p: get_and_replace(*p)
    )

    result = await api.get(f"{path}/data")

    assert (result.status_code, result.content) == (200, b"newer")
    assert result.headers["etag"] == tag_of(1, b"newer")


async def test_compressing_server_stores_attachments_compressed(packed: Api) -> None:
    file = await packed.store()
    path = file.paths["studies"] + "/attachments/1024"
    for content in (CONTENT, bytes(3 * 1024 * 1024)):
        await put(packed, path, content)

        stored = compress(content)
        info = await get_info(packed, path)
        assert (info["CompressedSize"], info["CompressedMD5"]) == (len(stored), md5(stored))
        assert (info["UncompressedSize"], info["UncompressedMD5"]) == (len(content), md5(content))
        assert (await packed.get(f"{path}/data")).content == content
        assert (await packed.get(f"{path}/compressed-data")).content == stored
        await post(packed, f"{path}/verify-md5")
    total = int((await packed.get_json("/statistics"))["TotalDiskSize"])
    assert total == sum(len(packed.archive.storage.read(name)) for name in await kept(packed))


async def kept(api: Api) -> set[str]:
    await settle_removals(api)
    return list_blobs(api)


async def test_attachment_without_md5_offers_no_operations_on_it(unsummed: Api) -> None:
    path = (await unsummed.store()).paths["studies"] + "/attachments/1024"
    first = await put(unsummed, path)

    assert await unsummed.get_json(path) == [n for n in OPERATIONS if "md5" not in n]
    info = await get_info(unsummed, path)
    assert (info["UncompressedMD5"], info["CompressedMD5"]) == ("", "")
    for name in ("md5", "compressed-md5"):
        nothing = await unsummed.get(f"{path}/{name}")
        assert (nothing.status_code, nothing.content) == (404, b"")
    unverified = await unsummed.request("POST", f"{path}/verify-md5")
    assert (unverified.status_code, unverified.json["OrthancStatus"]) == (404, 7)
    for action in ("compress", "uncompress"):
        await post(unsummed, f"{path}/{action}")
    assert (await unsummed.get(f"{path}/data")).content == CONTENT
    # The entity tag still tells the versions apart.
    assert (await put(unsummed, path, CONTENT, first.headers["etag"])).status_code == 409
    etag = (await unsummed.get(f"{path}/size")).headers["etag"]
    assert (await put(unsummed, path, CONTENT, etag)).status_code == 200
