"""Queries to remote modalities, and handles on their answers.

References
----------
Orthanc REST: query/retrieve handles (behaviour manual §24)
"""

from functools import partial
from typing import Any

from falcon.asgi import Request as BodyRequest

from isocenter.archive.modalities import CallOptions
from isocenter.archive.queries import Question
from isocenter.dicom.json_forms import Shape
from isocenter.dicom.levels import Level
from isocenter.errors import (
    MissingTagError,
    UnknownResourceError,
)
from isocenter.http.answers import answer_json, answer_nothing, answer_text
from isocenter.http.arguments import get_flag
from isocenter.http.exchange import Request, Response
from isocenter.http.routes import Permission, Route
from isocenter.rest.arguments import EXPAND, SHAPES, get_shape
from isocenter.rest.bodies import ANSWER_QUERY, QUERY
from isocenter.rest.query_answers import (
    answer_list,
    call_route,
    find_keys,
    list_known_keys,
    parse_index,
)
from isocenter.rest.remote_bodies import (
    get_flag_field,
    parse_level,
    parse_options,
    parse_tags,
    read_object,
)
from isocenter.rest.services import Services

__all__ = [
    "ROUTES",
    "delete_query",
    "list_queries",
    "query",
    "query_below",
]


async def query(services: Services, req: BodyRequest, resp: Response, name: str) -> None:
    """Orthanc REST: POST /modalities/{id}/query."""
    await services.archive.remotes.modalities.get_known(name)
    body = await read_object(req)
    question = Question(
        parse_level(body.get("Level")),
        parse_tags(body.get("Query", {}), services.archive.dictionary),
        is_normalized=get_flag_field(body, "Normalize", default=True),
    )
    await _ask(services, resp, name, question, parse_options(body))


async def _ask(
    services: Services, resp: Response, name: str, question: Question, options: CallOptions
) -> None:
    query_id = await services.archive.remotes.queries.ask(name, question, options)
    answer_json(resp, {"ID": query_id, "Path": f"/queries/{query_id}"})


async def list_queries(services: Services, _: Request, resp: Response) -> None:
    """Orthanc REST: GET /queries."""
    answer_json(resp, await services.archive.remotes.queries.list_ids())


async def list_operations(services: Services, _: Request, resp: Response, query_id: str) -> None:
    """Orthanc REST: GET /queries/{id}."""
    await services.archive.remotes.queries.get(query_id)
    answer_json(resp, ["answers", "level", "modality", "query", "retrieve"])


async def delete_query(services: Services, _: Request, resp: Response, query_id: str) -> None:
    """Orthanc REST: DELETE /queries/{id}; unknown ones are as good as forgotten."""
    await services.archive.remotes.queries.delete(query_id)
    answer_nothing(resp)


async def get_level(services: Services, _: Request, resp: Response, query_id: str) -> None:
    """Orthanc REST: GET /queries/{id}/level."""
    answer_text(resp, (await services.archive.remotes.queries.get(query_id)).level.title)


async def get_modality(services: Services, _: Request, resp: Response, query_id: str) -> None:
    """Orthanc REST: GET /queries/{id}/modality."""
    answer_text(resp, (await services.archive.remotes.queries.get(query_id)).modality)


async def get_question(services: Services, req: Request, resp: Response, query_id: str) -> None:
    """Orthanc REST: GET /queries/{id}/query."""
    queries = services.archive.remotes.queries
    found = await queries.get(query_id)
    answer_json(resp, await queries.describe_question(found, get_shape(req, Shape.FULL)))


async def list_answers(services: Services, req: Request, resp: Response, query_id: str) -> None:
    """Orthanc REST: GET /queries/{id}/answers."""
    queries = services.archive.remotes.queries
    found = await queries.get(query_id)
    if get_flag(req, "expand"):
        answers: list[Any] = await queries.describe_answers(found, get_shape(req, Shape.FULL))
    else:
        answers = [str(index) for index in range(found.count)]
    await answer_list(services, resp, answers)


async def list_answer_operations(
    services: Services, _: Request, resp: Response, query_id: str, index: str
) -> None:
    """Orthanc REST: GET /queries/{id}/answers/{index}."""
    found = await services.archive.remotes.queries.get(query_id)
    found.check_index(parse_index(index))
    below = [Level(number) for number in range(found.level + 1, Level.INSTANCE + 1)]
    names = [f"query-{level.plural}" for level in below]
    answer_json(resp, ["content", "retrieve", *names])


async def get_answer(
    services: Services, req: Request, resp: Response, query_id: str, index: str
) -> None:
    """Orthanc REST: GET /queries/{id}/answers/{index}/content."""
    queries = services.archive.remotes.queries
    found = await queries.get(query_id)
    shape = get_shape(req, Shape.FULL)
    answer_json(resp, await queries.describe_answer(found, parse_index(index), shape))


async def query_below(
    services: Services,
    req: BodyRequest,
    resp: Response,
    query_id: str,
    index: str,
    *,
    level: Level,
) -> None:
    """Orthanc REST: POST /queries/{id}/answers/{index}/query-studies, -series, -instances."""
    queries = services.archive.remotes.queries
    found = await queries.get(query_id)
    if level <= found.level:
        raise UnknownResourceError("the answers of the query are not above that level")
    number = found.check_index(parse_index(index))
    body = await read_object(req)
    asked = parse_tags(body.get("Query", {}), services.archive.dictionary)
    (answer,) = await queries.read_values(
        found, list_known_keys(found.level), since=number, limit=1
    )
    keys = find_keys(found, found.level, answer)
    if not all(keys.values()):
        raise MissingTagError("the answer lacks an identifier")
    question = Question(level, {**asked, **keys})
    await _ask(services, resp, found.modality, question, parse_options(body))


def _read_route(path: str, responder: Any, summary: str, **more: Any) -> Route:
    more = {"statuses": (200, 400, 404), **more}
    return Route("GET", path, responder, summary, "queries", **more)


_QUERY = "/queries/{query_id}"
_ANSWER = f"{_QUERY}/answers/{{index}}"

ROUTES = (
    call_route("/modalities/{name}/query", query, "Ask a modality by C-FIND", QUERY, "modalities"),
    _read_route("/queries", list_queries, "List the queries that are kept", statuses=(200,)),
    _read_route(_QUERY, list_operations, "List what can be done with a query"),
    Route(
        "DELETE",
        _QUERY,
        delete_query,
        "Forget a query",
        "queries",
        permission=Permission.WRITE,
        answer="text/plain",
    ),
    _read_route(f"{_QUERY}/level", get_level, "Level of a query", answer="text/plain"),
    _read_route(f"{_QUERY}/modality", get_modality, "Modality that was asked", answer="text/plain"),
    _read_route(f"{_QUERY}/query", get_question, "What was asked", arguments=SHAPES),
    _read_route(f"{_QUERY}/answers", list_answers, "List the answers", arguments=(EXPAND, *SHAPES)),
    _read_route(
        _ANSWER,
        list_answer_operations,
        "List what can be done with an answer",
        statuses=(200, 400, 404),
    ),
    _read_route(
        f"{_ANSWER}/content",
        get_answer,
        "Tags of an answer",
        arguments=SHAPES,
        statuses=(200, 400, 404),
    ),
    *(
        call_route(
            f"{_ANSWER}/query-{level.plural}",
            partial(query_below, level=level),
            f"Ask for the {level.plural} below an answer",
            ANSWER_QUERY,
            "queries",
        )
        for level in (Level.STUDY, Level.SERIES, Level.INSTANCE)
    ),
)
