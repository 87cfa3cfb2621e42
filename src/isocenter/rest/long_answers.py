"""Answers that may be too long to be written on the event loop."""

from collections.abc import Callable
from typing import Any

from isocenter.http.answers import JSON, format_json
from isocenter.http.exchange import Response
from isocenter.rest.services import Services

__all__ = ["answer_from_thread"]


async def answer_from_thread(services: Services, resp: Response, build: Callable[[], Any]) -> None:
    """Build a value and write it as JSON in a thread."""
    resp.content_type = JSON
    resp.data = await services.archive.workers.run(lambda: format_json(build()))
