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

LARGEST_ANSWER_BYTES = 64 * 1024
"""Longest answer that is kept in memory."""

_MOST_BYTES = 32 * 1024 * 1024
_MOST_FILE_BYTES = 128 * 1024 * 1024
_MOST_SEEN = 100_000
# What the objects of an entry take beside its bytes.
_OVERHEAD_BYTES = 2048


@dataclass(frozen=True, slots=True)
class Repeatable:
    """An answer that was given, and what the middleware is told when it is given again.

    Attributes
    ----------
    answer
        Head and body, or the head only.
    file
        The body if it is a part of a file that is too long to be kept in memory.
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
    most_bytes, most_file_bytes
        Room for requests and answers, and for files, which stay open and mapped; when one of them
        is full, all are forgotten.
    """

    def __init__(
        self,
        get_generation: Callable[[], int],
        *,
        most_bytes: int = _MOST_BYTES,
        most_file_bytes: int = _MOST_FILE_BYTES,
    ) -> None:
        self._get_generation = get_generation
        self._most_bytes = most_bytes
        self._most_file_bytes = most_file_bytes
        self._size_bytes = 0
        self._file_bytes = 0
        self._generation = -1
        self._answers: dict[tuple[str, bytes], Repeatable] = {}
        # Hashes of what was asked once: most of it is never asked again, and need not be kept.
        self._seen: set[int] = set()

    def begin(self) -> int:
        """Tell the generation to give `add` with an answer that is about to be made."""
        return self._get_generation()

    def is_asked_again(self, client: str, request: bytes) -> bool:
        """Tell whether a request was asked before since the last transaction, so keeping it pays.

        Parameters are those of `lookup`.
        """
        key = hash((client, request))
        if key in self._seen:
            return True
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen.add(key)
        return False

    def lookup(self, client: str, request: bytes) -> Repeatable | None:
        """Find the answer to a request, if it was given before and is still true.

        Parameters
        ----------
        client
            Address of the caller.
        request
            All bytes of one request.
        """
        generation = self._get_generation()
        if self._generation != generation:
            self._forget()
            self._generation = generation
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
        size = len(request) + len(answer.answer) + _OVERHEAD_BYTES
        file_size = len(answer.file or b"")
        is_long = len(answer.answer) > LARGEST_ANSWER_BYTES or file_size > self._most_file_bytes
        if is_long or generation != self._get_generation():
            return
        if generation != self._generation or self._is_full(size, file_size):
            self._forget()
            self._generation = generation
        self._answers[client, request] = answer
        self._size_bytes += size
        self._file_bytes += file_size

    def _is_full(self, size: int, file_size: int) -> bool:
        return (
            self._size_bytes + size > self._most_bytes
            or self._file_bytes + file_size > self._most_file_bytes
        )

    def _forget(self) -> None:
        """Let go of all answers, and so of files that may have been deleted."""
        self._answers.clear()
        self._seen.clear()
        self._size_bytes = self._file_bytes = 0
