"""Questions to remote modalities whose answers are not kept: worklists, and the older calls.

References
----------
Orthanc REST: POST /modalities/{id}/find-worklist, find, find-patient and so on (behaviour manual
§23.2), compared with a running Orthanc 1.10.1
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from falcon.asgi import Request

from isocenter.archive.modalities import CallOptions
from isocenter.archive.queries import Question
from isocenter.dicom.json_forms import Shape
from isocenter.dicom.levels import Level
from isocenter.dicom.remote_query import UNIQUE_KEYS, Values
from isocenter.dicom.tags import TagDictionary, format_tag
from isocenter.errors import LimitError, ParameterTypeError
from isocenter.http.exchange import Response
from isocenter.http.routes import Permission, Route
from isocenter.rest.bodies import TAGS_OF_QUERY, WORKLIST
from isocenter.rest.long_answers import answer_from_thread
from isocenter.rest.query_answers import answer_list
from isocenter.rest.remote_bodies import get_flag_field, parse_options, parse_tags, read_object
from isocenter.rest.services import Services

__all__ = ["ROUTES", "find_level", "find_tree", "find_worklist"]

# What is asked for without being named.
_TEMPLATES: Mapping[Level, tuple[int, ...]] = {
    Level.PATIENT: (0x00100010, 0x00100020, 0x00100030, 0x00100040, 0x00101000),
    Level.STUDY: (
        *(0x00080020, 0x00080030, 0x00080050, 0x00080090, 0x00081030),
        *(0x00100020, 0x0020000D, 0x00200010),
    ),
    Level.SERIES: (
        *(0x00080021, 0x00080031, 0x00080060, 0x0008103E, 0x00081070, 0x00100020),
        *(0x00180015, 0x00181030, 0x0020000D, 0x0020000E, 0x00200011, 0x00400254),
    ),
    Level.INSTANCE: (
        *(0x00080012, 0x00080013, 0x00080018, 0x00100020),
        *(0x0020000D, 0x0020000E, 0x00200013),
    ),
}
_SHAPES = (("Simplify", Shape.HUMAN), ("Short", Shape.SHORT), ("Full", Shape.FULL))
_MOST_QUESTIONS = 1_000


async def find_worklist(services: Services, req: Request, resp: Response, name: str) -> None:
    """Orthanc REST: POST /modalities/{id}/find-worklist."""
    queries = services.archive.remotes.queries
    await services.archive.remotes.modalities.get_known(name)
    body = await read_object(req)
    has_options = "Query" in body
    values = _parse_worklist(body["Query"] if has_options else body, services.archive.dictionary)
    shape, options = Shape.HUMAN, CallOptions()
    if has_options:
        flags = [get_flag_field(body, flag, default=False) for flag, _ in _SHAPES]
        chosen = (shape for (_, shape), is_set in zip(_SHAPES, flags, strict=True) if is_set)
        shape, options = next(chosen, Shape.HUMAN), parse_options(body)
    await answer_list(services, resp, await queries.find_worklist(name, values, options, shape))


def _parse_worklist(value: Any, dictionary: TagDictionary) -> dict[int, Any]:
    """Read tags with texts or, for sequences, lists of objects."""
    if not isinstance(value, dict):
        message = "the query must be an object of tags"
        raise ParameterTypeError(message)
    values: dict[int, Any] = {}
    for key, entry in value.items():
        tag = dictionary.parse_tag(key)
        if not isinstance(entry, str | list):
            raise ParameterTypeError(f"Bad Parameter type for tag {format_tag(tag)}")
        values[tag] = entry
    return values


async def find_level(
    services: Services, req: Request, resp: Response, name: str, *, level: Level
) -> None:
    """Orthanc REST: POST /modalities/{id}/find-patient, -study, -series, -instance."""
    await services.archive.remotes.modalities.get_known(name)
    asked = parse_tags(await read_object(req), services.archive.dictionary)
    await answer_list(services, resp, await _find(services, name, level, asked))


async def _find(services: Services, name: str, level: Level, asked: Values) -> list[dict[str, Any]]:
    template = dict.fromkeys(_TEMPLATES[level], "")
    values = template | {tag: value for tag, value in asked.items() if tag in template}
    question = Question(level, values)
    queries = services.archive.remotes.queries
    return await queries.find(name, question, CallOptions(), Shape.HUMAN)


async def find_tree(services: Services, req: Request, resp: Response, name: str) -> None:
    """Orthanc REST: POST /modalities/{id}/find; patients with their studies and series."""
    await services.archive.remotes.modalities.get_known(name)
    asked = parse_tags(await read_object(req), services.archive.dictionary)
    tree = _Tree(services, name)
    grown = await tree.grow(Level.PATIENT, asked)
    await answer_from_thread(services, resp, lambda: grown)


class _Tree:
    """Asks level by level, as often as is bearable."""

    def __init__(self, services: Services, name: str) -> None:
        self._services = services
        self._name = name
        self._left = _MOST_QUESTIONS

    async def grow(self, level: Level, asked: Values) -> list[dict[str, Any]]:
        """Find what lies at a level, with what lies below."""
        self._left -= 1
        if self._left < 0:
            raise LimitError(f"the answer would take more than {_MOST_QUESTIONS} questions")
        found = await _find(self._services, self._name, level, asked)
        child = Level(level + 1)
        if child is Level.INSTANCE:
            return found
        dictionary = self._services.archive.dictionary
        tags = (*UNIQUE_KEYS[Level.PATIENT], *UNIQUE_KEYS[level])
        keys = {tag: dictionary.get_name(tag) for tag in tags}
        for answer in found:
            known = {tag: str(answer.get(key) or "") for tag, key in keys.items()}
            answer[child.plural_title] = await self.grow(child, known)
        return found


def _route(path: str, responder: Any, summary: str, schema: Any) -> Route:
    return Route(
        "POST",
        f"/modalities/{{name}}/{path}",
        responder,
        summary,
        "modalities",
        permission=Permission.WRITE,
        is_writing=False,
        body="application/json",
        body_schema=schema,
        statuses=(200, 400, 404, 413),
    )


ROUTES = (
    _route("find-worklist", find_worklist, "Ask a modality for worklist items", WORKLIST),
    _route(
        "find",
        find_tree,
        "Ask a modality for patients with all below (older call, see query)",
        TAGS_OF_QUERY,
    ),
    *(
        _route(
            f"find-{level.title.lower()}",
            partial(find_level, level=level),
            f"Ask a modality for {level.plural} (older call, see query)",
            TAGS_OF_QUERY,
        )
        for level in Level
    ),
)
