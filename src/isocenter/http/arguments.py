"""Query arguments and small bodies, read as Orthanc reads them."""

from isocenter.errors import (
    BadFileFormatError,
    BadParameterError,
    BodyTooLargeError,
    ParameterTypeError,
)
from isocenter.http.exchange import Request, WritingRequest

__all__ = ["get_flag", "get_natural", "read_body", "read_boolean", "read_text"]

_TRUE = {"", "1", "true"}
_FALSE = {"0", "false"}
_LARGEST = 2**63 - 1
_MOST_DIGITS = 19
_SMALL_BODY = 16 * 1024 * 1024
_SHORT_TEXT = 4096


def get_flag(req: Request, name: str, *, default: bool = False) -> bool:
    """Read a boolean argument; present without a value means true.

    Raises
    ------
    BadParameterError
        If the value is something else.

    References
    ----------
    Orthanc REST: arguments (behaviour manual §2.2)
    """
    text = req.params.get(name)
    if text is None:
        return default
    if isinstance(text, str):
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
    raise BadParameterError(f"the argument '{name}' must be a boolean: 1, true, 0 or false")


def get_natural(req: Request, name: str) -> int | None:
    """Read a number of 0 or more, ``None`` if absent.

    Raises
    ------
    ParameterTypeError
        If it is no number of 64 bits.
    BadParameterError
        If it is negative.
    """
    text = req.params.get(name)
    if text is None:
        return None
    digits = text.removeprefix("-") if isinstance(text, str) else ""
    is_number = digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS
    if not is_number or int(digits) > _LARGEST:
        raise ParameterTypeError(f"the argument '{name}' must be an integer of 64 bits")
    if text[0] == "-":
        raise BadParameterError(f"the argument '{name}' must not be negative")
    return int(digits)


async def read_body(req: WritingRequest, *, limit: int = _SMALL_BODY) -> bytes:
    """Read a small body whole.

    Raises
    ------
    BodyTooLargeError
        If it is longer than the limit, in bytes.
    """
    if (req.content_length or 0) > limit:
        raise BodyTooLargeError(f"the body may have {limit} bytes at most")
    chunks: list[bytes] = []
    size = 0
    async for chunk in req.stream:
        size += len(chunk)
        if size > limit:
            raise BodyTooLargeError(f"the body may have {limit} bytes at most")
        chunks.append(chunk)
    return b"".join(chunks)


async def read_text(req: WritingRequest, *, limit: int = _SHORT_TEXT) -> str:
    """Read a short body of plain text.

    Raises
    ------
    BodyTooLargeError
        If it is longer than the limit, in bytes.
    BadParameterError
        If it is not UTF-8.
    """
    body = await read_body(req, limit=limit)
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        message = "the body must be UTF-8 text"
        raise BadParameterError(message) from error


async def read_boolean(req: WritingRequest) -> bool:
    """Read a body that is 1, true, 0 or false.

    Raises
    ------
    BadFileFormatError
        If it is something else.

    References
    ----------
    Orthanc REST: bodies (behaviour manual §2.2)
    """
    text = (await read_body(req, limit=_SHORT_TEXT)).strip()
    if text in {b"1", b"true"}:
        return True
    if text in {b"0", b"false"}:
        return False
    message = "Boolean value expected"
    raise BadFileFormatError(message)
