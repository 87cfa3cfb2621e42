"""What the parts of the server note."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from isocenter.measures import LongestDuration, Tally


@pytest.mark.parametrize(
    ("noted", "instant", "expected_ms"),
    [
        ([], 100.0, 0),
        ([(0.5, 100.0)], 100.0, 500),
        ([(0.5, 100.0), (0.2, 100.9)], 101.0, 500),
        ([(0.2, 100.0), (0.5, 100.9)], 101.0, 500),
        ([(0.5, 100.0)], 109.9, 500),
        ([(0.5, 100.0)], 110.0, 0),
        ([(0.5, 100.0), (0.2, 105.0)], 110.0, 200),
        # The slot of a second is used again ten seconds later.
        ([(0.5, 100.0), (0.2, 110.0)], 110.0, 200),
        ([(0.5, 100.0)], 100_000.0, 0),
        ([(0.5, 0.1)], 0.2, 500),
    ],
)
def test_longest_duration_is_of_the_last_ten_seconds(
    noted: list[tuple[float, float]], instant: float, expected_ms: float
) -> None:
    longest = LongestDuration()
    for duration_s, ended_at in noted:
        longest.note(duration_s, ended_at)
    assert longest.get_ms(instant) == expected_ms


def add_often(tally: Tally) -> None:
    for _ in range(5000):
        tally.add(3)


def test_tally_of_many_threads_loses_nothing() -> None:
    tally = Tally()
    with ThreadPoolExecutor(4) as threads:
        for _ in range(4):
            threads.submit(add_often, tally)
    assert tally.value == 60_000
