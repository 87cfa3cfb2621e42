"""Hot reads answered on the spot: no task, no ASGI, the same responders (Decision 0009).

A request takes this short way only if it is plain (GET, no body, no condition, no range), its route
is marked `Route.is_immediate`, and everything it needs is at hand. Whatever else happens (something
has to be waited for, an error, another status than 200), nothing has been written yet, and uvicorn
and Falcon answer the request as if it had never been tried.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from isocenter.http.exchange import DirectRequest, DirectResponse, FileRange
from isocenter.http.immediate_routes import ImmediateRoute, ImmediateRoutes, collect, finish
from isocenter.http.limits import ConnectionLimit, LimitedProtocol
from isocenter.http.outbox import Outbox
from isocenter.http.plain_reads import parse_plain_read
from isocenter.http.repeated import (
    LARGEST_ANSWER_BYTES,
    LARGEST_REQUEST_BYTES,
    Repeatable,
    RepeatedAnswers,
)
from isocenter.http.sending import send_file
from isocenter.http.short_writes import (
    BodyReceiver,
    ShortRequest,
    ShortWrites,
    new_reading_buffer,
)

__all__ = ["DirectAnswers", "DirectProtocol", "build_protocol"]


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """Head and body, to be written one after the other.

    Attributes
    ----------
    req, resp
        What the responder was given, if the answer stays true until the index changes.
    """

    head: bytes
    body: bytes | FileRange
    req: DirectRequest | None = None
    resp: DirectResponse | None = None


_METHOD_ARGUMENT = "_method"
# Headers that ask for more than a plain answer.
_SPECIAL_HEADERS = frozenset(
    {
        b"expect",
        b"transfer-encoding",
        b"upgrade",
        b"x-http-method-override",
    }
)
# And what a GET request must not have either.
_SPECIAL_TO_READS = frozenset({b"content-length", b"if-none-match", b"if-range", b"range"})
# A body up to this size is copied behind its head, which costs less than a second buffer.
_SHORT_BODY = 16 * 1024
# So many requests of one piece of input are answered at once: a long pipeline must not keep the
# event loop from other connections.
_MOST_AT_ONCE = 16


class DirectAnswers:
    """Builds answers by running responders to their end at once.

    Parameters
    ----------
    middleware
        What the application runs around its responders: the same objects in the same order, so that
        access control and metrics are the same.
    repeated
        Where lasting answers are kept.
    """

    def __init__(
        self, routes: ImmediateRoutes, middleware: Sequence[Any], repeated: RepeatedAnswers
    ) -> None:
        self._routes = routes
        self.repeated = repeated
        self._before = collect(middleware, "process_request")
        self._after = collect(reversed(middleware), "process_response")

    def build(
        self, target: bytes, headers: Mapping[bytes, bytes], remote_addr: str
    ) -> Answer | None:
        """Answer a GET request that has neither body nor special headers.

        Parameters
        ----------
        target
            Path and query as the client sent them.
        headers
            By name in small letters.

        Returns
        -------
        Answer or None
            ``None`` if the request must take the normal way.
        """
        if not target.isascii() or b"#" in target:
            return None
        path, _, query = target.decode("ascii").partition("?")
        found = None if "%" in path else self._routes.lookup(path)
        if found is None:
            return None
        req = DirectRequest(path, query, headers=headers, remote_addr=remote_addr)
        if query and _METHOD_ARGUMENT in req.params:
            return None
        req.uri_template = found[0].path
        try:
            return self._run(req, *found)
        except Exception:  # noqa: BLE001 - the normal way meets it again and answers it
            return None

    def repeat(self, client: str, request: bytes) -> Repeatable | None:
        """Find the answer to a request like one that was answered before, or ``None``.

        The middleware runs as for every request, so it is still the one that admits the caller.
        """
        known = self.repeated.lookup(client, request)
        if known is None:
            return None
        try:
            for process_request in self._before:
                finish(process_request(known.req, known.resp))
            for process_response in self._after:
                finish(process_response(known.req, known.resp, None, True))  # noqa: FBT003
        except Exception:  # noqa: BLE001 - the normal way meets it again and answers it
            return None
        return known

    def _run(
        self, req: DirectRequest, immediate: ImmediateRoute, parameters: dict[str, str]
    ) -> Answer:
        resp = DirectResponse()
        for process_request in self._before:
            finish(process_request(req, resp))
        finish(immediate.responder(req, resp, **parameters))
        head = resp.format_head()
        for process_response in self._after:
            finish(process_response(req, resp, None, True))  # noqa: FBT003 - Falcon's order
        body = cast(bytes, resp.data) if resp.file is None else resp.file
        resp.data = resp.file = None
        return Answer(head, body, req, resp) if immediate.is_lasting else Answer(head, body)


class _AnsweredCycle:
    """What uvicorn finds in the place of its own record of a request that was answered directly."""

    response_complete = True

    class message_event:  # noqa: N801 - uvicorn's name
        """Nobody waits for the rest of the request."""

        @staticmethod
        def set() -> None:
            """Do nothing."""


_ANSWERED = cast(RequestResponseCycle, _AnsweredCycle())


class DirectProtocol(LimitedProtocol):
    """uvicorn's protocol, which asks `DirectAnswers` and `ShortWrites` before it starts a task."""

    answers: ClassVar[DirectAnswers]
    writes: ClassVar[ShortWrites | None] = None
    outbox: ClassVar[Outbox]
    reading_buffer: ClassVar[memoryview]
    # An answer that leaves at the end of this turn of the event loop.
    _held = b""
    # The request whose body is arriving.
    _short: ShortRequest | None = None
    # Reads the connection once a body was long enough to come in pieces.
    _receiver: BodyReceiver | None = None
    _left = _MOST_AT_ONCE
    # The bytes that are being parsed, if they may be one whole request.
    _request: bytes | None = None
    _generation = 0
    # It was tried already to answer it, without the parser.
    _is_tried = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; called by the transport."""
        super().connection_made(transport)
        # Before the first request nothing is unfinished.
        self.cycle = _ANSWERED

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, unless it is a request that was answered before."""
        self.send_held()
        self._left = _MOST_AT_ONCE
        # Only between two requests does the parser hold no part of one.
        is_short = not self._is_receiving and len(data) <= LARGEST_REQUEST_BYTES
        self._request = data if is_short else None
        self._is_tried = False
        if is_short and self.client is not None and self._can_answer():
            if self._repeat(data, self.client[0]):
                return
            plain = parse_plain_read(data)
            if plain is not None and self._read(*plain):
                return
        super().data_received(data)
        if self._short is not None and self.transport.get_extra_info("ssl_object") is None:
            self._receiver = self._receiver or self._begin_receiver()
            self._receiver.short = self._short

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer what was asked before; called by the transport."""
        self.send_held()
        return super().eof_received()

    def shutdown(self) -> None:
        """End when the last answer has left; called by uvicorn when the server stops."""
        self.send_held()
        super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; called by the transport."""
        self._held = b""
        if self._short is not None and self.writes is not None:
            self.writes.drop(self._short)
            self._short = None
        self._receiver = None
        super().connection_lost(exc)

    def _repeat(self, request: bytes, remote_addr: str) -> bool:
        answer = self.answers.repeat(remote_addr, request)
        if answer is None:
            return False
        self._last_arrival = self.loop.time()
        if answer.file is None:
            # Quicker than a client is: to wait for others would only leave it without work.
            self.transport.write(answer.answer)
        else:
            send_file(self.transport, answer.answer, answer.file)
        self.on_response_complete()
        return True

    def _hold(self, data: bytes) -> None:
        """Send an answer at the end of this turn: nothing else of the connection is under way."""
        self._held = data
        self.outbox.add(self, self.loop)

    def send_held(self) -> None:
        """Send the answer that waits (see `Sender`)."""
        held = self._held
        if held:
            self._held = b""
            if not self.transport.is_closing():
                self.transport.write(held)

    def _read(self, target: bytes, headers: dict[bytes, bytes]) -> bool:
        """Answer a whole plain GET request without the parser; tell whether that was possible."""
        if not headers.keys().isdisjoint(_SPECIAL_HEADERS):
            return False
        self._generation = self.answers.repeated.begin()
        answer = self._build_answer(target, headers)
        if answer is None:
            self._is_tried = True
            return False
        self._last_arrival = self.loop.time()
        self._answer(answer, is_alone=True)
        return True

    def on_message_begin(self) -> None:
        """Begin to expect a head; called by the parser."""
        super().on_message_begin()
        self._generation = self.answers.repeated.begin()

    def on_headers_complete(self) -> None:
        """Answer a request now, or take its body, or have uvicorn do it; called by the parser."""
        headers = self._get_plain_headers()
        if headers is not None and self.client is not None:
            method = self.parser.get_method()
            if method == b"GET":
                answer = None if self._is_tried else self._build_answer(self.url, headers)
                if answer is not None:
                    self._is_in_head = False
                    self._answer(answer)
                    return
            elif self.writes is not None and not self._is_crowded():
                short = self.writes.begin(method.decode(), self.url, headers, self.client[0])
                if short is not None:
                    self._is_in_head = False
                    self._short = self.cycle = cast(Any, short)
                    return
        super().on_headers_complete()

    def _answer(self, answer: Answer, *, is_alone: bool = False) -> None:
        self._left -= 1
        self.cycle = _ANSWERED
        self._write(answer, is_alone=is_alone)
        self.on_response_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; called by the parser."""
        if self._short is None:
            super().on_body(body)
        else:
            self._has_progress = True
            self._short.append(body)

    def on_message_complete(self) -> None:
        """Run the responder of a request whose body is whole; called by the parser."""
        short, self._short = self._short, None
        super().on_message_complete()
        if short is not None:
            task = self.loop.create_task(self._respond(short))
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

    def _note_arrival(self, short: ShortRequest) -> None:
        """Note that a part of the body came round the parser."""
        self._last_arrival = self.loop.time()
        if short.is_whole:
            if self._receiver is not None:
                self._receiver.short = None
            # The old one still waits for the body.
            self._renew_parser()
            self.on_message_complete()

    def _begin_receiver(self) -> BodyReceiver:
        """Have bodies go from the connection to their places."""
        receiver = BodyReceiver(self, self._note_arrival, self.reading_buffer)
        # The way to read is chosen when reading begins.
        self.transport.pause_reading()
        self.transport.set_protocol(receiver)
        self.transport.resume_reading()
        return receiver

    async def _respond(self, short: ShortRequest) -> None:
        assert self.writes is not None, "it made the request"  # noqa: S101
        try:
            answer = await self.writes.finish(short)
        except BaseException as error:
            # The stop of the server, or a bug in what answers errors.
            if not isinstance(error, asyncio.CancelledError):
                _log.exception("a request cannot be answered")
            self.transport.abort()
            raise
        if not self.transport.is_closing():
            self.transport.write(answer)
        short.response_complete = True
        if not short.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _write(self, answer: Answer, *, is_alone: bool) -> None:
        head, body = answer.head, answer.body
        if isinstance(body, FileRange):
            send_file(self.transport, head, body)
            self._remember(answer, head, body)
        elif answer.req is None and len(body) > _SHORT_BODY:
            self.transport.writelines((head, body))
        else:
            whole = head + body
            if is_alone:
                self._hold(whole)
            else:
                self.transport.write(whole)
            self._remember(answer, whole)

    def _remember(self, answer: Answer, data: bytes, file: FileRange | None = None) -> None:
        """Keep an answer if the bytes that were parsed are its request and nothing else."""
        request, client = self._request, self.client
        if answer.req is None or answer.resp is None or request is None or client is None:
            return
        if (
            self._left == _MOST_AT_ONCE - 1
            and self.answers.repeated.is_asked_again(client[0], request)
            and parse_plain_read(request) is not None
        ):
            if file is not None and len(data) + len(file) <= LARGEST_ANSWER_BYTES:
                # One write of one buffer is cheaper than looking whether the pages are there.
                content = file.read()
                if content is None:
                    return
                data, file = data + content, None
            repeatable = Repeatable(answer.req, answer.resp, data, file)
            self.answers.repeated.add(client[0], request, repeatable, generation=self._generation)

    def _is_crowded(self) -> bool:
        """Tell whether uvicorn has to refuse the request."""
        limit = self.connection_limit
        return limit is not None and max(len(self.connections), len(self.tasks)) >= limit.get()

    def _get_plain_headers(self) -> dict[bytes, bytes] | None:
        """Give the headers if nothing is under way and the client wants nothing but an answer."""
        parser = self.parser
        if (
            self._left > 0
            and self._can_answer()
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
        ):
            headers = dict(self.headers)
            if len(headers) == len(self.headers) and headers.keys().isdisjoint(_SPECIAL_HEADERS):
                return headers
        return None

    def _can_answer(self) -> bool:
        """Tell whether an answer may be written now."""
        # The answers of pipelined requests must not come in the wrong order, and a client that does
        # not read gets nothing more; the normal way waits for both.
        return self.cycle.response_complete and not (
            self.flow.write_paused or self.transport.is_closing()
        )

    def _build_answer(self, target: bytes, headers: dict[bytes, bytes]) -> Answer | None:
        if self.client is None or not headers.keys().isdisjoint(_SPECIAL_TO_READS):
            return None
        return self.answers.build(target, headers, self.client[0])


def build_protocol(
    answers: DirectAnswers | None,
    writes: ShortWrites | None,
    *,
    request_timeout_s: int,
    connection_limit: ConnectionLimit | None = None,
) -> type[LimitedProtocol]:
    """Build the class of which uvicorn makes one object for each connection.

    Parameters
    ----------
    answers
        ``None`` to have uvicorn answer everything.
    writes
        ``None`` to have it answer everything that brings a body.
    request_timeout_s
        Longest silence in the middle of a request.
    connection_limit
        How many connections may be open at once; ``None`` for no limit.
    """
    values: dict[str, Any] = {
        "request_timeout_s": request_timeout_s,
        "connection_limit": connection_limit,
    }
    if answers is None:
        return type("BoundLimitedProtocol", (LimitedProtocol,), values)
    values |= {
        "answers": answers,
        "writes": writes,
        "reading_buffer": new_reading_buffer(),
        "outbox": Outbox(),
    }
    return type("BoundDirectProtocol", (DirectProtocol,), values)
