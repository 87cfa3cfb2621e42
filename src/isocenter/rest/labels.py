"""Labels of resources."""

from functools import partial

from isocenter.archive.records import Address
from isocenter.dicom.levels import Level
from isocenter.http.answers import answer_json, answer_nothing
from isocenter.http.error_answers import NotFound
from isocenter.http.exchange import Request, Response
from isocenter.http.routes import Permission, Route
from isocenter.rest.services import Services

__all__ = ["ROUTES", "delete_label", "get_label", "list_all_labels", "list_labels", "put_label"]


async def list_labels(
    services: Services, _: Request, resp: Response, public_id: str, *, level: Level
) -> None:
    """Orthanc REST: GET /{level}/{id}/labels."""
    answer_json(resp, await services.archive.annotations.list_labels(Address(level, public_id)))


async def get_label(
    services: Services, _: Request, resp: Response, public_id: str, label: str, *, level: Level
) -> None:
    """Orthanc REST: GET /{level}/{id}/labels/{label}."""
    if not await services.archive.annotations.has_label(Address(level, public_id), label):
        raise NotFound
    answer_nothing(resp)


async def put_label(
    services: Services, _: Request, resp: Response, public_id: str, label: str, *, level: Level
) -> None:
    """Orthanc REST: PUT /{level}/{id}/labels/{label}."""
    await services.archive.annotations.add_label(Address(level, public_id), label)
    answer_nothing(resp)


async def delete_label(
    services: Services, _: Request, resp: Response, public_id: str, label: str, *, level: Level
) -> None:
    """Orthanc REST: DELETE /{level}/{id}/labels/{label}."""
    await services.archive.annotations.remove_label(Address(level, public_id), label)
    answer_nothing(resp)


async def list_all_labels(services: Services, _: Request, resp: Response) -> None:
    """Orthanc REST: GET /tools/labels."""
    answer_json(resp, await services.archive.annotations.list_all_labels())


def _build_level_routes(level: Level) -> list[Route]:
    one, many = level.title.lower(), level.plural
    path = f"/{many}/{{public_id}}/labels"
    return [
        Route(
            "GET",
            path,
            partial(list_labels, level=level),
            f"List the labels of the {one}",
            many,
            statuses=(200, 404),
            is_immediate=True,
            is_lasting=True,
        ),
        Route(
            "GET",
            f"{path}/{{label}}",
            partial(get_label, level=level),
            f"Tell whether the {one} has a label",
            many,
            answer="text/plain",
            statuses=(200, 404),
            is_immediate=True,
            is_lasting=True,
        ),
        Route(
            "PUT",
            f"{path}/{{label}}",
            partial(put_label, level=level),
            f"Give a label to the {one}",
            many,
            permission=Permission.WRITE,
            is_light=True,
            answer="text/plain",
            statuses=(200, 400, 404),
            details="A label has 1 to 64 letters, digits, `_` or `-`.",
        ),
        Route(
            "DELETE",
            f"{path}/{{label}}",
            partial(delete_label, level=level),
            f"Take a label from the {one}",
            many,
            permission=Permission.WRITE,
            is_light=True,
            answer="text/plain",
            statuses=(200, 400, 404),
        ),
    ]


ROUTES = (
    *(route for level in Level for route in _build_level_routes(level)),
    Route("GET", "/tools/labels", list_all_labels, "List all labels in use", "tools"),
)
