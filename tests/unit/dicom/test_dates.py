"""Dates that are shifted."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocenter.dicom.dates import shift_dates


@pytest.mark.parametrize(
    ("text", "days", "expected"),
    [
        ("20240301", 1, "20240229"),
        ("20240101", 365, "20230101"),
        ("20240301 ", 1, "20240229"),
        ("20240301\\20240302", 1, "20240229\\20240301"),
        ("20240301101112.5+0100", 1, "20240229101112.5+0100"),
        ("2024.03.01", 1, "20240229"),
        ("202403", 1, ""),
        ("2024", 1, ""),
        ("20241301", 1, ""),
        ("00010101", 1, ""),
        ("yesterday", 1, ""),
        ("", 1, ""),
        ("20240301\\\\x", 1, "20240229\\\\"),
    ],
)
def test_shift_dates(text: str, days: int, expected: str) -> None:
    assert shift_dates(text, days) == expected


@given(st.text(max_size=30), st.integers(1, 36_500))
def test_any_text_is_shifted_or_emptied(text: str, days: int) -> None:
    assert isinstance(shift_dates(text, days), str)


@given(st.dates(), st.dates(), st.integers(1, 36_500))
def test_intervals_stay(first: date, second: date, days: int) -> None:
    shifted = [shift_dates(day.strftime("%Y%m%d").zfill(8), days) for day in (first, second)]
    if all(shifted):
        old, new = (
            [date(int(t[:4]), int(t[4:6]), int(t[6:])) for t in shifted],
            [first, second],
        )
        assert old[1] - old[0] == new[1] - new[0]
