"""Limits of what a client may make the server hold or wait for."""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["LARGEST_HEAD_BYTES", "LimitedProtocol"]

LARGEST_HEAD_BYTES = 64 * 1024
"""Longest request line with all headers."""


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a limit on the head of a request and on silence in the middle of it.

    References
    ----------
    Orthanc configuration: ``HttpRequestTimeout``; RFC 6585 §5, RFC 9110 §15.5.9
    """

    request_timeout_s: ClassVar[int] = 30
    _idle_bytes = 0
    _has_progress = False
    _is_in_head = False
    _is_receiving = False
    _silence: asyncio.TimerHandle | None = None
    _last_arrival = 0.0
    _answered_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, with the time limit running for the first request; called by the transport."""
        super().connection_made(transport)
        if self.client is None:
            # The peer has reset the connection already, so nobody knows its address. What it sent
            # before must not be taken for a request of this machine.
            transport.abort()
            return
        self._is_receiving = True
        self._last_arrival = self.loop.time()
        self._silence = self.loop.call_later(self.request_timeout_s, self._check_silence)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; called by the transport."""
        if self._silence is not None:
            self._silence.cancel()
        super()._unset_keepalive_if_required()
        super().connection_lost(exc)

    def _unset_keepalive_if_required(self) -> None:
        """Leave the timer alone: setting it anew for each request costs more than looking once."""

    def on_response_complete(self) -> None:
        """Begin to count the idle time, or go on with the next request; called with each answer."""
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._set_keepalive(self.timeout_keep_alive)

    def _set_keepalive(self, delay_s: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            delay_s, self.timeout_keep_alive_handler
        )

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it is idle for too long; called by the timer."""
        self.timeout_keep_alive_task = None
        if self._is_receiving or not self.cycle.response_complete:
            # The next answer sets the timer again.
            return
        rest_s = max(self._answered_at, self._last_arrival) + self.timeout_keep_alive
        rest_s -= self.loop.time()
        if rest_s > 0:
            self._set_keepalive(rest_s)
        else:
            super().timeout_keep_alive_handler()

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; called by the transport."""
        self._last_arrival = self.loop.time()
        self._has_progress = False
        super().data_received(data)
        # The parser keeps an unfinished header or trailer to itself, so the bytes are counted here:
        # those of the pieces that neither begin a request nor hold a part of a body.
        self._idle_bytes = 0 if self._has_progress else self._idle_bytes + len(data)
        if self._idle_bytes > LARGEST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_message_begin(self) -> None:
        """Begin to expect a head; called by the parser."""
        self._is_in_head = self._is_receiving = True
        self._has_progress = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, but no trailer, which nobody reads; called by the parser."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; called by the parser."""
        self._has_progress = True
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """Begin to expect a body; called by the parser."""
        self._is_in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note the end of the request; called by the parser."""
        self._is_receiving = False
        self._has_progress = True
        super().on_message_complete()

    def _check_silence(self) -> None:
        """Close the connection of a client that began a request and does not go on with it.

        A client that we keep waiting, because its data are not taken as fast as it sends them, is
        not silent.
        """
        silent_s = self.loop.time() - self._last_arrival
        is_held = self.flow.read_paused
        if self._is_receiving and not is_held and silent_s >= self.request_timeout_s:
            self.transport.close()
            return
        rest_s = self.request_timeout_s - silent_s if self._is_receiving and not is_held else 0
        delay_s = rest_s if rest_s > 0 else self.request_timeout_s
        self._silence = self.loop.call_later(delay_s, self._check_silence)
