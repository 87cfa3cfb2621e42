"""Hot reads answered on the spot: no task, no ASGI, the same responders (Decision 0009).

A request takes this short way only if it is plain (GET, no body, no condition, no range), its route
is marked `Route.is_immediate`, and everything it needs is at hand. Whatever else happens (something
has to be waited for, an error, another status than 200), nothing has been written yet, and uvicorn
and Falcon answer the request as if it had never been tried.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from isocenter.archive.workers import WouldWaitError
from isocenter.http.exchange import DirectRequest, DirectResponse, FileRange
from isocenter.http.limits import LimitedProtocol
from isocenter.http.routes import Route, list_directories
from isocenter.http.sending import send_file

__all__ = ["DirectAnswers", "DirectProtocol", "ImmediateRoutes", "build_protocol"]

Step = Callable[..., Coroutine[Any, Any, None]]
Answer = tuple[bytes, bytes | FileRange]
"""Head and body, to be written one after the other."""

_TEMPLATE = re.compile(r"/(?P<first>[^{}/]+)/{(?P<parameter>\w+)}(?:/(?P<last>[^{}]+))?")
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


class ImmediateRoutes:
    """Finds the responder of a path with one look-up.

    Parameters
    ----------
    routes
        All routes; those that are not immediate tell which paths are taken.
    services
        First argument of every responder.

    Raises
    ------
    ValueError
        If an immediate route is neither ``/a/b`` nor ``/a/{b}`` nor ``/a/{b}/c``.
    """

    def __init__(self, routes: Sequence[Route], services: Any) -> None:
        # A path without parameters goes before one with them, even if it is not immediate.
        taken = [*list_directories(routes), *(route.path for route in routes)]
        self._exact: dict[str, Step | None] = {path: None for path in taken if "{" not in path}
        self._with_parameter: dict[tuple[str, str | None], tuple[Step, str]] = {}
        self._templates: dict[Step, str] = {}
        for route in routes:
            if route.is_immediate:
                self._add(route, cast(Step, partial(route.responder, services)))

    def _add(self, route: Route, responder: Step) -> None:
        self._templates[responder] = route.path
        if "{" not in route.path:
            self._exact[route.path] = responder
            return
        match = _TEMPLATE.fullmatch(route.path)
        if match is None:
            raise ValueError(f"the route {route.path} cannot be immediate")
        self._with_parameter[match["first"], match["last"]] = (responder, match["parameter"])

    def lookup(self, path: str) -> tuple[Step, dict[str, str]] | None:
        """Find the responder and the path parameters of an immediate route, or ``None``."""
        if path in self._exact:
            responder = self._exact[path]
            return None if responder is None else (responder, {})
        segments = path.split("/", 3)
        if len(segments) < 3 or not segments[2]:
            return None
        last = segments[3] if len(segments) > 3 else None
        found = self._with_parameter.get((segments[1], last))
        return None if found is None else (found[0], {found[1]: segments[2]})

    def get_template(self, responder: Step) -> str:
        """Tell the path of an immediate route."""
        return self._templates[responder]


class DirectAnswers:
    """Builds answers by running responders to their end at once.

    Parameters
    ----------
    middleware
        What the application runs around its responders: the same objects in the same order, so that
        access control and metrics are the same.
    """

    def __init__(self, routes: ImmediateRoutes, middleware: Sequence[Any]) -> None:
        self._routes = routes
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
        tuple of bytes, or None
            Head and body; ``None`` if the request must take the normal way.
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
        req.uri_template = self._routes.get_template(found[0])
        try:
            return self._run(req, *found)
        except Exception:  # noqa: BLE001 - the normal way meets it again and answers it
            return None

    def _run(self, req: DirectRequest, responder: Step, parameters: dict[str, str]) -> Answer:
        resp = DirectResponse()
        try:
            for process_request in self._before:
                _finish(process_request(req, resp))
            _finish(responder(req, resp, **parameters))
            head = resp.format_head()
            for process_response in self._after:
                _finish(process_response(req, resp, None, True))  # noqa: FBT003 - Falcon's order
        except BaseException:
            if resp.file is not None:
                resp.file.close()
            raise
        return head, cast(bytes, resp.data) if resp.file is None else resp.file


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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; called by the transport."""
        super().connection_made(transport)
        # Before the first request nothing is unfinished.
        self.cycle = _ANSWERED

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; called by the transport."""
        self._left = _MOST_AT_ONCE
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Answer a request now, or have uvicorn do it; called by the parser."""
        answer = self._build_answer() if self._is_plain() else None
        if answer is None:
            super().on_headers_complete()
            return
        self._is_in_head = False
        self._left -= 1
        self.cycle = _ANSWERED
        head, body = answer
        if isinstance(body, FileRange):
            send_file(self.transport, head, body)
        elif len(body) <= _SHORT_BODY:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))
        self.on_response_complete()

    def _is_plain(self) -> bool:
        """Tell whether nothing is under way and the client wants nothing but an answer."""
        parser = self.parser
        return (
            parser.get_method() == b"GET"
            and self._left > 0
            # Otherwise the answers of pipelined requests would come in the wrong order.
            and self.cycle.response_complete
            # A client that does not read gets nothing more; the normal way waits for it.
            and not self.flow.write_paused
            and not self.transport.is_closing()
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
        )

    def _build_answer(self) -> Answer | None:
        headers = dict(self.headers)
        is_repeated = len(headers) != len(self.headers)
        if is_repeated or not headers.keys().isdisjoint(_SPECIAL_HEADERS) or self.client is None:
            return None
        return self.answers.build(self.url, headers, self.client[0])


def build_protocol(
    answers: DirectAnswers | None, *, request_timeout_s: int
) -> type[LimitedProtocol]:
    """Build the class of which uvicorn makes one object for each connection.

    Parameters
    ----------
    answers
        ``None`` to have uvicorn answer everything.
    request_timeout_s
        Longest silence in the middle of a request.
    """
    values: dict[str, Any] = {"request_timeout_s": request_timeout_s}
    if answers is None:
        return type("BoundLimitedProtocol", (LimitedProtocol,), values)
    return type("BoundDirectProtocol", (DirectProtocol,), {**values, "answers": answers})
