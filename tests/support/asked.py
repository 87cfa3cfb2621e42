"""A remote modality for tests that is asked: it answers queries and retrieves as the test says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from tests.support.dicom_files import Elements, build_data_set
from tests.support.scripted_peer import PATIENT, RecordingSink

from isocenter.dicom.file_meta import build_file_meta, read_file_meta
from isocenter.dicom.json_forms import Shape, build_tags_json
from isocenter.dicom.reader import read_summary
from isocenter.dimse.acceptor import AcceptorOptions, AssociationAcceptor
from isocenter.dimse.commands import Command, CommandField, SubOperationCounters
from isocenter.dimse.data_sink import DataSink, Message
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import (
    AssociateAcceptance,
    PresentationContext,
    negotiate_contexts,
)
from isocenter.dimse.pdu import AssociateRequest
from isocenter.dimse.transport import PeerAddress

__all__ = ["Asked", "encode_answer", "run_asked"]

_EXPLICIT = "1.2.840.10008.1.2.1"
_SOP_INSTANCE_UID = 0x00080018


def encode_answer(elements: Elements) -> bytes:
    """Write an answer in explicit VR little endian."""
    return build_data_set(elements)


@dataclass
class Asked:
    """Answers C-FIND, C-MOVE and C-GET.

    Attributes
    ----------
    answers
        Data sets of pending answers to a C-FIND.
    files
        What a C-GET sends.
    status, failed
        Of final answers; without a number of failures if that is ``None``.
    is_reporting
        Whether each N-ACTION is reported on before it is answered.
    answers_action
        Whether an N-ACTION is answered; else the association is aborted.
    store_statuses
        What was answered to the instances of a C-GET.
    identifiers
        What was asked, in the short shape.
    """

    answers: list[bytes | None] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)
    status: int = 0
    failed: int | None = 0
    is_reporting: bool = False
    answers_action: bool = True
    store_statuses: list[int] = field(default_factory=list)
    report_statuses: list[int] = field(default_factory=list)
    identifiers: list[dict[str, Any]] = field(default_factory=list)
    destinations: list[str | None] = field(default_factory=list)
    actions: list[Command] = field(default_factory=list)

    def negotiate(self, request: AssociateRequest, peer: PeerAddress) -> AssociateAcceptance:
        """Accept everything in explicit VR little endian."""
        contexts = negotiate_contexts(request.contexts, lambda _: (_EXPLICIT,))
        return AssociateAcceptance(contexts, request.user_information.roles)

    def open_data_sink(
        self, association: DimseAssociation, context: PresentationContext, command: Command
    ) -> DataSink:
        """Keep the data set in memory."""
        return RecordingSink()

    async def handle(self, association: DimseAssociation, message: Message) -> None:
        """Answer a request."""
        assert isinstance(message.sink, RecordingSink)
        header = build_file_meta("", "", transfer_syntax_uid=_EXPLICIT)
        content = header + message.sink.get_content()
        self.identifiers.append(build_tags_json(content, Shape.SHORT))
        command, context = message.command, message.context
        if command.command_field == CommandField.C_FIND_RQ:
            for answer in self.answers:
                pending = command.build_response(0xFF00)
                await association.send_response(context.context_id, pending, answer)
        elif command.command_field == CommandField.C_MOVE_RQ:
            self.destinations.append(command.move_destination)
        elif command.command_field == CommandField.C_GET_RQ:
            for file in self.files:
                await self._send(association, file)
        else:
            self.actions.append(command)
            if self.is_reporting:
                await self._report(association, message)
            if not self.answers_action:
                association.abort()
                return
        counters = SubOperationCounters(None, len(self.files), self.failed or 0, 0)
        final = command.build_response(self.status, counters=counters)
        if self.failed is None:
            final = msgspec.structs.replace(final, failed_suboperations=None)
        await association.send_response(context.context_id, final)

    async def _send(self, association: DimseAssociation, file: bytes) -> None:
        summary = read_summary(file, wanted=frozenset())
        context = association.get_context(summary.sop_class_uid or "")
        command = Command(
            command_field=CommandField.C_STORE_RQ,
            message_id=association.next_message_id(),
            affected_sop_class_uid=summary.sop_class_uid,
            affected_sop_instance_uid=summary.values[_SOP_INSTANCE_UID],
            priority=0,
        )
        data = file[read_file_meta(file).data_set_offset :]
        response = await association.send_request(context.context_id, command, data)
        self.store_statuses.append(response.status)

    async def _report(self, association: DimseAssociation, message: Message) -> None:
        """Keep all that a request names."""
        assert isinstance(message.sink, RecordingSink)
        command = Command(
            command_field=CommandField.N_EVENT_REPORT_RQ,
            message_id=association.next_message_id(),
            affected_sop_class_uid=message.command.requested_sop_class_uid,
            affected_sop_instance_uid=message.command.requested_sop_instance_uid,
            event_type_id=1,
        )
        # A report without failures looks like its request.
        content = message.sink.get_content()
        response = await association.send_request(message.context.context_id, command, content)
        self.report_statuses.append(response.status)


@asynccontextmanager
async def run_asked(asked: Asked, *, port: int = 0) -> AsyncIterator[int]:
    """Run it on a free port, which is yielded, or on the port given."""
    acceptor = AssociationAcceptor(asked, AcceptorOptions(10, 16384, PATIENT))
    await acceptor.start("127.0.0.1", port)
    try:
        yield acceptor.port
    finally:
        await acceptor.stop(deadline_s=0.5)
