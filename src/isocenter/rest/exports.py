"""The log of exports."""

from typing import Any

from isocenter.archive.exports import ExportPage
from isocenter.archive.records import ExportEntry
from isocenter.clock import format_timestamp
from isocenter.http.answers import answer_json, answer_nothing
from isocenter.http.exchange import Request, Response
from isocenter.http.routes import Argument, Permission, Route
from isocenter.rest.log_pages import answer_page, describe_page, get_numbers
from isocenter.rest.services import Services

__all__ = ["ROUTES", "clear_exports", "list_exports"]


async def list_exports(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: GET /exports."""
    log = services.archive.exports
    if "last" in req.params:
        answer_json(resp, _describe_page(await log.find_last()))
        return
    (since,), limit = get_numbers(req, "since")
    page = await log.find(since=since or 0, limit=limit)
    await answer_page(
        services, resp, describe=lambda: _describe_page(page), length=len(page.entries)
    )


async def clear_exports(services: Services, _: Request, resp: Response) -> None:
    """Orthanc REST: DELETE /exports."""
    await services.archive.exports.clear()
    answer_nothing(resp)


def _describe_page(page: ExportPage) -> dict[str, Any]:
    entries = [_describe_entry(entry) for entry in page.entries]
    return describe_page("Exports", entries, is_done=page.is_done, last=page.last)


def _describe_entry(entry: ExportEntry) -> dict[str, Any]:
    identifiers = {
        "PatientID": entry.patient_id,
        "StudyInstanceUID": entry.study_instance_uid,
        "SeriesInstanceUID": entry.series_instance_uid,
        "SOPInstanceUID": entry.sop_instance_uid,
    }
    return {
        "Seq": entry.seq,
        "ResourceType": entry.level.title,
        "ID": entry.public_id,
        "Path": f"/{entry.level.plural}/{entry.public_id}",
        "RemoteModality": entry.remote_modality,
        "Date": format_timestamp(entry.exported_at),
        **dict(list(identifiers.items())[: entry.level + 1]),
    }


ROUTES = (
    Route(
        "GET",
        "/exports",
        list_exports,
        "Follow what was sent to remote modalities",
        "changes",
        arguments=(
            Argument("since", "integer", "Number after which to start."),
            Argument("limit", "integer", "Answer that many entries at most (100)."),
            Argument("last", "flag", "Answer the newest entry only."),
        ),
        details="One entry for each patient, study, series or instance that was sent, if the "
        "option `LogExportedResources` is true.",
        is_immediate=True,
        is_lasting=True,
    ),
    Route(
        "DELETE",
        "/exports",
        clear_exports,
        "Empty the log of exports; numbering goes on",
        "changes",
        permission=Permission.ADMINISTER,
        answer="text/plain",
        is_writing=True,
    ),
)
