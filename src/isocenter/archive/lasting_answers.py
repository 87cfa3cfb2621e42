"""Answers to questions that come as bodies, kept until the index changes (Decision 0011)."""

from isocenter.archive.workers import Workers

__all__ = ["LastingAnswers"]

_LONGEST_QUESTION_BYTES = 2048
_LONGEST_ANSWER_BYTES = 64 * 1024
_MOST_BYTES = 8 * 1024 * 1024
# What the objects of an entry take beside its bytes.
_OVERHEAD_BYTES = 256


class LastingAnswers:
    """Keeps answers that depend on the question and the index alone, not on who asks.

    For the event loop's thread only. Nothing is kept where several servers share the index.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._answers: dict[tuple[str, bytes], bytes] = {}
        self._generation = -1
        self._size_bytes = 0

    def begin(self) -> int:
        """Tell the generation to give `add` with an answer that is about to be made."""
        return self._workers.get_generation()

    def lookup(self, path: str, question: bytes) -> bytes | None:
        """Find the answer to a question, if it was given before and is still true."""
        if self._generation != self._workers.get_generation():
            self._forget()
            return None
        return self._answers.get((path, question))

    def add(self, path: str, question: bytes, answer: bytes, *, generation: int) -> None:
        """Keep an answer, unless a transaction has ended since it was begun, or it is long."""
        if not self._workers.reads_inline or generation != self._workers.get_generation():
            return
        if len(question) > _LONGEST_QUESTION_BYTES or len(answer) > _LONGEST_ANSWER_BYTES:
            return
        size = len(question) + len(answer) + _OVERHEAD_BYTES
        if generation != self._generation or self._size_bytes + size > _MOST_BYTES:
            self._forget()
            self._generation = generation
        self._answers[path, question] = answer
        self._size_bytes += size

    def _forget(self) -> None:
        self._answers.clear()
        self._size_bytes = 0
