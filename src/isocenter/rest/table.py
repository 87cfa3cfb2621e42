"""Every route of the REST API, once: routing, permissions, OpenAPI and tests read this table."""

from isocenter.http.routes import Route
from isocenter.rest import (
    archives,
    attachments,
    changes,
    deletion,
    documentation,
    exports,
    instances,
    jobs,
    labels,
    metadata,
    modification,
    protection,
    resources,
    system,
    tools,
    uploads,
)

__all__ = ["ROUTES"]

ROUTES: tuple[Route, ...] = (
    *resources.ROUTES,
    *protection.ROUTES,
    *uploads.ROUTES,
    *instances.ROUTES,
    *metadata.ROUTES,
    *attachments.ROUTES,
    *labels.ROUTES,
    *changes.ROUTES,
    *exports.ROUTES,
    *system.ROUTES,
    *documentation.ROUTES,
    *tools.ROUTES,
    *deletion.ROUTES,
    *jobs.ROUTES,
    *archives.ROUTES,
    *modification.ROUTES,
)
"""The whole REST API; each module of a subject lists its own routes at its end."""
