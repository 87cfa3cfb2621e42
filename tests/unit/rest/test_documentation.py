"""The API's own description, and its page."""

import re

import pytest
from tests.unit.rest.api import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_root_redirects_relatively(api: Api) -> None:
    result = await api.get("/")
    assert result.status_code == 307
    assert result.headers["location"] == "api.html"
    assert result.content == b""


async def test_page_loads_nothing_from_elsewhere(api: Api) -> None:
    result = await api.get("/api.html")
    assert result.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in result.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in result.headers["content-security-policy"]
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", result.text)


async def test_description_is_answered_as_json(api: Api) -> None:
    assert await api.get_json("/openapi.json") == {}
