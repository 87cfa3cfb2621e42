"""Answers kept for the next time the very same bytes are asked, until the index changes.

Viewers and scripts ask the same small things again and again, with the same headers. The bytes of a
whole request are then enough to find its answer: nothing is parsed, no responder runs. An answer is
kept only if its route says that it depends on nothing but the index (`Route.is_lasting`), and only
until the next transaction of the index (Decision 0011).
"""

from collections.abc import Callable
from dataclasses import dataclass

from isocenter.http.exchange import DirectRequest, DirectResponse, FileRange

__all__ = ["Repeatable", "RepeatedAnswers"]

LARGEST_REQUEST_BYTES = 2048
"""Longest request that is compared as a whole."""

_LARGEST_ANSWER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Repeatable:
    """An answer that was given, and what the middleware is told when it is given again.

    Attributes
    ----------
    answer
        Head and body, or the head only.
    file
        The body if it is a part of a file.
    """

    req: DirectRequest
    resp: DirectResponse
    answer: bytes
    file: FileRange | None = None


class RepeatedAnswers:
    """The answers that are still true. For the event loop's thread only.

    Parameters
    ----------
    get_generation
        Tells a number that grows with each transaction of the index, before the one who made it
        learns of its success.
    capacity_bytes
        Room for requests and answers; when it is full, all are forgotten.

    Notes
    -----
    Files count by their length, as they stay open and their pages mapped.
    """

    def __init__(self, get_generation: Callable[[], int], capacity_bytes: int) -> None:
        self._get_generation = get_generation
        self._capacity_bytes = capacity_bytes
        self._size_bytes = 0
        self._generation = -1
        self._answers: dict[tuple[str, bytes], Repeatable] = {}

    def begin(self) -> int:
        """Tell the generation to give `add` with an answer that is about to be made."""
        return self._get_generation()

    def lookup(self, client: str, request: bytes) -> Repeatable | None:
        """Find the answer to a request, if it was given before and is still true.

        Parameters
        ----------
        client
            Address of the caller.
        request
            All bytes of one request.
        """
        if self._generation != self._get_generation():
            self._forget()
            return None
        known = self._answers.get((client, request))
        if known is None or known.file is None:
            return known
        return known if known.file.file.is_cached(known.file.start, known.file.stop) else None

    def add(self, client: str, request: bytes, answer: Repeatable, *, generation: int) -> None:
        """Keep an answer.

        Parameters
        ----------
        generation
            What `begin` told before the answer was made; if a transaction has ended since, the
            answer may be the older one and is not kept.
        """
        size = len(request) + len(answer.answer) + len(answer.file or b"")
        is_long = len(answer.answer) > _LARGEST_ANSWER_BYTES or size > self._capacity_bytes
        if is_long or generation != self._get_generation():
            return
        if generation != self._generation or self._size_bytes + size > self._capacity_bytes:
            self._forget()
            self._generation = generation
        self._answers[client, request] = answer
        self._size_bytes += size

    def _forget(self) -> None:
        """Let go of all answers, and so of files that may have been deleted."""
        self._answers.clear()
        self._size_bytes = 0
