"""The routes that are marked as immediate are answered without waiting, as Falcon answers them."""

import asyncio

import pytest
from tests.unit.rest.api import Api
from tests.unit.rest.test_table import prepare

from isocenter.http.direct import DirectAnswers
from isocenter.http.immediate_routes import ImmediateRoutes
from isocenter.http.repeated import RepeatedAnswers
from isocenter.http.routes import Route
from isocenter.rest.table import ROUTES

IMMEDIATE_ROUTES = [route for route in ROUTES if route.is_immediate]
EVERY_IMMEDIATE_ROUTE = pytest.mark.parametrize("route", IMMEDIATE_ROUTES, ids=lambda r: r.path)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def build_directly(api: Api, target: str) -> bytes | None:
    """Build an answer as a connection does: in a callback of the event loop, outside of a task."""
    observer = api.services.metrics.observer
    answers = DirectAnswers(
        ImmediateRoutes(ROUTES, api.services), [observer], RepeatedAnswers(lambda: 0)
    )
    loop = asyncio.get_running_loop()
    built: asyncio.Future[bytes | None] = loop.create_future()

    def build() -> None:
        answer = answers.build(target.encode(), {b"host": b"h"}, "127.0.0.1")
        built.set_result(None if answer is None else bytes(answer.body))  # type: ignore[arg-type]

    loop.call_soon(build)
    return await built


async def test_immediate_routes_only_read() -> None:
    assert IMMEDIATE_ROUTES
    assert {route.method for route in IMMEDIATE_ROUTES} == {"GET"}


@EVERY_IMMEDIATE_ROUTE
async def test_immediate_route_answers_directly_what_the_application_answers(
    api: Api, route: Route
) -> None:
    target = await prepare(api, route)
    # Tags that have to be parsed from a file without pixel data are at hand once they were asked.
    expected = (await api.get(target)).content
    assert await build_directly(api, target) == expected


@EVERY_IMMEDIATE_ROUTE
async def test_immediate_route_leaves_bad_arguments_to_the_application(
    api: Api, route: Route
) -> None:
    target = await prepare(api, route)
    for argument in ("requested-tags=x", "transcode=1", "full=7", "whole=7", "type=x", "limit=-1"):
        result = await api.get(f"{target}?{argument}")
        if result.status_code != 200:
            assert await build_directly(api, f"{target}?{argument}") is None


@pytest.mark.parametrize("level", ["patients", "studies", "series", "instances"])
async def test_expanded_list_is_answered_directly_while_it_is_short(api: Api, level: str) -> None:
    await api.store()
    target = f"/{level}?expand"
    assert await build_directly(api, target) == (await api.get(target)).content


async def test_expanded_list_is_left_to_the_application_when_it_is_long(api: Api) -> None:
    for _ in range(51):
        await api.store()
    assert await build_directly(api, "/studies?expand") is None
    assert await build_directly(api, "/instances?expand&since=0&limit=51") is None
    assert await build_directly(api, "/instances?expand&since=1&limit=50") is not None
    assert await build_directly(api, "/studies") is not None


async def test_long_page_of_changes_is_left_to_the_application(api: Api) -> None:
    assert await build_directly(api, "/changes?limit=100000") is None
