"""Fields that the bodies of calls of remote modalities share.

References
----------
Orthanc REST: operations of modalities (behaviour manual §23.2, §24)
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from falcon.asgi import Request

from isocenter.archive.modalities import CallOptions
from isocenter.config.remote_modalities import AE_TITLE
from isocenter.dicom.levels import Level
from isocenter.dicom.tags import TagDictionary
from isocenter.errors import (
    BadFileFormatError,
    BadParameterError,
    ConfigurationError,
    ParameterTypeError,
    UnknownTagError,
)
from isocenter.http.arguments import read_body
from isocenter.rest.services import Services

__all__ = [
    "check_resources",
    "check_symbolic_name",
    "check_title",
    "get_flag_field",
    "get_integer_field",
    "get_text_field",
    "get_title_field",
    "parse_json",
    "parse_level",
    "parse_options",
    "parse_resources",
    "parse_retries",
    "parse_tags",
    "read_object",
    "read_optional_object",
]

_LONGEST_TIMEOUT_S = 86_400
_PORTS = range(1, 65_536)
_MOST_RETRIES = 1_000_000
_IDENTIFIER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")
_MOST_RESOURCES = 100_000
_SYMBOLIC_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")


def parse_json(body: bytes) -> Any:
    """Read JSON.

    Raises
    ------
    BadFileFormatError
        If it is none.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = "Cannot parse the JSON body"
        raise BadFileFormatError(message) from error


async def read_object(req: Request) -> dict[str, Any]:
    """Read a body that must be a JSON object.

    Raises
    ------
    BadFileFormatError
        If it is something else.
    """
    value = parse_json(await read_body(req))
    if not isinstance(value, dict):
        message = "Must provide a JSON object"
        raise BadFileFormatError(message)
    return value


async def read_optional_object(req: Request) -> dict[str, Any]:
    """Read a body that may be empty or a JSON object; other JSON counts as an empty one.

    Raises
    ------
    BadFileFormatError
        If it is no JSON.

    References
    ----------
    Orthanc REST: POST /modalities/{id}/echo, as observed
    """
    body = await read_body(req)
    value = parse_json(body) if body.strip() else {}
    return value if isinstance(value, dict) else {}


def get_flag_field(body: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """Read a boolean field.

    Raises
    ------
    BadFileFormatError
        If it is there and no boolean.
    """
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise BadFileFormatError(f"Boolean value expected in field: {name}")
    return value


def get_integer_field(body: Mapping[str, Any], name: str) -> int | None:
    """Read a field that is a number, ``None`` if it is absent.

    Raises
    ------
    BadFileFormatError
        If it is there and no integer.
    """
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadFileFormatError(f"Integer value expected in field: {name}")
    return value


def get_text_field(body: Mapping[str, Any], name: str) -> str | None:
    """Read a text field, ``None`` if it is absent or empty.

    Raises
    ------
    ParameterTypeError
        If it is there and no text.
    """
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise ParameterTypeError(f"the field '{name}' must be text")
    return value or None


def get_title_field(body: Mapping[str, Any], name: str) -> str | None:
    """Read a field that is an AE title, ``None`` if it is absent or empty.

    Raises
    ------
    ParameterTypeError, BadParameterError
        If it is no text, or no title.
    """
    title = get_text_field(body, name)
    return None if title is None else check_title(title)


def check_symbolic_name(name: str) -> None:
    """Refuse what cannot be the name of a modality or a peer.

    Raises
    ------
    BadFileFormatError
        If it holds other characters, or too many.
    """
    if _SYMBOLIC_NAME.fullmatch(name) is None:
        raise BadFileFormatError(
            "Only alphanumeric, dash characters and underscores are allowed in the names of "
            f"modalities/peers, but found: {name[:100]}"
        )


def check_title(title: str) -> str:
    """Return an AE title.

    Raises
    ------
    BadParameterError
        If it cannot be one.
    """
    try:
        return str(AE_TITLE.check(title))
    except ConfigurationError as error:
        raise BadParameterError(f"an AE title {error.details}") from error


def parse_options(body: Mapping[str, Any]) -> CallOptions:
    """Read what a call does differently from the configuration.

    Raises
    ------
    RequestError
        If a field is wrong.
    """
    timeout_s = get_integer_field(body, "Timeout")
    if timeout_s is not None and not 0 <= timeout_s <= _LONGEST_TIMEOUT_S:
        raise BadParameterError(f"the field 'Timeout' may be 0 to {_LONGEST_TIMEOUT_S} seconds")
    port = get_integer_field(body, "Port")
    if port is not None and port not in _PORTS:
        message = "A TCP port number must be in range [1..65535]"
        raise BadParameterError(message)
    return CallOptions(
        local_ae_title=get_title_field(body, "LocalAet"),
        timeout_s=timeout_s,
        called_ae_title=get_title_field(body, "CalledAet"),
        host=get_text_field(body, "Host"),
        port=port,
    )


def parse_level(value: Any) -> Level:
    """Read the level of a query.

    Raises
    ------
    BadFileFormatError
        If it is no text.
    BadParameterError
        If it is no level.
    """
    if not isinstance(value, str):
        message = "The JSON body must contain field Level"
        raise BadFileFormatError(message)
    level = Level.lookup_name(value)
    if level is None:
        message = "the level must be Patient, Study, Series or Instance"
        raise BadParameterError(message)
    return level


def parse_tags(value: Any, dictionary: TagDictionary, *, name: str = "Query") -> dict[int, str]:
    """Read an object of tags and texts.

    Raises
    ------
    BadFileFormatError
        If it is something else, or nobody knows one of the tags.
    """
    if not isinstance(value, dict):
        raise BadFileFormatError(f"The field {name} must contain a JSON object")
    message = f"Associative array of DICOM tags to strings expected in field: {name}"
    if not all(isinstance(text, str) for text in value.values()):
        raise BadFileFormatError(message)
    try:
        return {dictionary.parse_tag(key): text for key, text in value.items()}
    except UnknownTagError as error:
        raise BadFileFormatError(message) from error


def parse_resources(data: bytes) -> dict[str, Any]:
    """Read what to send: an identifier, several, or an object with the field ``Resources``.

    Raises
    ------
    BadFileFormatError
        If it is something else.

    References
    ----------
    Orthanc REST: POST /modalities/{id}/store, POST /peers/{id}/store (behaviour manual §23.2, §27)
    """
    text = data.strip()
    if _IDENTIFIER.fullmatch(text.decode("latin-1")):
        return {"Resources": [text.decode()]}
    if not text:
        message = "Must provide a JSON value"
        raise BadFileFormatError(message)
    value = parse_json(text)
    body = value if isinstance(value, dict) else {"Resources": value}
    if "Resources" not in body:
        message = 'Missing field in JSON: "Resources"'
        raise BadFileFormatError(message)
    resources = body["Resources"]
    if isinstance(resources, str) and not isinstance(value, dict):
        resources = [resources]
    return {**body, "Resources": check_resources(resources)}


def check_resources(resources: Any) -> list[str]:
    """Return a list of public identifiers.

    Raises
    ------
    BadFileFormatError
        If it is something else.
    """
    if not isinstance(resources, list):
        message = 'JSON field "Resources" must contain an array'
        raise BadFileFormatError(message)
    if len(resources) > _MOST_RESOURCES:
        raise BadFileFormatError(f"at most {_MOST_RESOURCES} resources may be named at once")
    for resource in resources:
        if not isinstance(resource, str) or _IDENTIFIER.fullmatch(resource) is None:
            message = "Resources must be specified as a JSON array of identifiers"
            raise BadFileFormatError(message)
    return resources


def parse_retries(services: Services, body: Mapping[str, Any], *, is_synchronous: bool) -> int:
    """Read how often a job may try again; a call that waits for its job fails at once.

    Raises
    ------
    RequestError
        If the field ``Retries`` is wrong.

    References
    ----------
    Decision 0020
    """
    retries = get_integer_field(body, "Retries")
    if retries is None:
        return 0 if is_synchronous else services.configuration.integer("Isocenter.TransferRetries")
    if not 0 <= retries <= _MOST_RETRIES:
        raise BadParameterError(f"the field 'Retries' may be 0 to {_MOST_RETRIES}")
    return retries
