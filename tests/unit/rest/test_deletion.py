"""Deletion of many resources at once."""

import json
from typing import Any

import pytest
from tests.unit.rest.api import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")
UNKNOWN = "-".join(["11111111"] * 5)
WRONG: tuple[Any, ...] = (
    *(None, 1, "x", {}, [1], [None], [[]], [{}], ["x", 3]),
    *([{"Level": "Study"}], [{"ID": "x"}], [{"Level": 1, "ID": "x"}]),
    [{"Level": "Study", "ID": 1}],
)


async def delete(api: Api, *resources: Any) -> None:
    body = json.dumps({"Resources": resources}).encode()
    result = await api.request("POST", "/tools/bulk-delete", body=body)
    assert (result.status_code, result.content) == (200, b"")
    assert result.headers["content-type"] == "text/plain"


async def test_bulk_delete_takes_identifiers_of_any_level(api: Api) -> None:
    files = [await api.store() for _ in range(5)]

    await delete(api, files[0].patient, files[1].study, files[2].series, files[3].instance)

    assert await api.get_json("/patients") == [files[4].patient]


async def test_bulk_delete_takes_objects_with_their_level(api: Api) -> None:
    files = [await api.store() for _ in range(3)]

    await delete(
        api,
        {"Level": "Patient", "ID": files[0].patient},
        {"Level": "Series", "ID": files[1].series, "Comment": "ignored"},
        {"Level": "Study", "ID": files[2].patient},
    )

    assert await api.get_json("/patients") == [files[2].patient]


@pytest.mark.parametrize(
    "resource", [UNKNOWN, "", "x", '"', "\0", "%", "\N{GRINNING FACE}", "x" * 100_000, "é" * 44]
)
async def test_bulk_delete_skips_what_is_unknown(api: Api, resource: str) -> None:
    file = await api.store()
    other = await api.store()

    await delete(api, resource, {"Level": "Study", "ID": resource}, other.study)

    assert await api.get_json("/patients") == [file.patient]


async def test_bulk_delete_of_nothing_does_nothing(api: Api) -> None:
    file = await api.store()
    await delete(api)
    assert await api.get_json("/patients") == [file.patient]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        *((body, 8) for body in (b"", b"x", b"[]", b'"x"', b"1", b"null", b"{}", b"\xff", b"{")),
        (b'{"resources": []}', 8),
        (b"[" * 100_000, 8),
        *((json.dumps({"Resources": value}).encode(), 15) for value in WRONG),
        (b'{"Resources": [{"Level": "study", "ID": "x"}]}', 3),
        (b'{"Resources": [{"Level": "Job", "ID": "x"}]}', 3),
    ],
)
async def test_bulk_delete_refuses_other_bodies_and_deletes_nothing(
    api: Api, body: bytes, code: int
) -> None:
    file = await api.store()

    result = await api.request("POST", "/tools/bulk-delete", body=body)

    assert (result.status_code, result.json["OrthancStatus"]) == (400, code)
    assert await api.get_json("/patients") == [file.patient]


async def test_bulk_delete_with_a_wrong_entry_deletes_nothing(api: Api) -> None:
    file = await api.store()
    body = json.dumps({"Resources": [file.patient, 3]}).encode()

    result = await api.request("POST", "/tools/bulk-delete", body=body)

    assert result.status_code == 400
    assert await api.get_json("/patients") == [file.patient]
