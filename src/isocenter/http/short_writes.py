"""Short requests that bring a body, answered without ASGI, by the same responders (Decision 0017).

A request takes this way if it is plain, its length is announced and small, and its route is marked
`Route.is_light`. Its body goes from the socket into the bytes that the responder gets, without a
copy in between. The responder runs in a task of its own, since it will have to wait for a disk.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from isocenter.http.error_answers import ErrorAnswers
from isocenter.http.exchange import BodyRequest, DirectResponse
from isocenter.http.immediate_routes import ImmediateRoute, ImmediateRoutes, Step, collect, finish
from isocenter.http.observing import Observer
from isocenter.http.routes import Route

__all__ = ["BodyReceiver", "ShortRequest", "ShortWrites", "new_reading_buffer"]

LARGEST_BODY_BYTES = 1024 * 1024
"""Longest body that is collected here."""

_MOST_BYTES = 64 * 1024 * 1024
# What does not belong to a short body is read in pieces of this size.
_OTHER_BYTES = 64 * 1024
_METHODS = ("POST", "PUT", "DELETE")
_MULTIPART = b"multipart/"


class _Nobody:
    """An event that nobody waits for."""

    @staticmethod
    def set() -> None:
        """Do nothing."""


@dataclass(slots=True, eq=False)
class ShortRequest:
    """One request from its head to its answer; uvicorn finds it in the place of its own record.

    Attributes
    ----------
    size_bytes
        Announced length of the body.
    received_bytes
        So much of it is there.
    disconnected, keep_alive, message_event, more_body, response_complete
        As in uvicorn's `RequestResponseCycle`.
    """

    req: BodyRequest
    resp: DirectResponse
    route: ImmediateRoute
    parameters: dict[str, str]
    size_bytes: int
    received_bytes: int = 0
    disconnected: bool = False
    keep_alive: bool = True
    response_complete: bool = False
    more_body: bool = True
    message_event: type[_Nobody] = _Nobody
    # The bytes object that will be the body, while it is filled.
    _target: BytesIO | None = None
    _view: memoryview = field(default_factory=lambda: memoryview(b""))

    @property
    def is_whole(self) -> bool:
        """Whether all of the body is there."""
        return self.received_bytes == self.size_bytes

    def append(self, piece: bytes) -> None:
        """Take a part of the body."""
        if len(piece) == self.size_bytes:
            self.req.body = piece
            self.received_bytes = self.size_bytes
            return
        self.get_rest()[: len(piece)] = piece
        self.note(len(piece))

    def get_rest(self) -> memoryview:
        """Give the room for what is missing."""
        if self._target is None:
            # The one object of the standard library that lets its bytes be filled from outside,
            # and then hands them out without a copy.
            self._target = BytesIO(bytes(self.size_bytes))
            self._view = self._target.getbuffer()
        return self._view[self.received_bytes :]

    def note(self, count: int) -> None:
        """Note that so many bytes were written to `get_rest`."""
        self.received_bytes += count

    def hand_over(self) -> None:
        """Give the whole body to the request.

        Nobody may hold `get_rest` any more, or the body would have to be copied. The transport
        holds it while it tells of the last bytes.
        """
        if self._target is not None:
            self._view.release()
            self.req.body = self._target.getvalue()
            self._target = None

    def let_go(self) -> None:
        """Forget the body."""
        self._view = memoryview(b"")
        self._target = None
        self.req.body = b""


class ShortWrites:
    """Runs the responders of short requests with a body.

    Parameters
    ----------
    routes
        All routes.
    services
        First argument of every responder.
    middleware
        What the application runs around its responders: the same objects in the same order.
    errors
        Writes what the application would answer to an error.
    observer
        Counts the requests that are being answered.
    most_bytes
        Room for bodies on their way; requests beyond take the normal way, which reads them in
        small pieces.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        services: Any,
        *,
        middleware: Sequence[Any],
        errors: ErrorAnswers,
        observer: Observer,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        self._routes = {
            method: ImmediateRoutes(
                routes, services, [r for r in routes if r.is_light and r.method == method]
            )
            for method in _METHODS
        }
        self._before: tuple[Step, ...] = collect(middleware, "process_request")
        self._after: tuple[Step, ...] = collect(reversed(middleware), "process_response")
        self._errors = errors
        self._observer = observer
        self._free_bytes = most_bytes

    def begin(
        self, method: str, target: bytes, headers: Mapping[bytes, bytes], remote_addr: str
    ) -> ShortRequest | None:
        """Admit a plain request whose head is complete.

        Returns
        -------
        ShortRequest or None
            To be given to `finish` or `drop`; ``None`` if it must take the normal way, as it must
            if it is to be refused.
        """
        routes = self._routes.get(method)
        length = headers.get(b"content-length", b"0")
        size = int(length) if len(length) <= len(str(_MOST_BYTES)) else _MOST_BYTES
        if routes is None or size > min(LARGEST_BODY_BYTES, self._free_bytes):
            return None
        if not target.isascii() or b"#" in target or b"%" in target:
            return None
        if headers.get(b"content-type", b"").lower().startswith(_MULTIPART):
            return None
        path, _, query = target.decode("ascii").partition("?")
        found = routes.lookup(path)
        if found is None:
            return None
        req = BodyRequest(method, path, query, headers=headers, remote_addr=remote_addr)
        req.uri_template = found[0].path
        resp = DirectResponse()
        try:
            for process_request in self._before:
                finish(process_request(req, resp))
        except Exception:  # noqa: BLE001 - the normal way meets it again and answers it
            return None
        self._free_bytes -= size
        self._observer.active += 1
        return ShortRequest(req, resp, *found, size)

    async def finish(self, short: ShortRequest) -> bytes:
        """Run the responder of a request whose body is whole, and write its answer."""
        req, resp = short.req, short.resp
        is_success = True
        try:
            short.hand_over()
            try:
                await short.route.responder(req, resp, **short.parameters)
            except Exception as error:  # noqa: BLE001 - answered
                is_success = False
                await self._errors.answer(req, resp, error)
            for process_response in self._after:
                await process_response(req, resp, None, is_success)
            return resp.format_answer(keep_alive=short.keep_alive)
        finally:
            self.drop(short)

    def drop(self, short: ShortRequest) -> None:
        """Release what a request has taken; needed only if its body will never be whole."""
        short.let_go()
        self._free_bytes += short.size_bytes
        self._observer.active -= 1


def new_reading_buffer() -> memoryview:
    """Make the memory that all receivers of one event loop share.

    The transport asks for it, fills it and tells of that in one go, and then it is copied.
    """
    return memoryview(bytearray(_OTHER_BYTES))


class BodyReceiver(asyncio.BufferedProtocol):
    """Stands in for the protocol of a connection over which bodies of short requests come.

    It stays for the requests that follow: to change how a connection is read costs more than to
    copy their heads.

    Parameters
    ----------
    owner
        The protocol; it gets all bytes but those of the bodies, and is told of everything else.
    on_arrival
        Called with each piece of a body.

    Attributes
    ----------
    short
        The request whose body is arriving, if there is one.
    """

    def __init__(
        self,
        owner: asyncio.Protocol,
        on_arrival: Callable[[ShortRequest], None],
        other: memoryview,
    ) -> None:
        self.short: ShortRequest | None = None
        self._owner = owner
        self._on_arrival = on_arrival
        self._other = other

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Give the room for the rest of a body, and no more, or for what is none."""
        return self._other if self.short is None else self.short.get_rest()

    def buffer_updated(self, nbytes: int) -> None:
        """Take what arrived; called by the transport."""
        if self.short is None:
            self._owner.data_received(bytes(self._other[:nbytes]))
        else:
            self.short.note(nbytes)
            self._on_arrival(self.short)

    def eof_received(self) -> bool | None:
        """Tell the owner; called by the transport."""
        return self._owner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner; called by the transport."""
        self._owner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Tell the owner; called by the transport."""
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        """Tell the owner; called by the transport."""
        self._owner.resume_writing()
