"""Processes that code frames, so that a crash of a codec or a slow one harms nobody else.

Processes start when they are needed and end when nothing was to be done for a while. They are
started anew, never forked, since the server has threads.
"""

import contextlib
import threading
import time
from collections import deque
from typing import Protocol

from isocenter.errors import CodecTimeoutError, InternalError, TranscodingError
from isocenter.pixels.codec_process import CodecProcess, CrashError, StartError
from isocenter.pixels.frames import FrameResult, FrameTask

__all__ = ["CodecPool", "FrameCoder"]

_DEADLINE_S = 60.0
_IDLE_S = 20.0
# For a free process, while others are busy.
_WAIT_S = 120.0
# Of all frames that processes have, coded and decoded; a larger one has them for itself.
_MOST_BYTES = 1 << 30
_CRASHED = "the codec has crashed, presumably because of damaged pixel data"
_STOPS = "the server stops"


class FrameCoder(Protocol):
    """Codes frames anew."""

    def recode(self, task: FrameTask) -> FrameResult:
        """Code a frame.

        Raises
        ------
        TranscodingError
            If that is not possible.
        CodecTimeoutError
            If there is nobody to do it: all are busy, or the server stops.
        InternalError
            If the codecs are not installed as they should be.
        """
        ...


class CodecPool:
    """Hands frames to processes. Blocks; thread-safe.

    Parameters
    ----------
    size
        The most processes.
    deadline_s
        For one frame.
    idle_s
        How long a process waits for more before it ends.
    """

    def __init__(
        self, size: int, *, deadline_s: float = _DEADLINE_S, idle_s: float = _IDLE_S
    ) -> None:
        self._size = max(1, size)
        self._deadline_s = deadline_s
        self._idle_s = idle_s
        # Guards what follows.
        self._lock = threading.Lock()
        self._waiting: deque[_Turn] = deque()
        self._idle: deque[tuple[float, CodecProcess]] = deque()
        self._busy: set[CodecProcess] = set()
        self._count = 0
        self._size_bytes = 0
        self._is_closed = False
        self._cleaning: threading.Timer | None = None

    @property
    def count(self) -> int:
        """How many processes there are."""
        return self._count

    @property
    def idle_count(self) -> int:
        """How many of them have nothing to do."""
        return len(self._idle)

    @property
    def waiting_count(self) -> int:
        """How many frames wait for their turn."""
        return len(self._waiting)

    def recode(self, task: FrameTask) -> FrameResult:
        """Code a frame (see `FrameCoder`)."""
        try:
            result = self._try(task)
        except CrashError:
            # The system may have ended the process for lack of memory: once more.
            result = self._try_again(task)
        if result.error:
            raise TranscodingError(result.error)
        return result

    def _try_again(self, task: FrameTask) -> FrameResult:
        try:
            return self._try(task)
        except CrashError as error:
            if self._is_closed:
                raise CodecTimeoutError(_STOPS) from error
            if isinstance(error, StartError):
                # No fault of the frame.
                raise InternalError("the codecs cannot be started; the log says why") from error
            raise TranscodingError(_CRASHED) from error

    def _try(self, task: FrameTask) -> FrameResult:
        turn = _Turn(len(task.data) + task.format.frame_bytes)
        self._await(turn)
        is_usable = False
        try:
            turn.process = turn.process or self._start()
            result = turn.process.recode(task)
            is_usable = True
        finally:
            self._end(turn, is_usable=is_usable)
        return result

    def _await(self, turn: "_Turn") -> None:
        """Wait until it is our turn."""
        with self._lock:
            self._waiting.append(turn)
            self._give_turns()
        if turn.has_come.wait(_WAIT_S):
            return
        with self._lock:
            # It may have come at the last moment.
            if not turn.has_come.is_set():
                self._waiting.remove(turn)
                self._give_turns()
                raise CodecTimeoutError("all codecs were busy for too long")

    def _check_open(self) -> None:
        if self._is_closed:
            raise CodecTimeoutError(_STOPS)

    def _give_turns(self) -> None:
        """Let those who wait begin, in the order in which they came; with the lock held.

        Whoever gives a process back and has more to do comes behind those who wait already.
        """
        while self._waiting and (self._is_closed or self._has_room(self._waiting[0])):
            turn = self._waiting.popleft()
            self._size_bytes += turn.size_bytes
            # The one that was busy last is the one that memory and caches know best.
            turn.process = self._pop_idle()
            if turn.process is None:
                self._count += 1
            else:
                self._busy.add(turn.process)
            turn.has_come.set()

    def _has_room(self, turn: "_Turn") -> bool:
        if self._size_bytes and self._size_bytes + turn.size_bytes > _MOST_BYTES:
            return False
        return bool(self._idle) or self._count < self._size

    def _pop_idle(self) -> CodecProcess | None:
        while self._idle:
            _, process = self._idle.pop()
            if process.is_alive:
                return process
            process.end()
            self._count -= 1
        return None

    def _start(self) -> "CodecProcess":
        """Start a process that is counted already."""
        self._check_open()
        try:
            process = CodecProcess(self._deadline_s)
        except OSError as error:
            raise CodecTimeoutError("no process can be started for the codecs") from error
        try:
            with self._lock:
                # Whoever closes the pool knows of a process only from here on.
                self._check_open()
                self._busy.add(process)
        except CodecTimeoutError:
            process.end()
            raise
        return process

    def _end(self, turn: "_Turn", *, is_usable: bool) -> None:
        """Let others have the process and the room, or the leave to start another process."""
        process = turn.process
        with self._lock:
            self._size_bytes -= turn.size_bytes
            is_kept = process is not None and is_usable and not self._is_closed
            if process is not None:
                self._busy.discard(process)
            if process is not None and is_kept:
                self._idle.append((time.monotonic(), process))
            else:
                self._count -= 1
            self._give_turns()
            if self._idle:
                self._plan_cleaning()
        if process is not None and not is_kept:
            process.end()

    def _plan_cleaning(self) -> None:
        """Have processes ended that stay idle; with the lock held."""
        if self._cleaning is not None:
            return
        cleaning = threading.Timer(self._idle_s, self._end_idle)
        cleaning.name, cleaning.daemon = "idle codecs", True
        # Without a thread for it, the next one who gives a process back plans it.
        with contextlib.suppress(RuntimeError):
            cleaning.start()
            self._cleaning = cleaning

    def _end_idle(self) -> None:
        """End the processes that have had nothing to do for a while."""
        before = time.monotonic() - self._idle_s
        ended: list[CodecProcess] = []
        with self._lock:
            while self._idle and self._idle[0][0] <= before:
                ended.append(self._idle.popleft()[1])
            self._count -= len(ended)
            self._cleaning = None
            if self._idle and not self._is_closed:
                self._plan_cleaning()
        for process in ended:
            process.end()

    def close(self) -> None:
        """End all processes; frames that are under way fail."""
        with self._lock:
            self._is_closed = True
            if self._cleaning is not None:
                self._cleaning.cancel()
            ended = [process for _, process in self._idle]
            self._idle.clear()
            self._count -= len(ended)
            for process in self._busy:
                # Its thread finds out, and ends it.
                process.kill()
            self._give_turns()
        for process in ended:
            process.end()


class _Turn:
    """A frame that waits for a process, or, without one, for leave to start one.

    Parameters
    ----------
    size_bytes
        How much memory its pixels take, coded and decoded.
    """

    __slots__ = ("has_come", "process", "size_bytes")

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.has_come = threading.Event()
        self.process: CodecProcess | None = None
