"""Limits of what a client may make the server hold or wait for."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from isocenter.http.old_clients import end_with_connection
from isocenter.http.upgrades import format_without_upgrade

__all__ = ["LARGEST_HEAD_BYTES", "ConnectionLimit", "LimitedProtocol"]

LARGEST_HEAD_BYTES = 64 * 1024
"""Longest request line with all headers."""

# What follows is not HTTP; it is refused by its method.
_CONNECT = b"CONNECT"
_OLD_VERSION = "1.0"


@dataclass(frozen=True, slots=True)
class ConnectionLimit:
    """How many connections may be open at once.

    Attributes
    ----------
    count_listeners
        Tells how many clients only listen to events, which are not counted.
    """

    most: int
    count_listeners: Callable[[], int]

    def get(self) -> int:
        """Tell the limit as it is now."""
        return self.most + self.count_listeners()


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a limit on the head of a request and on silence in the middle of it.

    Offers to go on in another protocol are ignored; the parser alone would lose the body that
    comes with one. Clients of HTTP/1.0 get no chunks.

    References
    ----------
    Orthanc configuration: ``HttpRequestTimeout``; RFC 6585 §5, RFC 9110 §7.8, §15.5.9
    """

    request_timeout_s: ClassVar[int] = 30
    connection_limit: ClassVar[ConnectionLimit | None] = None
    _idle_bytes = 0
    _has_progress = False
    _is_in_head = False
    _is_receiving = False
    _has_offer = False
    # What arrives is not looked at any more.
    _is_deaf = False
    # The client has said its last word and waits for answers.
    _is_half_closed = False
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

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer what was asked before the client closed its side; called by the transport.

        References
        ----------
        RFC 9112 §9.6
        """
        is_encrypted = self.transport.get_extra_info("ssl_object") is not None
        self._is_half_closed = self._is_answering and not self._is_receiving and not is_encrypted
        return self._is_half_closed or None

    @property
    def _is_answering(self) -> bool:
        """Whether a request waits for its answer, or for the rest of it."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, after the answers to the requests before it."""
        if self._is_in_head and self._is_answering:
            # Read on, or the end of the connection would take the answers with it.
            self._is_receiving = False
            self._is_deaf = True
            self.cycle.keep_alive = False
        else:
            super().send_400_response(msg)

    def _unset_keepalive_if_required(self) -> None:
        """Leave the timer alone: setting it anew for each request costs more than looking once."""

    def on_response_complete(self) -> None:
        """Begin to count the idle time, or go on with the next request; called with each answer."""
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        if self._is_half_closed:
            self.transport.close()
            return
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
        if self._is_deaf:
            return
        self._last_arrival = self.loop.time()
        self._has_progress = False
        self._parse(data)
        # The parser keeps an unfinished header or trailer to itself, so the bytes are counted here:
        # those of the pieces that neither begin a request nor hold a part of a body.
        self._idle_bytes = 0 if self._has_progress else self._idle_bytes + len(data)
        if self._idle_bytes > LARGEST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def _parse(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._take_back_offer(data[upgrade.args[0] :])
            except httptools.HttpParserError:
                message = "Invalid HTTP request received."
                self.logger.warning(message)
                self.send_400_response(message)
                return
            else:
                return

    def _take_back_offer(self, rest: bytes) -> bytes:
        """Begin a request anew as if it did not offer another protocol; give what to parse then."""
        if not self._has_offer:
            return b""
        self._has_offer = False
        head = format_without_upgrade(
            self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers
        )
        self._renew_parser()
        return head + rest

    def _renew_parser(self) -> None:
        """Begin with a new parser in the middle of a request, one like uvicorn's."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

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
        if self.connection_limit is not None:
            self.limit_concurrency = self.connection_limit.get()
        self._has_offer = self.parser.should_upgrade() and self.parser.get_method() != _CONNECT
        if self._has_offer:
            return
        super().on_headers_complete()
        if self.parser.get_http_version() == _OLD_VERSION:
            end_with_connection(self.cycle)

    def on_message_complete(self) -> None:
        """Note the end of the request; called by the parser."""
        if self._has_offer:
            return
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
