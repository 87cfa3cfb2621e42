"""The engine of jobs by itself: ``python -m benchmarks.jobs``.

A job here does nothing in one step, on a durable index in a fresh folder. So this is what the
engine costs: its transactions, its wakings, its looking for work.
"""

import argparse
import asyncio
import resource
import shutil
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.report import format_table
from benchmarks.stage import WORK
from isocenter.index.jobs import DatabaseJobs
from isocenter.index.sqlite import SQLiteDatabase
from isocenter.jobs.engine import Engine, EngineOptions
from isocenter.jobs.records import Apply, FailedItem, Job, NewJob, Step

_THREADS = 8
_TIMEOUT_S = 120.0
_LEAST_JOBS_S = 300.0
_MOST_MS = 5.0
_MOST_IDLE = 0.5


class Nothing:
    """A kind of job that is done at once."""

    name = "Nothing"

    async def run(self, job: Job) -> AsyncIterator[Step]:  # noqa: ARG002
        """Do one step."""
        yield Step(progress=100, content={"Done": True}, is_last=True)

    def abandon(self, job: Job) -> Apply | None:  # noqa: ARG002
        """Leave nothing behind."""
        return None

    def build_retry(self, job: Job, failed: list[FailedItem]) -> NewJob:  # noqa: ARG002
        """Begin anew."""
        return NewJob(self.name, {})


@asynccontextmanager
async def run_engine(folder: Path, *, history: int, concurrent: int) -> AsyncIterator[Engine]:
    """Run an engine on a new index in an empty folder."""
    database = SQLiteDatabase(folder / "index")
    with ThreadPoolExecutor(_THREADS) as threads:

        def run_blocking(operation: Any, /, *arguments: Any) -> Any:
            return asyncio.get_running_loop().run_in_executor(
                threads, partial(operation, *arguments)
            )

        store = DatabaseJobs(database, history=history)
        engine = Engine(store, run_blocking, [Nothing()], EngineOptions(concurrent=concurrent))
        await engine.start()
        try:
            yield engine
        finally:
            await engine.stop(5.0)
            database.close()


async def measure_rate(engine: Engine, count: int) -> float:
    """Jobs per second, submitted by as many callers as there are threads, until all have ended."""
    jobs = iter(range(count))

    async def submit() -> None:
        for _ in jobs:
            await engine.run(NewJob(Nothing.name, {}), _TIMEOUT_S)

    start = time.perf_counter()
    await asyncio.gather(*(submit() for _ in range(_THREADS)))
    return count / (time.perf_counter() - start)


async def measure_batch(engine: Engine, count: int) -> float:
    """Jobs per second, all submitted before the first one is waited for."""
    start = time.perf_counter()
    jobs = [await engine.submit(NewJob(Nothing.name, {})) for _ in range(count)]
    await engine.wait(jobs[-1].job_id, _TIMEOUT_S)
    return count / (time.perf_counter() - start)


async def measure_latency_ms(engine: Engine, count: int) -> float:
    """Median of the milliseconds from the submission to the result."""
    durations = []
    for _ in range(count):
        start = time.perf_counter()
        await engine.run(NewJob(Nothing.name, {}), _TIMEOUT_S)
        durations.append(time.perf_counter() - start)
    return statistics.median(durations) * 1000


async def measure_idle_percent(duration_s: float) -> float:
    """Processor time of this process while nothing happens, in percent of a core."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.sleep(duration_s)
    after = resource.getrusage(resource.RUSAGE_SELF)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 100 * used_s / duration_s


async def _measure(folder: Path, count: int, history: int) -> list[tuple[str, ...]]:
    async with run_engine(folder, history=history, concurrent=2) as engine:
        idle = await measure_idle_percent(5.0)
        rate = await measure_rate(engine, count)
        batch = await measure_batch(engine, count)
        latency = await measure_latency_ms(engine, count // 5)
    return [
        ("jobs of 8 clients that wait, 1/s", f"{rate:.0f}", f"≥ {_LEAST_JOBS_S:.0f}"),
        ("jobs submitted one after the other, 1/s", f"{batch:.0f}", f"≥ {_LEAST_JOBS_S:.0f}"),
        ("submission to result, median, ms", f"{latency:.2f}", f"≤ {_MOST_MS:.0f}"),
        ("processor time while idle, %", f"{idle:.2f}", f"≤ {_MOST_IDLE}"),
    ]


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jobs", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="jobs (default: 1000)")
    parser.add_argument("--history", type=int, default=10, help="JobsHistorySize (default: 10)")
    options = parser.parse_args(arguments)
    folder = WORK / "jobs"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = asyncio.run(_measure(folder, options.count, options.history))
    shutil.rmtree(folder)
    print(format_table(("Line", "Measured", "Target"), rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
