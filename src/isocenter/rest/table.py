"""Every route of the REST API, once: routing, permissions, OpenAPI and tests read this table."""

from functools import partial

from isocenter.dicom.levels import Level
from isocenter.http.routes import Argument, Permission, Route
from isocenter.rest import changes, documentation, instances, resources, system, tools, uploads

__all__ = ["ROUTES"]

_SIMPLIFY = Argument("simplify", "flag", "Name the tags instead of numbering them.")
_SHORT = Argument("short", "flag", "Number the tags, values only.")
_FULL = Argument("full", "flag", "Number the tags, with name, type and value.")
_SHAPES = (_SIMPLIFY, _SHORT, _FULL)
_PAGE = (
    Argument("since", "integer", "Skip that many resources; needs `limit`."),
    Argument("limit", "integer", "Answer that many resources at most, 0 for all; needs `since`."),
)
_EXPAND = Argument("expand", "flag", "Answer objects instead of identifiers.")
_TAGS = (
    Argument("ignore-length", "text", "Tags, separated by commas, whose values are never cut."),
    Argument("whole", "flag", "Go on after the pixel data."),
)
_JSON_AND_MISSING = (200, 400, 404)


def _build_level_routes(level: Level) -> list[Route]:
    one, many = level.title.lower(), level.plural
    path = f"/{many}/{{public_id}}"
    routes = [
        Route(
            "GET",
            f"/{many}",
            partial(resources.list_resources, level=level),
            f"List the identifiers of all {many}, or expanded objects",
            many,
            arguments=(_EXPAND, *_PAGE, *_SHAPES),
            statuses=(200, 400, 501),
            is_immediate=True,
        ),
        Route(
            "GET",
            path,
            partial(resources.get_resource, level=level),
            f"Describe one {one}: parent, children, main tags, status",
            many,
            arguments=_SHAPES,
            statuses=(200, 400, 404, 501),
            is_immediate=True,
        ),
        Route(
            "DELETE",
            path,
            partial(resources.delete_resource, level=level),
            f"Delete the {one} and everything below it; answers the remaining ancestor",
            many,
            permission=Permission.WRITE,
            statuses=(200, 404),
        ),
        Route(
            "GET",
            f"{path}/statistics",
            partial(resources.get_resource_statistics, level=level),
            f"Sizes and counts of what lies below the {one}",
            many,
            statuses=(200, 404),
        ),
    ]
    return routes + _build_relatives(level, path)


def _build_relatives(level: Level, path: str) -> list[Route]:
    below = [
        Route(
            "GET",
            f"{path}/{deeper.plural}",
            partial(resources.list_descendants, level=level, below=deeper),
            f"Describe the {deeper.plural} below; identifiers only with `expand=false`",
            level.plural,
            arguments=(_EXPAND, *_SHAPES),
            statuses=_JSON_AND_MISSING,
        )
        for deeper in Level
        if deeper > level
    ]
    above = [
        Route(
            "GET",
            f"{path}/{higher.title.lower()}",
            partial(resources.get_ancestor, level=level, above=higher),
            f"Describe the {higher.title.lower()} above",
            level.plural,
            arguments=_SHAPES,
            statuses=_JSON_AND_MISSING,
            is_immediate=True,
        )
        for higher in Level
        if higher < level
    ]
    return below + above


_INSTANCES = [
    Route(
        "POST",
        "/instances",
        uploads.upload,
        "Store DICOM: a file, gzip, a ZIP archive of files, or a multipart form",
        "instances",
        permission=Permission.WRITE,
        body="application/dicom",
        statuses=(200, 400, 404, 413, 507),
        details="Answers an object for a single file and an array for an archive or a form. "
        "An instance that is there already is answered with the status `AlreadyStored`.",
    ),
    Route(
        "GET",
        "/instances/{public_id}/file",
        instances.get_file,
        "Download the DICOM file; ranges and entity tags work",
        "instances",
        arguments=(Argument("filename", "text", "Name for saving the file."),),
        answer="application/dicom",
        statuses=(200, 206, 304, 404, 416, 501),
        is_immediate=True,
    ),
    Route(
        "GET",
        "/instances/{public_id}/tags",
        instances.get_tags,
        "All tags of the instance as JSON",
        "instances",
        arguments=(*_SHAPES, *_TAGS),
        statuses=_JSON_AND_MISSING,
        is_immediate=True,
    ),
    Route(
        "GET",
        "/instances/{public_id}/simplified-tags",
        instances.get_simplified_tags,
        "All tags of the instance as JSON, by name",
        "instances",
        arguments=_TAGS,
        statuses=_JSON_AND_MISSING,
        is_immediate=True,
    ),
]

_CHANGES = [
    Route(
        "GET",
        "/changes",
        changes.list_changes,
        "Follow what happened to the resources",
        "changes",
        arguments=(
            Argument("since", "integer", "Number after which to start."),
            Argument("to", "integer", "Number at which to end."),
            Argument("limit", "integer", "Answer that many changes at most (100)."),
            Argument("type", "text", "Types of interest, separated by semicolons."),
            Argument("last", "flag", "Answer the newest change only."),
        ),
        statuses=(200, 400),
        is_immediate=True,
    ),
    Route(
        "DELETE",
        "/changes",
        changes.clear_changes,
        "Empty the log of changes; numbering goes on",
        "changes",
        permission=Permission.ADMINISTER,
        answer="text/plain",
    ),
]

_SYSTEM = [
    Route(
        "GET",
        "/system",
        system.get_system,
        "Version, options and capabilities",
        "system",
        is_immediate=True,
    ),
    Route(
        "GET",
        "/statistics",
        system.get_statistics,
        "Counts and sizes of all",
        "system",
        is_immediate=True,
    ),
    Route(
        "GET",
        "/",
        documentation.redirect_to_page,
        "Redirect to the page for people",
        "system",
        answer="text/plain",
        statuses=(307,),
    ),
    Route("GET", "/openapi.json", documentation.get_openapi, "This description", "system"),
    Route(
        "GET",
        "/api.html",
        documentation.get_page,
        "Browse and try the API",
        "system",
        answer="text/html",
    ),
]

_TOOLS = [
    Route(
        "POST",
        "/tools/lookup",
        tools.lookup,
        "Find resources by PatientID, StudyInstanceUID, SeriesInstanceUID or SOPInstanceUID",
        "tools",
        body="text/plain",
        statuses=(200, 400, 413),
    ),
    Route(
        "GET",
        "/tools/generate-uid",
        tools.generate_uid,
        "Make a new identifier",
        "tools",
        arguments=(Argument("level", "text", "`patient`, `study`, `series` or `instance`."),),
        answer="text/plain",
        statuses=(200, 404),
    ),
    Route("GET", "/tools/now", tools.get_utc_time, "The time, UTC", "tools", answer="text/plain"),
    Route(
        "GET",
        "/tools/now-local",
        tools.get_local_time,
        "The time, local",
        "tools",
        answer="text/plain",
    ),
    Route(
        "POST",
        "/tools/reset",
        tools.reset,
        "Restart the server with its configuration read again",
        "tools",
        permission=Permission.ADMINISTER,
    ),
    Route(
        "POST",
        "/tools/shutdown",
        tools.shut_down,
        "Stop the server",
        "tools",
        permission=Permission.ADMINISTER,
    ),
    Route(
        "GET",
        "/tools/metrics-prometheus",
        tools.get_metrics,
        "Metrics in Prometheus' format",
        "tools",
        answer="text/plain",
    ),
]

ROUTES: tuple[Route, ...] = (
    *(route for level in Level for route in _build_level_routes(level)),
    *_INSTANCES,
    *_CHANGES,
    *_SYSTEM,
    *_TOOLS,
)
"""The whole REST API."""
