"""Resources as objects: what a client wants to see of them, and the answer that shows it.

References
----------
Orthanc REST: JSON of resources (behaviour manual §3), requested tags (§4.4)
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from isocenter.archive.browse import Described
from isocenter.archive.records import Part
from isocenter.archive.warning_log import WarningCode, WarningLog
from isocenter.dicom.json_forms import Shape
from isocenter.dicom.levels import Level
from isocenter.dicom.tags import DEFAULT_DICTIONARY
from isocenter.errors import BadParameterError, BadRequestError
from isocenter.http.answers import JSON, format_json
from isocenter.http.arguments import get_flag
from isocenter.http.exchange import Request, Response
from isocenter.rest.arguments import get_shape
from isocenter.rest.resource_json import describe_resource
from isocenter.rest.services import Services

__all__ = [
    "Expansion",
    "answer_public_ids",
    "answer_resource",
    "answer_resources",
    "get_expansion",
    "get_list_expansion",
    "parse_expansion",
    "parse_requested_tags",
    "parse_shape",
    "write_described",
    "write_resources",
]

T = TypeVar("T")

# Objects up to this number are written on the event loop, in less than 5 ms.
_SHORT_LIST = 50
_FEW_CHILDREN = 1000
# A longer list is read and written in pages of this size.
_PAGE = 500
# Objects that name more children than this are written and sent in parts.
_MOST_CHILDREN = 50_000
_MOST_REQUESTED_TAGS = 1000
# So much of a wrong name is repeated in the error.
_LONGEST_NAME = 100
_META_GROUP = 0x0002
# How an array ends, and an empty one.
_END = b"\n]\n"
_NOTHING = b"[]\n"

_PARTS = {
    "MainDicomTags": Part.MAIN_TAGS,
    # What is requested is shown, whether it is named here or not.
    "RequestedTags": Part(0),
    "Metadata": Part.METADATA,
    "Status": Part.STATUS,
    "Parent": Part.PARENT,
    "Children": Part.CHILDREN,
    "Labels": Part.LABELS,
    "Attachments": Part.ATTACHMENTS,
    "IsStable": Part.IS_STABLE,
    "IsProtected": Part.IS_PROTECTED,
}
_SHAPES = (("Simplify", Shape.HUMAN), ("Short", Shape.SHORT), ("Full", Shape.FULL))


@dataclass(frozen=True, slots=True)
class Expansion:
    """How resources are shown as objects.

    Attributes
    ----------
    shape
        How their tags are written.
    parts
        What is shown of them; nothing else is read.
    requested_tags
        Tags to show besides the main tags.
    """

    shape: Shape = Shape.HUMAN
    parts: Part = Part.CLASSIC
    requested_tags: tuple[int, ...] = ()


_CLASSIC = Expansion()


def get_expansion(req: Request, warnings: WarningLog) -> Expansion:
    """Read the query arguments of routes whose answers are always objects.

    Raises
    ------
    BadRequestError
        If a requested tag is not known.
    BadParameterError
        If a flag is no boolean.

    References
    ----------
    Orthanc REST: GET /{level}/{id}, children and parents (behaviour manual §3.2, §3.5)
    """
    if not req.query_string:
        return _CLASSIC
    text = req.get_param("requested-tags", default=req.get_param("requestedTags")) or ""
    return Expansion(get_shape(req), requested_tags=parse_requested_tags(text.split(";"), warnings))


def get_list_expansion(req: Request, warnings: WarningLog) -> Expansion | None:
    """Read the query arguments of lists; ``None`` if these answer identifiers.

    Raises
    ------
    BadRequestError, BadParameterError
        As for `get_expansion`, and if a part is not known.

    References
    ----------
    Orthanc REST: GET /{level} (behaviour manual §3.1)
    """
    is_expanded = get_flag(req, "expand")
    expansion = get_expansion(req, warnings)
    parts = req.get_param("response-content")
    if parts is not None:
        return Expansion(expansion.shape, _parse_parts(parts.split(";")), expansion.requested_tags)
    return expansion if is_expanded else None


def parse_expansion(body: Mapping[str, Any], warnings: WarningLog) -> Expansion | None:
    """Read the fields of a JSON body; ``None`` if identifiers are to be answered.

    Parameters
    ----------
    body
        With ``Expand``, ``ResponseContent``, ``RequestedTags``, ``Full``, ``Short``, ``Simplify``;
        other fields are ignored.

    Raises
    ------
    BadRequestError
        If a field is of a wrong type, or a requested tag is not known.
    BadParameterError
        If a part is not known.

    References
    ----------
    Orthanc REST: POST /tools/find (behaviour manual §15.1)
    """
    is_expanded = _get_boolean(body, "Expand")
    shape = parse_shape(body)
    tags = parse_requested_tags(_get_texts(body, "RequestedTags"), warnings)
    if body.get("ResponseContent") is not None:
        return Expansion(shape, _parse_parts(_get_texts(body, "ResponseContent")), tags)
    return Expansion(shape, requested_tags=tags) if is_expanded else None


def parse_shape(body: Mapping[str, Any]) -> Shape:
    """Read ``Simplify``, ``Short`` and ``Full`` of a JSON body; the first that is true wins.

    Raises
    ------
    BadRequestError
        If one is no boolean.
    """
    wanted = [shape for name, shape in _SHAPES if _get_boolean(body, name)]
    return wanted[0] if wanted else Shape.HUMAN


def parse_requested_tags(names: Iterable[str], warnings: WarningLog) -> tuple[int, ...]:
    """Find the numbers of requested tags, each once; empty names are passed over.

    Those of the file meta information cannot be requested and are left out with a warning.

    Raises
    ------
    BadRequestError
        If a name is not known, or there are too many.

    References
    ----------
    Orthanc REST: requested tags (behaviour manual §4.4)
    """
    tags = tuple(dict.fromkeys(_get_tag(name.strip()) for name in names if name.strip()))
    if len(tags) > _MOST_REQUESTED_TAGS:
        raise BadRequestError(f"at most {_MOST_REQUESTED_TAGS} tags can be requested")
    meta = [tag for tag in tags if tag >> 16 == _META_GROUP]
    if meta:
        warnings.add(WarningCode.META_HEADER_TAG, meta)
    return tuple(tag for tag in tags if tag >> 16 != _META_GROUP)


def _get_tag(name: str) -> int:
    tag = DEFAULT_DICTIONARY.lookup_tag(name)
    if tag is None:
        raise BadRequestError(f"there is no tag '{name[:_LONGEST_NAME]}'")
    return tag


def _parse_parts(names: Iterable[str]) -> Part:
    parts = Part(0)
    for name in names:
        if not name.strip():
            continue
        part = _PARTS.get(name.strip())
        if part is None:
            raise BadParameterError(f"there is no part '{name[:_LONGEST_NAME]}' of a response")
        parts |= part
    return parts


def _get_boolean(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise BadRequestError(f"'{name}' must be true or false")
    return value


def _get_texts(body: Mapping[str, Any], name: str) -> list[str]:
    value = body.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadRequestError(f"'{name}' must be an array of texts")
    return value


async def answer_public_ids(services: Services, resp: Response, public_ids: list[str]) -> None:
    """Answer an array of identifiers; a long one is written in a worker thread."""
    resp.content_type = JSON
    if len(public_ids) <= _FEW_CHILDREN:
        resp.data = format_json(public_ids)
    else:
        resp.data = await services.archive.workers.run(format_json, public_ids)


async def answer_resource(
    services: Services, resp: Response, level: Level, public_id: str, *, expansion: Expansion
) -> bool:
    """Answer one resource; tell whether there is one."""
    found = await services.archive.browse.lookup(
        level, public_id, expansion.parts, expansion.requested_tags
    )
    if found is None:
        return False
    resp.content_type = JSON
    resp.data = await _run(
        services, [found], lambda: format_json(_describe(services, found, expansion))
    )
    return True


async def answer_resources(
    services: Services, level: Level | None, internal_ids: Sequence[int], expansion: Expansion
) -> list[dict[str, Any]]:
    """Describe resources of a level, in the order of their rows; those that are gone are left out.

    For answers of a bounded size; `write_resources` answers lists of any length.

    Parameters
    ----------
    level
        ``None`` for resources of several levels, of which no tags can be requested.
    """
    found = await _read(services, level, internal_ids, expansion)
    return await _run(services, found, lambda: _describe_all(services, found, expansion))


async def write_resources(
    services: Services,
    resp: Response,
    level: Level | None,
    internal_ids: Sequence[int],
    *,
    expansion: Expansion,
) -> None:
    """Answer an array of objects; a long one is read and sent page by page.

    Memory holds a page or two. Parameters are those of `answer_resources`.
    """
    resp.content_type = JSON
    found = await _read(services, level, internal_ids[:_PAGE], expansion)
    if len(internal_ids) <= _PAGE and len(list(_cut(found))) <= 1:
        resp.data = await _format(services, found, expansion)
    else:
        resp.stream = _stream(services, level, internal_ids, expansion=expansion, found=found)


async def write_described(
    services: Services, resp: Response, found: Sequence[Described], expansion: Expansion
) -> None:
    """Answer an array of objects that were read already."""
    resp.content_type = JSON
    resp.data = await _format(services, found, expansion)


async def _stream(
    services: Services,
    level: Level | None,
    internal_ids: Sequence[int],
    *,
    expansion: Expansion,
    found: Sequence[Described],
) -> AsyncIterator[bytes]:
    """Join the JSON arrays of parts to one; the first page was read already."""
    separator = b"["
    for start in range(_PAGE, len(internal_ids) + _PAGE, _PAGE):
        for part in _cut(found):
            document = await _format(services, part, expansion)
            yield separator + document.removeprefix(b"[").removesuffix(_END)
            separator = b","
        following = internal_ids[start : start + _PAGE]
        found = await _read(services, level, following, expansion) if following else ()
    yield _END if separator == b"," else _NOTHING


def _cut(found: Sequence[Described]) -> Iterator[Sequence[Described]]:
    """Cut resources into parts that do not name too many children, which can be any number."""
    start = names = 0
    for stop, one in enumerate(found):
        names += len(one.row.children)
        if names > _MOST_CHILDREN and stop > start:
            yield found[start:stop]
            start, names = stop, len(one.row.children)
    if start < len(found):
        yield found[start:]


async def _format(services: Services, found: Sequence[Described], expansion: Expansion) -> bytes:
    return await _run(
        services, found, lambda: format_json(_describe_all(services, found, expansion))
    )


async def _read(
    services: Services, level: Level | None, internal_ids: Sequence[int], expansion: Expansion
) -> list[Described]:
    return await services.archive.browse.describe(
        level, internal_ids, expansion.parts, expansion.requested_tags
    )


async def _run(services: Services, found: Sequence[Described], operation: Callable[[], T]) -> T:
    """Write objects where it does not keep the event loop: short ones on the spot."""
    names = sum(len(one.row.children) for one in found)
    if len(found) <= _SHORT_LIST and names <= _FEW_CHILDREN:
        return operation()
    return await services.archive.workers.run(operation)


def _describe_all(
    services: Services, found: Sequence[Described], expansion: Expansion
) -> list[dict[str, Any]]:
    return [_describe(services, one, expansion) for one in found]


def _describe(services: Services, found: Described, expansion: Expansion) -> dict[str, Any]:
    return describe_resource(
        found, services.archive.registry.metadata, expansion.parts, shape=expansion.shape
    )
