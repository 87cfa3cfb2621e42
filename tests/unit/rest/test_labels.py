import asyncio

import pytest
from tests.unit.rest.api import Api

EVERY_LEVEL = pytest.mark.parametrize("level", ["patients", "studies", "series", "instances"])

pytestmark = pytest.mark.asyncio(loop_scope="module")


@EVERY_LEVEL
async def test_put_label_is_listed_until_it_is_deleted(api: Api, level: str) -> None:
    path = (await api.store()).paths[level]

    for label in ("teaching", "A", "teaching"):
        result = await api.request("PUT", f"{path}/labels/{label}")
        assert (result.status_code, result.content) == (200, b"")
        assert result.headers["content-type"] == "text/plain"

    assert await api.get_json(f"{path}/labels") == ["A", "teaching"]
    assert (await api.get_json(path))["Labels"] == ["A", "teaching"]
    assert await api.get_json("/tools/labels") == ["A", "teaching"]
    present = await api.get(f"{path}/labels/teaching")
    assert (present.status_code, present.content) == (200, b"")
    for _ in range(2):
        result = await api.request("DELETE", f"{path}/labels/teaching")
        assert (result.status_code, result.content) == (200, b"")
    absent = await api.get(f"{path}/labels/teaching")
    assert (absent.status_code, absent.content) == (404, b"")
    assert await api.get_json(f"{path}/labels") == ["A"]


async def test_labels_are_not_logged_in_the_changes(api: Api) -> None:
    path = (await api.store()).paths["studies"]
    before = await api.get_json("/changes?last")
    await api.request("PUT", f"{path}/labels/a")
    await api.request("DELETE", f"{path}/labels/a")
    assert await api.get_json("/changes?last") == before


@pytest.mark.parametrize("label", ["a", "Z", "0", "_", "-", "a" * 64, "Aa0_-"])
async def test_put_label_of_allowed_characters_is_200(api: Api, label: str) -> None:
    path = (await api.store()).paths["studies"]
    assert (await api.request("PUT", f"{path}/labels/{label}")).status_code == 200
    assert (await api.get(f"{path}/labels/{label}")).status_code == 200


@pytest.mark.parametrize(
    "label", ["a.b", "a b", "é", "%00", "a%0A", "a" * 65, "a,b", "<b>", "%F0%9F%98%80", "a'", "~"]
)
async def test_label_of_other_characters_or_length_is_400(api: Api, label: str) -> None:
    path = (await api.store()).paths["studies"]
    for method in ("PUT", "DELETE"):
        refused = await api.request(method, f"{path}/labels/{label}")
        assert (refused.status_code, refused.json["OrthancStatus"]) == (400, 3)
    nothing = await api.get(f"{path}/labels/{label}")
    assert (nothing.status_code, nothing.content) == (404, b"")


async def test_put_label_beyond_the_limit_is_400(api: Api) -> None:
    path = (await api.store()).paths["studies"]
    results = await asyncio.gather(
        *(api.request("PUT", f"{path}/labels/l{n}") for n in range(1000))
    )
    assert {result.status_code for result in results} == {200}
    refused = await api.request("PUT", f"{path}/labels/other")
    assert (refused.status_code, refused.json["OrthancStatus"]) == (400, 8)
    assert len(await api.get_json(f"{path}/labels")) == 1000


async def test_all_labels_of_an_archive_without_any_are_none(api: Api) -> None:
    await api.store()
    assert await api.get_json("/tools/labels") == []


async def test_labels_vanish_with_their_resource(api: Api) -> None:
    file = await api.store()
    await api.request("PUT", f"{file.paths['series']}/labels/a")
    await api.request("DELETE", file.paths["instances"])
    assert await api.get_json("/tools/labels") == []
