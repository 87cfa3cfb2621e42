"""A client of DICOM services for tests: one association, and the answers as data sets."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from isocenter.dicom.data_sets import DataSet, get_layout, read_data_set
from isocenter.dimse.commands import Command, CommandField, Priority
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import build_proposals
from isocenter.dimse.requestor import AssociationProposal, AssociationTarget, open_association
from isocenter.dimse.responses import Response
from isocenter.dimse.serving import RequestHandler
from isocenter.dimse.user_information import RoleSelection

__all__ = ["EXPLICIT_LITTLE", "PATIENT_ROOT", "STUDY_ROOT", "Client", "Retrieval", "connect"]

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
PATIENT_ROOT, STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.1", "1.2.840.10008.5.1.4.1.2.2"
"""Prefixes of the SOP classes; FIND, MOVE and GET are ``.1``, ``.2`` and ``.3``."""

_LAYOUT = get_layout(EXPLICIT_LITTLE)


@dataclass(frozen=True, slots=True)
class Retrieval:
    """The responses to a C-MOVE or C-GET; the last one is final."""

    responses: Sequence[Response]

    @property
    def status(self) -> int:
        """The final status."""
        return self.responses[-1].status

    @property
    def counters(self) -> list[tuple[int | None, int | None, int | None, int | None]]:
        """Remaining, completed, failed and warning sub-operations of each response."""
        commands = [response.command for response in self.responses]
        return [
            (
                command.remaining_suboperations,
                command.completed_suboperations,
                command.failed_suboperations,
                command.warning_suboperations,
            )
            for command in commands
        ]


class Client:
    """Asks over one association."""

    def __init__(self, association: DimseAssociation) -> None:
        self.association = association

    async def find(
        self, identifier: bytes | None, *, sop_class: str = f"{STUDY_ROOT}.1"
    ) -> tuple[int, list[DataSet]]:
        """Send a C-FIND; give the final status and the answers."""
        context, command = self._begin(CommandField.C_FIND_RQ, sop_class)
        answers: list[DataSet] = []
        responses = self.association.iter_responses(context, command, identifier)
        async for response in responses:
            if response.is_final:
                return response.status, answers
            answers.append(read_data_set(response.data or b"", _LAYOUT))
        raise AssertionError("no final response")

    async def retrieve(
        self, identifier: bytes | None, sop_class: str, *, destination: str | None = None
    ) -> Retrieval:
        """Send a C-MOVE if there is a destination, else a C-GET."""
        field = CommandField.C_MOVE_RQ if destination else CommandField.C_GET_RQ
        context, command = self._begin(field, sop_class, destination)
        responses = self.association.iter_responses(context, command, identifier)
        return Retrieval([response async for response in responses])

    def _begin(
        self, field: CommandField, sop_class: str, destination: str | None = None
    ) -> tuple[int, Command]:
        command = Command(
            command_field=field,
            message_id=self.association.next_message_id(),
            affected_sop_class_uid=sop_class,
            priority=Priority.MEDIUM,
            move_destination=destination,
        )
        return self.association.get_context(sop_class).context_id, command


@asynccontextmanager
async def connect(
    port: int,
    sop_classes: Sequence[str],
    *,
    calling: str = "ASKER",
    syntaxes: Sequence[str] = (EXPLICIT_LITTLE,),
    provided: Sequence[str] = (),
    handler: RequestHandler | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[Client]:
    """Open an association.

    Parameters
    ----------
    provided
        SOP classes of which we are the provider, in the same transfer syntaxes.
    handler
        Serves the requests that come meanwhile.
    """
    proposals = build_proposals((uid, tuple(syntaxes)) for uid in (*sop_classes, *provided))
    roles = tuple(RoleSelection(uid, is_scu=False, is_scp=True) for uid in provided)
    target = AssociationTarget(
        "127.0.0.1", port, "ISOCENTER", calling, timeout_s=20, ssl_context=ssl_context
    )
    proposal = AssociationProposal(proposals, roles)
    async with open_association(target, proposal, handler=handler) as association:
        yield Client(association)
