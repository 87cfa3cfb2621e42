"""The log of changes."""

from typing import Any

from isocenter.archive.changes import ChangePage
from isocenter.archive.records import Change, ChangeType
from isocenter.clock import format_timestamp
from isocenter.dicom.levels import Level
from isocenter.errors import BadParameterError
from isocenter.http.answers import answer_json, answer_nothing
from isocenter.http.exchange import Request, Response
from isocenter.http.routes import Argument, Permission, Route
from isocenter.rest.log_pages import answer_page, describe_page, get_numbers
from isocenter.rest.services import Services

__all__ = ["ROUTES", "clear_changes", "describe_change", "list_changes"]

_TITLES = {change_type: change_type.title for change_type in ChangeType}
_RESOURCES = {level: (level.title, f"/{level.plural}/") for level in Level}
_TYPES = {title: change_type for change_type, title in _TITLES.items()}


async def list_changes(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: GET /changes."""
    log = services.archive.changes
    if "last" in req.params:
        answer_json(resp, _describe_page(await log.find_last()))
        return
    (since, until), limit = get_numbers(req, "since", "to")
    page = await log.find(since=since, until=until, limit=limit, types=_get_types(req))
    await answer_page(
        services, resp, describe=lambda: _describe_page(page), length=len(page.changes)
    )


def _get_types(req: Request) -> list[ChangeType]:
    names = [name for name in (req.get_param("type") or "").split(";") if name]
    if "all" in names:
        return []
    unknown = [name for name in names if name not in _TYPES]
    if unknown:
        raise BadParameterError(f"unknown type of change; known are: {', '.join(_TYPES)}")
    return [_TYPES[name] for name in names]


async def clear_changes(services: Services, _: Request, resp: Response) -> None:
    """Orthanc REST: DELETE /changes."""
    await services.archive.changes.clear()
    answer_nothing(resp)


def _describe_page(page: ChangePage) -> dict[str, Any]:
    entries = [describe_change(change) for change in page.changes]
    return describe_page("Changes", entries, is_done=page.is_done, last=page.last)


def describe_change(change: Change) -> dict[str, Any]:
    """Describe a change as Orthanc does (behaviour manual §10.1)."""
    title, folder = _RESOURCES[change.level]
    return {
        "Seq": change.seq,
        "ChangeType": _TITLES[change.change_type],
        "ResourceType": title,
        "ID": change.public_id,
        "Path": folder + change.public_id,
        "Date": format_timestamp(change.changed_at),
    }


ROUTES = (
    Route(
        "GET",
        "/changes",
        list_changes,
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
        is_lasting=True,
    ),
    Route(
        "DELETE",
        "/changes",
        clear_changes,
        "Empty the log of changes; numbering goes on",
        "changes",
        permission=Permission.ADMINISTER,
        answer="text/plain",
        is_writing=True,
    ),
)
