"""N-EVENT-REPORT: tell a remote modality what became of its storage commitment request.

References
----------
PS3.4 §J.3.3; PS3.7 §10.1.1
"""

from collections.abc import Callable

from isocenter.dimse.commands import Command, CommandField
from isocenter.dimse.negotiation import build_proposals
from isocenter.dimse.requestor import AssociationProposal, AssociationTarget, open_association
from isocenter.dimse.status import StatusCategory, categorize_status
from isocenter.dimse.user_information import RoleSelection
from isocenter.scu.failures import build_status_error

__all__ = ["STORAGE_COMMITMENT", "STORAGE_COMMITMENT_INSTANCE", "send_event_report"]

STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
"""SOP class of the storage commitment push model (PS3.4 §J.3)."""

STORAGE_COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
"""Its well-known SOP instance (PS3.4 §J.3.5)."""

_TRANSFER_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")


async def send_event_report(
    target: AssociationTarget, event_type: int, build_report: Callable[[str], bytes]
) -> None:
    """Open an association as the provider of the service and report once.

    Parameters
    ----------
    event_type
        1 for success, 2 if there are failures (PS3.4 Table J.3-3).
    build_report
        Encodes the report in a transfer syntax.

    Raises
    ------
    RemoteError
        If there is no association, or the remote modality answers with a failure.
    DeadlineExceededError
        If it does not answer in time.
    """
    proposal = AssociationProposal(
        build_proposals([(STORAGE_COMMITMENT, _TRANSFER_SYNTAXES)]),
        (RoleSelection(STORAGE_COMMITMENT, is_scu=False, is_scp=True),),
    )
    async with open_association(target, proposal) as association:
        context = association.get_context(STORAGE_COMMITMENT)
        command = Command(
            command_field=CommandField.N_EVENT_REPORT_RQ,
            message_id=association.next_message_id(),
            affected_sop_class_uid=STORAGE_COMMITMENT,
            affected_sop_instance_uid=STORAGE_COMMITMENT_INSTANCE,
            event_type_id=event_type,
        )
        report = build_report(context.transfer_syntax_uid)
        response = await association.send_request(context.context_id, command, report)
    if categorize_status(response.status) is StatusCategory.FAILURE:
        raise build_status_error(
            "N-EVENT-REPORT",
            target.called_ae_title,
            response.status,
            response.command.error_comment,
        )
