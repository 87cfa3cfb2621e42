"""The command line in forks of a process that has loaded it already.

Loading takes several times as long as the start of a server, and the tests start hundreds of them.
All else is as in a process of its own: arguments, environment, working folder, output, signals.
"""

import multiprocessing
import os
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from isocenter.cli import main
from isocenter.index import sqlite

__all__ = ["FULL_LOG_BYTES", "LOG_BYTES", "Fork", "build_command", "fork_command"]

LOG_BYTES = 1 << 20
"""Length of the log of a test's index at first; the full one takes longer to write than a test."""

FULL_LOG_BYTES = sqlite._LOG_BYTES
"""Length of the log that users have."""

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


class Fork:
    """A running command; like `subprocess.Popen`, as far as tests need that."""

    def __init__(self, process: BaseProcess, output: Connection) -> None:
        assert process.pid is not None
        self.pid = process.pid
        self.output = output
        self._process = process

    def poll(self) -> int | None:
        """Give the exit status, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the end, and give the exit status."""
        self._process.join(timeout_s)
        status = self._process.exitcode
        if status is None:
            raise TimeoutError
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()


def build_command(log_bytes: int = LOG_BYTES) -> list[str]:
    """Give the words that run the command line in a process of its own."""
    shorten = f"from isocenter.index import sqlite; sqlite._LOG_BYTES = {log_bytes}"
    run = "import sys; from isocenter.cli import main; sys.exit(main())"
    return [sys.executable, "-c", f"{shorten}; {run}"]


@contextmanager
def fork_command(
    arguments: Sequence[str], folder: Path, *, log: Path, log_bytes: int = LOG_BYTES
) -> Iterator[Fork]:
    """Run a command until the end of the context, where it is killed.

    Parameters
    ----------
    folder
        Where it runs.
    log
        File to which its standard error is appended.
    log_bytes
        Length of the log of its index at first.
    """
    reader, writer = _context.Pipe(duplex=False)
    with reader:
        with writer:
            inside = (list(arguments), folder, log, log_bytes, dict(os.environ), writer)
            process = _context.Process(target=_run, args=inside)
            process.start()
        try:
            yield Fork(process, reader)
        finally:
            process.kill()
            process.join()
            process.close()


def _run(
    arguments: list[str],
    folder: Path,
    log: Path,
    log_bytes: int,
    environment: Mapping[str, str],
    output: Connection,
) -> None:
    os.dup2(output.fileno(), sys.stdout.fileno())
    output.close()
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    random.seed()
    sqlite._LOG_BYTES = log_bytes
    sys.exit(main(arguments))
