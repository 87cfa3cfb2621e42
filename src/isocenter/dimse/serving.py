"""The requests of a peer, one after another.

References
----------
PS3.7 Annex D.3.3.3 (window of one operation), §9.3.2.3 (C-CANCEL)
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from isocenter.dimse.commands import Command
from isocenter.dimse.data_sink import DataSink, Message
from isocenter.dimse.indications import CommandReceived
from isocenter.dimse.negotiation import PresentationContext
from isocenter.dimse.receiving import DataSetReceiver, close_sink
from isocenter.dimse.transport import AssociationTransport
from isocenter.errors import AssociationAbortedError

if TYPE_CHECKING:
    from isocenter.dimse.exchange import DimseAssociation

__all__ = ["RequestHandler", "RequestServer"]

_logger = logging.getLogger(__name__)


class RequestHandler(Protocol):
    """Serves the requests of a peer."""

    def open_data_sink(
        self, association: "DimseAssociation", context: PresentationContext, command: Command
    ) -> DataSink:
        """Choose where the data set of a request goes; the association closes the sink.

        An exception is logged and aborts the association.
        """

    async def handle(self, association: "DimseAssociation", message: Message) -> None:
        """Serve a complete request and send its responses.

        An exception is logged and aborts the association.
        """


class RequestServer:
    """Hands complete requests to the handler and lets the next one wait.

    Parameters
    ----------
    association
        Passed on to the handler.
    transport
        Held while something waits for the end of the request that is being handled.
    receiver
        Takes the data sets.
    handler
        ``None`` if no requests are expected: the first one aborts the association.
    on_idle
        Called each time the handling of a request has ended.
    """

    def __init__(
        self,
        association: "DimseAssociation",
        transport: AssociationTransport,
        *,
        receiver: DataSetReceiver,
        handler: RequestHandler | None,
        on_idle: Callable[[], None],
    ) -> None:
        self._association = association
        self._transport = transport
        self._receiver = receiver
        self._handler = handler
        self._on_idle = on_idle
        self._current: Message | None = None
        self._task: asyncio.Task[None] | None = None
        self._postponed: Callable[[], None] | None = None

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The handling that is under way."""
        return self._task

    @property
    def is_holding(self) -> bool:
        """Whether the connection is held until the request that is being handled is done."""
        return self._postponed is not None

    def receive(self, indication: CommandReceived) -> None:
        """Begin with a request, as soon as the one before is handled."""
        self.when_idle(partial(self._begin, indication))

    def cancel(self, message_id: int | None) -> None:
        """Tell the handler that the peer has lost interest in its request."""
        if self._current is not None and self._current.command.message_id == message_id:
            self._current.cancel()

    def when_idle(self, action: Callable[[], None]) -> None:
        """Do something once no request is being handled; the connection is held until then."""
        if self._task is None:
            action()
        else:
            self._postponed = action
            self._transport.hold()

    def abandon(self) -> None:
        """Forget what waits; the association has ended, so nobody wants what is being done."""
        if self._current is not None:
            self._current.cancel()
        if self._postponed is not None:
            self._postponed = _do_nothing

    def _begin(self, indication: CommandReceived) -> None:
        context, command = indication.context, indication.command
        if self._handler is None:
            _logger.warning("a request came where none is served")
            self._association.abort()
            return
        if not command.has_data_set:
            self._start(self._handler, Message(context, command))
            return
        try:
            sink = self._handler.open_data_sink(self._association, context, command)
        except Exception:
            _logger.exception("opening a data sink failed")
            self._association.abort()
            return
        message = Message(context, command, sink)
        self._receiver.begin(sink, partial(self._start, self._handler, message))

    def _start(self, handler: RequestHandler, message: Message) -> None:
        self._current = message
        self._task = asyncio.get_running_loop().create_task(
            handler.handle(self._association, message)
        )
        self._task.add_done_callback(partial(self._finish, message))

    def _finish(self, message: Message, task: asyncio.Task[None]) -> None:
        self._task = self._current = None
        close_sink(message.sink)
        self._report(task)
        self._transport.touch()
        self._on_idle()
        action, self._postponed = self._postponed, None
        if action is not None:
            action()
            self._transport.resume()

    def _report(self, task: asyncio.Task[None]) -> None:
        """Log a failure of the handler once and abort the association."""
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            return
        # That the peer is gone is no news, and a stopping server cancels what is still running.
        is_news = self._association.is_open or not isinstance(
            error, AssociationAbortedError | asyncio.CancelledError
        )
        if is_news:
            _logger.error("handling a request failed", exc_info=error)
        self._association.abort()


def _do_nothing() -> None:
    """Take the place of an action that has lost its meaning."""
