"""Bodies of answers: JSON as Orthanc writes it, plain text, nothing."""

from typing import Any

import msgspec

from isocenter.http.exchange import Response

__all__ = [
    "JSON",
    "TEXT",
    "answer_done",
    "answer_json",
    "answer_nothing",
    "answer_text",
    "format_json",
]

JSON = "application/json; charset=utf-8"
TEXT = "text/plain"

_INDENT = 3
_encode = msgspec.json.Encoder(order="sorted").encode
_format = msgspec.json.format


def format_json(value: Any) -> bytes:
    """Write JSON in UTF-8 with alphabetical keys and indentation (behaviour manual §2.2)."""
    return _format(_encode(value), indent=_INDENT) + b"\n"


def answer_json(resp: Response, value: Any) -> None:
    """Answer a value as JSON; ``msgspec.Raw`` parts are written as they are."""
    resp.content_type = JSON
    resp.data = format_json(value)


def answer_text(resp: Response, text: str | bytes) -> None:
    """Answer plain text."""
    resp.content_type = TEXT
    resp.data = text.encode() if isinstance(text, str) else text


def answer_done(resp: Response) -> None:
    """Answer that an action is done (behaviour manual §2.2)."""
    resp.content_type = "application/json"
    resp.data = b"{}"


def answer_nothing(resp: Response) -> None:
    """Answer a success that has nothing to say."""
    resp.content_type = TEXT
    resp.data = b""
