"""Answers to requests of ours, kept until the caller takes them.

References
----------
PS3.7 §7.5 and §8 (one request, zero or more pending responses, one final response)
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from isocenter.dimse.commands import Command
from isocenter.dimse.status import StatusCategory, categorize_status

__all__ = ["Response", "ResponseQueue"]

_CAPACITY = 64
"""Responses that may wait for the caller before the peer has to wait."""

_CAPACITY_BYTES = 4 * 1024 * 1024
"""Bytes of their data sets that may wait, beyond one response."""


@dataclass(frozen=True, slots=True)
class Response:
    """One answer of the peer.

    ``data`` is the data set in the transfer syntax of the presentation context, if there was one.
    """

    command: Command
    data: bytes | None = None

    @property
    def status(self) -> int:
        """Status of the answer, see ``status``."""
        # The decoder lets no response without a status through.
        return self.command.status or 0

    @property
    def is_final(self) -> bool:
        """Whether no other answer follows."""
        return categorize_status(self.status) is not StatusCategory.PENDING


class ResponseQueue:
    """The answers to one request, in order.

    Parameters
    ----------
    hold, resume
        Stop and restart the connection when too many answers wait.
    command_field
        Of the answers.
    """

    def __init__(
        self, hold: Callable[[], None], resume: Callable[[], None], *, command_field: int
    ) -> None:
        self.command_field = command_field
        self._hold = hold
        self._resume = resume
        self._responses: deque[Response] = deque()
        self._waiting_bytes = 0
        self._error: Exception | None = None
        self._has_news = asyncio.Event()
        self._is_held = False
        self._is_discarding = False

    def put(self, response: Response) -> None:
        """Add an answer of the peer."""
        if self._is_discarding:
            return
        self._responses.append(response)
        self._waiting_bytes += len(response.data or b"")
        self._has_news.set()
        is_full = len(self._responses) >= _CAPACITY or self._waiting_bytes > _CAPACITY_BYTES
        if is_full and not self._is_held:
            self._is_held = True
            self._hold()

    def fail(self, error: Exception) -> None:
        """Let the caller fail once the answers that arrived are used up."""
        self._error = error
        self._has_news.set()

    def discard(self) -> None:
        """Drop what arrived and what will arrive; nobody waits any more."""
        self._is_discarding = True
        self._responses.clear()
        self._waiting_bytes = 0
        self._release()

    async def get(self) -> Response:
        """Wait for the next answer.

        Raises
        ------
        Exception
            What `fail` was given.
        """
        while not self._responses:
            if self._error is not None:
                raise self._error
            self._has_news.clear()
            await self._has_news.wait()
        response = self._responses.popleft()
        self._waiting_bytes -= len(response.data or b"")
        if not self._responses:
            self._release()
        return response

    def _release(self) -> None:
        if self._is_held:
            self._is_held = False
            self._resume()
