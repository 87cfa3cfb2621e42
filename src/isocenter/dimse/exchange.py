"""Messages over one established association, in both directions.

Requests of the peer are handled one after another, as the window of one operation demands; answers
to requests of ours may arrive at any time between them. One class serves acceptors and requestors,
because during a C-GET both sides do both.

References
----------
PS3.7 §6, §7.5, Annex D.3.3.3 (window); PS3.8 §7.2 to §7.4 (release, abort)
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from types import MappingProxyType

from isocenter.dimse.association import Role
from isocenter.dimse.commands import Command, CommandField
from isocenter.dimse.data_sink import MemorySink
from isocenter.dimse.indications import (
    AssociationAborted,
    CommandReceived,
    DataReceived,
    Indication,
    ReleaseConfirmed,
    ReleaseRequested,
)
from isocenter.dimse.negotiation import PresentationContext
from isocenter.dimse.receiving import DataSetReceiver
from isocenter.dimse.responses import Response, ResponseQueue
from isocenter.dimse.sending import DataSource, MessageSender
from isocenter.dimse.serving import RequestHandler, RequestServer
from isocenter.dimse.state_table import State
from isocenter.dimse.status import Status
from isocenter.dimse.transport import AssociationTransport, PeerAddress
from isocenter.dimse.user_information import UserIdentity, UserInformation
from isocenter.errors import (
    AssociationAbortedError,
    DeadlineExceededError,
    InternalError,
    NoPresentationContextError,
    ServerError,
)

__all__ = ["DimseAssociation"]

_logger = logging.getLogger(__name__)


class DimseAssociation:
    """One established association.

    Parameters
    ----------
    transport
        Connection; this object becomes its listener.
    handler
        Serves requests of the peer; ``None`` if none are expected.
    on_finished
        Called once when the connection has ended and no request is being handled any more.
    """

    def __init__(
        self,
        transport: AssociationTransport,
        handler: RequestHandler | None,
        *,
        on_finished: Callable[[], None] | None = None,
    ) -> None:
        self._transport = transport
        self._machine = transport.machine
        self._on_finished = on_finished
        self._receiver = DataSetReceiver(transport, self.abort)
        self._server = RequestServer(
            self, transport, receiver=self._receiver, handler=handler, on_idle=self._request_ended
        )
        self._sender = MessageSender(self, transport)
        self._responses: dict[int, ResponseQueue] = {}
        self._last_message_id = 0
        self._end_error: ServerError | None = None
        self._is_stopping = False
        self._has_ended = asyncio.Event()
        transport.listener = self

    # What was negotiated.

    @property
    def calling_ae_title(self) -> str:
        """Title of the requestor."""
        return self._machine.request.calling_ae_title

    @property
    def called_ae_title(self) -> str:
        """Title by which the requestor called the acceptor."""
        return self._machine.request.called_ae_title

    @property
    def peer(self) -> PeerAddress:
        """Network address of the other side."""
        return self._transport.peer

    @property
    def contexts(self) -> Mapping[int, PresentationContext]:
        """Accepted presentation contexts by identifier."""
        return MappingProxyType(self._machine.contexts)

    @property
    def user_identity(self) -> UserIdentity | None:
        """Identity that the requestor claims."""
        return self._machine.request.user_information.user_identity

    @property
    def peer_information(self) -> UserInformation:
        """What the other side told about itself: implementation, maximum length and so on."""
        is_requestor = self._machine.role is Role.REQUESTOR
        peer = self._machine.accept if is_requestor else self._machine.request
        return peer.user_information

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""
        return self._end_error is None and self._machine.is_established

    @property
    def is_active(self) -> bool:
        """Whether it is open, or a request that came over it is still being handled."""
        return self.is_open or self._server.task is not None

    def find_contexts(self, abstract_syntax: str) -> list[PresentationContext]:
        """List the accepted contexts of an abstract syntax, in the order of their identifiers."""
        contexts = sorted(self._machine.contexts.items())
        return [context for _, context in contexts if context.abstract_syntax == abstract_syntax]

    def get_context(
        self, abstract_syntax: str, transfer_syntax_uid: str | None = None
    ) -> PresentationContext:
        """Find an accepted context.

        Parameters
        ----------
        abstract_syntax
            SOP class.
        transfer_syntax_uid
            ``None`` if any will do.

        Raises
        ------
        NoPresentationContextError
            If the peer accepted none.
        """
        for context in self._machine.contexts.values():
            if context.abstract_syntax == abstract_syntax and (
                transfer_syntax_uid in (None, context.transfer_syntax_uid)
            ):
                return context
        wanted = f" with transfer syntax {transfer_syntax_uid}" if transfer_syntax_uid else ""
        raise NoPresentationContextError(
            f"{self.called_ae_title} accepted no presentation context for {abstract_syntax}{wanted}"
        )

    # Messages of ours.

    async def send_response(
        self, context_id: int, command: Command, data: DataSource | None = None
    ) -> None:
        """Send a response, waiting if the peer is slow to read.

        Parameters
        ----------
        context_id
            Context of the request.
        command
            See `Command.build_response`.
        data
            Data set in the transfer syntax of the context.

        Raises
        ------
        AssociationAbortedError
            If the association has ended.
        """
        await self._sender.send(context_id, command, data)

    async def send_responses(
        self, context_id: int, command: Command, data_sets: Iterable[bytes]
    ) -> None:
        """Send pending responses that differ by their data sets only, otherwise as one response."""
        await self._sender.send_alike(context_id, command, data_sets)

    async def send_request(
        self, context_id: int, command: Command, data: DataSource | None = None
    ) -> Response:
        """Send a request that has exactly one response, and wait for it.

        The message identifier of the command has to come from `next_message_id`.

        Raises
        ------
        AssociationAbortedError
            If the association ends first.
        DeadlineExceededError
            If the peer is silent for too long; the association is aborted.
        """
        async with self._expect_responses(command) as responses:
            await self._sender.send(context_id, command, data)
            return await responses.get()

    async def iter_responses(
        self, context_id: int, command: Command, data: DataSource | None = None
    ) -> AsyncGenerator[Response, None]:
        """Send a request and yield its responses up to the final one.

        Leaving the iteration early does not cancel the request, see `send_cancel`; close the
        generator then, so that later responses are dropped.

        Raises
        ------
        AssociationAbortedError
            If the association ends first.
        DeadlineExceededError
            If the peer is silent for too long; the association is aborted.
        """
        async with self._expect_responses(command) as responses:
            await self._sender.send(context_id, command, data)
            is_final = False
            while not is_final:
                response = await responses.get()
                is_final = response.is_final
                yield response

    async def send_cancel(self, context_id: int, message_id: int) -> None:
        """Ask the peer to stop working on a request (PS3.7 §9.3.2.3)."""
        cancel = Command(
            command_field=CommandField.C_CANCEL_RQ, message_id_being_responded_to=message_id
        )
        await self._sender.send(context_id, cancel, None)

    def next_message_id(self) -> int:
        """Return a message identifier for a request of ours, 1 to 65535 in turn."""
        self._last_message_id = self._last_message_id % 0xFFFF + 1
        return self._last_message_id

    def touch(self) -> None:
        """Let the time that counts as silence start again, because the peer works elsewhere."""
        self._transport.touch()

    @asynccontextmanager
    async def _expect_responses(self, command: Command) -> AsyncIterator[ResponseQueue]:
        message_id = command.message_id
        if message_id is None or message_id in self._responses:
            raise InternalError(f"a request needs a message identifier of its own: {message_id}")
        self.require_open()
        field = command.build_response(Status.SUCCESS).command_field
        responses = ResponseQueue(self._transport.hold, self._transport.resume, command_field=field)
        self._responses[message_id] = responses
        self._transport.touch()
        try:
            self._refuse_deadlock()
            self.require_open()
            yield responses
        finally:
            # The entry stays until the final response has come.
            responses.discard()

    # Ending.

    async def release(self) -> None:
        """End the association in agreement with the peer; if the peer does not agree, just end it.

        References
        ----------
        PS3.8 §7.2
        """
        if self._end_error is None and self._machine.state is State.ESTABLISHED:
            self._machine.request_release()
            self._transport.flush()
            try:
                async with asyncio.timeout(self._transport.timeouts.artim_s):
                    await self._has_ended.wait()
            except TimeoutError:
                self._transport.kill()
        await self._has_ended.wait()

    def abort(self) -> None:
        """End the association at once (PS3.8 §7.3)."""
        self._end(AssociationAbortedError("the association was aborted by this side"))
        self._machine.abort()
        self._transport.flush()

    def stop(self) -> None:
        """Abort and close as soon as no request is being handled."""
        self._is_stopping = True
        if self._server.task is None:
            self.abort()
            self._transport.close()

    def kill(self) -> None:
        """Drop the connection and cancel what is being handled."""
        self._end(AssociationAbortedError("the association was dropped by this side"))
        self._transport.kill()
        if self._server.task is not None:
            self._server.task.cancel()

    def require_open(self) -> None:
        """Raise what ended the association, if it has ended.

        Raises
        ------
        AssociationAbortedError
            Or `DeadlineExceededError`.
        """
        if self._end_error is not None:
            raise type(self._end_error)(self._end_error.details)
        if not self._machine.is_established:
            raise AssociationAbortedError("the association is being released")

    def _end(self, error: ServerError) -> None:
        """Note the end of the association once and let everybody who waits fail."""
        if self._end_error is not None:
            return
        self._end_error = error
        for responses in self._responses.values():
            responses.fail(type(error)(error.details))
        self._responses.clear()
        self._server.abandon()
        self._receiver.abandon()

    def _request_ended(self) -> None:
        if self._is_stopping:
            self.stop()
        self._finish_if_over()

    def _finish_if_over(self) -> None:
        is_over = self._has_ended.is_set() and self._server.task is None
        if is_over and self._on_finished is not None:
            on_finished, self._on_finished = self._on_finished, None
            on_finished()

    # Listener of the transport.

    @property
    def is_waiting_for_peer(self) -> bool:
        """Whether silence of the peer counts: not while it waits for us, or for nothing."""
        if self._responses or self._receiver.is_receiving:
            return True
        return self._machine.role is Role.ACCEPTOR and self._server.task is None

    def connection_opened(self, transport: AssociationTransport) -> None:
        """Do nothing: an established association has a connection already."""

    def receive_indication(self, indication: Indication) -> None:
        """Distribute what arrives; after the end of the association nothing counts any more."""
        if self._end_error is not None:
            return
        if isinstance(indication, DataReceived):
            self._receiver.receive(indication)
        elif isinstance(indication, CommandReceived):
            self._receive_command(indication)
        elif isinstance(indication, ReleaseRequested):
            self._receive_release_request()
        elif isinstance(indication, ReleaseConfirmed):
            self._end(AssociationAbortedError("the association was released"))
            self._machine.respond_release()
        elif isinstance(indication, AssociationAborted):
            self._receive_abort(indication)

    def silence_exceeded(self) -> None:
        """Give up a peer that does not answer."""
        if self._machine.role is Role.ACCEPTOR:
            _logger.info("a peer is silent", extra={"remote_aet": self.calling_ae_title})
        self._end(DeadlineExceededError(self._name_peer("the peer was silent for too long")))
        self.abort()

    def connection_ended(self) -> None:
        """Let everybody who waits go on."""
        self._end(AssociationAbortedError(self._name_peer("the connection was closed")))
        self._has_ended.set()
        self._finish_if_over()

    def _receive_command(self, indication: CommandReceived) -> None:
        command = indication.command
        if command.is_response:
            self._receive_response(command)
        elif command.command_field == CommandField.C_CANCEL_RQ:
            self._server.cancel(command.message_id_being_responded_to)
            if command.has_data_set:
                self._fail("a C-CANCEL has a data set")
        else:
            self._server.receive(indication)
            self._refuse_deadlock()

    def _receive_response(self, command: Command) -> None:
        message_id = command.message_id_being_responded_to
        responses = self._responses.get(message_id) if message_id is not None else None
        if responses is None:
            self._fail("a response fits no request")
        elif command.command_field != responses.command_field:
            self._fail("a response answers another kind of request")
        elif command.has_data_set:
            sink = MemorySink()
            self._receiver.begin(sink, partial(self._complete, responses, command, sink))
        else:
            self._complete(responses, command, None)

    def _complete(
        self, responses: ResponseQueue, command: Command, sink: MemorySink | None
    ) -> None:
        response = Response(command, None if sink is None else sink.get_content())
        if response.is_final and command.message_id_being_responded_to is not None:
            del self._responses[command.message_id_being_responded_to]
        responses.put(response)

    def _receive_release_request(self) -> None:
        if self._machine.state is State.AWAITING_LOCAL_RELEASE_RESPONSE:
            self._server.when_idle(self._agree_to_release)
            self._refuse_deadlock()
        else:
            # Release collision: both sides have finished already.
            self._machine.respond_release()

    def _agree_to_release(self) -> None:
        self._end(AssociationAbortedError("the peer released the association"))
        self._machine.respond_release()
        self._transport.flush()

    def _refuse_deadlock(self) -> None:
        """Abort if the peer has gone on while we wait for its answer to a sub-operation.

        What it sent has to wait for the end of the request that is being handled, and nothing
        behind it is read until then: neither the answer nor the end of the connection.

        References
        ----------
        PS3.7 Annex D.3.3.3 (a window of one operation); PS3.8 §7.2.1 (release when all is done)
        """
        is_acceptor = self._machine.role is Role.ACCEPTOR
        if is_acceptor and self._responses and self._server.is_holding:
            self._fail("the peer went on instead of answering")

    def _receive_abort(self, indication: AssociationAborted) -> None:
        details = f"{indication.details} (source {indication.source}, reason {indication.reason})"
        if self._machine.role is Role.ACCEPTOR:
            _logger.info(
                "association aborted",
                extra={"remote_aet": self.calling_ae_title, "details": details},
            )
        self._end(AssociationAbortedError(self._name_peer(details)))

    def _fail(self, details: str) -> None:
        if self._machine.role is Role.ACCEPTOR or not self._responses:
            _logger.info(
                "protocol violation",
                extra={"remote_aet": self._peer_title, "details": details},
            )
        self._end(AssociationAbortedError(self._name_peer(details)))
        self.abort()

    @property
    def _peer_title(self) -> str:
        is_acceptor = self._machine.role is Role.ACCEPTOR
        return self.calling_ae_title if is_acceptor else self.called_ae_title

    def _name_peer(self, details: str) -> str:
        """Begin an error with whom we called: whoever made the call logs it, and nothing else."""
        if self._machine.role is Role.ACCEPTOR:
            return details
        return f"{self.called_ae_title} at {self.peer.host}:{self.peer.port}: {details}"
