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


def _lock(job_id: str, *names: str, kind: str = "A") -> Candidate:
    return Candidate(job_id, kind, "", frozenset(names))


@pytest.mark.parametrize(
    ("queue", "held", "limits", "chosen"),
    [
        ([_lock("1", "a"), _lock("2", "a"), _lock("3")], [], Limits(), ["1", "3"]),
        ([_lock("1", "a"), _lock("2", "b")], ["a"], Limits(), ["2"]),
        # A job that has to wait is not overtaken by those who want one of its other locks.
        ([_lock("1", "a", "b"), _lock("2", "b"), _lock("3", "c")], ["a"], Limits(), ["3"]),
        (
            [_lock("1", "a"), _lock("2", "a", kind="B"), _lock("3", kind="B")],
            [],
            Limits(by_kind={"A": 0}),
            ["3"],
        ),
    ],
)
def test_choose_gives_a_lock_to_the_first_that_wants_it(
    queue: list[Candidate], held: list[str], limits: Limits, chosen: list[str]
) -> None:
    assert choose(queue, [], 10, limits, held=held) == chosen
