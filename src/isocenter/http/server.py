"""uvicorn inside our own event loop."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import uvicorn

from isocenter.http.direct import DirectAnswers, build_protocol
from isocenter.http.limits import ConnectionLimit
from isocenter.http.short_writes import ShortWrites

__all__ = ["HTTPServer", "HTTPServerOptions"]

_BACKLOG = 2048
# More are told to come back later: each may hold a few megabytes of an upload.
_MOST_CONNECTIONS = 1000


@dataclass(frozen=True, slots=True)
class HTTPServerOptions:
    """How to serve.

    Attributes
    ----------
    keep_alive_timeout_s
        Idle seconds before a connection is closed.
    request_timeout_s
        Longest silence in the middle of a request.
    direct_answers
        Answers hot reads without the application; ``None`` to have it answer everything.
    count_listeners
        Tells how many clients only listen; they are not counted as connections.
    short_writes
        Answers short requests with a body without the application, where there are direct answers.
    """

    tls: ssl.SSLContext | None = None
    keep_alive_timeout_s: int = 75
    request_timeout_s: int = 30
    shutdown_timeout_s: int = 8
    direct_answers: DirectAnswers | None = None
    count_listeners: Callable[[], int] = lambda: 0
    short_writes: ShortWrites | None = None


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """Leave out the traces of requests that a stop has cut off; how many there were is logged."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


class HTTPServer(uvicorn.Server):
    """Serves an ASGI application on sockets that are already bound.

    Signals are left to the composition root.
    """

    def __init__(self, application: Any, options: HTTPServerOptions) -> None:
        tls = options.tls
        self._limit = ConnectionLimit(_MOST_CONNECTIONS, options.count_listeners)
        config = uvicorn.Config(
            application,
            http=build_protocol(
                options.direct_answers,
                options.short_writes,
                request_timeout_s=options.request_timeout_s,
                connection_limit=self._limit,
            ),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            backlog=_BACKLOG,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=options.keep_alive_timeout_s,
            timeout_graceful_shutdown=options.shutdown_timeout_s,
            proxy_headers=False,
            ssl_context_factory=None if tls is None else lambda *_: tls,
        )
        super().__init__(config)
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        logging.getLogger("uvicorn.error").addFilter(_is_worth_logging)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def serve_until_stopped(self, sockets: Sequence[socket.socket]) -> None:
        """Serve until `stop` is called, then let requests end."""
        await self.serve(sockets=list(sockets))

    @property
    def available_count(self) -> int:
        """Connections that may still be opened."""
        return max(0, self._limit.get() - len(self.server_state.connections))

    def stop(self) -> None:
        """Ask `serve_until_stopped` to return."""
        self.should_exit = True
