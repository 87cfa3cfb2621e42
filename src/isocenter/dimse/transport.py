"""The connection below an association: sockets, timers and back pressure on an asyncio loop.

It holds no protocol logic. Bytes are read straight into the machine's buffer, and everything that a
read caused to be sent leaves in one write.

References
----------
PS3.8 §9.1 (use of TCP), §9.1.5 (ARTIM timer)
"""

import asyncio
import fcntl
import os
import socket
import sys
import termios
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast

from isocenter.dimse.association import AssociationMachine, TimerRequest
from isocenter.dimse.indications import Indication
from isocenter.dimse.messages import Chunk

__all__ = ["AssociationTransport", "Listener", "PeerAddress", "Timeouts"]

_WRITE_HIGH_WATER = 512 * 1024
# What the system takes from us at once: most instances, so that sending one needs no waiting.
_SEND_BUFFER = 1024 * 1024
# How often, within the time of silence that is allowed, to look whether bytes have left.
_LOOKS_PER_SILENCE = 4
# Between so many indications others get their turn.
_INDICATIONS_OF_A_TURN = 1000
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)
_UNSENT: int | None = getattr(termios, "TIOCOUTQ", None)


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Network address of the other side."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of waiting, in seconds.

    Parameters
    ----------
    artim_s
        For the first PDU of a new connection and for the peer to close it at the end.
    silence_s
        For the next complete PDU while we wait for the peer, and for the peer to read any of what
        we send; ``None`` for no limit.
    """

    artim_s: float = 10.0
    silence_s: float | None = 30.0


class Listener(Protocol):
    """Who is told what happens on a connection."""

    @property
    def is_waiting_for_peer(self) -> bool:
        """Whether silence of the peer counts."""

    def connection_opened(self, transport: "AssociationTransport") -> None:
        """The connection is open; called first."""

    def receive_indication(self, indication: Indication) -> None:
        """Something arrived; not called while the transport is held."""

    def silence_exceeded(self) -> None:
        """The peer was silent for too long."""

    def connection_ended(self) -> None:
        """The connection is gone; called last."""


class AssociationTransport(asyncio.BufferedProtocol):
    """Drives one `AssociationMachine` over one connection.

    Parameters
    ----------
    machine
        The association.
    listener
        Told about indications; may be replaced once the association is established.
    timeouts
        Limits of waiting.
    """

    def __init__(self, machine: AssociationMachine, listener: Listener, timeouts: Timeouts) -> None:
        self.machine = machine
        self.listener = listener
        self.timeouts = timeouts
        self.peer = PeerAddress("", 0)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._socket: socket.socket | None = None
        self._holds = 0
        self._is_pumping = False
        self._is_closing = False
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._artim: asyncio.TimerHandle | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._last_activity = self._loop.time()
        self._written_bytes = 0
        self._taken_bytes = 0

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Tune the socket and start."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH_WATER)
        self.peer = _describe_peer(transport.get_extra_info("peername"))
        self._socket = _duplicate_socket(transport.get_extra_info("socket"))
        if self._socket is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self.machine.connection_opened()
        if self.timeouts.silence_s is not None:
            self._silence = self._loop.call_later(
                self.timeouts.silence_s / _LOOKS_PER_SILENCE, self._check_silence
            )
        self.listener.connection_opened(self)
        self.flush()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the loop's signature
        """Give the loop memory to read into."""
        return self.machine.get_free_space()

    def buffer_updated(self, nbytes: int) -> None:
        """Process what the loop has read."""
        self._acknowledge()
        self.machine.commit(nbytes)
        self._pump()

    def pause_writing(self) -> None:
        """Too much is waiting to be sent."""
        self._can_write.clear()

    def resume_writing(self) -> None:
        """Most of it has been sent."""
        self._can_write.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the loop's signature
        """Tell everybody and release what the connection had."""
        self._is_closing = True
        self.machine.connection_closed()
        self._pump()
        for timer in (self._artim, self._silence):
            if timer is not None:
                timer.cancel()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._can_write.set()
        self.listener.connection_ended()

    # Called by the user of the association.

    @property
    def taken_bytes(self) -> int:
        """Bytes of ours that the peer's system has taken.

        What our system still keeps is not among them: a large message leaves long after the loop
        has passed it on.
        """
        waiting = 0 if self._is_closing else self._transport.get_write_buffer_size()
        if self._socket is not None:
            waiting += _count_unsent(self._socket)
        return self._written_bytes - waiting

    def send_data(self, pdus: Sequence[Chunk]) -> None:
        """Send encoded P-DATA-TF PDUs, cut anywhere; follow with `drain` if there may be many.

        What they are made of must not change any more.
        """
        self.machine.send_data(pdus)
        self.flush()

    async def drain(self) -> None:
        """Wait while too much is waiting to be sent.

        Returns also when the connection ends: a peer that reads nothing for ``silence_s`` loses it.
        """
        while not self._can_write.is_set():
            taken_bytes = self.taken_bytes
            try:
                async with asyncio.timeout(self.timeouts.silence_s):
                    await self._can_write.wait()
            except TimeoutError:
                if self.taken_bytes <= taken_bytes:
                    self.kill()
                    return

    def hold(self) -> None:
        """Stop reading and delivering indications until `resume`; calls nest."""
        self._holds += 1
        if self._holds == 1 and not self._is_closing:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Undo one `hold`: deliver what has arrived meanwhile, then read on."""
        self._holds -= 1
        self._pump()
        if not self._holds and not self._is_closing:
            self._transport.resume_reading()

    def touch(self) -> None:
        """Let the time that counts as silence start again."""
        self._last_activity = self._loop.time()

    def flush(self) -> None:
        """Do what the machine asks for: write, set the timer, close."""
        if self._is_pumping:
            return
        machine = self.machine
        output = machine.take_output()
        if output and not self._is_closing:
            if len(output) == 1:
                self._transport.write(output[0])
            else:
                self._transport.writelines(output)
            self._written_bytes += sum(map(len, output))
        request = machine.take_timer_request()
        if request is not None:
            self._set_artim(request)
        if machine.is_close_requested:
            self.close()

    def close(self) -> None:
        """Close the connection when what was written is sent, or at the latest after ARTIM."""
        if self._is_closing:
            return
        self._is_closing = True
        self._transport.close()
        self._set_timer(self._transport.abort)

    def kill(self) -> None:
        """Drop the connection without another word."""
        self._is_closing = True
        self._transport.abort()

    # Internals.

    def _pump(self) -> None:
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            has_news = False
            left = _INDICATIONS_OF_A_TURN
            while not self._holds:
                if not left:
                    self.hold()
                    self._loop.call_soon(self.resume)
                    break
                left -= 1
                indication = self.machine.next_indication()
                if indication is None:
                    break
                has_news = True
                self.listener.receive_indication(indication)
        finally:
            self._is_pumping = False
        if has_news:
            self.touch()
        self.flush()

    def _acknowledge(self) -> None:
        """Ask for an immediate acknowledgement of what was just read.

        Peers that do not switch off Nagle's algorithm send the rest of a message only when the
        first part is acknowledged; Linux forgets the option after each use.
        """
        if self._socket is not None and _QUICK_ACK is not None:
            with suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)

    def _set_artim(self, request: TimerRequest) -> None:
        if self._is_closing:
            return
        if request is TimerRequest.START:
            self._set_timer(self._expire_artim)
        elif self._artim is not None:
            self._artim.cancel()

    def _set_timer(self, expire: Callable[[], None]) -> None:
        if self._artim is not None:
            self._artim.cancel()
        self._artim = self._loop.call_later(self.timeouts.artim_s, expire)

    def _expire_artim(self) -> None:
        self.machine.artim_expired()
        self.flush()

    def _check_silence(self) -> None:
        """Look whether the peer was silent for too long, and when to look again.

        That it takes what we send is a sign of life: over a slow line it has nothing to say for as
        long as a large message needs.

        One timer that moves on serves a whole association: setting one for each read would cost
        more than reading.
        """
        limit = cast(float, self.timeouts.silence_s)
        taken_bytes = self.taken_bytes
        if self._holds or not self.listener.is_waiting_for_peer or taken_bytes > self._taken_bytes:
            self.touch()
        self._taken_bytes = taken_bytes
        remaining = self._last_activity + limit - self._loop.time()
        if remaining <= 0:
            self.listener.silence_exceeded()
            self.touch()
            remaining = limit
        if not self._is_closing:
            delay_s = min(remaining, limit / _LOOKS_PER_SILENCE)
            self._silence = self._loop.call_later(delay_s, self._check_silence)


def _count_unsent(connection: socket.socket) -> int:
    """Count the bytes that our system keeps because the peer has not acknowledged them."""
    if _UNSENT is None:
        return 0
    try:
        answer = fcntl.ioctl(connection.fileno(), _UNSENT, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(answer, sys.byteorder)


def _describe_peer(name: Any) -> PeerAddress:
    """Read the loop's address: (host, port, ...) for TCP, anything else for other sockets."""
    if isinstance(name, tuple) and len(name) >= 2:
        return PeerAddress(str(name[0]), int(name[1]))
    return PeerAddress("", 0)


def _duplicate_socket(connection: Any) -> socket.socket | None:
    """Open a socket object of our own for TCP options.

    uvloop builds a socket object at each call on its own (5 µs instead of 1 µs). A duplicate cannot
    close the loop's descriptor by accident.
    """
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    return socket.socket(fileno=os.dup(connection.fileno()))
