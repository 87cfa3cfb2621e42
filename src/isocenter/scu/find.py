"""C-FIND: ask a remote modality what it has.

References
----------
PS3.4 Annex C.4.1 (query), Annex K.6 (worklists); PS3.7 §9.1.2
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from isocenter.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from isocenter.dimse.commands import Command, CommandField, Priority
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import build_proposals
from isocenter.dimse.requestor import AssociationProposal, AssociationTarget, open_association
from isocenter.dimse.status import StatusCategory, categorize_status
from isocenter.errors import LimitError
from isocenter.scu.failures import build_status_error

__all__ = [
    "IDENTIFIER_SYNTAXES",
    "MODALITY_WORKLIST_FIND",
    "MOST_ANSWERS",
    "PATIENT_ROOT_FIND",
    "STUDY_ROOT_FIND",
    "EncodedIdentifier",
    "FoundIdentifier",
    "find_over",
    "iter_found",
]

PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MODALITY_WORKLIST_FIND = "1.2.840.10008.5.1.4.31"

IDENTIFIER_SYNTAXES = (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN)
"""Transfer syntaxes in which identifiers are proposed, in the order of Orthanc's proposals."""

MOST_ANSWERS = 50_000
"""More answers to one query are not taken."""

_MOST_BYTES = 64 * 1024 * 1024

EncodedIdentifier = Mapping[str, bytes]
"""An identifier in each of `IDENTIFIER_SYNTAXES`."""


@dataclass(frozen=True, slots=True)
class FoundIdentifier:
    """One answer: a data set and how it is encoded."""

    transfer_syntax_uid: str
    content: bytes


async def iter_found(
    target: AssociationTarget, sop_class_uid: str, identifier: EncodedIdentifier
) -> AsyncGenerator[FoundIdentifier, None]:
    """Open an association, ask, and yield the answers as they come.

    Raises
    ------
    RemoteError
        If there is no association, or the final status means failure.
    DeadlineExceededError
        If the remote modality does not answer in time.
    LimitError
        If there are too many answers; the query is canceled.
    """
    proposal = AssociationProposal(build_proposals([(sop_class_uid, IDENTIFIER_SYNTAXES)]))
    async with (
        open_association(target, proposal) as association,
        aclosing(find_over(association, sop_class_uid, identifier)) as answers,
    ):
        async for answer in answers:
            yield answer


async def find_over(
    association: DimseAssociation, sop_class_uid: str, identifier: EncodedIdentifier
) -> AsyncGenerator[FoundIdentifier, None]:
    """Ask over an association that is open, see `iter_found`.

    References
    ----------
    PS3.7 §9.3.2, PS3.4 §C.4.1.3
    """
    context = association.get_context(sop_class_uid)
    command = Command(
        command_field=CommandField.C_FIND_RQ,
        message_id=association.next_message_id(),
        affected_sop_class_uid=sop_class_uid,
        priority=Priority.MEDIUM,
    )
    count, size = 0, 0
    question = identifier[context.transfer_syntax_uid]
    responses = association.iter_responses(context.context_id, command, question)
    async with aclosing(responses):
        async for response in responses:
            if response.is_final:
                if categorize_status(response.status) is StatusCategory.FAILURE:
                    raise build_status_error(
                        "C-FIND",
                        association.called_ae_title,
                        response.status,
                        response.command.error_comment,
                    )
                return
            count, size = count + 1, size + len(response.data or b"")
            if count > MOST_ANSWERS or size > _MOST_BYTES:
                await association.send_cancel(context.context_id, command.message_id or 0)
                raise LimitError(
                    f"the query has more than {MOST_ANSWERS} answers, or {_MOST_BYTES} bytes of "
                    "them; ask more precisely"
                )
            if response.data is None:
                continue
            yield FoundIdentifier(context.transfer_syntax_uid, response.data)
