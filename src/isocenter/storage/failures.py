"""What the operating system's errors mean for a client."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from isocenter.errors import FullStorageError, ServerError, StorageUnavailableError

__all__ = ["build_storage_error", "storage_errors"]

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def build_storage_error(error: OSError) -> ServerError:
    """Build the server's error for an error of the operating system.

    Returns
    -------
    ServerError
        `FullStorageError` if the disk or the quota is full, else `StorageUnavailableError`. The
        text holds the system's message but no path, because clients see it.
    """
    kind = FullStorageError if error.errno in _NO_ROOM else StorageUnavailableError
    return kind(f"{kind.message}: {error.strerror or type(error).__name__}")


@contextmanager
def storage_errors() -> Iterator[None]:
    """Raise errors of the operating system as errors of the server."""
    try:
        yield
    except OSError as error:
        raise build_storage_error(error) from error
