"""Requests made up from the description of the API, right and wrong: no answer may surprise.

Schemathesis makes up the requests from ``/openapi.json`` of a running server. Identifiers of stored
resources are told to it, so that it does not only meet unknown ones.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.support.dicom_files import encode_element
from tests.support.server import TestServer, build_synthetic, run_server

from isocenter.http.routes import Route
from isocenter.rest.table import ROUTES

_EXAMPLES = 8
_SEED = 20260101
# They end the server; the answer of the last one has no end.
_LEFT_OUT = {"/tools/reset", "/tools/shutdown", "/events"}
# What a feature that is not there yet and a full disk are answered with.
_EXPECTED_FAILURES = {501, 507}
_CHECKS = (status_code_conformance, content_type_conformance, response_schema_conformance)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    options = {"StableAge": 3600, "UserMetadata": {"ward": 1024}}
    with run_server(tmp_path_factory.mktemp("fuzzed"), options) as opened:
        yield opened


@pytest.fixture(scope="module")
def schema(server: TestServer) -> Any:
    """Load the description of the running server."""
    described = server.get("/openapi.json").json()
    known = store_some(server)
    for path, operations in described["paths"].items():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                if parameter["in"] == "path" and parameter["name"] == "public_id":
                    some = known[path.split("/")[1]]
                    parameter["schema"] = {"anyOf": [{"enum": some}, {"type": "string"}]}
            content = operation.get("requestBody", {}).get("content", {})
            if "application/dicom" in content:
                # Schemathesis knows no way to write this one.
                content["application/octet-stream"] = content.pop("application/dicom")
    return schemathesis.openapi.from_dict(described)


def store_some(server: TestServer) -> dict[str, list[str]]:
    """Store some instances; gives the identifiers of each level."""
    pixels = encode_element(0x7FE00010, "OW", bytes(range(256)))
    files = [server.store(build_synthetic(tail=pixels)) for _ in range(5)]
    levels = files[0].paths
    return {level: [file.paths[level].split("/")[-1] for file in files] for level in levels}


def _list_cases() -> Iterator[Any]:
    """List the routes; wrong requests can be made up where there is something to get wrong."""
    for route in ROUTES:
        if route.path in _LEFT_OUT:
            continue
        for mode in GenerationMode:
            if mode.is_positive or route.arguments or route.body_schema:
                yield pytest.param(route, mode, id=f"{route.method} {route.path} {mode.value}")


@pytest.mark.parametrize(("route", "mode"), list(_list_cases()))
def test_no_request_is_answered_otherwise_than_described(
    server: TestServer, schema: Any, route: Route, mode: GenerationMode
) -> None:
    operation = schema[route.path][route.method]

    @seed(_SEED)
    @settings(
        max_examples=_EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        answer = case.call(base_url=f"http://127.0.0.1:{server.http_port}", timeout=30)
        if answer.status_code not in _EXPECTED_FAILURES:
            case.validate_response(answer, checks=[not_a_server_error, *_CHECKS])
        else:
            case.validate_response(answer, checks=_CHECKS)

    ask()
