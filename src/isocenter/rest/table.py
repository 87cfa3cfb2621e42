"""Every route of the REST API, once: routing, permissions, OpenAPI and tests read this table."""

from isocenter.http.routes import Route
from isocenter.rest import (
    attachments,
    bulk,
    changes,
    documentation,
    find,
    instances,
    labels,
    metadata,
    reconstruction,
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
    *metadata.ROUTES,
    *attachments.ROUTES,
    *labels.ROUTES,
    *changes.ROUTES,
    *system.ROUTES,
    *documentation.ROUTES,
    *tools.ROUTES,
    *find.ROUTES,
    *bulk.ROUTES,
    *reconstruction.ROUTES,
)
"""The whole REST API; each module of a subject lists its own routes at its end."""
