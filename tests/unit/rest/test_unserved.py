"""Paths of Orthanc that are known and not served."""

import pytest
from falcon.testing import ASGIConductor
from tests.unit.rest.api import Api

from isocenter.http.application import build_application
from isocenter.http.error_answers import ErrorAnswers
from isocenter.rest.table import ROUTES
from isocenter.rest.unserved import UNSERVED

pytestmark = pytest.mark.asyncio(loop_scope="module")


TARGETS = [
    (path.replace("{public_id}", "a").replace("{path}", "b/c"), reason)
    for path, reason in UNSERVED.items()
]


@pytest.mark.parametrize(("target", "reason"), TARGETS)
async def test_unserved_path_tells_why_whatever_the_method(
    api: Api, target: str, reason: str
) -> None:
    application = build_application(
        ROUTES, api.services, middleware=[], errors=ErrorAnswers(has_bodies=True), unserved=UNSERVED
    )
    async with ASGIConductor(application) as conductor:
        for method in ("GET", "POST", "PUT", "DELETE"):
            result = await conductor.simulate_request(method, target)
            assert (result.status_code, result.json["OrthancStatus"]) == (501, 2)
            assert result.json["Details"] == reason
        head = await conductor.simulate_request("HEAD", f"{target}/")
        assert (head.status_code, head.content) == (501, b"")


@pytest.mark.parametrize("path", UNSERVED)
async def test_unserved_path_is_really_not_served(path: str) -> None:
    root = path.removesuffix("/{path}")
    assert not [r.path for r in ROUTES if r.path == root or r.path.startswith(f"{root}/")]
