"""Every route of the REST API, once: routing, permissions, OpenAPI and tests read this table."""

from isocenter.http.routes import Route
from isocenter.rest import (
    archives,
    attachments,
    bulk,
    changes,
    creation,
    deletion,
    documentation,
    element_content,
    events,
    exports,
    find,
    finds,
    instances,
    jobs,
    labels,
    logs,
    metadata,
    metrics,
    modalities,
    modality_calls,
    modification,
    options,
    peers,
    protection,
    queries,
    reconstruction,
    regrouping,
    resources,
    retrieves,
    routing,
    slices,
    storage_commitment,
    system,
    tags,
    tools,
    uploads,
    worklists,
)

__all__ = ["ROUTES", "select_routes"]

_PATIENTS = "/patients"

ROUTES: tuple[Route, ...] = (
    *resources.ROUTES,
    *slices.ROUTES,
    *protection.ROUTES,
    *uploads.ROUTES,
    *instances.ROUTES,
    *tags.ROUTES,
    *element_content.ROUTES,
    *metadata.ROUTES,
    *attachments.ROUTES,
    *labels.ROUTES,
    *changes.ROUTES,
    *events.ROUTES,
    *exports.ROUTES,
    *system.ROUTES,
    *documentation.ROUTES,
    *tools.ROUTES,
    *options.ROUTES,
    *metrics.ROUTES,
    *logs.ROUTES,
    *deletion.ROUTES,
    *find.ROUTES,
    *bulk.ROUTES,
    *reconstruction.ROUTES,
    *jobs.ROUTES,
    *archives.ROUTES,
    *modification.ROUTES,
    *creation.ROUTES,
    *regrouping.ROUTES,
    *modalities.ROUTES,
    *modality_calls.ROUTES,
    *peers.ROUTES,
    *queries.ROUTES,
    *finds.ROUTES,
    *storage_commitment.ROUTES,
    *routing.ROUTES,
    *retrieves.ROUTES,
    *worklists.ROUTES,
)
"""The whole REST API; each module of a subject lists its own routes at its end."""


def select_routes(*, has_patient_level: bool) -> tuple[Route, ...]:
    """Select the routes that the configuration leaves.

    Parameters
    ----------
    has_patient_level
        False to leave out ``/patients`` and all below.

    References
    ----------
    Orthanc configuration: ``PatientLevelEnabled`` (behaviour manual §2.7)
    """
    if has_patient_level:
        return ROUTES
    return tuple(
        route
        for route in ROUTES
        if route.path != _PATIENTS and not route.path.startswith(f"{_PATIENTS}/")
    )
