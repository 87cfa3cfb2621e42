import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocenter.tasks.schedules import get_wait_s

NOON = 1_767_355_200
"""2026-01-02T12:00:00 UTC."""


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("not_before", "quiet", "expected"),
    [
        (0, [], 0),
        (NOON + 5, [], 5),
        (NOON, [], 0),
        (0, [(660, 780)], 3600),
        (0, [(720, 721)], 60),
        (0, [(600, 720)], 0),
        (0, [(721, 720)], 0),
        (0, [(1320, 360)], 0),
        (0, [(700, 100)], 13 * 3600 + 40 * 60),
        (0, [(0, 1), (660, 780)], 3600),
    ],
)
def test_wait_is_as_long_as_it_must_be(
    not_before: int, quiet: list[tuple[int, int]], expected: int
) -> None:
    assert get_wait_s(not_before, quiet, NOON) == expected


@given(
    st.lists(
        st.tuples(st.integers(0, 1439), st.integers(0, 1439)).filter(lambda p: p[0] != p[1]),
        max_size=1,
    ),
    st.integers(NOON, NOON + 86_400),
)
def test_after_the_wait_it_is_a_good_time(quiet: list[tuple[int, int]], now: int) -> None:
    wait_s = get_wait_s(0, quiet, now)
    assert 0 <= wait_s < 86_400
    assert get_wait_s(0, quiet, now + wait_s) == 0
