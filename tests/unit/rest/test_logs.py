"""How much is logged, over REST."""

import logging
from collections.abc import Iterator

import pytest
from tests.unit.rest.api import Api

from isocenter.logs import TRACE, Verbosity

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Behaviour manual §36.4.
CATEGORIES = ("generic", "plugins", "http", "sqlite", "dicom", "jobs", "lua")


@pytest.fixture(autouse=True)
def _restored(api: Api) -> Iterator[None]:
    yield
    api.services.logs.set_verbosity(Verbosity.DEFAULT)


async def set_level(api: Api, path: str, level: str) -> None:
    result = await api.request("PUT", path, body=level.encode())
    assert (result.status_code, result.content) == (200, b"")
    assert result.headers["content-type"] == "text/plain"


async def get_levels(api: Api) -> dict[str, str]:
    return {name: (await api.get(f"/tools/log-level-{name}")).text for name in CATEGORIES}


async def test_levels_are_default_at_first(api: Api) -> None:
    assert (await api.get("/tools/log-level")).text == "default"
    assert await get_levels(api) == dict.fromkeys(CATEGORIES, "default")


@pytest.mark.parametrize("level", ["verbose", "trace", "default"])
async def test_level_of_all_is_set_for_every_category(api: Api, level: str) -> None:
    await set_level(api, "/tools/log-level", level)
    assert (await api.get("/tools/log-level")).text == level
    assert await get_levels(api) == dict.fromkeys(CATEGORIES, level)


@pytest.mark.parametrize("category", CATEGORIES)
async def test_level_of_a_category_leaves_the_others(api: Api, category: str) -> None:
    await set_level(api, f"/tools/log-level-{category}", "verbose")
    expected = {name: "verbose" if name == category else "default" for name in CATEGORIES}
    assert await get_levels(api) == expected
    # As a whole the server logs as much as its most talkative part, as in Orthanc.
    assert (await api.get("/tools/log-level")).text == "verbose"


async def test_level_reaches_the_loggers(api: Api) -> None:
    # Whether another test of this process has set up the logs decides which it is.
    default = logging.getLogger("isocenter.archive.ingest").getEffectiveLevel()
    await set_level(api, "/tools/log-level-dicom", "verbose")
    await set_level(api, "/tools/log-level-http", "trace")
    levels = {
        name: logging.getLogger(f"isocenter.{name}").getEffectiveLevel()
        for name in ("scp.storage", "dimse.acceptor", "http.observing", "archive.ingest")
    }
    assert levels == {
        "scp.storage": logging.DEBUG,
        "dimse.acceptor": logging.DEBUG,
        "http.observing": TRACE,
        "archive.ingest": default,
    }


@pytest.mark.parametrize("body", [b"", b"Verbose", b" trace", b'"trace"', b"debug", b"\xff\xfe"])
async def test_other_levels_are_refused(api: Api, body: bytes) -> None:
    for path in ("/tools/log-level", "/tools/log-level-lua"):
        result = await api.request("PUT", path, body=body)
        assert (result.status_code, result.json["OrthancStatus"]) == (400, 3)
    assert (await api.get("/tools/log-level")).text == "default"


async def test_unknown_category_is_404(api: Api) -> None:
    for method in ("GET", "PUT"):
        result = await api.request(method, "/tools/log-level-nothing", body=b"trace")
        assert (result.status_code, result.json["OrthancStatus"]) == (404, 17)
