"""The arguments of the command line that concern the log."""

import argparse
import logging
from pathlib import Path

import pytest

from isocenter.log_arguments import add_log_arguments, apply_verbosities, get_log_files
from isocenter.logs import Category, Logs, Verbosity


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_log_arguments(parser)
    return parser.parse_args(arguments)


class RecordingLogs(Logs):
    """Remembers the levels and leaves the loggers of the tests alone."""

    def set_verbosity(self, verbosity: Verbosity, categories: object = Category) -> None:
        assert isinstance(categories, tuple)
        self._verbosities.update(dict.fromkeys(categories, verbosity))


def get_levels(*arguments: str) -> dict[Category, Verbosity]:
    logs = RecordingLogs(logging.INFO)
    apply_verbosities(parse(*arguments), logs)
    return {category: logs.get_verbosity((category,)) for category in Category}


def test_without_arguments_everything_is_as_configured() -> None:
    assert set(get_levels().values()) == {Verbosity.DEFAULT}
    files = get_log_files(parse())
    assert (files.file, files.folder) == (None, None)


@pytest.mark.parametrize("verbosity", [Verbosity.VERBOSE, Verbosity.TRACE])
def test_verbosity_is_set_for_all_or_for_a_category(verbosity: Verbosity) -> None:
    assert set(get_levels(f"--{verbosity}").values()) == {verbosity}
    for category in Category:
        levels = get_levels(f"--{verbosity}-{category}")
        assert {name for name, level in levels.items() if level is verbosity} == {category}


def test_later_arguments_win() -> None:
    levels = get_levels("--verbose", "--trace-http", "--verbose-dicom")
    assert levels[Category.HTTP] is Verbosity.TRACE
    assert levels[Category.DICOM] is Verbosity.VERBOSE


def test_log_goes_to_a_file_or_a_folder_but_not_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert get_log_files(parse("--logfile=a.log")).file == Path("a.log")
    assert get_log_files(parse("--logdir", "logs")).folder == Path("logs")
    with pytest.raises(SystemExit):
        parse("--logfile=a", "--logdir=b")
    assert "not allowed with" in capsys.readouterr().err


def test_arguments_that_the_command_lacks_change_nothing() -> None:
    options = argparse.Namespace()
    logs = RecordingLogs()
    apply_verbosities(options, logs)
    assert logs.get_verbosity() is Verbosity.DEFAULT
    assert get_log_files(options).file is None
