"""Dates that are shifted."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isocenter.dicom.dates import clean_times, shift_dates


@pytest.mark.parametrize(
    ("text", "days", "vr", "expected"),
    [
        ("20240301", 1, "DA", "20240229"),
        ("20240101", 365, "DA", "20230101"),
        ("20240301 ", 1, "DA", "20240229"),
        ("20240301\\20240302", 1, "DA", "20240229\\20240301"),
        ("20240301101112.5+0100", 1, "DT", "20240229101112.5+0100"),
        ("20240301101112.5+0100", 1, "DA", ""),
        ("20240301-20240302", 1, "DA", ""),
        ("2024.03.01", 1, "DA", "20240229"),
        ("19700101 John Smith", 3, "DA", ""),
        ("19700101 John Smith", 3, "DT", ""),
        ("197001011011SMITH", 3, "DT", ""),
        ("19700101101112.1234567", 3, "DT", ""),
        ("202403", 1, "DA", ""),
        ("2024", 1, "DT", ""),
        ("20241301", 1, "DA", ""),
        ("00010101", 1, "DA", ""),
        ("yesterday", 1, "DA", ""),
        ("", 1, "DA", ""),
        ("20240301\\\\x", 1, "DA", "20240229\\\\"),
    ],
)
def test_shift_dates(text: str, days: int, vr: str, expected: str) -> None:
    assert shift_dates(text, days, vr) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1011", "1011"),
        ("10:11:12 ", "10:11:12"),
        ("101112.123456\\SMITH", "101112.123456\\"),
        ("10 SMITH", ""),
        ("SMITH", ""),
    ],
)
def test_only_times_stay(text: str, expected: str) -> None:
    assert clean_times(text) == expected


@given(st.text(max_size=30), st.integers(1, 36_500), st.sampled_from(["DA", "DT"]))
def test_any_text_is_shifted_or_emptied(text: str, days: int, vr: str) -> None:
    assert not set(shift_dates(text, days, vr)) - set("0123456789+-.\\")


@given(st.dates(), st.dates(), st.integers(1, 36_500))
def test_intervals_stay(first: date, second: date, days: int) -> None:
    shifted = [shift_dates(day.strftime("%Y%m%d").zfill(8), days, "DA") for day in (first, second)]
    if all(shifted):
        old, new = (
            [date(int(t[:4]), int(t[4:6]), int(t[6:])) for t in shifted],
            [first, second],
        )
        assert old[1] - old[0] == new[1] - new[0]
