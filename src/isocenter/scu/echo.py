"""C-ECHO: ask whether a remote modality is alive.

References
----------
PS3.4 Annex A; PS3.7 §9.1.5
"""

from collections.abc import Sequence

from isocenter.dimse.commands import Command, CommandField
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import build_proposals
from isocenter.dimse.requestor import AssociationProposal, AssociationTarget, open_association
from isocenter.errors import AssociationAbortedError, DeadlineExceededError
from isocenter.scu.association_pool import AssociationPool
from isocenter.scu.failures import build_status_error
from isocenter.scu.find import IDENTIFIER_SYNTAXES, EncodedIdentifier, find_over

__all__ = ["VERIFICATION_SOP_CLASS_UID", "check_services", "send_echo", "send_echo_over"]

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


async def check_services(
    target: AssociationTarget,
    find_sop_class_uid: str,
    identifier: EncodedIdentifier,
    pool: AssociationPool | None = None,
) -> None:
    """Make sure that a remote modality answers a C-ECHO and, over the same association, a C-FIND.

    Parameters
    ----------
    find_sop_class_uid, identifier
        What to ask; no question if the first is empty.
    pool
        Where an association may come from, and goes to at the end.

    Raises
    ------
    RemoteError
        If one of the services fails.
    DeadlineExceededError
        If the remote modality does not answer in time.

    References
    ----------
    Orthanc REST: POST /modalities/{id}/echo with ``CheckFind`` (behaviour manual §23.2)
    """
    wanted: list[tuple[str, Sequence[str]]] = [
        (VERIFICATION_SOP_CLASS_UID, (_IMPLICIT_VR_LITTLE_ENDIAN,))
    ]
    if find_sop_class_uid:
        wanted.append((find_sop_class_uid, IDENTIFIER_SYNTAXES))
    leasing = (pool or AssociationPool()).lease(
        target,
        AssociationProposal(build_proposals(wanted)),
        lambda found: all(found.find_contexts(abstract_syntax) for abstract_syntax, _ in wanted),
    )
    is_reused = False
    try:
        async with leasing as lease:
            is_reused = lease.is_reused
            status = await send_echo_over(lease.association)
            if status:
                raise build_status_error("C-ECHO", target.called_ae_title, status)
            if find_sop_class_uid:
                async for _ in find_over(lease.association, find_sop_class_uid, identifier):
                    pass
    except (AssociationAbortedError, DeadlineExceededError):
        if not is_reused:
            raise
        # Its peer had closed it meanwhile, or was about to, or a firewall had forgotten it.
        await check_services(target, find_sop_class_uid, identifier)


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
