"""The routes of a server that changes nothing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from isocenter.errors import ReadOnlyError
from isocenter.http.exchange import Request, Response
from isocenter.http.routes import Route
from isocenter.rest.services import Services

__all__ = ["build_read_only_routes"]


async def _refuse(_: Services, __: Request, ___: Response, **____: Any) -> None:
    raise ReadOnlyError


def build_read_only_routes(routes: Sequence[Route]) -> tuple[Route, ...]:
    """Leave out what changes the archive; where its path still answers something, refuse it.

    References
    ----------
    Orthanc: ReadOnly (behaviour manual §2.7)
    """
    kept = [route for route in routes if not route.changes_archive]
    paths = {route.path for route in kept}
    refused = [
        replace(
            route,
            responder=_refuse,
            summary="Refused: the server is read-only",
            arguments=(),
            body=None,
            statuses=(403,),
            details="",
            is_immediate=False,
            is_light=False,
        )
        for route in routes
        if route.changes_archive and route.path in paths
    ]
    return (*kept, *refused)
