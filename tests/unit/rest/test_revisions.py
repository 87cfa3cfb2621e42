"""Changes of metadata and attachments where ``CheckRevisions`` is on."""

import pytest
from tests.unit.rest.api import Api

NAMES = pytest.mark.parametrize("name", ["metadata/1024", "attachments/1024"])

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    return {"CheckRevisions": True}


@NAMES
async def test_creating_needs_no_tag(api: Api, name: str) -> None:
    path = (await api.store()).paths["studies"]
    assert (await api.request("PUT", f"{path}/{name}", body=b"a")).status_code == 200
    # A tag does no harm.
    other = (await api.store()).paths["studies"]
    headers = {"If-Match": "3-x"}
    result = await api.request("PUT", f"{other}/{name}", body=b"a", headers=headers)
    assert result.status_code == 200


@NAMES
async def test_change_without_a_tag_is_409(api: Api, name: str) -> None:
    path = (await api.store()).paths["studies"]
    await api.request("PUT", f"{path}/{name}", body=b"a")

    for method in ("PUT", "DELETE"):
        refused = await api.request(method, f"{path}/{name}", body=b"b")
        assert (refused.status_code, refused.json["OrthancStatus"]) == (409, 43)
        assert "If-Match" in refused.json["Details"]


@NAMES
async def test_deletion_without_a_tag_is_409_even_if_nothing_is_there(api: Api, name: str) -> None:
    path = (await api.store()).paths["studies"]

    refused = await api.request("DELETE", f"{path}/{name}")
    missing = await api.request("DELETE", f"{path}/{name}", headers={"If-Match": "0-x"})

    assert (refused.status_code, refused.json["OrthancStatus"]) == (409, 43)
    assert (missing.status_code, missing.json["OrthancStatus"]) == (404, 17)


@NAMES
async def test_change_with_the_present_tag_succeeds(api: Api, name: str) -> None:
    path = (await api.store()).paths["studies"]
    etag = (await api.request("PUT", f"{path}/{name}", body=b"a")).headers["etag"]

    changed = await api.request("PUT", f"{path}/{name}", body=b"b", headers={"If-Match": etag})
    stale = await api.request("DELETE", f"{path}/{name}", headers={"If-Match": etag})
    headers = {"If-Match": changed.headers["etag"]}
    removed = await api.request("DELETE", f"{path}/{name}", headers=headers)

    assert [r.status_code for r in (changed, stale, removed)] == [200, 409, 200]


async def test_changing_the_stored_form_needs_no_tag(api: Api) -> None:
    path = (await api.store()).paths["studies"] + "/attachments/1024"
    await api.request("PUT", path, body=b"a")
    assert (await api.request("POST", f"{path}/compress")).status_code == 200
