"""What a worker process does: frame after frame from its standard input to its standard output.

A frame that makes a codec crash ends this process and nothing else; one that takes too long is
ended by the alarm, also if the server is gone. Whoever gets a codec to run his code finds a process
that opens hardly any file, writes none, gains no rights, and has no secrets in its environment.
"""

import contextlib
import ctypes
import resource
import signal
import struct
import sys
from typing import BinaryIO

import msgspec

from isocenter.errors import ServerError
from isocenter.pixels.frames import FrameResult, FrameTask, recode_frame

__all__ = ["LENGTH", "MOST_MESSAGE_BYTES", "main"]

LENGTH = struct.Struct("<Q")
"""Of a message, in front of it."""

MOST_MESSAGE_BYTES = 1 << 31
_MOST_MEMORY_BYTES = 8 << 30
_MOST_FILES = 16
_PR_SET_NO_NEW_PRIVS = 38
# Names of the codecs of imagecodecs that `frames.py` uses.
_CODECS = ("HTJ2K", "JPEG2K", "JPEG8", "JPEGLS", "PACKBITS")


def main(deadline_s: float) -> None:
    """Tell whether the codecs can be used, then serve until the input ends.

    Parameters
    ----------
    deadline_s
        The alarm ends the process if a frame takes longer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    problem = _load_codecs()
    _give_up_rights()
    source, target = sys.stdin.buffer, sys.stdout.buffer
    _write(target, FrameResult(b"", error=problem))
    if problem:
        return
    tasks = msgspec.msgpack.Decoder(FrameTask)
    while (message := _read(source)) is not None:
        signal.setitimer(signal.ITIMER_REAL, deadline_s)
        answer = _serve(tasks.decode(message))
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(target, answer)


def _load_codecs() -> str:
    """Load the codecs, and tell what is wrong with them, lest every frame seem to be damaged."""
    try:
        import imagecodecs  # noqa: PLC0415 - see the package

        missing = [name for name in _CODECS if not getattr(imagecodecs, name).available]
    except (ImportError, AttributeError, OSError) as error:
        return f"imagecodecs cannot be imported: {error}"
    return f"imagecodecs lacks {', '.join(missing)}" if missing else ""


def _give_up_rights() -> None:
    """Give up what coding frames does not need, once all modules are loaded."""
    limits = {
        resource.RLIMIT_AS: _MOST_MEMORY_BYTES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: _MOST_FILES,
    }
    # If memory is short, this process has to go, not the server.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    for limit, value in limits.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (value, value))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _read(source: BinaryIO) -> bytes | None:
    head = source.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    message = source.read(length)
    return message if len(message) == length else None


def _write(target: BinaryIO, result: FrameResult) -> None:
    answer = msgspec.msgpack.encode(result)
    target.write(LENGTH.pack(len(answer)))
    target.write(answer)
    target.flush()


def _serve(task: FrameTask) -> FrameResult:
    try:
        return recode_frame(task)
    except ServerError as error:
        return FrameResult(b"", error=error.details or error.message)
    except MemoryError:
        return FrameResult(b"", error="a frame takes more memory than there is")


if __name__ == "__main__":
    main(float(sys.argv[1]))
