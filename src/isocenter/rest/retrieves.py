"""Retrieves from remote modalities, of what a query has found or of what a client names.

References
----------
Orthanc REST: retrieves (behaviour manual §24), move and get (§23.2)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from falcon.asgi import Request

from isocenter.archive.queries import RemoteQuery
from isocenter.archive.retrieval import select_unique_keys
from isocenter.dicom.levels import Level
from isocenter.dicom.remote_query import (
    ACCESSION_NUMBER,
    PATIENT_ID,
    QUERY_RETRIEVE_LEVEL,
    SOP_CLASSES_IN_STUDY,
    parse_level_value,
)
from isocenter.errors import BadFileFormatError, BadParameterError
from isocenter.http.arguments import read_body
from isocenter.http.exchange import Response
from isocenter.rest.bodies import RETRIEVE, TRANSFER
from isocenter.rest.job_calls import parse_job_call, submit_job
from isocenter.rest.query_answers import call_route, find_keys, list_known_keys, parse_index
from isocenter.rest.remote_bodies import (
    get_title_field,
    parse_json,
    parse_level,
    parse_options,
    parse_retries,
    parse_tags,
    read_object,
)
from isocenter.rest.services import Services
from isocenter.tasks.retrieving import RetrieveOrder, build_retrieve_job

__all__ = ["ROUTES", "retrieve", "retrieve_answer", "transfer"]

_MOVE, _GET = "C-MOVE", "C-GET"
_METHODS = (_MOVE, _GET)
_MOST_REQUESTS = 10_000


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be retrieved.

    Attributes
    ----------
    items
        Level, unique keys, and what else is known of it.
    sop_class_uids
        What will come; empty if nobody knows.
    method
        ``None`` for what the call, the modality or the server says.
    """

    items: Sequence[tuple[Level, Mapping[int, str], Mapping[int, str]]]
    sop_class_uids: Sequence[str]
    method: str | None = None


async def retrieve(services: Services, req: Request, resp: Response, query_id: str) -> None:
    """Orthanc REST: POST /queries/{id}/retrieve."""
    found = await services.archive.remotes.queries.get(query_id)
    await _retrieve(services, req, resp, found, range(found.count))


async def retrieve_answer(
    services: Services, req: Request, resp: Response, query_id: str, index: str
) -> None:
    """Orthanc REST: POST /queries/{id}/answers/{index}/retrieve."""
    found = await services.archive.remotes.queries.get(query_id)
    number = found.check_index(parse_index(index))
    await _retrieve(services, req, resp, found, range(number, number + 1))


async def _retrieve(
    services: Services, req: Request, resp: Response, found: RemoteQuery, numbers: range
) -> None:
    data = (await read_body(req)).strip()
    body = parse_json(data) if data[:1] in (b"{", b"[") else {"TargetAet": _read_title(data)}
    if not isinstance(body, dict):
        message = "the body must be an AE title or a JSON object"
        raise BadFileFormatError(message)
    answers = await services.archive.remotes.queries.read_values(
        found, list_known_keys(found.level), since=numbers.start, limit=len(numbers)
    )
    items: list[tuple[Level, Mapping[int, str], Mapping[int, str]]] = []
    classes: list[str] = []
    for answer in answers:
        # Modalities may answer what lies above what was asked for.
        level = parse_level_value(answer.get(QUERY_RETRIEVE_LEVEL, "")) or found.level
        keys = select_unique_keys(level, find_keys(found, level, answer))
        known = (ACCESSION_NUMBER, PATIENT_ID)
        items.append((level, keys, {tag: answer[tag] for tag in known if answer.get(tag)}))
        classes += answer.get(SOP_CLASSES_IN_STUDY, "").split("\\")
    await _submit(services, req, resp, found.modality, body, _Wanted(items, classes))


def _read_title(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        message = "the AE title must be text"
        raise BadParameterError(message) from error


async def _submit(
    services: Services,
    req: Request,
    resp: Response,
    name: str,
    body: Mapping[str, Any],
    wanted: _Wanted,
) -> None:
    """Submit a job that retrieves."""
    remotes = services.archive.remotes
    modality = await remotes.modalities.get_known(name)
    call = parse_job_call(req, body)
    options = parse_options(body)
    destination = get_title_field(body, "TargetAet")
    own_title = modality.local_ae_title or remotes.calling.ae_title
    method = wanted.method or _choose_method(services, modality.retrieve_method, body)
    order = RetrieveOrder(
        name,
        wanted.items,
        options,
        destination=None if method == _GET else destination or own_title,
        sop_class_uids=[uid for uid in wanted.sop_class_uids if uid],
        is_permissive=call.is_permissive,
        retries=parse_retries(services, body, is_synchronous=call.is_synchronous),
    )
    target = remotes.calling.build_target(modality, options)
    await submit_job(services, resp, build_retrieve_job(order, target), call)


def _choose_method(services: Services, configured: str, body: Mapping[str, Any]) -> str:
    """Choose how to retrieve: as the call, the modality or the server says (§24)."""
    method = body.get("RetrieveMethod", configured)
    if method in _METHODS:
        return str(method)
    if method != "SystemDefault":
        raise BadParameterError(f"the field 'RetrieveMethod' must be {_MOVE} or {_GET}")
    return services.configuration.text("DicomDefaultRetrieveMethod")


async def transfer(
    services: Services, req: Request, resp: Response, name: str, *, method: str
) -> None:
    """Orthanc REST: POST /modalities/{id}/move and get."""
    await services.archive.remotes.modalities.get_known(name)
    body = await read_object(req)
    resources = body.get("Resources")
    if not isinstance(resources, list) or "Level" not in body:
        message = "Must provide a JSON body containing fields Resources and Level"
        raise BadFileFormatError(message)
    if len(resources) > _MOST_REQUESTS:
        raise BadFileFormatError(f"at most {_MOST_REQUESTS} resources may be named at once")
    level = parse_level(body["Level"])
    dictionary = services.archive.dictionary
    named = [parse_tags(resource, dictionary, name="Resources") for resource in resources]
    nothing: dict[int, str] = {}
    items = [(level, select_unique_keys(level, values), nothing) for values in named]
    classes = body.get("SOPClassesInStudy", [])
    if not isinstance(classes, list) or not all(isinstance(uid, str) for uid in classes):
        message = "the field 'SOPClassesInStudy' must be an array of UIDs"
        raise BadFileFormatError(message)
    await _submit(services, req, resp, name, body, _Wanted(items, classes, method))


_QUERY = "/queries/{query_id}"

ROUTES = (
    call_route(
        "/modalities/{name}/move",
        partial(transfer, method=_MOVE),
        "Let a modality send by C-MOVE, here or elsewhere",
        TRANSFER,
        "modalities",
    ),
    call_route(
        "/modalities/{name}/get",
        partial(transfer, method=_GET),
        "Fetch from a modality by C-GET",
        TRANSFER,
        "modalities",
    ),
    call_route(f"{_QUERY}/retrieve", retrieve, "Retrieve all answers", RETRIEVE, "queries"),
    call_route(
        f"{_QUERY}/answers/{{index}}/retrieve",
        retrieve_answer,
        "Retrieve one answer",
        RETRIEVE,
        "queries",
    ),
)
