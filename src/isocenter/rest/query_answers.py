"""What queries and retrieves share: answers by their numbers, and their identifiers."""

from collections.abc import Mapping, Sequence
from typing import Any

from isocenter.archive.queries import RemoteQuery
from isocenter.dicom.levels import Level
from isocenter.dicom.remote_query import (
    ACCESSION_NUMBER,
    PATIENT_ID,
    QUERY_RETRIEVE_LEVEL,
    SOP_CLASSES_IN_STUDY,
    UNIQUE_KEYS,
)
from isocenter.errors import ParameterTypeError
from isocenter.http.answers import answer_json
from isocenter.http.exchange import Response
from isocenter.http.routes import Permission, Route
from isocenter.rest.long_answers import answer_from_thread
from isocenter.rest.services import Services

__all__ = ["answer_list", "call_route", "find_keys", "list_known_keys", "parse_index"]

_LONGEST_INDEX = 9
_SHORT_LIST = 50


async def answer_list(services: Services, resp: Response, value: Sequence[Any]) -> None:
    """Answer a list as JSON; a long one is written in a thread."""
    if len(value) <= _SHORT_LIST:
        answer_json(resp, value)
        return
    await answer_from_thread(services, resp, lambda: value)


def parse_index(text: str) -> int:
    """Read the number of an answer.

    Raises
    ------
    ParameterTypeError
        If it is none.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_INDEX):
        message = "the number of an answer must be an integer"
        raise ParameterTypeError(message)
    return int(text)


def list_known_keys(level: Level) -> list[int]:
    """List the tags by which the answers of a level are used further."""
    return [ACCESSION_NUMBER, PATIENT_ID, QUERY_RETRIEVE_LEVEL, SOP_CLASSES_IN_STUDY] + [
        tag for above in range(level + 1) for tag in UNIQUE_KEYS[Level(above)]
    ]


def find_keys(found: RemoteQuery, level: Level, answer: Mapping[int, str]) -> dict[int, str]:
    """Find the unique keys of an answer; what it lacks may have been asked for."""
    return {tag: answer.get(tag) or str(found.values.get(tag) or "") for tag in UNIQUE_KEYS[level]}


def call_route(path: str, responder: Any, summary: str, schema: Any, area: str) -> Route:
    """Describe a route that calls a remote modality."""
    return Route(
        "POST",
        path,
        responder,
        summary,
        area,
        permission=Permission.WRITE,
        body="application/json",
        body_schema=schema,
        statuses=(200, 400, 404, 409, 413, 504),
    )
