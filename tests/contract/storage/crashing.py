"""A process that kills itself just before its n-th call to the operating system.

Arguments: the operation, the storage folder, n. It prints ``survived`` if there was no n-th call.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.spool import SpooledContent

UUID = "0123abcd-0000-4000-8000-000000000001"
CHUNK = b"0123456789" * 1000
CONTENT = CHUNK * 4

_CALLS = ("open", "write", "writev", "fsync", "close", "rename", "unlink", "mkdir", "link")


def write(storage: FileSystemStorage) -> None:
    storage.write(UUID, CONTENT)


def stream(storage: FileSystemStorage) -> None:
    with storage.open_writer(UUID) as writer:
        for _ in range(4):
            writer.write(CHUNK)
        writer.commit()


def spool(storage: FileSystemStorage) -> None:
    with SpooledContent(storage.spool_folder, 0) as content:
        for _ in range(4):
            content.append(CHUNK)
            content.flush_pending()
        content.move_to(storage, UUID)


OPERATIONS = {"write": write, "stream": stream, "spool": spool}


def kill_before_call(number: int) -> None:
    """Count calls, and die before one of them; a write stops half way."""
    calls = 0

    def guard(name: str) -> Callable[..., Any]:
        original = getattr(os, name)

        def guarded(*arguments: Any, **keywords: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == number:
                if name == "write":
                    original(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **keywords)

        return guarded

    for name in _CALLS:
        setattr(os, name, guard(name))


def main() -> None:
    operation, root, number = sys.argv[1:]
    storage = FileSystemStorage(Path(root))
    kill_before_call(int(number))
    OPERATIONS[operation](storage)
    sys.stdout.write("survived")


if __name__ == "__main__":
    main()
