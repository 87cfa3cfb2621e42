"""N-ACTION: ask a remote modality to keep instances.

References
----------
PS3.4 §J.3.2; PS3.7 §10.1.4
"""

from collections.abc import Callable

from isocenter.dimse.commands import Command, CommandField
from isocenter.dimse.negotiation import build_proposals
from isocenter.dimse.requestor import AssociationProposal, AssociationTarget, open_association
from isocenter.dimse.serving import RequestHandler
from isocenter.dimse.status import StatusCategory, categorize_status
from isocenter.scu.event_report import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from isocenter.scu.failures import build_status_error

__all__ = ["COMMITMENT_SYNTAXES", "request_commitment"]

COMMITMENT_SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
"""Transfer syntaxes in which a request is proposed."""

_REQUEST_STORAGE_COMMITMENT = 1


async def request_commitment(
    target: AssociationTarget,
    get_request: Callable[[str], bytes],
    *,
    handler: RequestHandler | None = None,
) -> None:
    """Send one request; the report comes later, as a rule over an association of its own.

    Parameters
    ----------
    get_request
        Gives the data set in a transfer syntax.
    handler
        Takes a report that comes over this association already.

    Raises
    ------
    RemoteError
        If there is no association, or the request is refused.
    DeadlineExceededError
        If the remote modality does not answer in time.

    References
    ----------
    PS3.7 §10.3.5
    """
    proposal = AssociationProposal(build_proposals([(STORAGE_COMMITMENT, COMMITMENT_SYNTAXES)]))
    async with open_association(target, proposal, handler=handler) as association:
        context = association.get_context(STORAGE_COMMITMENT)
        command = Command(
            command_field=CommandField.N_ACTION_RQ,
            message_id=association.next_message_id(),
            requested_sop_class_uid=STORAGE_COMMITMENT,
            requested_sop_instance_uid=STORAGE_COMMITMENT_INSTANCE,
            action_type_id=_REQUEST_STORAGE_COMMITMENT,
        )
        request = get_request(context.transfer_syntax_uid)
        response = await association.send_request(context.context_id, command, request)
    if categorize_status(response.status) is StatusCategory.FAILURE:
        raise build_status_error(
            "N-ACTION", target.called_ae_title, response.status, response.command.error_comment
        )
