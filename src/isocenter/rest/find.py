"""Searching: resources by their tags, labels, metadata and ancestors.

References
----------
Orthanc REST: POST /tools/find, POST /tools/count-resources (behaviour manual §15.1, §15.2)
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from falcon.asgi import Request, Response

from isocenter.archive.registry import NameRegistry
from isocenter.dicom.levels import Level
from isocenter.dicom.query import (
    Criterion,
    LabelConstraint,
    LabelFilter,
    MetadataCriterion,
    OrderKey,
    OrderSource,
    OrderType,
    Query,
    build_items_criterion,
    parse_criterion,
    parse_test,
)
from isocenter.dicom.tags import DEFAULT_DICTIONARY, TagDictionary
from isocenter.errors import (
    BadParameterError,
    BadRequestError,
    MisplacedParentError,
    UnknownTagError,
)
from isocenter.http.answers import JSON, answer_json
from isocenter.http.arguments import read_body
from isocenter.http.json_bodies import parse_json_object
from isocenter.http.routes import Route
from isocenter.rest.resource_answers import (
    answer_public_ids,
    parse_expansion,
    write_described,
    write_resources,
)
from isocenter.rest.services import Services

__all__ = ["ROUTES", "count_resources", "find_resources", "parse_query"]

E = TypeVar("E", bound=Enum)

_FIND = "/tools/find"
_LARGEST = 2**63 - 1
_SHORT_BODY_BYTES = 16 * 1024
# Of each kind in one search: conditions of the query, labels, keys of the order.
_MOST_CONDITIONS = 50
_MOST_LABELS = 1000
# Sequences within sequences.
_DEEPEST_KEY = 8
_MOST_ORDER_KEYS = 10
_LONGEST_SHOWN_NAME = 64

_PARENTS = {
    "ParentPatient": Level.PATIENT,
    "ParentStudy": Level.STUDY,
    "ParentSeries": Level.SERIES,
}
_ORDERS = {
    "DicomTag": (OrderSource.TAG, OrderType.TEXT),
    "DicomTagAsInt": (OrderSource.TAG, OrderType.INTEGER),
    "DicomTagAsFloat": (OrderSource.TAG, OrderType.FLOAT),
    "Metadata": (OrderSource.METADATA, OrderType.TEXT),
    "MetadataAsInt": (OrderSource.METADATA, OrderType.INTEGER),
    "MetadataAsFloat": (OrderSource.METADATA, OrderType.FLOAT),
}
_DIRECTIONS = {"ASC": False, "DESC": True}


async def find_resources(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: POST /tools/find."""
    question = await read_body(req)
    known = services.archive.lasting_answers.lookup(_FIND, question)
    if known is not None:
        resp.content_type = JSON
        resp.data = known
        return
    generation = services.archive.lasting_answers.begin()
    body, query = await _read_query(services, question)
    is_lasting = await _answer(services, resp, body, query)
    if is_lasting and resp.data is not None:
        services.archive.lasting_answers.add(_FIND, question, resp.data, generation=generation)


async def _read_query(services: Services, question: bytes) -> tuple[Mapping[str, Any], Query]:
    """Read the body of a search; a long one in a worker thread."""

    def read() -> tuple[Mapping[str, Any], Query]:
        body = parse_json_object(question)
        return body, parse_query(body, services.archive.registry.metadata)

    if len(question) <= _SHORT_BODY_BYTES:
        return read()
    return await services.archive.workers.run(read)


async def _answer(
    services: Services, resp: Response, body: Mapping[str, Any], query: Query
) -> bool:
    """Answer a search; tell whether the index alone has answered it."""
    expansion = parse_expansion(body, services.archive.warnings)
    finder = services.archive.finder
    if expansion is None:
        await answer_public_ids(services, resp, await finder.find_public_ids(query))
        return finder.is_indexed(query)
    parts = None if expansion.requested_tags else expansion.parts
    found = await finder.find_rows(query, parts)
    if found.described is None:
        await write_resources(services, resp, query.level, found.rows, expansion=expansion)
        return False
    await write_described(services, resp, found.described, expansion)
    return True


async def count_resources(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: POST /tools/count-resources."""
    body, query = await _read_query(services, await read_body(req))
    if body.get("CaseSensitive", False):
        message = "resources cannot be counted by a search that distinguishes case"
        raise BadParameterError(message)
    answer_json(resp, {"Count": await services.archive.finder.count(query)})


def parse_query(
    body: Mapping[str, Any],
    metadata_names: NameRegistry,
    dictionary: TagDictionary = DEFAULT_DICTIONARY,
) -> Query:
    """Read a search from the body of a request; unknown fields are ignored.

    Raises
    ------
    BadRequestError
        If a field is missing or of a wrong type, or there are too many conditions.
    BadParameterError
        If a value is out of range: level, numbers, wildcards, enumerations.
    UnknownTagError
        If no dictionary knows the name of a tag.
    UnknownItemError
        If nobody registered the name of a metadata.
    MisplacedParentError
        If a parent is not of a level above.
    """
    level = _get_level(body)
    return Query(
        level=level,
        criteria=_get_criteria(body, dictionary),
        labels=_get_labels(body),
        metadata=_get_metadata(body, metadata_names),
        ancestors=_get_ancestors(body, level),
        order=_get_order(body, metadata_names, dictionary),
        since=_get_natural(body, "Since"),
        limit=_get_natural(body, "Limit") or None,
    )


def _get_level(body: Mapping[str, Any]) -> Level:
    name = body.get("Level")
    if not isinstance(name, str):
        message = "'Level' is missing, or no text"
        raise BadRequestError(message)
    level = Level.lookup_name(name)
    if level is None:
        message = "'Level' must be Patient, Study, Series or Instance"
        raise BadParameterError(message)
    return level


def _get_criteria(body: Mapping[str, Any], dictionary: TagDictionary) -> tuple[Criterion, ...]:
    if "Query" not in body:
        message = "'Query' is missing"
        raise BadRequestError(message)
    is_case_sensitive = body.get("CaseSensitive", False)
    if not isinstance(is_case_sensitive, bool):
        message = "'CaseSensitive' must be true or false"
        raise BadRequestError(message)
    return _parse_keys(_get_object(body, "Query"), dictionary, is_case_sensitive=is_case_sensitive)


def _parse_keys(
    keys: Mapping[str, Any], dictionary: TagDictionary, *, is_case_sensitive: bool, depth: int = 0
) -> tuple[Criterion, ...]:
    """Read the keys of a search: texts, and lists of one object for sequences."""
    criteria = []
    for name, value in keys.items():
        # An empty pattern matches everything, whatever it is asked of.
        if value == "":
            continue
        tag = _get_tag(name, dictionary)
        if isinstance(value, str):
            vr = dictionary.lookup_vr(tag)
            criteria.append(parse_criterion(tag, vr, value, is_case_sensitive=is_case_sensitive))
            continue
        if depth >= _DEEPEST_KEY or not isinstance(value, list) or len(value) != 1:
            message = "a key must be a text, or a list of one object for the items of a sequence"
            raise BadRequestError(message)
        item = _get_object({"Query": value[0]}, "Query")
        inner = _parse_keys(item, dictionary, is_case_sensitive=is_case_sensitive, depth=depth + 1)
        criteria.append(build_items_criterion(tag, inner))
    return tuple(criteria)


def _get_tag(name: str, dictionary: TagDictionary) -> int:
    tag = dictionary.lookup_tag(name)
    if tag is None:
        raise UnknownTagError(f"no dictionary knows the tag {name[:_LONGEST_SHOWN_NAME]!r}")
    return tag


def _get_texts(body: Mapping[str, Any], name: str) -> Mapping[str, str]:
    """Read an object whose values are texts, of a sensible size."""
    value = _get_object(body, name)
    if not all(isinstance(text, str) for text in value.values()):
        raise BadRequestError(f"'{name}' must be an object whose values are texts")
    return value


def _get_object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name, {})
    if not isinstance(value, dict):
        raise BadRequestError(f"'{name}' must be an object whose values are texts")
    if len(value) > _MOST_CONDITIONS:
        raise BadRequestError(f"'{name}' may have {_MOST_CONDITIONS} conditions at most")
    return value


def _get_labels(body: Mapping[str, Any]) -> LabelFilter:
    labels = body.get("Labels", [])
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        message = "'Labels' must be an array of texts"
        raise BadRequestError(message)
    if len(labels) > _MOST_LABELS:
        raise BadRequestError(f"'Labels' may have {_MOST_LABELS} entries at most")
    constraint = _get_choice(body, "LabelsConstraint", {c.value: c for c in LabelConstraint})
    # No label has a NUL, and PostgreSQL takes none.
    possible = frozenset(label for label in labels if "\0" not in label)
    if len(possible) < len(set(labels)) and constraint is not LabelConstraint.NONE:
        possible |= {""}
    return LabelFilter(possible, constraint or LabelConstraint.ALL)


def _get_choice(body: Mapping[str, Any], name: str, choices: Mapping[str, E]) -> E | None:
    if name not in body:
        return None
    value = body[name]
    if not isinstance(value, str):
        raise BadRequestError(f"'{name}' must be a text")
    if value not in choices:
        raise BadParameterError(f"'{name}' must be one of {', '.join(choices)}")
    return choices[value]


def _get_metadata(
    body: Mapping[str, Any], metadata_names: NameRegistry
) -> tuple[MetadataCriterion, ...]:
    return tuple(
        MetadataCriterion(metadata_names.get_code(name), parse_test(text))
        for name, text in _get_texts(body, "MetadataQuery").items()
    )


def _get_ancestors(body: Mapping[str, Any], level: Level) -> dict[Level, str]:
    ancestors = {}
    for name, parent in _PARENTS.items():
        if name not in body:
            continue
        public_id = body[name]
        if not isinstance(public_id, str):
            raise BadRequestError(f"'{name}' must be a text")
        if parent >= level:
            raise MisplacedParentError(f"'{name}' is not above {level.title}")
        ancestors[parent] = public_id.partition("\0")[0]
    return ancestors


def _get_order(
    body: Mapping[str, Any], metadata_names: NameRegistry, dictionary: TagDictionary
) -> tuple[OrderKey, ...]:
    keys = body.get("OrderBy", [])
    if not isinstance(keys, list):
        message = "'OrderBy' must be an array"
        raise BadRequestError(message)
    if len(keys) > _MOST_ORDER_KEYS:
        raise BadRequestError(f"'OrderBy' may have {_MOST_ORDER_KEYS} entries at most")
    return tuple(_get_order_key(key, metadata_names, dictionary) for key in keys)


def _get_order_key(key: Any, metadata_names: NameRegistry, dictionary: TagDictionary) -> OrderKey:
    kind, name, direction = (_get_field(key, field) for field in ("Type", "Key", "Direction"))
    if kind not in _ORDERS or direction.upper() not in _DIRECTIONS:
        types = ", ".join(_ORDERS)
        raise BadParameterError(f"'Type' must be one of {types}, and 'Direction' ASC or DESC")
    source, order_type = _ORDERS[kind]
    if source is OrderSource.METADATA:
        code = metadata_names.get_code(name)
    else:
        code = _get_tag(name, dictionary)
    return OrderKey(source, code, order_type, _DIRECTIONS[direction.upper()])


def _get_field(key: Any, name: str) -> str:
    value = key.get(name) if isinstance(key, dict) else None
    if not isinstance(value, str):
        message = "an entry of 'OrderBy' must be an object with the texts Type, Key and Direction"
        raise BadRequestError(message)
    return value


def _get_natural(body: Mapping[str, Any], name: str) -> int:
    value = body.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value > _LARGEST:
        raise BadRequestError(f"'{name}' must be an integer")
    if value < 0:
        raise BadParameterError(f"'{name}' must not be negative")
    return value


_FILTERS = (
    "`Level` and `Query` (tag to pattern) are required. A pattern may hold alternatives (`\\`), "
    "wildcards (`*`, `?`) in texts, and ranges (`-`) of dates and times; an empty one matches "
    "everything. That of a sequence is a list of one object: an item must match. `Labels`, "
    "`LabelsConstraint`, `MetadataQuery`, `ParentPatient`, `ParentStudy` and `ParentSeries` narrow "
    "the search."
)

ROUTES = (
    Route(
        "POST",
        _FIND,
        find_resources,
        "Search for resources",
        "tools",
        body="application/json",
        statuses=(200, 400, 404, 413),
        details=f"{_FILTERS} `OrderBy`, `Since` and `Limit` choose a part of the result, `Expand`, "
        "`ResponseContent`, `RequestedTags`, `Full`, `Short` and `Simplify` what is shown of it.",
    ),
    Route(
        "POST",
        "/tools/count-resources",
        count_resources,
        "Count what a search finds",
        "tools",
        body="application/json",
        statuses=(200, 400, 404, 413),
        details=f"{_FILTERS} Only tags of the index can be searched, without `CaseSensitive`.",
    ),
)
