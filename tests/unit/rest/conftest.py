"""The REST API in process: one for each module, emptied after each test."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.unit.rest.api import Api, open_api


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    """Give the options of the server; a test module may override this."""
    return {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_api(
    tmp_path_factory: pytest.TempPathFactory, options: dict[str, object]
) -> AsyncIterator[Api]:
    """Give the API that the tests of a module take in turn."""
    async with open_api(tmp_path_factory.mktemp("api"), options) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def api(shared_api: Api) -> AsyncIterator[Api]:
    """Give the API with an empty archive."""
    yield shared_api
    await shared_api.empty()
