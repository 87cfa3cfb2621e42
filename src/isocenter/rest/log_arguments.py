"""Arguments of the two logs, that of changes and that of exports."""

from isocenter.http.exchange import Request

__all__ = ["DEFAULT_LIMIT", "get_numbers"]

DEFAULT_LIMIT = 100
"""Entries of one answer, unless more or fewer are asked for."""

_LARGEST_LIMIT = 100_000
_LARGEST = 2**63 - 1
_MOST_DIGITS = 20


def get_numbers(req: Request, *names: str) -> tuple[list[int | None], int]:
    """Read some numbers, ``None`` where one is absent, and the argument ``limit``.

    One bad number and all of them are absent.

    References
    ----------
    Orthanc REST: GET /changes (behaviour manual §10.1, quirk 22)
    """
    try:
        numbers = [_get_number(req, name) for name in names]
        limit = _get_number(req, "limit")
    except ValueError:
        return [None] * len(names), DEFAULT_LIMIT
    return numbers, DEFAULT_LIMIT if limit is None else min(limit, _LARGEST_LIMIT)


def _get_number(req: Request, name: str) -> int | None:
    text = req.get_param(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > _MOST_DIGITS:
        raise ValueError(name)
    return min(int(text), _LARGEST - 1)
