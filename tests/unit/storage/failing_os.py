"""A stand-in for the module ``os`` of one module, with calls that fail."""

import errno
import os
from collections.abc import Callable
from typing import Any

__all__ = ["FailingOS", "fail", "write_until_full"]


class FailingOS:
    """Passes everything on to ``os`` but the calls that were replaced."""

    def __init__(self, **replaced: Callable[..., Any]) -> None:
        self._replaced = replaced

    def __getattr__(self, name: str) -> Any:
        return self._replaced.get(name) or getattr(os, name)


def fail(number: int) -> Callable[..., Any]:
    """Make a call that always fails."""

    def call(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return call


def write_until_full(room_bytes: int, number: int = errno.ENOSPC) -> Callable[..., int]:
    """Make a ``write`` that writes what fits, then fails, as a full disk does."""
    room = room_bytes

    def write(descriptor: int, content: bytes | memoryview) -> int:
        nonlocal room
        if not room:
            raise OSError(number, os.strerror(number))
        written = os.write(descriptor, memoryview(content)[:room])
        room -= written
        return written

    return write
