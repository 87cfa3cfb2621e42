"""Arguments and answers of the two logs, that of changes and that of exports."""

from collections.abc import Callable
from typing import Any

from isocenter.http.answers import JSON, format_json
from isocenter.http.exchange import Request, Response
from isocenter.rest.services import Services

__all__ = ["answer_page", "describe_page", "get_numbers"]

_DEFAULT_LIMIT = 100
# Entries that are written as JSON on the event loop, some 5 µs each.
_SHORT_PAGE = 200
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
        return [None] * len(names), _DEFAULT_LIMIT
    return numbers, _DEFAULT_LIMIT if limit is None else min(limit, _LARGEST_LIMIT)


def _get_number(req: Request, name: str) -> int | None:
    text = req.get_param(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > _MOST_DIGITS:
        raise ValueError(name)
    return min(int(text), _LARGEST - 1)


def describe_page(
    name: str, entries: list[dict[str, Any]], *, is_done: bool, last: int
) -> dict[str, Any]:
    """Describe a page of a log, ``First`` only if it has entries (behaviour manual §10.1).

    Parameters
    ----------
    name
        Of the list of entries, ``Changes`` or ``Exports``.
    entries
        As they are answered, each with its ``Seq``.
    """
    described: dict[str, Any] = {name: entries, "Done": is_done, "Last": last}
    if entries:
        described["First"] = entries[0]["Seq"]
    return described


async def answer_page(
    services: Services,
    resp: Response,
    *,
    describe: Callable[[], dict[str, Any]],
    length: int,
) -> None:
    """Answer a page of a log as JSON; a long one is described and written in a thread.

    Parameters
    ----------
    describe
        Builds the answer, on any thread.
    length
        How many entries it has.
    """
    if length > _SHORT_PAGE:
        resp.data = await services.archive.workers.run(lambda: format_json(describe()))
    else:
        resp.data = format_json(describe())
    resp.content_type = JSON
