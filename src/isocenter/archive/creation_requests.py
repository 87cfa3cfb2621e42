"""What clients may ask for when they create instances, read from JSON and checked.

References
----------
Orthanc REST: POST /tools/create-dicom (behaviour manual §21)
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isocenter.dicom.tags import TagDictionary
from isocenter.errors import (
    BadFileFormatError,
    BadParameterError,
    BadRequestError,
    MisplacedPixelsError,
    NoContentError,
    NoDataURIError,
    NotTextError,
    OverriddenTagError,
    UnknownParentError,
)

__all__ = [
    "FORBIDDEN_GROUPS",
    "SERIES_INSTANCE_UID",
    "SOP_INSTANCE_UID",
    "STUDY_INSTANCE_UID",
    "CreationItem",
    "CreationRequest",
    "decode_data_uri",
    "parse_creation",
]

STUDY_INSTANCE_UID = 0x0020000D
SERIES_INSTANCE_UID = 0x0020000E
SOP_INSTANCE_UID = 0x00080018
_IDENTIFIERS = frozenset({STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID})
_SPECIFIC_CHARACTER_SET = 0x00080005
# What all instances of a series share.
_OF_ALL = frozenset({_SPECIFIC_CHARACTER_SET, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID})
_PIXEL_DATA = 0x7FE00010
# Float and double float pixel data, too.
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, _PIXEL_DATA})
_ENCAPSULATED_DOCUMENT = 0x00420011
_DATA_URI = re.compile(r"data:([^;,]*)(?:;[^;,]*)*;base64,")
# Characters of base64 at once; four of them are three bytes.
_PIECE = 256 * 1024
_MOST_TAGS = 10_000
_MOST_ITEMS = 10_000
# The file meta information is written by us; group lengths are left out.
_META_GROUP = 0x0002
FORBIDDEN_GROUPS = frozenset({0x0000, 0x0001, 0x0003, 0x0005, 0x0007, 0xFFFE, 0xFFFF})
"""Groups of no data set: commands, items, and odd groups that are none of private elements.

PS3.5 §7.1, §7.8.
"""


@dataclass(frozen=True, slots=True)
class CreationItem:
    """One instance of the request.

    Attributes
    ----------
    content
        A data URI, ``None`` for an instance without content.
    tags
        Its own ones, besides those of the request.
    """

    content: str | None
    tags: Mapping[int, Any]


@dataclass(frozen=True, slots=True)
class CreationRequest:
    """Instances to be created, checked as far as it can be without their parent.

    Attributes
    ----------
    tags
        Values of JSON, of all instances.
    items
        At least one.
    is_series
        The client wants a series, so the answer names it.
    has_defaults
        Dates, times and character set are set where the client gives none.
    parent
        Public identifier of the resource that the instances belong to.
    """

    tags: Mapping[int, Any]
    items: tuple[CreationItem, ...]
    is_series: bool = False
    has_defaults: bool = True
    parent: str | None = None
    is_forced: bool = False
    private_creator: str | None = None
    interprets_binary: bool = True
    keeps_jpeg: bool = False


def parse_creation(
    body: Mapping[str, Any], *, private_creator: str, dictionary: TagDictionary
) -> CreationRequest:
    """Read the body of a creation, in the old form without ``Tags``, too.

    Parameters
    ----------
    private_creator
        Who has defined the private tags in it, if it does not say so itself.

    Raises
    ------
    RequestError
        If a field is wrong; see the numbers from 2019 on.
    """
    if "Tags" not in body:
        return _parse_flat(body, private_creator, dictionary)
    tags = _parse_tags(body["Tags"], dictionary)
    is_forced = _get_boolean(body, "Force", default=False)
    _check_tags(tags, is_forced=is_forced)
    interprets_binary = _get_boolean(body, "InterpretBinaryTags", default=True)
    content = body.get("Content", [])
    if not content and isinstance(content, list) and interprets_binary:
        content = _take_document(tags) or content
    is_series = isinstance(content, list) and bool(content)
    creator = body.get("PrivateCreator", private_creator)
    if not isinstance(creator, str):
        raise BadRequestError("the field 'PrivateCreator' must be text")
    parent = body.get("Parent")
    if "Parent" in body and not isinstance(parent, str):
        raise UnknownParentError
    items = _parse_contents(content, dictionary)
    for item in items:
        _check_tags(item.tags, is_forced=is_forced)
        _check_item(item.tags)
    return CreationRequest(
        tags=tags,
        items=items,
        is_series=is_series,
        parent=parent,
        is_forced=is_forced,
        private_creator=creator or None,
        interprets_binary=interprets_binary,
        keeps_jpeg=_get_boolean(body, "Encapsulate", default=False),
    )


def _parse_flat(
    body: Mapping[str, Any], private_creator: str, dictionary: TagDictionary
) -> CreationRequest:
    """Read the old form: all fields are tags, the content is the one of the pixels."""
    if not all(isinstance(value, str) for value in body.values()):
        raise NotTextError
    tags = _parse_tags(body, dictionary)
    content = tags.pop(_PIXEL_DATA, None) or _take_document(tags)
    return CreationRequest(
        tags=tags,
        items=(CreationItem(content, {}),),
        has_defaults=False,
        is_forced=True,
        private_creator=private_creator or None,
    )


def _take_document(tags: dict[int, Any]) -> str | None:
    """Take an encapsulated document that was given as a tag out of the tags."""
    value = tags.get(_ENCAPSULATED_DOCUMENT)
    if isinstance(value, str) and _DATA_URI.match(value):
        del tags[_ENCAPSULATED_DOCUMENT]
        return value
    return None


def _parse_contents(content: Any, dictionary: TagDictionary) -> tuple[CreationItem, ...]:
    if isinstance(content, str):
        return (CreationItem(content, {}),)
    if not isinstance(content, list):
        raise NoDataURIError
    if len(content) > _MOST_ITEMS:
        raise BadRequestError(f"a series can be created of {_MOST_ITEMS} instances at most")
    if not content:
        return (CreationItem(None, {}),)
    return tuple(_parse_item(item, dictionary) for item in content)


def _parse_item(item: Any, dictionary: TagDictionary) -> CreationItem:
    if isinstance(item, str):
        return CreationItem(item, {})
    if not isinstance(item, dict):
        raise NoDataURIError
    if "Content" not in item:
        raise NoContentError
    if not isinstance(item["Content"], str):
        raise NoDataURIError
    return CreationItem(item["Content"], _parse_tags(item.get("Tags", {}), dictionary))


def _parse_tags(value: Any, dictionary: TagDictionary) -> dict[int, Any]:
    if not isinstance(value, dict):
        raise BadRequestError("the field 'Tags' must be an object")
    if len(value) > _MOST_TAGS:
        raise BadRequestError(f"at most {_MOST_TAGS} tags can be given")
    tags: dict[int, Any] = {}
    for name, given in value.items():
        tag = dictionary.parse_tag(name)
        if tag >> 16 in FORBIDDEN_GROUPS:
            raise BadParameterError(f"the tag '{name}' cannot stand in a data set")
        if tag >> 16 != _META_GROUP and tag & 0xFFFF:
            # Orthanc takes null for an empty value.
            tags[tag] = "" if given is None else given
    return tags


def _check_tags(tags: Mapping[int, Any], *, is_forced: bool) -> None:
    if not _PIXELS.isdisjoint(tags):
        raise MisplacedPixelsError
    if not is_forced and not _IDENTIFIERS.isdisjoint(tags):
        raise OverriddenTagError("UIDs are set by hand only if 'Force' is true")


def _check_item(tags: Mapping[int, Any]) -> None:
    if not _OF_ALL.isdisjoint(tags):
        raise BadRequestError(
            "an instance of a series cannot have a study, a series or a character set of its own"
        )


def _get_boolean(body: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise BadRequestError(f"the field '{name}' must be a boolean")
    return value


def decode_data_uri(text: str) -> tuple[str, bytes]:
    """Decode a data URI in base64 to its media type, in small letters, and its bytes.

    Raises
    ------
    BadFileFormatError
        If it is none.

    References
    ----------
    RFC 2397
    """
    found = _DATA_URI.match(text)
    if found is None:
        raise BadFileFormatError("the content must be of the form data:TYPE;base64,DATA")
    starts = range(found.end(), len(text), _PIECE)
    try:
        # Decoding keeps other threads waiting, so it is done piece by piece.
        pieces = [base64.b64decode(text[start : start + _PIECE], validate=True) for start in starts]
    except (binascii.Error, ValueError) as error:
        raise BadFileFormatError("the content is not in base64") from error
    if any(len(piece) < _PIECE // 4 * 3 for piece in pieces[:-1]):
        raise BadFileFormatError("the content is not in base64")
    return found[1].strip().lower(), b"".join(pieces)
