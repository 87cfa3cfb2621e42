"""How often which duration occurred, for Prometheus."""

from bisect import bisect_left
from collections.abc import Iterable

from isocenter.http.exposition import Sample

__all__ = ["Histogram"]


class Histogram:
    """Counts durations by size. For the event loop's thread only.

    Parameters
    ----------
    bounds
        Upper bounds of the buckets, in seconds, ascending.

    References
    ----------
    Prometheus, "Metric types", histogram
    """

    __slots__ = ("_bounds", "_counts", "_sum_s")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum_s = 0.0

    def note(self, duration_s: float) -> None:
        """Count a duration."""
        self._counts[bisect_left(self._bounds, duration_s)] += 1
        self._sum_s += duration_s

    def build_samples(self, labels: tuple[tuple[str, str], ...]) -> Iterable[Sample]:
        """Tell the counts."""
        total = 0
        for bound, count in zip((*map(repr, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            yield Sample(total, "_bucket", (*labels, ("le", bound)))
        yield Sample(self._sum_s, "_sum", labels)
        yield Sample(total, "_count", labels)
