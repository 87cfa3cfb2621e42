"""C-ECHO: ask whether a remote modality is alive.

References
----------
PS3.4 Annex A; PS3.7 §9.1.5
"""

from isocenter.dimse.commands import Command, CommandField
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import build_proposals
from isocenter.dimse.requestor import AssociationProposal, AssociationTarget, open_association

__all__ = ["VERIFICATION_SOP_CLASS_UID", "send_echo", "send_echo_over"]

VERIFICATION_SOP_CLASS_UID = "1.2.840.10008.1.1"
"""Verification SOP class (PS3.4 §A.4)."""

_IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"


async def send_echo(target: AssociationTarget) -> int:
    """Open an association, send one C-ECHO and release the association.

    Returns
    -------
    int
        Status of the response; 0 for success.

    Raises
    ------
    RemoteError
        If no connection can be made, or the association is rejected or aborted, or the service is
        not accepted.
    DeadlineExceededError
        If the remote modality does not answer in time.

    References
    ----------
    PS3.4 §A.3
    """
    contexts = build_proposals([(VERIFICATION_SOP_CLASS_UID, (_IMPLICIT_VR_LITTLE_ENDIAN,))])
    async with open_association(target, AssociationProposal(contexts)) as association:
        return await send_echo_over(association)


async def send_echo_over(association: DimseAssociation) -> int:
    """Send one C-ECHO over an association that is open; return the status of the response.

    Raises
    ------
    NoPresentationContextError
        If the association has no presentation context for it.
    AssociationAbortedError, DeadlineExceededError
        If no answer comes.

    References
    ----------
    PS3.7 §9.3.5
    """
    context = association.get_context(VERIFICATION_SOP_CLASS_UID)
    command = Command(
        command_field=CommandField.C_ECHO_RQ,
        message_id=association.next_message_id(),
        affected_sop_class_uid=VERIFICATION_SOP_CLASS_UID,
    )
    return (await association.send_request(context.context_id, command)).status
