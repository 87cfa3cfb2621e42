"""What commands show, on a terminal and elsewhere."""

import io
import json
import os
from pathlib import Path

import pytest

from isocenter.commands import terminal
from isocenter.commands.terminal import Progress, Report, format_size, printable
from isocenter.errors import StorageUnavailableError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    time = [1000]
    monkeypatch.setattr(terminal, "now", lambda: time[0])
    return time


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name.dcm", "plain name.dcm"),
        ("Ünïcödé", "Ünïcödé"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("two\nlines\r", "two\\nlines\\r"),
        (os.fsdecode(b"caf\xe9"), "caf\\udce9"),
        ("right\u202eleft", "right\\u202eleft"),
    ],
)
def test_printable_name_can_do_nothing_to_a_terminal(name: str, shown: str) -> None:
    assert printable(name) == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (3 << 40, "3.0 TiB")],
)
def test_size_is_written_for_people(size: int, shown: str) -> None:
    assert format_size(size) == shown


def test_progress_on_a_terminal_is_a_bar_drawn_once_a_second(clock: list[int]) -> None:
    stream = Terminal()
    progress = Progress("files", stream)
    progress.show(10, 100)
    assert stream.getvalue() == ""
    clock[0] += 10
    progress.show(50, 100, "1 refused")
    progress.show(51, 100)
    shown = stream.getvalue()
    assert "[##########----------]  50%  50 of 100 files  10 s left  5/s  1 refused" in shown
    assert "51" not in shown
    progress.say("a line")
    assert stream.getvalue().endswith("\r\x1b[Ka line\n")


def test_progress_elsewhere_is_a_line_now_and_then(clock: list[int]) -> None:
    stream = io.StringIO()
    progress = Progress("files", stream)
    for _ in range(65):
        clock[0] += 1
        progress.show(clock[0], None)
    assert stream.getvalue() == "1,030 files  34/s\n1,060 files  18/s\n"
    progress.clear()


def test_text_that_a_stream_cannot_show_is_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Progress("files", stream).say("é")
    assert raw.getvalue() == b"\\xe9\n"


def test_report_lists_a_hundred_on_the_terminal_and_all_in_the_file(tmp_path: Path) -> None:
    stream = io.StringIO()
    with Report(tmp_path / "report", Progress("files", stream)) as report:
        for number in range(150):
            report.add(f"line {number}", number=number, name=os.fsdecode(b"\xff"))
        report.add(None, number=150)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 101
    assert "see the report" in lines[-1]
    values = [json.loads(line) for line in (tmp_path / "report").read_text().splitlines()]
    assert [value["number"] for value in values] == list(range(151))
    assert os.fsencode(values[0]["name"]) == b"\xff"
    assert (tmp_path / "report").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("path", ["nowhere/report", "."])
def test_report_that_cannot_be_written_is_an_error(tmp_path: Path, path: str) -> None:
    with pytest.raises(StorageUnavailableError, match="cannot write the report"):
        Report(tmp_path / path, Progress("files", io.StringIO()))


def test_report_on_a_full_disk_is_an_error() -> None:
    with (
        pytest.raises(StorageUnavailableError, match="No space left"),
        Report(Path("/dev/full"), Progress("files", io.StringIO())) as report,
    ):
        report.add(None, reason="x" * 100_000)
