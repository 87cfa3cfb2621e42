"""Listens for TLS and lets only so many handshakes be under way.

asyncio's own servers tell nobody of a connection before its handshake has ended, so those who begin
one and never end it would be counted by nobody.

References
----------
PS3.15 Annex B
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

__all__ = ["TLSListener"]

_logger = logging.getLogger(__name__)

_MOST_HANDSHAKES = 128
# Nobody is cut off earlier, so a burst of honest callers waits for its turn instead.
_SHIELDED_S = 2.0
# How long nobody is accepted after the system has run out of something, such as open files.
_PAUSE_S = 1.0
# What systems without IPv6 say.
_NO_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


class TLSListener:
    """A listening server; each connection goes to a protocol once its handshake has ended.

    With too many handshakes under way, further callers wait in the queue of the system until one
    has ended. Once the oldest has taken long, it is cut off for the next caller: an honest one
    needs milliseconds, so it is seldom the oldest.

    Parameters
    ----------
    build_protocol
        Called for each connection.
    context
        For the server's side.
    handshake_s
        Longest handshake.
    """

    def __init__(
        self,
        build_protocol: Callable[[], asyncio.BaseProtocol],
        context: ssl.SSLContext,
        *,
        handshake_s: float,
    ) -> None:
        self._build_protocol = build_protocol
        self._context = context
        self._handshake_s = handshake_s
        self._sockets: list[socket.socket] = []
        self._listening: list[asyncio.Task[None]] = []
        # When each began, the oldest first.
        self._handshakes: dict[asyncio.Task[None], float] = {}
        self._has_ended = asyncio.Event()
        self._has_told = False

    @property
    def port(self) -> int:
        """Port that is listened on, 0 if none is."""
        return int(self._sockets[0].getsockname()[1]) if self._sockets else 0

    @property
    def handshake_count(self) -> int:
        """Handshakes that are under way."""
        return len(self._handshakes)

    def start(self, host: str | None, port: int, *, backlog: int) -> None:
        """Begin to listen.

        Parameters
        ----------
        host
            ``None`` for all addresses.
        port
            0 for any free one.

        Raises
        ------
        OSError
            If the address cannot be bound.
        """
        self._sockets = _bind(host, port, backlog)
        for listener in self._sockets:
            listener.settimeout(0)
            self._listening.append(asyncio.create_task(self._listen(listener)))

    def close(self) -> None:
        """Stop listening and cut off the handshakes that are under way."""
        for task in (*self._listening, *self._handshakes):
            task.cancel()
        for listener in self._sockets:
            listener.close()
        self._sockets = []

    async def _listen(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listener)
            except OSError as error:
                _logger.warning("a connection cannot be accepted", extra={"reason": str(error)})
                await asyncio.sleep(_PAUSE_S)
                continue
            try:
                connection.settimeout(0)
                await self._wait_for_room()
            except BaseException:
                connection.close()
                raise
            task = asyncio.create_task(self._shake_hands(connection, str(address[0])))
            self._handshakes[task] = loop.time()
            task.add_done_callback(self._forget)

    async def _wait_for_room(self) -> None:
        loop = asyncio.get_running_loop()
        while len(self._handshakes) >= _MOST_HANDSHAKES:
            oldest, began = next(iter(self._handshakes.items()))
            left_s = began + _SHIELDED_S - loop.time()
            if left_s <= 0:
                self._cut_off(oldest)
                return
            self._has_ended.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._has_ended.wait()

    def _cut_off(self, handshake: asyncio.Task[None]) -> None:
        del self._handshakes[handshake]
        handshake.cancel()
        if not self._has_told:
            self._has_told = True
            _logger.warning(
                "too many TLS handshakes are under way; the oldest are cut off",
                extra={"limit": _MOST_HANDSHAKES},
            )

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._handshakes.pop(task, None)
        self._has_ended.set()
        if not self._handshakes:
            self._has_told = False

    async def _shake_hands(self, connection: socket.socket, host: str) -> None:
        loop = asyncio.get_running_loop()
        is_given = False
        try:
            await loop.connect_accepted_socket(
                self._build_protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake_s,
            )
            is_given = True
        except (OSError, ssl.SSLError, TimeoutError) as error:
            # Who just leaves has no words.
            reason = str(error) or type(error).__name__
            extra = {"remote_host": host, "reason": reason}
            _logger.info("a TLS handshake failed", extra=extra)
        finally:
            if not is_given:
                with suppress(OSError):
                    connection.close()


def _bind(host: str | None, port: int, backlog: int) -> list[socket.socket]:
    """Bind an address; those of all families apart, so that addresses of IPv4 look as such."""
    if host is not None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return [socket.create_server((host, port), family=family, backlog=backlog)]
    first = socket.create_server(("", port), backlog=backlog)
    try:
        second = socket.create_server(
            ("", first.getsockname()[1]), family=socket.AF_INET6, backlog=backlog
        )
    except OSError as error:
        if error.errno not in _NO_FAMILY:
            first.close()
            raise
        return [first]
    return [first, second]
