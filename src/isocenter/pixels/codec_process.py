"""One process that codes frames, as the server sees it."""

import contextlib
import fcntl
import logging
import os
import selectors
import subprocess
import sys
import time
from typing import IO

import msgspec

from isocenter.errors import TranscodingError
from isocenter.pixels.frames import FrameResult, FrameTask
from isocenter.pixels.worker import LENGTH, MOST_MESSAGE_BYTES

__all__ = ["CodecProcess", "CrashError", "StartError"]

_log = logging.getLogger(__name__)

# Until it can be used, on a busy machine.
_START_S = 60.0
_STOP_S = 2.0
_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031
_TOO_SLOW = "the codec has taken too long"
# Of what codecs say on their standard error, for the log.
_LONGEST_TEXT = 2000
# What a process needs to find Python, its modules and its libraries; passwords that the server has
# in its environment are not for whoever gets a codec to do what it should not.
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH")
_SET_VARIABLES = {"LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class CrashError(Exception):
    """A process has ended."""


class StartError(CrashError):
    """A process has ended, or says that it cannot be used, before it got a frame."""


class CodecProcess:
    """One worker process, used by one thread at a time.

    Parameters
    ----------
    deadline_s
        For a frame.

    Raises
    ------
    OSError
        If it cannot be started.
    """

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        # A session of its own, so that signals of a terminal reach the server alone.
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-B", "-P", "-m", "isocenter.pixels.worker", str(deadline_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            env=_build_environment(),
        )
        self._input, self._output, self._errors = _get_pipes(self._process)
        self._is_ready = False
        self._said = b""
        self._result = msgspec.msgpack.Decoder(FrameResult)
        self._selector = selectors.DefaultSelector()
        for pipe in (self._input, self._output):
            with contextlib.suppress(OSError):
                fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_BYTES)
        for pipe in (self._input, self._output, self._errors):
            os.set_blocking(pipe.fileno(), False)
        self._selector.register(self._errors, selectors.EVENT_READ)

    @property
    def is_alive(self) -> bool:
        """True unless the process has ended."""
        return self._process.poll() is None

    def await_start(self) -> None:
        """Wait until the process can be used; at once if it was used before.

        Raises
        ------
        StartError
            If it cannot be used; it is of no use then.
        """
        if self._is_ready:
            return
        try:
            report = self._read_message(time.monotonic() + _START_S)
        except (CrashError, TranscodingError) as error:
            raise StartError from error
        if report.error:
            _log.error("the codecs cannot be used", extra={"reason": report.error})
            raise StartError(report.error)
        self._is_ready = True

    def recode(self, task: FrameTask) -> FrameResult:
        """Send a frame and wait for its result.

        Raises
        ------
        StartError, CrashError
            If the process could not be used, or ends.
        TranscodingError
            If it takes too long; in all cases it is of no use then.
        """
        self.await_start()
        # The process ends itself when the time is up, unless it is stopped.
        until = time.monotonic() + 2 * self._deadline_s
        message = msgspec.msgpack.encode(task)
        try:
            self._write(LENGTH.pack(len(message)), until)
            self._write(message, until)
        except BrokenPipeError as error:
            raise CrashError from error
        return self._read_message(until)

    def _read_message(self, until: float) -> FrameResult:
        (length,) = LENGTH.unpack(self._read(LENGTH.size, until))
        if length > MOST_MESSAGE_BYTES:
            raise CrashError
        try:
            return self._result.decode(self._read(length, until))
        except msgspec.DecodeError as error:
            raise CrashError from error

    def _write(self, data: bytes, until: float) -> None:
        with memoryview(data) as view:
            position = 0
            while position < len(data):
                self._wait(self._input, selectors.EVENT_WRITE, until)
                try:
                    position += os.write(self._input.fileno(), view[position:])
                except BlockingIOError:
                    continue

    def _read(self, length: int, until: float) -> bytearray:
        data = bytearray(length)
        with memoryview(data) as view:
            position = 0
            while position < length:
                self._wait(self._output, selectors.EVENT_READ, until)
                try:
                    count = os.readv(self._output.fileno(), [view[position:]])
                except BlockingIOError:
                    continue
                if not count:
                    raise CrashError
                position += count
        return data

    def _wait(self, pipe: IO[bytes], event: int, until: float) -> None:
        """Wait for a pipe, and listen to complaints meanwhile, lest they fill theirs."""
        self._selector.register(pipe, event)
        try:
            while True:
                ready = self._selector.select(max(0.0, until - time.monotonic()))
                files = [key.fileobj for key, _ in ready]
                if self._errors in files:
                    self._listen()
                if pipe in files:
                    return
                if time.monotonic() >= until:
                    raise TranscodingError(_TOO_SLOW)
        finally:
            self._selector.unregister(pipe)

    def _listen(self) -> None:
        """Read what the process says on its standard error; only the beginning is kept."""
        try:
            text = os.read(self._errors.fileno(), 1 << 16)
        except BlockingIOError:
            return
        if text:
            self._said = (self._said + text)[:_LONGEST_TEXT]
        elif self._errors in self._selector.get_map():
            self._selector.unregister(self._errors)

    def kill(self) -> None:
        """End the process while a thread waits for it."""
        self._process.kill()

    def end(self) -> None:
        """End the process, which nobody uses any more."""
        self._input.close()
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_S)
        self._listen()
        self._selector.close()
        self._output.close()
        self._errors.close()
        if self._said:
            # Foreign bytes may hold anything, also what moves the cursor of a terminal.
            text = ascii(self._said)[2:-1][:_LONGEST_TEXT]
            _log.warning("a codec has complained", extra={"text": text})


def _build_environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return {**kept, **_SET_VARIABLES}


def _get_pipes(process: "subprocess.Popen[bytes]") -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    pipes = process.stdin, process.stdout, process.stderr
    assert pipes[0] is not None, "a pipe was asked for"  # noqa: S101
    assert pipes[1] is not None, "a pipe was asked for"  # noqa: S101
    assert pipes[2] is not None, "a pipe was asked for"  # noqa: S101
    return pipes[0], pipes[1], pipes[2]
