"""A stopwatch that also tells how busy the client was."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement.

    Attributes
    ----------
    value
        In the unit of its line.
    client_share
        Processor time of the client divided by the time that passed: 1.0 is one busy core. A
        client near 1.0 per process measures itself, not the server.
    """

    value: float
    client_share: float


@dataclass(slots=True)
class Stopwatch:
    """Times of the block that `timed` measured, in seconds."""

    elapsed_s: float = 0.0
    client_cpu_s: float = 0.0

    def build_rate(self, count: float) -> Sample:
        """Sample of ``count`` events per second."""
        return Sample(count / self.elapsed_s, self.client_cpu_s / self.elapsed_s)

    def build_duration_ms(self) -> Sample:
        """Sample of the duration in milliseconds."""
        return Sample(self.elapsed_s * 1000, self.client_cpu_s / self.elapsed_s)


def _measure_client_cpu_s() -> float:
    """Processor time of this process and of the clients it has started and awaited.

    Servers are children too, but they count only once they end, which no measurement includes.
    """
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


@contextmanager
def timed() -> Iterator[Stopwatch]:
    """Measure the block; the stopwatch is filled when it ends without an error."""
    watch = Stopwatch()
    cpu_s = _measure_client_cpu_s()
    start = time.perf_counter()
    yield watch
    watch.elapsed_s = time.perf_counter() - start
    watch.client_cpu_s = _measure_client_cpu_s() - cpu_s
