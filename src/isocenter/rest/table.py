"""Every route of the REST API, once: routing, permissions, OpenAPI and tests read this table."""

from isocenter.http.routes import Route
from isocenter.rest import (
    changes,
    documentation,
    instances,
    jobs,
    resources,
    system,
    tools,
    uploads,
)

__all__ = ["ROUTES"]

ROUTES: tuple[Route, ...] = (
    *resources.ROUTES,
    *uploads.ROUTES,
    *instances.ROUTES,
    *changes.ROUTES,
    *system.ROUTES,
    *documentation.ROUTES,
    *tools.ROUTES,
    *jobs.ROUTES,
)
"""The whole REST API; each module of a subject lists its own routes at its end."""
