"""From a table of routes to an application."""

from collections.abc import Sequence
from typing import Any

import falcon.asgi
import pytest
from falcon.testing import ASGIConductor, Result

from isocenter.http.answers import answer_text
from isocenter.http.application import build_application
from isocenter.http.error_answers import ErrorAnswers
from isocenter.http.exchange import Request, Response
from isocenter.http.routes import Route


async def tell(services: str, req: Request, resp: Response, **parameters: str) -> None:
    """Answer what arrived."""
    answer_text(resp, f"{services} {req.method} {req.path} {sorted(parameters.items())}")


ROUTES = [
    Route("GET", "/things", tell, "List", "things"),
    Route("POST", "/things", tell, "Add", "things"),
    Route("GET", "/things/{name}", tell, "Read", "things"),
    Route("PUT", "/things/{name}", tell, "Write", "things"),
    Route("DELETE", "/things/{name}", tell, "Delete", "things"),
    Route("POST", "/actions/go", tell, "Go", "actions"),
    Route("GET", "/things/{name}/parts/{part}", tell, "Read", "things"),
]


async def ask(
    method: str, path: str, query: str = "", *, middleware: Sequence[Any] = (), **headers: str
) -> Result:
    application = build_application(
        ROUTES, "services", middleware=middleware, errors=ErrorAnswers(has_bodies=True)
    )
    async with ASGIConductor(application) as conductor:
        result = await conductor.simulate_request(method, path, query_string=query, headers=headers)
    assert isinstance(result, Result)
    return result


async def test_responder_gets_services_and_parameters() -> None:
    result = await ask("GET", "/things/a/parts/b")
    assert result.text == "services GET /things/a/parts/b [('name', 'a'), ('part', 'b')]"


async def test_parameter_is_decoded_and_holds_no_slash() -> None:
    assert "('name', 'a b')" in (await ask("GET", "/things/a%20b")).text
    assert (await ask("GET", "/things/a/b")).status_code == 404


@pytest.mark.parametrize("path", ["/things/", "/things/a/"])
async def test_trailing_slash_is_dropped(path: str) -> None:
    assert f"GET {path[:-1]} " in (await ask("GET", path)).text


async def test_directory_lists_names_and_takes_no_other_method() -> None:
    result = await ask("GET", "/actions")
    assert result.json == ["go"]
    assert (await ask("GET", "/things/a/parts")).json == []
    refused = await ask("DELETE", "/actions")
    assert (refused.status_code, refused.content) == (405, b"")
    assert "GET" in refused.headers["allow"]


async def test_head_is_answered_where_get_is() -> None:
    result = await ask("HEAD", "/things")
    assert (result.status_code, result.content) == (200, b"")
    assert int(result.headers["content-length"]) > 0
    assert (await ask("HEAD", "/actions/go")).status_code == 405


@pytest.mark.parametrize(("value", "method"), [("put", "PUT"), ("DELETE", "DELETE")])
async def test_method_is_overridden_by_argument_on_get_and_by_header_on_all(
    value: str, method: str
) -> None:
    assert f" {method} " in (await ask("GET", "/things/a", f"_method={value}")).text
    for sent in ("GET", "POST", "PUT"):
        result = await ask(sent, "/things/a", **{"X-HTTP-Method-Override": value})
        assert f" {method} " in result.text
    assert "POST" in (await ask("POST", "/things", f"_method={value}")).text


@pytest.mark.parametrize("value", ["", "get", "post", "head", "patch", "options", "del ete"])
async def test_other_overriding_values_are_400_without_body(value: str) -> None:
    result = await ask("GET", "/things/a", f"_method={value.replace(' ', '+')}")
    assert (result.status_code, result.content) == (400, b"")


async def test_overridden_method_that_the_path_lacks_is_405() -> None:
    assert (await ask("GET", "/things", "_method=delete")).status_code == 405


async def test_unknown_method_is_400_without_body() -> None:
    result = await ask("BREW", "/things")
    assert (result.status_code, result.content) == (400, b"")


async def test_middleware_sees_unknown_paths_too() -> None:
    class Count:
        seen = 0

        async def process_request(self, *_: object) -> None:
            self.seen += 1

    count = Count()
    for path in ("/things", "/nowhere", "/actions"):
        await ask("GET", path, middleware=[count])
    assert count.seen == 3


async def test_middleware_that_refuses_comes_before_the_route() -> None:
    class Refuse:
        async def process_request(self, *_: object) -> None:
            raise falcon.HTTPForbidden

    result = await ask("GET", "/nowhere", middleware=[Refuse()])
    assert (result.status_code, result.content) == (403, b"")


@pytest.mark.parametrize("path", ["/../etc/passwd", "/things/../a", "/%2F%2F", "/%00", "/things/%"])
async def test_odd_paths_are_no_bugs(path: str) -> None:
    result = await ask("GET", path)
    assert result.status_code in {200, 400, 404}


@pytest.mark.parametrize("path", ["//things/a", "/things//a", "/things/a//", "///things///a"])
async def test_repeated_slashes_count_once(path: str) -> None:
    assert "GET /things/a " in (await ask("GET", path)).text
