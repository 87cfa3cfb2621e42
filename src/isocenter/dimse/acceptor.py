"""The listening side: accepts connections, negotiates associations, stops gracefully.

References
----------
PS3.8 §7.1 (association establishment), §9.1.4 (port)
"""

import asyncio
import logging
import ssl
from dataclasses import dataclass, field
from typing import Protocol

from isocenter.dimse.association import AssociationMachine, Role
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.indications import AssociationAborted, AssociationRequested, Indication
from isocenter.dimse.negotiation import (
    REJECT_APPLICATION_CONTEXT,
    REJECT_LOCAL_LIMIT,
    REJECT_NO_REASON,
    AssociateAcceptance,
    build_accept,
    describe_rejection,
)
from isocenter.dimse.pdu import APPLICATION_CONTEXT_NAME, AssociateReject, AssociateRequest
from isocenter.dimse.serving import RequestHandler
from isocenter.dimse.tls_listener import TLSListener
from isocenter.dimse.transport import AssociationTransport, PeerAddress, Timeouts
from isocenter.dimse.user_information import DEFAULT_MAXIMUM_LENGTH
from isocenter.errors import BadParameterError

__all__ = ["AcceptorOptions", "AssociationAcceptor", "AssociationHandler"]

_logger = logging.getLogger(__name__)

_SPARE_CONNECTIONS = 128
"""Connections beyond the limit of associations that are kept to be rejected politely."""

_BACKLOG = 1024


class AssociationHandler(RequestHandler, Protocol):
    """Decides about associations and serves their requests; one for each acceptor."""

    def negotiate(
        self, request: AssociateRequest, peer: PeerAddress
    ) -> AssociateAcceptance | AssociateReject:
        """Accept or reject an association; see ``negotiation`` for the parts of an answer.

        An exception is logged and rejects the association.
        """


@dataclass(frozen=True, slots=True)
class AcceptorOptions:
    """Limits of an acceptor.

    Parameters
    ----------
    maximum_associations
        Served at once; a request for more is rejected for now.
    maximum_length
        Longest P-DATA-TF variable field that peers may send, 4096 to 131072.
    timeouts
        Limits of waiting.
    """

    maximum_associations: int = 100
    maximum_length: int = DEFAULT_MAXIMUM_LENGTH
    timeouts: Timeouts = field(default_factory=Timeouts)

    def __post_init__(self) -> None:
        if not 4096 <= self.maximum_length <= 131072:
            raise BadParameterError(f"a maximum length of {self.maximum_length} is not possible")


class AssociationAcceptor:
    """Listens for associations.

    Parameters
    ----------
    handler
        Decides and serves.
    options
        Limits.
    """

    def __init__(self, handler: AssociationHandler, options: AcceptorOptions) -> None:
        self._handler = handler
        self._options = options
        self._server: asyncio.Server | None = None
        self._tls: TLSListener | None = None
        self._sessions: set[_AcceptorSession] = set()
        self._is_stopping = False
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    @property
    def port(self) -> int:
        """Port that is listened on; useful after `start` with port 0."""
        if self._tls is not None:
            return self._tls.port
        if self._server is None or not self._server.sockets:
            return 0
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def association_count(self) -> int:
        """Associations that are open, or whose last request is still being handled."""
        associations = (session.association for session in self._sessions)
        return sum(1 for association in associations if association and association.is_active)

    async def start(
        self, host: str | None, port: int, *, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        """Begin to listen.

        Parameters
        ----------
        host
            Address to bind, ``None`` for all.
        port
            0 for any free one.
        ssl_context
            For TLS (PS3.15 Annex B).

        Raises
        ------
        OSError
            If the address cannot be bound.
        """
        if ssl_context is not None:
            self._tls = TLSListener(
                self._build_protocol, ssl_context, handshake_s=self._options.timeouts.artim_s
            )
            self._tls.start(host, port, backlog=_BACKLOG)
            return
        self._server = await asyncio.get_running_loop().create_server(
            self._build_protocol, host, port, backlog=_BACKLOG, reuse_address=True
        )

    async def stop(self, *, deadline_s: float) -> None:
        """Stop listening, let requests that are being handled end, and close all connections.

        Parameters
        ----------
        deadline_s
            How long requests may take; what is still running then is cancelled.
        """
        self._is_stopping = True
        if self._server is not None:
            self._server.close()
        if self._tls is not None:
            self._tls.close()
        for session in list(self._sessions):
            session.stop()
        try:
            async with asyncio.timeout(deadline_s):
                await self._is_empty.wait()
        except TimeoutError:
            _logger.warning("associations were cut off", extra={"count": len(self._sessions)})
            for session in list(self._sessions):
                session.kill()
            await self._is_empty.wait()

    def _build_protocol(self) -> AssociationTransport:
        machine = AssociationMachine(Role.ACCEPTOR, maximum_length=self._options.maximum_length)
        session = _AcceptorSession(self, self._handler, self._options)
        return AssociationTransport(machine, session, self._options.timeouts)

    # For the sessions.

    def add(self, session: "_AcceptorSession") -> bool:
        """Register a new connection; ``False`` if it must be dropped."""
        limit = self._options.maximum_associations + _SPARE_CONNECTIONS
        if self._is_stopping or len(self._sessions) >= limit:
            return False
        self._sessions.add(session)
        self._is_empty.clear()
        return True

    def discard(self, session: "_AcceptorSession") -> None:
        """Forget a connection that has ended."""
        self._sessions.discard(session)
        if not self._sessions:
            self._is_empty.set()


class _AcceptorSession:
    """One connection until its association is established, and the way to stop it afterwards."""

    is_waiting_for_peer = False

    def __init__(
        self, acceptor: AssociationAcceptor, handler: AssociationHandler, options: AcceptorOptions
    ) -> None:
        self.association: DimseAssociation | None = None
        self._acceptor = acceptor
        self._handler = handler
        self._options = options
        self._transport: AssociationTransport

    def connection_opened(self, transport: AssociationTransport) -> None:
        self._transport = transport
        if not self._acceptor.add(self):
            transport.kill()

    def receive_indication(self, indication: Indication) -> None:
        if isinstance(indication, AssociationAborted):
            _logger.info(
                "a connection does not begin with an association request",
                extra={"remote_host": self._transport.peer.host, "details": indication.details},
            )
        if not isinstance(indication, AssociationRequested):
            return
        request = indication.request
        answer = self._decide(request)
        if isinstance(answer, AssociateReject):
            self._transport.machine.reject_association(answer)
            _logger.info(
                "association rejected",
                extra=self._describe(request) | {"details": describe_rejection(answer)},
            )
            return
        accept = build_accept(request, answer, maximum_length=self._options.maximum_length)
        self._transport.machine.accept_association(accept)
        self.association = DimseAssociation(
            self._transport, self._handler, on_finished=self._finished
        )
        _logger.info("association accepted", extra=self._describe(request))

    def silence_exceeded(self) -> None:
        """Do nothing: until there is an association the ARTIM timer rules."""

    def connection_ended(self) -> None:
        self._finished()

    def stop(self) -> None:
        if self.association is not None:
            self.association.stop()
        else:
            self._transport.close()

    def kill(self) -> None:
        if self.association is not None:
            self.association.kill()
        else:
            self._transport.kill()

    def _decide(self, request: AssociateRequest) -> AssociateAcceptance | AssociateReject:
        if self._acceptor.association_count >= self._options.maximum_associations:
            return REJECT_LOCAL_LIMIT
        if request.application_context_name != APPLICATION_CONTEXT_NAME:
            return REJECT_APPLICATION_CONTEXT
        try:
            return self._handler.negotiate(request, self._transport.peer)
        except Exception:
            _logger.exception("negotiating an association failed")
            return REJECT_NO_REASON

    def _describe(self, request: AssociateRequest) -> dict[str, object]:
        return {
            "remote_aet": request.calling_ae_title,
            "called_aet": request.called_ae_title,
            "remote_host": self._transport.peer.host,
        }

    def _finished(self) -> None:
        self._acceptor.discard(self)
