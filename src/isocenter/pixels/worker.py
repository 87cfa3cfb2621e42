"""What a worker process does: frame after frame from its standard input to its standard output.

A frame that makes a codec crash ends this process and nothing else; one that takes too long is
ended by the alarm, also if the server is gone.
"""

import contextlib
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


def main(deadline_s: float) -> None:
    """Serve until the input ends.

    Parameters
    ----------
    deadline_s
        The alarm ends the process if a frame takes longer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY_BYTES, _MOST_MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    tasks = msgspec.msgpack.Decoder(FrameTask)
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while (message := _read(source)) is not None:
        signal.setitimer(signal.ITIMER_REAL, deadline_s)
        answer = msgspec.msgpack.encode(_serve(tasks.decode(message)))
        signal.setitimer(signal.ITIMER_REAL, 0)
        target.write(LENGTH.pack(len(answer)))
        target.write(answer)
        target.flush()


def _read(source: BinaryIO) -> bytes | None:
    head = source.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    message = source.read(length)
    return message if len(message) == length else None


def _serve(task: FrameTask) -> FrameResult:
    try:
        return recode_frame(task)
    except ServerError as error:
        return FrameResult(b"", error=error.details or error.message)
    except MemoryError:
        return FrameResult(b"", error="a frame takes more memory than there is")


if __name__ == "__main__":
    main(float(sys.argv[1]))
