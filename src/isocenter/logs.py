"""Logs: lines for people or JSON for machines, never patient data."""

import logging
import sys

import msgspec

__all__ = ["set_up_logs"]

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


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
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{key: str(value) for key, value in _get_extra(record).items()},
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry).decode()


def _get_extra(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _escape(text: str) -> str:
    """Keep what a peer sent from forging a line of its own."""
    return text.encode("unicode_escape").decode() if not text.isprintable() else text


def set_up_logs(level: str, form: str) -> None:
    """Send the logs of the whole program to standard error.

    Parameters
    ----------
    level
        ``debug``, ``info``, ``warning`` or ``error``.
    form
        ``text`` or ``json``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JSONFormatter() if form == "json" else _TextFormatter())
    logging.basicConfig(level=_LEVELS[level], handlers=[handler], force=True)
