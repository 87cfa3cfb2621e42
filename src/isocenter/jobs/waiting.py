"""Clients that wait for the end of a job, woken without polling."""

import asyncio

from isocenter.jobs.records import Job

__all__ = ["Waiters"]


class Waiters:
    """Who waits for which job. For the event loop's thread only."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Future[Job | None]]] = {}

    def begin(self, job_id: str) -> "asyncio.Future[Job | None]":
        """Begin to wait; to be called before the state of the job is read."""
        future: asyncio.Future[Job | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, []).append(future)
        return future

    def end(self, job_id: str, future: "asyncio.Future[Job | None]") -> None:
        """Wait no longer."""
        futures = self._waiting.get(job_id, [])
        if future in futures:
            futures.remove(future)
        if not futures:
            self._waiting.pop(job_id, None)

    def wake(self, job_id: str, job: Job | None) -> None:
        """Tell those who wait for a job how it ended; ``None`` if it was forgotten."""
        for future in self._waiting.pop(job_id, []):
            if not future.done():
                future.set_result(job)
