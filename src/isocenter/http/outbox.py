"""Answers that leave together at the end of a turn of the event loop.

A client that waits for answers on several connections is woken by the first one. Sent one after the
other as they are built, each of them wakes it again, and waking a processor that sleeps costs more
than building an answer does. Sent together, the client is still awake when the next one comes.
"""

import asyncio
from typing import Protocol

__all__ = ["Outbox", "Sender"]

# Where many requests arrive together, the first answers do not wait for the last ones.
_MOST_HELD = 16


class Sender(Protocol):
    """A connection whose answer waits."""

    def send_held(self) -> None:
        """Send it, unless it was sent already or the connection has ended."""
        ...


class Outbox:
    """Has connections send their answers. For one event loop."""

    def __init__(self) -> None:
        self._senders: list[Sender] = []

    def add(self, sender: Sender, loop: asyncio.AbstractEventLoop) -> None:
        """Have a connection send its answer soon, behind those that wait already."""
        if not self._senders:
            loop.call_soon(self._send_all)
        self._senders.append(sender)
        if len(self._senders) >= _MOST_HELD:
            self._send_all()

    def _send_all(self) -> None:
        senders, self._senders = self._senders, []
        for sender in senders:
            sender.send_held()
