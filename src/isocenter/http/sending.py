"""Sending a file from the page cache to a connection without copying it through our memory."""

import asyncio
import errno
import logging
import os

from isocenter.http.exchange import FileRange

__all__ = ["send_file"]

_log = logging.getLogger(__name__)

# Goes together with the head, so that the first packet is full.
_FIRST_BYTES = 16 * 1024


def send_file(transport: asyncio.Transport, head: bytes, body: FileRange) -> None:
    """Write a head and a part of a file, and close the file.

    The kernel sends what the connection takes at once straight from the page cache; the rest, and
    everything on an encrypted connection, goes through the transport as usual.

    Parameters
    ----------
    transport
        Must not be closing.

    References
    ----------
    sendfile(2)
    """
    try:
        sent = 0
        if not transport.get_extra_info("ssl_object") and not transport.get_write_buffer_size():
            connection = transport.get_extra_info("socket").fileno()
            sent = _send_now(connection, head, body)
        if sent < len(head):
            transport.write(head[sent:])
        offset = body.start + max(0, sent - len(head))
        if offset < body.stop:
            rest = os.pread(body.descriptor, body.stop - offset, offset)
            transport.write(rest)
            if len(rest) < body.stop - offset:
                raise _cut_short()
    except OSError:
        # The head is under way: the client can only be told by the end of the connection.
        _log.exception("a stored file cannot be read")
        transport.abort()
    finally:
        body.close()


def _cut_short() -> OSError:
    return OSError(errno.EIO, "the file is shorter than it was")


def _send_now(connection: int, head: bytes, body: FileRange) -> int:
    """Send what the connection takes without waiting; tell the number of bytes, head included."""
    first = os.pread(body.descriptor, min(_FIRST_BYTES, len(body)), body.start)
    sent = 0
    try:
        sent = os.writev(connection, (head, first))
        if sent == len(head) + len(first):
            while (offset := body.start + sent - len(head)) < body.stop:
                count = os.sendfile(connection, body.descriptor, offset, body.stop - offset)
                if not count:
                    raise _cut_short()
                sent += count
    except (BlockingIOError, ConnectionError):
        # The connection is full, or gone, which the transport finds out by itself.
        pass
    return sent
