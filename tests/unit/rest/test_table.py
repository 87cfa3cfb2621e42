"""What holds for every route."""

import base64
import re
from functools import partial
from typing import Any

import pytest
from falcon.testing import Result
from tests.support.dicom_files import encode_element
from tests.support.server import SyntheticFile, build_synthetic
from tests.unit.rest.api import Api

from isocenter.config.remote_modalities import RemoteModality
from isocenter.config.routing_rules import RoutingRule
from isocenter.http.openapi import build_openapi
from isocenter.http.routes import Route
from isocenter.index.commitment_reports import StoredCommitment, add_commitment
from isocenter.index.port import Transaction
from isocenter.index.remote_queries import QueryLimits, StoredQuery, add_query, delete_query
from isocenter.rest.table import ROUTES, select_routes

UNKNOWN = "-".join(["11111111"] * 5)
EVERY_ROUTE = pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r.method} {r.path}")
# Routes of single jobs are tested in test_jobs.py, that which calls a peer in test_peers.py.
ELSEWHERE = ("{job_id}", "/peers/{name}/system")
READ_ROUTES = [
    r for r in ROUTES if r.method == "GET" and not any(part in r.path for part in ELSEWHERE)
]
EVERY_READ_ROUTE = pytest.mark.parametrize("route", READ_ROUTES, ids=lambda r: r.path)
# Orthanc answers 400 where the patient is unknown (behaviour manual §9.2); export is switched off
# unless the configuration says otherwise.
ODD = {"/patients/{public_id}/protected", "/instances/{public_id}/export"}
WITH_IDENTIFIER = [r for r in ROUTES if "{public_id}" in r.path and r.path not in ODD]
HOSTILE_IDENTIFIERS = ["%00", "%F0%9F%98%80", "x" * 5000, "..%2F..%2Fetc", "' OR 1"]
# Arguments without which a route has nothing to answer.
NEEDED = {
    "/tools/generate-uid": "?level=study",
    "/events": "?timeout=0",
    "/tools/create-archive": "?resources=",
    "/tools/create-media": "?resources=",
    "/tools/create-media-extended": "?resources=",
}
# Last parts of the addresses of questions that are asked with POST.
READING_POSTS = {"lookup", "archive", "create-archive", "verify-md5"}
READING_POSTS |= {"bulk-content", "find", "count-resources"}
READING_POSTS |= {"media", "create-media", "create-media-extended"}
# What stands for other parameters of a path.
PARAMETERS = {
    "{path}": "0010-0020",
    "{query_id}": "known",
    "{index}": "0",
    "{uid}": "1.2",
    "{rule}": "known",
}
METHODS = {"GET", "POST", "PUT", "DELETE"}
# What the templates in the ends of paths stand for.
NAMES = {"/metadata/{name}": "/metadata/1024", "/attachments/{name}": "/attachments/1024"}
NAMES["/labels/{label}"] = "/labels/label"
# Remote modalities have names, too.
MODALITY = ("/modalities/{name}", "/modalities/known")
PEER = ("/peers/{name}", "/peers/known")
WORKLIST = ("/worklists/{worklist_id}", "/worklists/known")

DOCUMENT = encode_element(0x00420011, "OB", b"%PDF") + encode_element(
    0x00420012, "LO", b"application/pdf "
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def build_target(route: Route, file: SyntheticFile | None) -> str:
    """Fill the identifier of the right level into the path."""
    level = route.path.split("/")[1]
    public_id = UNKNOWN if file is None else file.paths.get(level, "/").split("/")[-1]
    path = fill_names(route.path).replace("{public_id}", public_id)
    return path + NEEDED.get(route.path, "")


def fill_names(path: str) -> str:
    for template, name in (NAMES | PARAMETERS | dict([MODALITY, PEER, WORKLIST])).items():
        path = path.replace(template, name)
    return path


async def prepare(api: Api, route: Route) -> str:
    """Store what a route needs to have something to answer; give its target."""
    file = await api.store(build_synthetic(tail=DOCUMENT if route.path.endswith("/pdf") else b""))
    if route.path.startswith(MODALITY[0]):
        await api.request("PUT", MODALITY[1], body=b'["TITLE", "localhost", 104]')
    if route.path.startswith(PEER[0]):
        await api.request("PUT", PEER[1], body=b'["http://localhost/"]')
    if route.path.startswith("/queries/"):
        await keep_query(api)
    if route.path.startswith("/routing/"):
        await api.archive.remotes.modalities.put("known", RemoteModality("KNOWN", "localhost", 104))
        await api.archive.remotes.routing.put("known", RoutingRule("known"))
    if route.path.startswith(WORKLIST[0]):
        await api.request("PUT", WORKLIST[1], body=b'{"Tags": {}}')
    if route.path.startswith("/storage-commitment/"):
        stored = StoredCommitment("X", "Pending", '{"References": [], "Kept": [], "Failed": []}')
        keep = partial(add_commitment, transaction_uid="1.2", new=stored, kept=9, now_us=1)
        await api.archive.workers.write(keep)
    for template, name in NAMES.items():
        if template in route.path:
            folder = file.paths[route.path.split("/")[1]]
            result = await api.request("PUT", f"{folder}{name}", body=b"annotation")
            assert result.status_code == 200
    return build_target(route, file)


async def keep_query(api: Api) -> None:
    """Keep a query with one answer."""
    document = '{"Modality": "known", "Level": 1, "Values": {"1048592": ""}}'
    answer = base64.b64encode(build_synthetic().content).decode()
    query, limits = StoredQuery("known", document, 1), QueryLimits(count=9, age_us=1 << 60)

    def change(tx: Transaction) -> None:
        delete_query(tx, "known")
        add_query(tx, query, [answer], limits, now_us=1)

    await api.archive.workers.write(change)


def list_methods(path: str) -> set[str]:
    """List the methods that the table has for a path."""
    return {route.method for route in ROUTES if route.path == path}


def read_allowed(result: Result) -> set[str]:
    return {name.strip() for name in result.headers["allow"].split(",")}


@EVERY_READ_ROUTE
async def test_read_route_with_known_identifier_answers_what_its_record_says(
    api: Api, route: Route
) -> None:
    result = await api.get(await prepare(api, route))
    assert result.status_code == route.statuses[0]
    assert result.headers["content-type"].split(";")[0] == route.answer
    is_streamed = route.answer in {"application/zip", "text/event-stream"}
    assert is_streamed or int(result.headers["content-length"]) == len(result.content)


@EVERY_READ_ROUTE
async def test_head_answers_as_get_without_body(api: Api, route: Route) -> None:
    target = await prepare(api, route)
    read, head = await api.get(target), await api.request("HEAD", target)
    assert head.status_code == read.status_code
    assert head.content == b""
    varying = {"/tools/metrics-prometheus", "/tools/generate-uid"}
    if route.path not in varying:
        assert head.headers == read.headers


@EVERY_READ_ROUTE
async def test_trailing_slash_makes_no_difference(api: Api, route: Route) -> None:
    path, _, query = (await prepare(api, route)).partition("?")
    result = await api.get(f"{path.rstrip('/')}/?{query}")
    assert result.status_code == route.statuses[0]


@EVERY_ROUTE
async def test_wrong_method_is_405_with_allow_and_empty_body(api: Api, route: Route) -> None:
    for wrong in METHODS - list_methods(route.path):
        result = await api.request(wrong, build_target(route, None))
        assert result.status_code == 405
        assert list_methods(route.path) <= read_allowed(result)
        assert result.content == b""


@EVERY_ROUTE
async def test_options_lists_the_methods(api: Api, route: Route) -> None:
    result = await api.request("OPTIONS", build_target(route, None))
    assert result.status_code == 200
    assert list_methods(route.path) <= read_allowed(result)
    assert ("HEAD" in read_allowed(result)) == ("GET" in list_methods(route.path))
    assert result.content == b""


@pytest.mark.parametrize("route", WITH_IDENTIFIER, ids=lambda r: f"{r.method} {r.path}")
async def test_unknown_identifier_is_404(api: Api, route: Route) -> None:
    result = await api.request(route.method, build_target(route, None))
    assert result.status_code == 404
    is_deep = not route.path.endswith("{public_id}")
    assert bool(result.content) == is_deep
    if is_deep:
        is_attaching = (route.method, route.path.split("/")[-2]) == ("PUT", "attachments")
        is_item = is_attaching or route.path.endswith(("/archive", "/media"))
        assert result.json["OrthancStatus"] == (7 if is_item else 17)


@pytest.mark.parametrize("route", WITH_IDENTIFIER, ids=lambda r: f"{r.method} {r.path}")
@pytest.mark.parametrize(
    "public_id", ["%00", "%F0%9F%98%80", "x" * 5000, "..%2F..%2Fetc", "' OR 1"]
)
async def test_malformed_identifier_is_404(api: Api, route: Route, public_id: str) -> None:
    path = fill_names(route.path).replace("{public_id}", public_id)
    assert (await api.request(route.method, path)).status_code == 404


@EVERY_ROUTE
async def test_unknown_method_is_400_with_empty_body(api: Api, route: Route) -> None:
    result = await api.request("BREW", build_target(route, None))
    assert (result.status_code, result.content) == (400, b"")


async def test_identifier_of_another_level_is_404(api: Api) -> None:
    file = await api.store()
    assert (await api.get(f"/studies/{file.patient}")).status_code == 404
    assert (await api.request("DELETE", f"/series/{file.instance}")).status_code == 404
    assert (await api.get(f"/instances/{file.instance}")).status_code == 200


async def test_directory_answers_the_names_of_its_children(api: Api) -> None:
    names = {route.path.split("/")[2] for route in ROUTES if route.path.startswith("/tools/")}
    assert {"lookup", "now", "reset"} <= names
    assert await api.get_json("/tools") == sorted(names)
    assert (await api.request("HEAD", "/tools")).status_code == 200
    assert (await api.request("POST", "/tools")).status_code == 405


async def test_unknown_path_is_404_with_the_json_error(api: Api) -> None:
    for method in sorted(METHODS):
        result = await api.request(method, "/nowhere/at/all")
        assert result.status_code == 404
        assert result.json == {
            "Method": method,
            "Uri": "/nowhere/at/all",
            "HttpStatus": 404,
            "HttpError": "Not Found",
            "OrthancStatus": 17,
            "OrthancError": "Unknown resource",
            "Message": "Unknown resource",
        }


# The documentation.


def get_described(route: Route) -> dict[str, Any]:
    document = build_openapi(ROUTES, title="t", version="1")
    described: dict[str, Any] = document["paths"][route.path][route.method.lower()]
    return described


@EVERY_ROUTE
async def test_route_is_described_with_summary_parameters_and_statuses(route: Route) -> None:
    described = get_described(route)
    assert described["summary"][0].isupper()
    assert not described["summary"].endswith(".")
    assert described["tags"] == [route.area]
    in_path = [p["name"] for p in described["parameters"] if p["in"] == "path"]
    assert in_path == re.findall(r"{(\w+)}", route.path)
    in_query = {p["name"] for p in described["parameters"] if p["in"] == "query"}
    assert in_query == {argument.name for argument in route.arguments}
    statuses = {int(status) for status in described["responses"]}
    assert statuses >= {*route.statuses, 401, 500}
    assert described["x-permission"] == route.permission.value
    assert ("requestBody" in described) == (route.body is not None)


@EVERY_ROUTE
async def test_route_that_changes_something_needs_a_permission(route: Route) -> None:
    is_ours = not route.path.startswith("/modalities/")
    is_question = is_ours and route.path.split("/")[-1] in READING_POSTS
    is_reading = route.method == "GET" or is_question
    # Copies of instances are not stored.
    is_reading |= route.path in {
        "/instances/{public_id}/modify",
        "/instances/{public_id}/anonymize",
    }
    assert (route.permission.value == "read") == is_reading


async def test_no_route_is_listed_twice() -> None:
    keys = [(route.method, route.path) for route in ROUTES]
    assert len(set(keys)) == len(keys)


async def test_routes_without_the_level_of_patients_still_lead_to_the_patient() -> None:
    assert select_routes(has_patient_level=True) == ROUTES
    left = {route.path for route in select_routes(has_patient_level=False)}
    gone = {route.path for route in ROUTES} - left
    assert {path.split("/")[1] for path in gone} == {"patients"}
    assert not any(path.split("/")[1] == "patients" for path in left)
    assert "/studies/{public_id}/patient" in left
