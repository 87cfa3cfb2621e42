"""Many resources described in one call."""

from typing import Any

import pytest
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api

from isocenter.rest import resource_answers

pytestmark = pytest.mark.asyncio(loop_scope="module")
LEVELS = ["patients", "studies", "series", "instances"]


async def store_tree(api: Api) -> list[SyntheticFile]:
    """Store two patients; the first has two studies, and its first study two series."""
    named = [("P", "1.2", "1.2.1"), ("P", "1.2", "1.2.2"), ("P", "1.3", "1.3.1"), ("Q", "1.4", "")]
    return [
        await api.store(build_synthetic(patient_id=patient, study=study, series=series))
        for patient, study, series in named
    ]


async def describe(api: Api, **body: object) -> Any:
    result = await api.request("POST", "/tools/bulk-content", json=body)
    assert result.status_code == 200, result.text
    return result.json


async def test_resources_of_any_level_come_in_the_order_of_the_call(api: Api) -> None:
    [file, *_] = await store_tree(api)
    named = [file.study, "nobody", file.instance, file.patient, "\0", file.instance, file.series]
    expected = [await api.get_json(path) for path in file.paths.values()]
    by_id = {one["ID"]: one for one in expected}

    found = await describe(api, Resources=named, Metadata=False)

    assert found == [by_id[public_id] for public_id in named if public_id in by_id]


async def test_metadata_are_shown_unless_refused(api: Api) -> None:
    [file, *_] = await store_tree(api)
    (with_metadata,) = await describe(api, Resources=[file.instance])
    (without,) = await describe(api, Resources=[file.instance], Metadata=False)
    assert with_metadata.pop("Metadata")["Origin"] == "RestApi"
    assert with_metadata == without


@pytest.mark.parametrize(
    ("level", "key"),
    [
        ("Patient", "patients"),
        ("patients", "patients"),
        ("STUDY", "studies"),
        ("Studies", "studies"),
        ("Series", "series"),
        ("Instance", "instances"),
        ("Instances", "instances"),
    ],
)
async def test_level_asks_for_what_lies_above_and_below_each_once(
    api: Api, level: str, key: str
) -> None:
    files = await store_tree(api)
    named = [files[0].patient, files[0].instance, files[1].series, files[3].study]
    found = await describe(api, Resources=named, Level=level, Metadata=False)
    assert found == await api.get_json(f"/{key}?expand")


async def test_shape_is_that_of_the_body(api: Api) -> None:
    [file, *_] = await store_tree(api)
    for body, query in (
        ({"Short": True}, "short"),
        ({"Full": True}, "full"),
        ({"Full": True, "Simplify": True}, "simplify"),
    ):
        (one,) = await describe(api, Resources=[file.study], Metadata=False, **body)
        assert one == await api.get_json(f"/studies/{file.study}?{query}")


async def test_long_answer_comes_in_pages(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    files = await store_tree(api)
    named = [public_id for file in files for public_id in (file.instance, file.study, file.patient)]
    whole = await describe(api, Resources=named)
    monkeypatch.setattr(resource_answers, "_PAGE", 2)
    assert await describe(api, Resources=named) == whole


@pytest.mark.parametrize("most", [0, 1, 2, 100])
async def test_answer_with_many_children_comes_in_parts(
    api: Api, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    files = await store_tree(api)
    named = [files[3].instance, files[0].patient, files[0].patient, files[0].study, files[1].series]
    whole = await describe(api, Resources=named)
    monkeypatch.setattr(resource_answers, "_MOST_CHILDREN", most)
    assert await describe(api, Resources=named) == whole


@pytest.mark.parametrize("body", [{"Resources": []}, {"Resources": [], "Level": "Study"}])
async def test_nothing_asked_is_nothing_answered(api: Api, body: Any) -> None:
    assert await describe(api, **body) == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 8),
        (b"[]", 8),
        (b"x", 8),
        (b"\xff", 8),
        (b"{}", 15),
        (b'{"Resources": "x"}', 15),
        (b'{"Resources": [1]}', 15),
        (b'{"Resources": {}}', 15),
        (b'{"Resources": null}', 15),
        (b'{"Resources": [], "Level": 1}', 15),
        (b'{"Resources": [], "Level": null}', 15),
        (b'{"Resources": [], "Level": "x"}', 3),
        (b'{"Resources": [], "Metadata": 1}', 15),
        (b'{"Resources": [], "Short": "true"}', 15),
    ],
)
async def test_wrong_body_is_400(api: Api, body: bytes, code: int) -> None:
    result = await api.request("POST", "/tools/bulk-content", body=body)
    assert (result.status_code, result.json["OrthancStatus"]) == (400, code)
