"""Histograms of durations, as Prometheus wants them."""

from isocenter.http.exposition import Sample
from isocenter.http.histograms import Histogram


def test_buckets_count_what_is_not_longer_than_their_bound() -> None:
    histogram = Histogram((0.5, 1.0))
    for duration_s in (0.25, 0.5, 0.75, 2.0):
        histogram.note(duration_s)
    labels = (("kind", "x"),)
    assert list(histogram.build_samples(labels)) == [
        Sample(2, "_bucket", (*labels, ("le", "0.5"))),
        Sample(3, "_bucket", (*labels, ("le", "1.0"))),
        Sample(4, "_bucket", (*labels, ("le", "+Inf"))),
        Sample(3.5, "_sum", labels),
        Sample(4, "_count", labels),
    ]
