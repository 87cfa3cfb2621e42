"""Hot reads answered on the spot: no task, no ASGI, the same responders (Decision 0009).

A request takes this short way only if it is plain (GET, no body, no condition, no range), its route
is marked `Route.is_immediate`, and everything it needs is at hand. Whatever else happens (something
has to be waited for, an error, another status than 200), nothing has been written yet, and uvicorn
and Falcon answer the request as if it had never been tried.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from isocenter.archive.workers import WouldWaitError
from isocenter.http.exchange import DirectRequest, DirectResponse, FileRange
from isocenter.http.limits import ConnectionLimit, LimitedProtocol
from isocenter.http.repeated import LARGEST_REQUEST_BYTES, Repeatable, RepeatedAnswers
from isocenter.http.routes import Route, list_directories
from isocenter.http.sending import send_file

__all__ = ["DirectAnswers", "DirectProtocol", "ImmediateRoutes", "build_protocol"]

Step = Callable[..., Coroutine[Any, Any, None]]


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


_NAMED = re.compile(r"/(?P<first>[^{}/]+)/{(?P<outer>\w+)}(?:/(?P<last>[^{}]+))?")
_NESTED = re.compile(
    r"/(?P<first>[^{}/]+)/{(?P<outer>\w+)}"
    r"/(?P<middle>[^{}/]+)/{(?P<inner>\w+)}(?:/(?P<last>[^{}]+))?"
)
_END_OF_HEAD = b"\r\n\r\n"
_METHOD_ARGUMENT = "_method"
# Headers that ask for more than a plain answer.
_SPECIAL_HEADERS = frozenset(
    {
        b"content-length",
        b"expect",
        b"if-none-match",
        b"if-range",
        b"range",
        b"transfer-encoding",
        b"x-http-method-override",
    }
)
# A body up to this size is copied behind its head, which costs less than a second buffer.
_SHORT_BODY = 16 * 1024
# So many requests of one piece of input are answered at once: a long pipeline must not keep the
# event loop from other connections.
_MOST_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class _Immediate:
    """What of a route is needed to answer at once."""

    responder: Step
    path: str
    is_lasting: bool


class ImmediateRoutes:
    """Finds the responder of a path with a look-up or two.

    Parameters
    ----------
    routes
        All routes; those that are not immediate tell which paths are taken.
    services
        First argument of every responder.

    Raises
    ------
    ValueError
        If an immediate route is neither ``/a/b`` nor ``/a/{b}`` nor ``/a/{b}/c``, nor
        ``/a/{b}/c/{d}`` nor ``/a/{b}/c/{d}/e``.
    """

    def __init__(self, routes: Sequence[Route], services: Any) -> None:
        # A path with fewer parameters goes before one with more, even if it is not immediate.
        self._exact: dict[str, _Immediate | None] = {}
        self._named: dict[tuple[str, str | None], tuple[_Immediate, str] | None] = {}
        self._nested: dict[tuple[str, str, str | None], tuple[_Immediate, str, str]] = {}
        for path in (*list_directories(routes), *(route.path for route in routes)):
            self._take(path)
        for route in routes:
            if route.is_immediate:
                self._add(route, services)

    def _take(self, path: str) -> None:
        if "{" not in path:
            self._exact[path] = None
        elif match := _NAMED.fullmatch(path):
            self._named[match["first"], match["last"]] = None

    def _add(self, route: Route, services: Any) -> None:
        immediate = _Immediate(
            cast(Step, partial(route.responder, services)), route.path, is_lasting=route.is_lasting
        )
        if "{" not in route.path:
            self._exact[route.path] = immediate
        elif match := _NAMED.fullmatch(route.path):
            self._named[match["first"], match["last"]] = (immediate, match["outer"])
        elif match := _NESTED.fullmatch(route.path):
            key = (match["first"], match["middle"], match["last"])
            self._nested[key] = (immediate, match["outer"], match["inner"])
        else:
            raise ValueError(f"the route {route.path} cannot be immediate")

    def lookup(self, path: str) -> "tuple[_Immediate, dict[str, str]] | None":
        """Find an immediate route and its path parameters, or ``None``."""
        if path in self._exact:
            immediate = self._exact[path]
            return None if immediate is None else (immediate, {})
        segments = path.split("/", 3)
        if len(segments) < 3 or not segments[2]:
            return None
        key = (segments[1], segments[3] if len(segments) > 3 else None)
        if key in self._named:
            named = self._named[key]
            return None if named is None else (named[0], {named[1]: segments[2]})
        return self._lookup_nested(*segments[1:]) if len(segments) > 3 else None

    def _lookup_nested(
        self, first: str, outer: str, rest: str
    ) -> "tuple[_Immediate, dict[str, str]] | None":
        segments = rest.split("/", 2)
        if len(segments) < 2 or not segments[1]:
            return None
        key = (first, segments[0], segments[2] if len(segments) > 2 else None)
        nested = self._nested.get(key)
        if nested is None:
            return None
        return nested[0], {nested[1]: outer, nested[2]: segments[1]}


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
        self._before = _collect(middleware, "process_request")
        self._after = _collect(reversed(middleware), "process_response")

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
                _finish(process_request(known.req, known.resp))
            for process_response in self._after:
                _finish(process_response(known.req, known.resp, None, True))  # noqa: FBT003
        except Exception:  # noqa: BLE001 - the normal way meets it again and answers it
            return None
        return known

    def _run(self, req: DirectRequest, immediate: _Immediate, parameters: dict[str, str]) -> Answer:
        resp = DirectResponse()
        for process_request in self._before:
            _finish(process_request(req, resp))
        _finish(immediate.responder(req, resp, **parameters))
        head = resp.format_head()
        for process_response in self._after:
            _finish(process_response(req, resp, None, True))  # noqa: FBT003 - Falcon's order
        body = cast(bytes, resp.data) if resp.file is None else resp.file
        resp.data = resp.file = None
        return Answer(head, body, req, resp) if immediate.is_lasting else Answer(head, body)


def _collect(middleware: Iterable[Any], name: str) -> tuple[Step, ...]:
    return tuple(getattr(part, name) for part in middleware if hasattr(part, name))


def _finish(step: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that has nothing to wait for.

    Raises
    ------
    WouldWaitError
        If it has; it is closed then.
    """
    try:
        step.send(None)
    except StopIteration:
        return
    step.close()
    raise WouldWaitError


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
    """uvicorn's protocol, which asks `DirectAnswers` before it starts a task."""

    answers: ClassVar[DirectAnswers]
    _left = _MOST_AT_ONCE
    # The bytes that are being parsed, if they may be one whole request.
    _request: bytes | None = None
    _generation = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; called by the transport."""
        super().connection_made(transport)
        # Before the first request nothing is unfinished.
        self.cycle = _ANSWERED

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, unless it is a request that was answered before."""
        self._left = _MOST_AT_ONCE
        # Only between two requests does the parser hold no part of one.
        is_short = not self._is_receiving and len(data) <= LARGEST_REQUEST_BYTES
        self._request = data if is_short else None
        if is_short and self._repeat(data):
            return
        super().data_received(data)

    def _repeat(self, request: bytes) -> bool:
        if self.client is None or not self._can_write() or not self.cycle.response_complete:
            return False
        answer = self.answers.repeat(self.client[0], request)
        if answer is None:
            return False
        self._last_arrival = self.loop.time()
        self._unset_keepalive_if_required()
        if answer.file is None:
            self.transport.write(answer.answer)
        else:
            send_file(self.transport, answer.answer, answer.file)
        self.on_response_complete()
        return True

    def on_message_begin(self) -> None:
        """Begin to expect a head; called by the parser."""
        super().on_message_begin()
        self._generation = self.answers.repeated.begin()

    def on_headers_complete(self) -> None:
        """Answer a request now, or have uvicorn do it; called by the parser."""
        answer = self._build_answer() if self._is_plain() else None
        if answer is None:
            super().on_headers_complete()
            return
        self._is_in_head = False
        self._left -= 1
        self.cycle = _ANSWERED
        self._write(answer)
        self.on_response_complete()

    def _write(self, answer: Answer) -> None:
        head, body = answer.head, answer.body
        if isinstance(body, FileRange):
            send_file(self.transport, head, body)
            self._remember(answer, head, body)
        elif answer.req is None and len(body) > _SHORT_BODY:
            self.transport.writelines((head, body))
        else:
            whole = head + body
            self.transport.write(whole)
            self._remember(answer, whole)

    def _remember(self, answer: Answer, data: bytes, file: FileRange | None = None) -> None:
        """Keep an answer if the bytes that were parsed are its request and nothing else."""
        request, client = self._request, self.client
        if answer.req is None or answer.resp is None or request is None or client is None:
            return
        if self._left == _MOST_AT_ONCE - 1 and request.find(_END_OF_HEAD) == len(request) - 4:
            repeatable = Repeatable(answer.req, answer.resp, data, file)
            self.answers.repeated.add(client[0], request, repeatable, generation=self._generation)

    def _is_plain(self) -> bool:
        """Tell whether nothing is under way and the client wants nothing but an answer."""
        parser = self.parser
        return (
            parser.get_method() == b"GET"
            and self._left > 0
            # Otherwise the answers of pipelined requests would come in the wrong order.
            and self.cycle.response_complete
            and self._can_write()
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
        )

    def _can_write(self) -> bool:
        # A client that does not read gets nothing more; the normal way waits for it.
        return not (self.flow.write_paused or self.transport.is_closing())

    def _build_answer(self) -> Answer | None:
        headers = dict(self.headers)
        is_repeated = len(headers) != len(self.headers)
        if is_repeated or not headers.keys().isdisjoint(_SPECIAL_HEADERS) or self.client is None:
            return None
        return self.answers.build(self.url, headers, self.client[0])


def build_protocol(
    answers: DirectAnswers | None,
    *,
    request_timeout_s: int,
    connection_limit: ConnectionLimit | None = None,
) -> type[LimitedProtocol]:
    """Build the class of which uvicorn makes one object for each connection.

    Parameters
    ----------
    answers
        ``None`` to have uvicorn answer everything.
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
    return type("BoundDirectProtocol", (DirectProtocol,), {**values, "answers": answers})
