"""The generated description of the API, checked against what OpenAPI 3.1 asks."""

import json
import re
from typing import Any

import pytest

from isocenter.http.openapi import build_openapi
from isocenter.http.routes import Argument, Permission, Route
from isocenter.rest.table import ROUTES

DOCUMENT = json.loads(json.dumps(build_openapi(ROUTES, title="Isocenter", version="1.2.3")))
OPERATIONS = [
    (path, method, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]
EVERY_OPERATION = pytest.mark.parametrize(
    ("path", "method", "operation"),
    OPERATIONS,
    ids=lambda part: part if isinstance(part, str) else "",
)
MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+")


def test_document_has_the_required_fields_and_no_unknown_ones() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert set(DOCUMENT) == {"openapi", "info", "paths", "components", "security"}
    assert {"title", "version"} <= set(DOCUMENT["info"])
    assert all(path.startswith("/") for path in DOCUMENT["paths"])


def test_every_route_appears_once() -> None:
    listed = [(method.upper(), path) for path, method, _ in OPERATIONS]
    assert sorted(listed) == sorted((route.method, route.path) for route in ROUTES)


def test_operation_identifiers_are_unique() -> None:
    identifiers = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(identifiers)) == len(identifiers)
    assert all(re.fullmatch(r"\w+", identifier) for identifier in identifiers)


@EVERY_OPERATION
def test_operation_is_described_structurally_right(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    assert method in {"get", "post", "put", "delete"}
    known = {"summary", "operationId", "tags", "parameters", "responses", "x-permission"}
    assert known <= set(operation) <= known | {"description", "requestBody"}
    keys = [(parameter["name"], parameter["in"]) for parameter in operation["parameters"]]
    assert len(set(keys)) == len(keys)
    templates = set(re.findall(r"{(\w+)}", path))
    assert {name for name, place in keys if place == "path"} == templates
    for parameter in operation["parameters"]:
        assert parameter["schema"]
        assert parameter["in"] != "path" or parameter["required"] is True
        # Only arguments of the query may be empty (OpenAPI 3.1.0 §4.8.12.2).
        assert parameter["in"] == "query" or "allowEmptyValue" not in parameter


@EVERY_OPERATION
def test_answers_have_a_description_and_media_types(
    path: str, method: str, operation: dict[str, Any]
) -> None:
    assert any(status < "400" for status in operation["responses"])
    for status, answer in operation["responses"].items():
        assert re.fullmatch(r"[1-5]\d\d", status)
        assert answer["description"]
        for media_type in answer.get("content", {}):
            assert MEDIA_TYPE.fullmatch(media_type), (path, method)


def test_references_lead_somewhere() -> None:
    for reference in set(re.findall(r'"\$ref": "(.*?)"', json.dumps(DOCUMENT))):
        place: Any = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]
        assert place


async def respond() -> None:
    """Answer nothing; never called."""


def test_permission_details_body_and_arguments_are_told() -> None:
    route = Route(
        "PUT",
        "/a-b/{name}",
        respond,
        "Set it",
        "area",
        permission=Permission.ADMINISTER,
        arguments=(Argument("flag", "flag", "A flag."), Argument("n", "integer", "A number.")),
        body="text/plain",
        answer="text/plain",
        statuses=(200, 206, 304, 404),
        details="More.",
        body_schema={"enum": ["a"]},
        answer_schema={"maxLength": 3},
        other_answers=("application/json",),
    )
    document = build_openapi([route], title="t", version="1")
    operation = document["paths"]["/a-b/{name}"]["put"]
    assert operation["operationId"] == "put_a_b_name"
    assert operation["description"] == "More. Needs the permission to administer."
    assert operation["requestBody"]["content"] == {"text/plain": {"schema": {"enum": ["a"]}}}
    success = operation["responses"]["200"]["content"]
    assert success == {"text/plain": {"schema": {"maxLength": 3}}, "application/json": {}}
    flag, number = operation["parameters"][1:]
    assert (flag["allowEmptyValue"], number["allowEmptyValue"]) == (True, False)
    answers = operation["responses"]
    assert "content" not in answers["304"]
    assert list(answers["206"]["content"]) == ["application/octet-stream"]
    assert list(answers["404"]["content"]) == ["application/json", "text/plain"]
