"""The configuration of remote modalities.

References
----------
Orthanc REST: modalities (behaviour manual §23.1)
"""

from typing import Any

from falcon.asgi import Request as BodyRequest

from isocenter.config.remote_modalities import (
    RemoteModality,
    format_remote_modality,
    parse_remote_modality,
)
from isocenter.errors import BadFileFormatError, ConfigurationError
from isocenter.http.answers import answer_json, answer_nothing
from isocenter.http.arguments import get_flag, read_body
from isocenter.http.error_answers import NotFound
from isocenter.http.exchange import Request, Response
from isocenter.http.routes import Permission, Route
from isocenter.rest.arguments import EXPAND
from isocenter.rest.bodies import MODALITY
from isocenter.rest.remote_bodies import check_symbolic_name, parse_json
from isocenter.rest.services import Services

__all__ = [
    "ROUTES",
    "delete_modality",
    "get_configuration",
    "list_modalities",
    "list_operations",
    "parse_modality",
    "put_modality",
]

_OPERATIONS = [
    "configuration",
    "echo",
    *("find", "find-instance", "find-patient", "find-series", "find-study", "find-worklist"),
    "get",
    "move",
    "query",
    "storage-commitment",
    "store",
    "store-straight",
]


async def list_modalities(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: GET /modalities."""
    known = await services.archive.remotes.modalities.list_known()
    if get_flag(req, "expand"):
        answer_json(resp, {name: format_remote_modality(one) for name, one in known.items()})
    else:
        answer_json(resp, list(known))


async def list_operations(services: Services, _: Request, resp: Response, name: str) -> None:
    """Orthanc REST: GET /modalities/{id}."""
    if name not in await services.archive.remotes.modalities.list_known():
        raise NotFound
    answer_json(resp, _OPERATIONS)


async def get_configuration(services: Services, _: Request, resp: Response, name: str) -> None:
    """Orthanc REST: GET /modalities/{id}/configuration."""
    modality = await services.archive.remotes.modalities.get_known(name)
    answer_json(resp, format_remote_modality(modality))


async def put_modality(services: Services, req: BodyRequest, resp: Response, name: str) -> None:
    """Orthanc REST: PUT /modalities/{id}."""
    check_symbolic_name(name)
    modality = parse_modality(parse_json(await read_body(req)))
    await services.archive.remotes.modalities.put(name, modality)
    answer_nothing(resp)


async def delete_modality(services: Services, _: Request, resp: Response, name: str) -> None:
    """Orthanc REST: DELETE /modalities/{id}."""
    await services.archive.remotes.modalities.delete(name)
    answer_nothing(resp)


def parse_modality(value: Any) -> RemoteModality:
    """Read a modality in one of its forms.

    Raises
    ------
    BadFileFormatError
        If it is wrong.
    """
    try:
        return parse_remote_modality(value)
    except ConfigurationError as error:
        raise BadFileFormatError(f"the modality {error.details}") from error


ROUTES = (
    Route(
        "GET",
        "/modalities",
        list_modalities,
        "List the remote modalities",
        "modalities",
        arguments=(EXPAND,),
        statuses=(200, 400),
    ),
    Route(
        "GET",
        "/modalities/{name}",
        list_operations,
        "List what can be done with a modality",
        "modalities",
        statuses=(200, 404),
    ),
    Route(
        "GET",
        "/modalities/{name}/configuration",
        get_configuration,
        "Read the configuration of a modality",
        "modalities",
        statuses=(200, 404),
    ),
    Route(
        "PUT",
        "/modalities/{name}",
        put_modality,
        "Create or change a modality",
        "modalities",
        permission=Permission.ADMINISTER,
        body="application/json",
        body_schema=MODALITY,
        answer="text/plain",
        statuses=(200, 400, 413),
        details="Lasts until the next start, or for good with the option "
        "`DicomModalitiesInDatabase`.",
    ),
    Route(
        "DELETE",
        "/modalities/{name}",
        delete_modality,
        "Forget a modality",
        "modalities",
        permission=Permission.ADMINISTER,
        answer="text/plain",
        statuses=(200, 404),
    ),
)
