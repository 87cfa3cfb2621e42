"""JSON that comes as the body of a request."""

from typing import Any

import falcon.asgi
import msgspec

from isocenter.errors import BadFileFormatError, BadRequestError
from isocenter.http.arguments import read_body

__all__ = ["parse_json", "parse_json_object", "read_json_object"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_decode = msgspec.json.Decoder().decode


async def read_json_object(
    req: falcon.asgi.Request, *, is_optional: bool = False
) -> dict[str, Any]:
    """Read a body that must be a JSON object, whatever its media type says.

    Parameters
    ----------
    is_optional
        An empty body is an empty object.

    Raises
    ------
    BadRequestError
        If it is something else.
    BodyTooLargeError
        If it has more than 16 MB.

    References
    ----------
    Orthanc REST: bodies (behaviour manual §2.2)
    """
    body = await read_body(req)
    return {} if is_optional and not body.strip() else parse_json_object(body)


def parse_json(body: bytes) -> Any:
    """Read bytes that must be JSON; a byte order mark in front counts for nothing.

    Raises
    ------
    BadFileFormatError
        If they are no JSON.

    References
    ----------
    RFC 8259 §8.1; editors on Windows write the mark
    """
    try:
        return _decode(body.removeprefix(_BYTE_ORDER_MARK))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFileFormatError("the body must be JSON") from error


def parse_json_object(body: bytes) -> dict[str, Any]:
    """Read bytes that must be a JSON object.

    Raises
    ------
    BadRequestError
        If they are something else.
    """
    try:
        value = parse_json(body)
    except BadFileFormatError as error:
        raise BadRequestError("the body must be a JSON object") from error
    if not isinstance(value, dict):
        raise BadRequestError("the body must be a JSON object")
    return value
