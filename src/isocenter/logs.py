"""Logs: lines for people or JSON for machines, in categories; no patient data at usual levels."""

import logging
import logging.handlers
import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import msgspec

from isocenter.errors import ConfigurationError

__all__ = ["TRACE", "Category", "LogFiles", "Logs", "Verbosity", "set_up_logs"]

TRACE = 5
"""Level of what is logged for `Verbosity.TRACE` only; may hold patient data."""

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# Libraries that log each request at the level of what an administrator should know.
_TALKATIVE = ("httpx", "httpcore")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LINK = "Isocenter.log"


class Category(StrEnum):
    """Parts of the log with a level of their own.

    References
    ----------
    Orthanc REST: /tools/log-level-{category} (behaviour manual §36.4)
    """

    GENERIC = "generic"
    PLUGINS = "plugins"
    HTTP = "http"
    SQLITE = "sqlite"
    DICOM = "dicom"
    JOBS = "jobs"
    LUA = "lua"


class Verbosity(StrEnum):
    """How much a category logs: what is configured, each operation, or all that helps to debug."""

    DEFAULT = "default"
    VERBOSE = "verbose"
    TRACE = "trace"


# The most particular name counts; all that is not named elsewhere is generic.
_LOGGERS = {
    Category.GENERIC: ("isocenter",),
    Category.PLUGINS: ("isocenter.plugins",),
    Category.HTTP: ("isocenter.http", "isocenter.rest", "isocenter.peers"),
    Category.SQLITE: ("isocenter.index",),
    Category.DICOM: ("isocenter.dimse", "isocenter.scp", "isocenter.scu"),
    Category.JOBS: ("isocenter.jobs", "isocenter.tasks"),
    Category.LUA: ("isocenter.plugins.lua",),
}


class _TextFormatter(logging.Formatter):
    """One line: time, level, module, message, then the extra values."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        extra = _get_extra(record)
        if not extra:
            return line
        values = " ".join(f"{key}={_escape(str(value))}" for key, value in extra.items())
        first, newline, rest = line.partition("\n")
        return f"{first} [{values}]{newline}{rest}"


class _JSONFormatter(logging.Formatter):
    """One JSON object a line; its time is UTC (RFC 3339)."""

    def format(self, record: logging.LogRecord) -> str:
        instant = datetime.fromtimestamp(record.created, UTC)
        entry: dict[str, object] = {
            **{key: str(value) for key, value in _get_extra(record).items()},
            "time": instant.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "thread": record.threadName,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry).decode()


def _get_extra(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _escape(text: str) -> str:
    """Keep what a peer sent from forging a line of its own."""
    return text.encode("unicode_escape").decode() if not text.isprintable() else text


class _Counter(logging.Handler):
    """Counts what is logged; `logging` calls it from one thread at a time."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.errors = self.warnings = 0

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            self.errors += 1
        else:
            self.warnings += 1


class Logs:
    """The levels of the categories, and how much was logged. Thread-safe.

    Parameters
    ----------
    default_level
        Least severity that is logged at `Verbosity.DEFAULT`, a level of `logging`.
    """

    def __init__(self, default_level: int = logging.INFO) -> None:
        self._levels = {
            Verbosity.DEFAULT: default_level,
            Verbosity.VERBOSE: min(default_level, logging.DEBUG),
            Verbosity.TRACE: TRACE,
        }
        self._verbosities = dict.fromkeys(Category, Verbosity.DEFAULT)
        self.counter = _Counter()

    @property
    def errors(self) -> int:
        """Errors that were logged so far."""
        return self.counter.errors

    @property
    def warnings(self) -> int:
        """Warnings that were logged so far."""
        return self.counter.warnings

    def get_verbosity(self, categories: Iterable[Category] = Category) -> Verbosity:
        """Tell how much some categories log: the most that one of them does."""
        order = list(Verbosity)
        return max((self._verbosities[category] for category in categories), key=order.index)

    def set_verbosity(
        self, verbosity: Verbosity, categories: Iterable[Category] = Category
    ) -> None:
        """Have some categories log more or less from now on."""
        for category in categories:
            self._verbosities[category] = verbosity
            for name in _LOGGERS[category]:
                logging.getLogger(name).setLevel(self._levels[verbosity])


class LogFiles:
    """Where the log goes instead of standard error; at most one of the two is given.

    Attributes
    ----------
    file
        Appended to. If it is moved away, a new one is begun, so that other programs may rotate it.
    folder
        Each start begins a file of its own in it, and ``Isocenter.log`` leads to the latest.

    References
    ----------
    Orthanc: ``--logfile``, ``--logdir`` (behaviour manual §36.4)
    """

    def __init__(self, *, file: Path | None = None, folder: Path | None = None) -> None:
        self.file = file
        self.folder = folder

    def open(self) -> logging.Handler:
        """Begin to write.

        Raises
        ------
        ConfigurationError
            If the file cannot be written.
        """
        try:
            if self.folder is not None:
                return logging.FileHandler(_begin_file(self.folder), encoding="utf-8")
            if self.file is not None:
                return logging.handlers.WatchedFileHandler(self.file, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"the log cannot be written: {error}") from error
        return logging.StreamHandler(sys.stderr)


def _begin_file(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_LINK}.{time.strftime('%Y%m%d-%H%M%S')}.{os.getpid()}"
    link = folder / f".{_LINK}.{os.getpid()}"
    # A folder that takes no links has its files all the same.
    with suppress(OSError):
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        link.replace(folder / _LINK)
    return path


def set_up_logs(level: str, form: str, files: LogFiles | None = None) -> Logs:
    """Send the logs of the whole program to one place.

    Parameters
    ----------
    level
        ``debug``, ``info``, ``warning`` or ``error``.
    form
        ``text`` or ``json``.
    files
        Standard error if ``None``.

    Raises
    ------
    ConfigurationError
        If the log file cannot be written; the logs are as before.
    """
    handler = (files or LogFiles()).open()
    handler.setFormatter(_JSONFormatter() if form == "json" else _TextFormatter())
    logging.addLevelName(TRACE, "TRACE")
    logs = Logs(_LEVELS[level])
    logging.basicConfig(level=_LEVELS[level], handlers=[handler, logs.counter], force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logs.set_verbosity(Verbosity.DEFAULT)
    return logs
