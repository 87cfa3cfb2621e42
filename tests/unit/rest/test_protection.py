"""Protection of patients."""

import pytest
from tests.unit.rest.api import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_protection_is_0_until_it_is_set(api: Api) -> None:
    file = await api.store()
    target = f"/patients/{file.patient}/protected"

    before = await api.get(target)
    written = await api.request("PUT", target, body=b"1")
    after = await api.get(target)

    assert (before.content, after.content) == (b"0", b"1")
    assert after.headers["content-type"] == "text/plain"
    assert (written.status_code, written.content) == (200, b"")


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b"1", b"1"), (b"true", b"1"), (b" 1\r\n", b"1"), (b"0", b"0"), (b"false", b"0")],
)
async def test_protection_takes_booleans(api: Api, body: bytes, expected: bytes) -> None:
    file = await api.store()
    target = f"/patients/{file.patient}/protected"
    await api.request("PUT", target, body=b"0" if expected == b"1" else b"1")

    assert (await api.request("PUT", target, body=body)).status_code == 200

    assert (await api.get(target)).content == expected


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        *((body, 400, 15) for body in (b"", b"2", b"True", b'"1"', b"yes", b"\xff\xfe", b"1 0")),
        (b"1" * 2000, 413, 8),
    ],
)
async def test_protection_refuses_everything_else(
    api: Api, body: bytes, status: int, code: int
) -> None:
    file = await api.store()

    result = await api.request("PUT", f"/patients/{file.patient}/protected", body=body)

    assert (result.status_code, result.json["OrthancStatus"]) == (status, code)
    assert (await api.get(f"/patients/{file.patient}/protected")).content == b"0"


@pytest.mark.parametrize("name", ["nobody", "%00", "%F0%9F%98%80", "x" * 5000])
async def test_protection_of_an_unknown_patient_is_a_wrong_parameter(api: Api, name: str) -> None:
    for method in ("GET", "PUT"):
        result = await api.request(method, f"/patients/{name}/protected", body=b"1")
        assert (result.status_code, result.json["OrthancStatus"]) == (400, 3)


async def test_protection_of_another_level_is_a_wrong_parameter(api: Api) -> None:
    file = await api.store()
    result = await api.get(f"/patients/{file.study}/protected")
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 3)
    assert (await api.get(f"/studies/{file.study}/protected")).status_code == 404
