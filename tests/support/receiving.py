"""A remote modality for tests: it receives what it wants, and misbehaves as the test says."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support.scripted_peer import PATIENT, RecordingSink

from isocenter.dimse.acceptor import AcceptorOptions, AssociationAcceptor
from isocenter.dimse.commands import Command
from isocenter.dimse.data_sink import DataSink, Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import (
    AssociateAcceptance,
    PresentationContext,
    negotiate_contexts,
)
from isocenter.dimse.pdu import AssociateReject, AssociateRequest
from isocenter.dimse.transport import PeerAddress

__all__ = ["Receiver", "run_receiver"]

Combination = tuple[str, str]


@dataclass
class Receiver:
    """Accepts combinations of SOP class and transfer syntax.

    Attributes
    ----------
    accepts
        Tells for an association which of the proposed combinations it accepts.
    answer
        Gives the status for a SOP instance UID, or ``None`` to abort the association.
    proposals
        What each association proposed.
    confirmed
        SOP instance UIDs in the order in which their storing was confirmed.
    """

    accepts: Callable[[list[Combination]], Collection[Combination]] = lambda proposed: proposed
    answer: Callable[[str], int | None] = lambda _: 0
    rejection: AssociateReject | None = None
    proposals: list[list[Combination]] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)

    def negotiate(
        self, request: AssociateRequest, peer: PeerAddress
    ) -> AssociateAcceptance | AssociateReject:
        """Accept what the test wants."""
        if self.rejection is not None:
            return self.rejection
        proposed = [
            (context.abstract_syntax, syntax)
            for context in request.contexts
            for syntax in context.transfer_syntaxes
        ]
        self.proposals.append(proposed)
        accepted = self.accepts(proposed)

        def lookup(sop_class_uid: str) -> list[str] | None:
            return [syntax for uid, syntax in accepted if uid == sop_class_uid] or None

        return AssociateAcceptance(negotiate_contexts(request.contexts, lookup))

    def open_data_sink(
        self, association: DimseAssociation, context: PresentationContext, command: Command
    ) -> DataSink:
        """Keep the data set in memory."""
        return RecordingSink()

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Answer a request."""
        command = message.command
        status = self._store(message) if message.sink and command.affected_sop_instance_uid else 0
        self.commands.append(command)
        if status is None:
            association.abort()
            return
        comment = "why" if status else None
        await association.send_response(
            message.context.context_id, command.build_response(status, error_comment=comment)
        )

    def _store(self, message: Message) -> int | None:
        uid = message.command.affected_sop_instance_uid or ""
        status = self.answer(uid)
        if status is not None:
            assert isinstance(message.sink, RecordingSink)
            self.contents.append(message.sink.get_content())
            if status & 0xF000 in (0, 0xB000):
                self.confirmed.append(uid)
        return status


@asynccontextmanager
async def run_receiver(receiver: Receiver, *, port: int = 0) -> AsyncIterator[int]:
    """Run a receiver on a free port, which is yielded, or on the port given."""
    acceptor = AssociationAcceptor(receiver, AcceptorOptions(10, 16384, PATIENT))
    await acceptor.start("127.0.0.1", port)
    try:
        yield acceptor.port
    finally:
        await acceptor.stop(deadline_s=0.5)
