"""The slices of a series in order; a route for older clients."""

from typing import Any

from isocenter.dicom.slice_order import SliceOrder
from isocenter.http.answers import JSON, format_json
from isocenter.http.exchange import Request, Response
from isocenter.http.routes import Route
from isocenter.rest.services import Services

__all__ = ["ROUTES", "get_ordered_slices"]


async def get_ordered_slices(
    services: Services, _: Request, resp: Response, public_id: str
) -> None:
    """Orthanc REST: GET /series/{id}/ordered-slices."""
    ordered = await services.archive.slices.order(public_id)
    resp.content_type = JSON
    resp.data = await services.archive.workers.run(_format, ordered)


def _format(ordered: SliceOrder) -> bytes:
    document: dict[str, Any] = {
        "Type": "Volume" if ordered.is_volume else "Sequence",
        "Dicom": [f"/instances/{one.public_id}/file" for one in ordered.slices],
        "Slices": [
            f"/instances/{one.public_id}/frames/{frame}"
            for one in ordered.slices
            for frame in range(one.frames)
        ],
        "SlicesShort": [[one.public_id, 0, one.frames] for one in ordered.slices],
    }
    return format_json(document)


ROUTES = (
    Route(
        "GET",
        "/series/{public_id}/ordered-slices",
        get_ordered_slices,
        "The instances and frames of the series in the order of their places",
        "series",
        statuses=(200, 400, 404),
        details="Along the normal of parallel planes (`Volume`), else by their numbers "
        "(`Sequence`). Deprecated by Orthanc.",
        answer_schema={
            "type": "object",
            "properties": {
                "Type": {"enum": ["Volume", "Sequence"]},
                "Dicom": {"type": "array", "items": {"type": "string"}},
                "Slices": {"type": "array", "items": {"type": "string"}},
                "SlicesShort": {"type": "array", "items": {"type": "array"}},
            },
        },
    ),
)
