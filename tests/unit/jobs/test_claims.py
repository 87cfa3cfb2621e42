"""Which jobs may run."""

import pytest

from isocenter.jobs.claims import Candidate, Limits, choose

_QUEUE = [Candidate("1", "A", "x"), Candidate("2", "A", "y"), Candidate("3", "B", "x")]


@pytest.mark.parametrize(
    ("running", "count", "limits", "chosen"),
    [
        ([], 10, Limits(), ["1", "2", "3"]),
        ([], 2, Limits(), ["1", "2"]),
        ([], 0, Limits(), []),
        ([], 10, Limits(by_kind={"A": 1}), ["1", "3"]),
        ([("A", "", 1)], 10, Limits(by_kind={"A": 1}), ["3"]),
        ([], 10, Limits(per_destination=1), ["1", "2"]),
        ([("C", "x", 1)], 10, Limits(per_destination=1), ["2"]),
        ([("C", "x", 1)], 10, Limits(per_destination=2), ["1", "2"]),
        ([], 10, Limits(by_kind={"A": 0}), ["3"]),
    ],
)
def test_choose(
    running: list[tuple[str, str, int]], count: int, limits: Limits, chosen: list[str]
) -> None:
    assert choose(_QUEUE, running, count, limits) == chosen


def test_choose_jobs_without_destination_are_not_bound() -> None:
    queue = [Candidate("1", "A", ""), Candidate("2", "A", "")]
    assert choose(queue, [], 5, Limits(per_destination=1)) == ["1", "2"]
