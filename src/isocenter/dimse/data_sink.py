"""Where received data sets go: fragment by fragment, under the control of the receiver.

References
----------
PS3.7 §6.3 (a message is a command set and, if there is one, a data set)
"""

from collections.abc import Callable
from typing import Protocol

from isocenter.dimse.commands import Command
from isocenter.dimse.negotiation import PresentationContext
from isocenter.errors import BodyTooLargeError

__all__ = ["DEFAULT_MEMORY_LIMIT", "DataSink", "MemorySink", "Message"]

DEFAULT_MEMORY_LIMIT = 4 * 1024 * 1024
"""Longest data set that a `MemorySink` takes, in bytes; identifiers are far smaller."""


class DataSink(Protocol):
    """Receives the data set of one message.

    Calls come one after another on the event loop. `close` is called exactly once, whatever
    happens: after the handler of the message has ended, or when the association breaks before the
    data set is complete. An exception aborts the association.
    """

    @property
    def is_saturated(self) -> bool:
        """Whether nothing more should be read from the peer until `drain` has returned."""

    def write(self, fragment: memoryview | bytes) -> None:
        """Take the next fragment without blocking.

        The view is valid only during the call: copy what is kept.
        """

    async def drain(self) -> None:
        """Wait until the sink can take more."""

    def close(self) -> None:
        """Release what the sink still holds."""


class MemorySink:
    """Keeps a data set in memory; for identifiers and other small ones.

    Parameters
    ----------
    limit_bytes
        Longest data set.
    """

    __slots__ = ("_content", "_limit_bytes")

    def __init__(self, *, limit_bytes: int = DEFAULT_MEMORY_LIMIT) -> None:
        self._limit_bytes = limit_bytes
        self._content = bytearray()

    @property
    def is_saturated(self) -> bool:
        """Never: the limit takes the place of back pressure."""
        return False

    def write(self, fragment: memoryview | bytes) -> None:
        """Append a fragment.

        Raises
        ------
        BodyTooLargeError
            If the data set is longer than the limit.
        """
        if len(self._content) + len(fragment) > self._limit_bytes:
            raise BodyTooLargeError(f"a data set is longer than {self._limit_bytes} bytes")
        self._content += fragment

    async def drain(self) -> None:
        """Return at once."""

    def close(self) -> None:
        """Forget the content."""
        self._content = bytearray()

    def get_content(self) -> bytes:
        """Return the data set; empty after `close`."""
        return bytes(self._content)


class Message:
    """A complete request of the peer.

    Attributes
    ----------
    context
        Presentation context in which it came and in which the answer goes.
    command
        Command set.
    sink
        The sink that took the data set, ``None`` if there was none.
    on_cancel
        What to do when the peer loses interest; called on the event loop, perhaps more than once.
    """

    __slots__ = ("_is_cancelled", "command", "context", "on_cancel", "sink")

    def __init__(
        self, context: PresentationContext, command: Command, sink: DataSink | None = None
    ) -> None:
        self.context = context
        self.command = command
        self.sink = sink
        self.on_cancel: Callable[[], None] | None = None
        self._is_cancelled = False

    @property
    def is_cancelled(self) -> bool:
        """Whether the peer sent a C-CANCEL for this request (PS3.7 §9.3.2.3), or has gone."""
        return self._is_cancelled

    def cancel(self) -> None:
        """Mark the request as no longer wanted."""
        self._is_cancelled = True
        if self.on_cancel is not None:
            self.on_cancel()
