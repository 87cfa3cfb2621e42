"""A kind of job that tests control."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from isocenter.errors import MissingFileError
from isocenter.jobs.records import Apply, FailedItem, Job, NewJob, Step

__all__ = ["CountingKind"]


class CountingKind:
    """Counts to ``arguments["to"]``, a step a number; waits for the gate before each step."""

    name = "Counting"

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun: list[tuple[str, int]] = []
        self.closed: list[str] = []
        self.abandoned: list[str] = []

    async def run(self, job: Job) -> AsyncIterator[Step]:
        start = (job.checkpoint or {}).get("at", 0)
        try:
            for number in range(start, job.arguments["to"]):
                self.begun.append((job.job_id, number))
                await self.gate.wait()
                if number == job.arguments.get("fail_at"):
                    raise MissingFileError("gone", payload={"Type": "T", "Content": [1]})
                if number == job.arguments.get("break_at"):
                    raise ZeroDivisionError
                failed = (
                    [FailedItem(str(number), 15, "bad")]
                    if number in job.arguments.get("bad", ())
                    else []
                )
                yield Step(
                    {"at": number + 1},
                    100 * (number + 1) // job.arguments["to"],
                    {"Count": number + 1},
                    failed_items=failed,
                )
        finally:
            self.closed.append(job.job_id)

    def abandon(self, job: Job) -> Apply | None:
        def apply(_: Any) -> None:
            self.abandoned.append(job.job_id)

        return apply

    def build_retry(self, job: Job, failed: list[FailedItem]) -> NewJob:
        return NewJob(self.name, {"to": len(failed)})
