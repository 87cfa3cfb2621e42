"""What long commands show: a bar on a terminal, lines elsewhere, and a report in a file."""

import json
import os
import shutil
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from isocenter.clock import now
from isocenter.errors import StorageUnavailableError

__all__ = ["Progress", "Report", "format_size", "printable"]

_LINE_INTERVAL_S = 30
_BAR_WIDTH = 20
_MOST_LINES = 100


def printable(text: str) -> str:
    r"""Show a foreign name so that it can do nothing to a terminal.

    Control characters, line ends, and bytes that are no text are written as ``\x1b``.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def format_size(size_bytes: int) -> str:
    """Write a number of bytes for people, in the largest unit that fits."""
    for exponent, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size_bytes >= 1024**exponent:
            return f"{size_bytes / 1024**exponent:,.1f} {unit}"
    return f"{size_bytes} bytes"


class Progress:
    """Shows how far something is. Not thread-safe.

    Parameters
    ----------
    unit
        What is counted, in the plural.
    stream
        Where to show it; standard error by default. A terminal gets a bar that is drawn once a
        second, anything else a line every half minute.
    """

    def __init__(self, unit: str, stream: IO[str] | None = None) -> None:
        self._stream: IO[str] = sys.stderr if stream is None else stream
        self._unit = unit
        self._is_terminal = self._stream.isatty()
        self._began = self._shown = now()
        self._is_drawn = False

    @property
    def is_terminal(self) -> bool:
        """True if a person may be looking."""
        return self._is_terminal

    def show(self, done: int, total: int | None, details: str = "") -> None:
        """Show that so many are done, unless that was shown just now.

        Parameters
        ----------
        total
            ``None`` while it is not known.
        """
        interval = 1 if self._is_terminal else _LINE_INTERVAL_S
        if now() - self._shown < interval:
            return
        self._shown = now()
        text = self._format(done, total, details)
        if self._is_terminal:
            width = shutil.get_terminal_size().columns - 1
            self._write(f"\r{text[:width]}\x1b[K")
            self._is_drawn = True
        else:
            self._write(f"{text}\n")

    def _format(self, done: int, total: int | None, details: str) -> str:
        rate = done / max(now() - self._began, 1)
        parts = [f"{done:,} {self._unit}"]
        if total:
            share = min(done / total, 1)
            parts[0] = f"{done:,} of {total:,} {self._unit}"
            if self._is_terminal:
                filled = int(share * _BAR_WIDTH)
                bar = "#" * filled + "-" * (_BAR_WIDTH - filled)
                parts.insert(0, f"[{bar}] {share:4.0%}")
            if rate and done < total:
                parts.append(f"{_format_duration((total - done) / rate)} left")
        parts.append(f"{rate:,.0f}/s")
        return "  ".join([*parts, details] if details else parts)

    def say(self, text: str) -> None:
        """Print a line of its own."""
        self.clear()
        self._write(f"{text}\n")

    def clear(self) -> None:
        """Take the bar away."""
        if self._is_drawn:
            self._write("\r\x1b[K")
            self._is_drawn = False

    def _write(self, text: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self._stream.flush()


def _format_duration(seconds: float) -> str:
    minutes = int(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


class Report(AbstractContextManager["Report"]):
    """Lists what a person must know: the first hundred on the terminal, all in a file.

    Parameters
    ----------
    path
        A file of JSON lines, written anew, or ``None``.

    Raises
    ------
    StorageUnavailableError
        If the file cannot be written.
    """

    def __init__(self, path: Path | None, progress: Progress) -> None:
        self._path = path
        self._progress = progress
        self._count = 0
        self._file: IO[str] | None = None
        if path is not None:
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
                # Names of files may be names of patients.
                descriptor = os.open(path, flags, 0o600)
                self._file = os.fdopen(descriptor, "w", encoding="ascii")
            except OSError as error:
                raise _build_error(path, error) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None and self._path is not None:
            try:
                self._file.close()
            except OSError as failure:
                raise _build_error(self._path, failure) from failure

    def __enter__(self) -> Self:
        return self

    def add(self, text: str | None, **values: Any) -> None:
        """Tell one thing: as text on the terminal if there is any, as an object in the file."""
        if text is not None:
            self._count += 1
            if self._count <= _MOST_LINES:
                self._progress.say(text)
            elif self._count == _MOST_LINES + 1:
                where = "see the report" if self._file else "use --report FILE to see all"
                self._progress.say(f"… and more; {where}")
        if self._file is not None and self._path is not None:
            try:
                self._file.write(json.dumps(values) + "\n")
            except OSError as error:
                raise _build_error(self._path, error) from error


def _build_error(path: Path, error: OSError) -> StorageUnavailableError:
    return StorageUnavailableError(
        f"cannot write the report {printable(str(path))}: {error.strerror}"
    )
