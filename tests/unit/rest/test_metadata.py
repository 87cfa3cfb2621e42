import asyncio
import hashlib
from typing import Any

import pytest
from falcon.testing import Result
from tests.unit.rest.api import Api

LEVELS = ["patients", "studies", "series", "instances"]
EVERY_LEVEL = pytest.mark.parametrize("level", LEVELS)
UNKNOWN = "/studies/" + "-".join(["11111111"] * 5)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    return {"UserMetadata": {"ward": 1024, "<b>state</b>": 1025}}


def tag_of(revision: int, value: str) -> str:
    return f'"{revision}-{hashlib.md5(value.encode(), usedforsecurity=False).hexdigest()}"'


async def put(api: Api, target: str, value: str | bytes, **headers: str) -> Result:
    return await api.request("PUT", target, body=value, headers=named(headers))


def named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


async def list_updates(api: Api) -> list[Any]:
    changes = (await api.get_json("/changes"))["Changes"]
    return [change["Path"] for change in changes if change["ChangeType"] == "UpdatedMetadata"]


@EVERY_LEVEL
async def test_put_metadata_can_be_read_by_name_and_by_code(api: Api, level: str) -> None:
    path = (await api.store()).paths[level]

    written = await put(api, f"{path}/metadata/ward", "icu")

    assert (written.status_code, written.content) == (200, b"")
    assert written.headers["content-type"] == "text/plain"
    assert written.headers["etag"] == tag_of(0, "icu")
    for name in ("ward", "1024", "01024"):
        read = await api.get(f"{path}/metadata/{name}")
        assert (read.status_code, read.content) == (200, b"icu")
        assert read.headers["content-type"] == "text/plain"
        assert read.headers["etag"] == tag_of(0, "icu")
    assert (await list_updates(api))[-1] == path


async def test_list_metadata_of_instance_is_in_the_order_of_codes(api: Api) -> None:
    path = (await api.store()).paths["instances"]
    await put(api, f"{path}/metadata/1500", "b")
    await put(api, f"{path}/metadata/ward", "a")

    names = await api.get_json(f"{path}/metadata")
    codes = await api.get_json(f"{path}/metadata?numeric")
    values = await api.get_json(f"{path}/metadata?expand")

    assert codes == [2, 3, 8, 9, 10, 11, 13, 15, 1024, 1500]
    assert names == [
        "ReceptionDate",
        "RemoteAET",
        "Origin",
        "TransferSyntax",
        "SopClassUid",
        "RemoteIP",
        "HttpUsername",
        "MainDicomTagsSignature",
        "ward",
        "1500",
    ]
    assert sorted(values) == sorted(names)
    assert (values["Origin"], values["ward"], values["1500"]) == ("RestApi", "a", "b")
    numbered = await api.get_json(f"{path}/metadata?expand&numeric")
    assert numbered == {str(c): values[n] for c, n in zip(codes, names, strict=True)}


async def test_list_metadata_of_study_has_last_update(api: Api) -> None:
    path = (await api.store()).paths["studies"]

    values = await api.get_json(f"{path}/metadata?expand")

    assert sorted(values) == ["LastUpdate", "MainDicomTagsSignature"]
    assert values["LastUpdate"] == (await api.get_json(path))["LastUpdate"]
    assert (await api.get(f"{path}/metadata/LastUpdate")).text == values["LastUpdate"]


@pytest.mark.parametrize("query", ["expand=banana", "numeric=2", "expand&numeric=x"])
async def test_list_metadata_with_bad_flag_is_400(api: Api, query: str) -> None:
    path = (await api.store()).paths["studies"]
    assert (await api.get(f"{path}/metadata?{query}")).status_code == 400


@pytest.mark.parametrize("value", ["", "Ωμέγα 🩻", "<script>alert(1)</script>", "a\r\nX: y", '"\\'])
async def test_put_metadata_of_any_text_is_read_as_it_was(api: Api, value: str) -> None:
    path = (await api.store()).paths["series"]

    await put(api, f"{path}/metadata/1025", value)

    read = await api.get(f"{path}/metadata/1025")
    assert read.content == value.encode()
    assert read.headers["content-type"] == "text/plain"
    values = await api.get_json(f"{path}/metadata?expand")
    assert values["<b>state</b>"] == value


@pytest.mark.parametrize(
    "value", [b"\xff\xfe", b"Gr\xfc\xdfe", b"a\x00b", b"\x00", b"\xed\xa0\x80"]
)
async def test_put_metadata_that_is_no_text_is_400(api: Api, value: bytes) -> None:
    path = (await api.store()).paths["studies"]

    refused = await put(api, f"{path}/metadata/ward", value)

    assert (refused.status_code, refused.json["OrthancStatus"]) == (400, 3)
    assert (await api.get(f"{path}/metadata/ward")).status_code == 404


async def test_put_metadata_up_to_the_limit_is_stored_beyond_it_refused(api: Api) -> None:
    path = (await api.store()).paths["studies"]
    longest = "é" * (512 * 1024)

    assert (await put(api, f"{path}/metadata/ward", longest)).status_code == 200
    assert (await put(api, f"{path}/metadata/ward", longest + "x")).status_code == 413

    assert (await api.get(f"{path}/metadata/ward")).content == longest.encode()
    assert (await api.get_json(f"{path}/metadata?expand"))["ward"] == longest
    assert "ward" in await api.get_json(f"{path}/metadata")


@pytest.mark.parametrize(
    "name", ["Origin", "LastUpdate", "1", "20", "500", "1023", "65536", "99999", "0", "-1"]
)
async def test_change_of_system_metadata_is_forbidden_without_a_body(api: Api, name: str) -> None:
    file = await api.store()
    for path in (file.paths["instances"], UNKNOWN):
        for method in ("PUT", "DELETE"):
            refused = await api.request(method, f"{path}/metadata/{name}", body=b"x")
            assert (refused.status_code, refused.content) == (403, b"")


@pytest.mark.parametrize("name", ["Nope", "Ward", "%C3%A9", "%00", "..", "<script>", "x" * 3000])
async def test_metadata_of_unregistered_name_is_unknown(api: Api, name: str) -> None:
    file = await api.store()
    for path in (file.paths["instances"], UNKNOWN):
        for method in ("GET", "PUT", "DELETE"):
            refused = await api.request(method, f"{path}/metadata/{name}")
            assert (refused.status_code, refused.json["OrthancStatus"]) == (404, 7)


async def test_metadata_of_a_number_beyond_32_bits_is_400(api: Api) -> None:
    path = (await api.store()).paths["instances"]
    for method in ("GET", "PUT", "DELETE"):
        refused = await api.request(method, f"{path}/metadata/{'9' * 20}")
        assert (refused.status_code, refused.json["OrthancStatus"]) == (400, 5)


@pytest.mark.parametrize("name", ["ward", "1500", "500", "ModifiedFrom", "99999", "-1"])
async def test_get_metadata_not_set_is_404_without_a_body(api: Api, name: str) -> None:
    path = (await api.store()).paths["studies"]
    result = await api.get(f"{path}/metadata/{name}")
    assert (result.status_code, result.content) == (404, b"")


async def test_delete_metadata_removes_it(api: Api) -> None:
    path = (await api.store()).paths["studies"]
    await put(api, f"{path}/metadata/ward", "a")

    removed = await api.request("DELETE", f"{path}/metadata/ward")
    again = await api.request("DELETE", f"{path}/metadata/ward")

    assert (removed.status_code, removed.content) == (200, b"")
    assert removed.headers["content-type"] == "text/plain"
    assert (again.status_code, again.json["OrthancStatus"]) == (404, 17)
    assert await list_updates(api) == [path, path]
    assert (await put(api, f"{path}/metadata/ward", "b")).headers["etag"] == tag_of(0, "b")


@pytest.mark.parametrize("quoted", [True, False])
async def test_get_metadata_the_client_has_is_304(api: Api, quoted: bool) -> None:
    path = (await api.store()).paths["studies"]
    etag = (await put(api, f"{path}/metadata/ward", "a")).headers["etag"]
    condition = etag if quoted else etag.strip('"')

    same = await api.get(f"{path}/metadata/ward", headers={"If-None-Match": condition})
    await put(api, f"{path}/metadata/ward", "b")
    other = await api.get(f"{path}/metadata/ward", headers={"If-None-Match": condition})

    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert (other.status_code, other.content) == (200, b"b")


async def test_change_of_metadata_with_the_present_tag_succeeds(api: Api) -> None:
    path = (await api.store()).paths["studies"]
    first = (await put(api, f"{path}/metadata/ward", "a")).headers["etag"]

    second = await put(api, f"{path}/metadata/ward", "b", If_Match=first)
    removed = await api.request(
        "DELETE", f"{path}/metadata/ward", headers={"If-Match": tag_of(1, "b").strip('"')}
    )

    assert (second.status_code, second.headers["etag"]) == (200, tag_of(1, "b"))
    assert removed.status_code == 200


async def test_change_of_metadata_with_another_tag_is_409(api: Api) -> None:
    path = (await api.store()).paths["studies"]
    await put(api, f"{path}/metadata/ward", "a")
    for tag in (tag_of(1, "a"), tag_of(0, "b"), "0-", "0-xyz"):
        for method in ("PUT", "DELETE"):
            refused = await api.request(
                method, f"{path}/metadata/ward", body=b"c", headers={"If-Match": tag}
            )
            assert (refused.status_code, refused.json["OrthancStatus"]) == (409, 43)
            assert "etag" not in refused.headers
    assert (await api.get(f"{path}/metadata/ward")).text == "a"


@pytest.mark.parametrize(
    "tag", ["*", "garbage", "-x", "a-x", 'W/"0-x"', '"0-a", "0-b"', '"0-a', ""]
)
async def test_change_of_metadata_with_a_malformed_tag_is_400(api: Api, tag: str) -> None:
    path = (await api.store()).paths["studies"]
    for method in ("PUT", "DELETE"):
        refused = await api.request(
            method, f"{path}/metadata/ward", body=b"c", headers={"If-Match": tag}
        )
        assert (refused.status_code, refused.json["OrthancStatus"]) == (400, 3)


async def test_put_metadata_many_at_once_all_succeed(api: Api) -> None:
    path = (await api.store()).paths["studies"]

    results = await asyncio.gather(
        *(put(api, f"{path}/metadata/{1024 + n}", f"v{n}") for n in range(200)),
        put(api, f"{UNKNOWN}/metadata/ward", "x"),
        put(api, f"{path}/metadata/1024", "x", If_Match="9-9"),
    )

    assert [result.status_code for result in results] == [200] * 200 + [404, 409]
    values = await api.get_json(f"{path}/metadata?expand&numeric")
    assert [values[str(1024 + n)] for n in range(200)] == [f"v{n}" for n in range(200)]


async def test_put_metadata_at_once_with_one_tag_has_one_winner(api: Api) -> None:
    path = (await api.store()).paths["studies"]
    etag = (await put(api, f"{path}/metadata/ward", "a")).headers["etag"]

    results = await asyncio.gather(
        *(put(api, f"{path}/metadata/ward", f"v{n}", If_Match=etag) for n in range(50))
    )

    winners = [n for n, result in enumerate(results) if result.status_code == 200]
    assert len(winners) == 1
    assert {result.status_code for result in results} == {200, 409}
    assert (await api.get(f"{path}/metadata/ward")).text == f"v{winners[0]}"
