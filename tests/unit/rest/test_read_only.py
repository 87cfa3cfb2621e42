"""The routes of a server that changes nothing."""

from pathlib import Path
from typing import Any

import pytest
from falcon.asgi import Request, Response
from tests.unit.rest.api import open_api

from isocenter.errors import ReadOnlyError
from isocenter.http.openapi import build_openapi
from isocenter.http.routes import Permission, Route, list_directories
from isocenter.rest.read_only import build_read_only_routes
from isocenter.rest.table import ROUTES
from isocenter.storage.memory import MemoryStorage

BY_KEY = {(route.method, route.path): route for route in build_read_only_routes(ROUTES)}
# Written from the manual: what changes nothing that is stored.
HARMLESS = {
    ("POST", "/tools/bulk-content"),
    ("POST", "/tools/lookup"),
    ("POST", "/tools/reset"),
    ("POST", "/tools/shutdown"),
    ("POST", "/tools/invalidate-tags"),
    ("POST", "/instances/{public_id}/modify"),
    ("POST", "/instances/{public_id}/anonymize"),
}
# What remote systems are asked to do changes nothing here.
REMOTE = ("/modalities/", "/peers/", "/tools/dicom-echo", "/routing/test")
SETTINGS = (
    *REMOTE,
    *("/tools/accepted-transfer-syntaxes", "/tools/default-encoding", "/tools/invalidate-tags"),
    *("/tools/log-level", "/tools/metrics", "/tools/unknown-sop-class-accepted"),
)
HARMLESS_ENDS: tuple[str, ...] = ("/archive", "/create-archive", "/verify-md5")
HARMLESS_ENDS += ("/bulk-content", "/find", "/count-resources", "/export")
HARMLESS_ENDS += ("/media", "/create-media", "/create-media-extended")
# Answers of remote systems are kept in the database.
KEEPING = ("/query", "/move", "/get", "/retrieve", "/storage-commitment")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_read_only_routes_refuse_what_changes_the_archive(route: Route) -> None:
    key = (route.method, route.path)
    left = BY_KEY.get(key)
    is_harmless = key in HARMLESS or route.path.endswith(HARMLESS_ENDS)
    # An output of a job is a stored file, and a job that begins again may make some.
    is_job = route.path.startswith("/jobs/")
    is_job = is_job and not route.path.endswith(("{key}", "/resubmit", "/retry-failed"))
    is_setting = route.path.startswith(SETTINGS) and not route.path.endswith(KEEPING)
    if route.method == "GET" or is_harmless or is_job or is_setting:
        assert left is route
    elif left is not None:
        assert ("GET", route.path) in BY_KEY
        with pytest.raises(ReadOnlyError):
            await left.responder(None, None, None, public_id="x")
        assert left.statuses == (403,)


async def test_read_only_server_makes_no_archives_by_jobs(tmp_path: Path) -> None:
    storage = MemoryStorage()
    async with open_api(tmp_path, {}, storage=storage) as api:
        study = (await api.store()).study
    async with open_api(tmp_path, {"ReadOnly": True}, storage=storage) as api:
        target = f"/studies/{study}/archive"
        result = await api.request("POST", target, body=b'{"Asynchronous": true}')
        assert result.status_code == 403
        assert await api.get_json("/jobs") == []
        assert (await api.request("POST", target, body=b"{}")).status_code == 200


@pytest.mark.parametrize("path", ["/tools/bulk-delete", "/studies/{public_id}/modify"])
def test_read_only_routes_leave_out_paths_that_only_write(path: str) -> None:
    assert not [key for key in BY_KEY if key[1] == path]
    assert path not in list_directories(BY_KEY.values())
    assert path not in build_openapi(tuple(BY_KEY.values()), title="t", version="1")["paths"]


async def respond(_: Any, __: Request, ___: Response) -> None:
    """Stand for a responder."""


@pytest.mark.parametrize(
    ("permission", "is_writing", "expected"),
    [
        (Permission.READ, None, False),
        (Permission.WRITE, None, True),
        (Permission.ADMINISTER, None, False),
        (Permission.ADMINISTER, True, True),
        (Permission.WRITE, False, False),
    ],
)
def test_route_changes_the_archive_by_permission_or_by_its_word(
    permission: Permission, is_writing: bool | None, expected: bool
) -> None:
    route = Route(
        "POST", "/x", respond, "Summary", "x", permission=permission, is_writing=is_writing
    )
    assert route.changes_archive is expected
