"""Identifiers, time, the cache of tags, the life of the server."""

import re
import uuid

import pytest
from tests.support.server import build_synthetic
from tests.unit.rest.api import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")
TIMESTAMP = re.compile(r"\d{8}T\d{6}")


async def test_lookup_finds_each_level_by_its_identifier(api: Api) -> None:
    file = await api.store()
    study, series, instance = file.uids
    for text, level, kind in [
        (file.patient_id, "patients", "Patient"),
        (study, "studies", "Study"),
        (series, "series", "Series"),
        (instance, "instances", "Instance"),
    ]:
        path = file.paths[level]
        found = await api.request("POST", "/tools/lookup", body=text.encode())
        assert found.status_code == 200
        assert found.json == [{"ID": path.split("/")[-1], "Path": path, "Type": kind}]


async def test_lookup_ignores_case_and_blanks_around(api: Api) -> None:
    file = await api.store(build_synthetic(patient_id="P-Lookup"))
    result = await api.request("POST", "/tools/lookup", body=b"  p-lookUP \n")
    assert [found["ID"] for found in result.json] == [file.patient]


async def test_lookup_answers_all_resources_with_the_identifier(api: Api) -> None:
    first = await api.store(build_synthetic(study="1.2.77"))
    second = await api.store(build_synthetic(study="1.2.77"))
    result = await api.request("POST", "/tools/lookup", body=b"1.2.77")
    assert {found["ID"] for found in result.json} == {first.study, second.study}


@pytest.mark.parametrize("body", [b"", b" ", b"nobody", b"%", b"*", b"\0", "Ü".encode()])
async def test_lookup_of_nothing_is_empty(api: Api, body: bytes) -> None:
    await api.store()
    result = await api.request("POST", "/tools/lookup", body=body)
    assert (result.status_code, result.json) == (200, [])


async def test_lookup_that_is_no_text_is_400(api: Api) -> None:
    result = await api.request("POST", "/tools/lookup", body=b"\xff\xfe")
    assert (result.status_code, result.json["OrthancStatus"]) == (400, 3)


async def test_lookup_with_a_huge_body_is_413(api: Api) -> None:
    result = await api.request("POST", "/tools/lookup", body=b"x" * 5000)
    assert result.status_code == 413


@pytest.mark.parametrize("level", ["study", "series", "instance"])
async def test_generated_uid_is_a_new_dicom_uid(api: Api, level: str) -> None:
    one, other = [await api.get(f"/tools/generate-uid?level={level}") for _ in range(2)]
    assert one.headers["content-type"] == "text/plain"
    assert re.fullmatch(r"[0-2](\.(0|[1-9]\d*))+", one.text)
    assert len(one.text) <= 64
    assert one.text != other.text


async def test_generated_identifier_of_a_patient_is_a_uuid(api: Api) -> None:
    result = await api.get("/tools/generate-uid?level=patient")
    assert str(uuid.UUID(result.text)) == result.text


@pytest.mark.parametrize("query", ["", "?level", "?level=Study", "?level=hospital"])
async def test_generated_uid_of_no_level_is_404_without_body(api: Api, query: str) -> None:
    result = await api.get(f"/tools/generate-uid{query}")
    assert (result.status_code, result.content) == (404, b"")


@pytest.mark.parametrize("path", ["/tools/now", "/tools/now-local"])
async def test_now_is_a_plain_timestamp(api: Api, path: str) -> None:
    result = await api.get(path)
    assert result.headers["content-type"] == "text/plain"
    assert TIMESTAMP.fullmatch(result.text)


@pytest.mark.parametrize(("path", "end"), [("reset", "restart"), ("shutdown", "stop")])
async def test_end_of_the_server_is_asked_for_and_answered(api: Api, path: str, end: str) -> None:
    result = await api.request("POST", f"/tools/{path}", body=b"")
    assert (result.status_code, result.json) == (200, {})
    assert api.ends == [end]


async def test_invalidated_tags_are_read_again(api: Api) -> None:
    file = await api.store()
    before = await api.get_json(f"/instances/{file.instance}/tags")
    assert api.archive.tags.get_statistics().count == 1
    result = await api.request("POST", "/tools/invalidate-tags")
    assert (result.status_code, result.content) == (200, b"")
    statistics = api.archive.tags.get_statistics()
    assert statistics.count == statistics.size_bytes == 0
    assert await api.get_json(f"/instances/{file.instance}/tags") == before
