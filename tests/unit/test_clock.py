import time

import pytest

from isocenter.clock import format_timestamp, now, parse_timestamp


def test_now_whole_seconds_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_709_210_096.99)

    assert now() == 1_709_210_096


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "19700101T000000"),
        (1_709_210_096, "20240229T123456"),
        (4_102_444_799, "20991231T235959"),
    ],
)
def test_format_timestamp_is_utc(seconds: int, expected: str) -> None:
    assert format_timestamp(seconds) == expected


def test_format_timestamp_local_zone_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert format_timestamp(86_400 + 1) == "19700102T000001"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("seconds", [0, 1_709_210_096, 4_102_444_799])
def test_parse_timestamp_reads_what_was_written(seconds: int) -> None:
    assert parse_timestamp(format_timestamp(seconds)) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "20240229", "20240230T000000", "20240229T246060", "00000101T000000", "20240229t123456 "],
)
def test_parse_timestamp_of_anything_else_is_none(text: str) -> None:
    assert parse_timestamp(text) is None
