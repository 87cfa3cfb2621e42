"""C-STORE: send instances to a remote modality, many over one association.

References
----------
PS3.4 Annex B; PS3.7 §9.1.1
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from isocenter.dimse.commands import Command, CommandField, Priority
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import build_proposals
from isocenter.dimse.pdu import ProposedContext
from isocenter.dimse.requestor import AssociationProposal, AssociationTarget, open_association
from isocenter.dimse.sending import DataSource
from isocenter.dimse.status import StatusCategory, categorize_status

__all__ = [
    "InstanceToStore",
    "MoveOriginator",
    "StorageSCU",
    "StoreResult",
    "build_storage_contexts",
    "open_storage_association",
]


@dataclass(frozen=True, slots=True)
class InstanceToStore:
    """One instance as it goes over the wire.

    Parameters
    ----------
    sop_class_uid, sop_instance_uid
        Must be those of the data set.
    transfer_syntax_uid
        In which the data set is encoded.
    data_set
        Its bytes without the file meta information, whole or in chunks.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set: DataSource


@dataclass(frozen=True, slots=True)
class MoveOriginator:
    """The C-MOVE on whose behalf an instance is sent (PS3.7 §9.1.1.1)."""

    ae_title: str
    message_id: int


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What the remote modality answered; ``error_comment`` is its own text, if it gave one."""

    status: int
    error_comment: str | None = None

    @property
    def is_stored(self) -> bool:
        """Whether the instance was stored: success, or success with a warning (PS3.4 §B.2.3)."""
        return categorize_status(self.status) in (StatusCategory.SUCCESS, StatusCategory.WARNING)


class StorageSCU:
    """Sends instances over one association.

    Parameters
    ----------
    association
        Open, with the necessary presentation contexts.
    """

    def __init__(self, association: DimseAssociation) -> None:
        self._association = association

    @property
    def is_open(self) -> bool:
        """Whether instances can still be sent."""
        return self._association.is_open

    def can_store(self, sop_class_uid: str, transfer_syntax_uid: str) -> bool:
        """Tell whether the remote modality accepted this combination."""
        contexts = self._association.find_contexts(sop_class_uid)
        return any(context.transfer_syntax_uid == transfer_syntax_uid for context in contexts)

    async def store(
        self, instance: InstanceToStore, *, move_originator: MoveOriginator | None = None
    ) -> StoreResult:
        """Send one instance and wait for the answer.

        Parameters
        ----------
        instance
            What to send.
        move_originator
            If a C-MOVE caused this.

        Raises
        ------
        NoPresentationContextError
            If the remote modality did not accept the SOP class in this transfer syntax; the
            association stays usable.
        AssociationAbortedError
            If the association ends first.
        DeadlineExceededError
            If the remote modality is silent for too long; the association is aborted.

        References
        ----------
        PS3.7 §9.3.1
        """
        context = self._association.get_context(
            instance.sop_class_uid, instance.transfer_syntax_uid
        )
        command = Command(
            command_field=CommandField.C_STORE_RQ,
            message_id=self._association.next_message_id(),
            affected_sop_class_uid=instance.sop_class_uid,
            affected_sop_instance_uid=instance.sop_instance_uid,
            priority=Priority.MEDIUM,
            move_originator_ae_title=move_originator.ae_title if move_originator else None,
            move_originator_message_id=move_originator.message_id if move_originator else None,
        )
        response = await self._association.send_request(
            context.context_id, command, instance.data_set
        )
        return StoreResult(response.status, response.command.error_comment)


def build_storage_contexts(
    combinations: Iterable[tuple[str, str]],
) -> tuple[ProposedContext, ...]:
    """Propose each (SOP class, transfer syntax) once, as a context of its own.

    A context for each combination lets the remote modality accept several transfer syntaxes of one
    SOP class; in one common context it could choose only one of them.

    Raises
    ------
    BadParameterError
        If there are more than 128 combinations.

    References
    ----------
    PS3.4 §B.3.2; PS3.8 §9.3.2.2
    """
    return build_proposals(
        (sop_class_uid, (transfer_syntax_uid,))
        for sop_class_uid, transfer_syntax_uid in dict.fromkeys(combinations)
    )


@asynccontextmanager
async def open_storage_association(
    target: AssociationTarget, contexts: Iterable[ProposedContext]
) -> AsyncIterator[StorageSCU]:
    """Open an association for storing; it is released at the end, or aborted after an exception.

    Raises
    ------
    RemoteError
        If no connection can be made, or the association is rejected or aborted, or nothing of what
        was proposed is accepted.
    DeadlineExceededError
        If the remote modality does not answer in time.
    """
    async with open_association(target, AssociationProposal(tuple(contexts))) as association:
        yield StorageSCU(association)
