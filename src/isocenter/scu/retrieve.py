"""C-MOVE and C-GET: let a remote modality send instances, elsewhere or over the same association.

References
----------
PS3.4 Annex C.4.2, C.4.3; PS3.7 §9.1.3, §9.1.4
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from isocenter.dimse.commands import Command, CommandField, Priority
from isocenter.dimse.exchange import DimseAssociation
from isocenter.dimse.negotiation import MAXIMUM_CONTEXTS, PresentationContext, build_proposals
from isocenter.dimse.requestor import AssociationProposal, AssociationTarget, open_association
from isocenter.dimse.responses import Response
from isocenter.dimse.serving import RequestHandler
from isocenter.dimse.status import StatusCategory, categorize_status
from isocenter.dimse.user_information import RoleSelection
from isocenter.errors import ServerError
from isocenter.scu.find import IDENTIFIER_SYNTAXES, EncodedIdentifier

__all__ = [
    "GET_CONTEXTS",
    "PATIENT_ROOT_GET",
    "PATIENT_ROOT_MOVE",
    "STUDY_ROOT_GET",
    "STUDY_ROOT_MOVE",
    "RetrieveResult",
    "get",
    "move",
]

PATIENT_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.1.2"
PATIENT_ROOT_GET = "1.2.840.10008.5.1.4.1.2.1.3"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"

GET_CONTEXTS = MAXIMUM_CONTEXTS - 1
"""So many storage SOP classes can be proposed beside the C-GET itself."""

# A peer that was asked to stop has so much time to read that, to say that it has, and to release.
_CANCEL_S = 1.0


@dataclass(frozen=True, slots=True)
class RetrieveResult:
    """How a retrieve has ended.

    Attributes
    ----------
    status
        Of the final response.
    completed, failed
        Number of instances that were sent, and that could not be sent, as far as the peer tells.
    has_failed_count
        Whether the peer has told how many could not be sent.
    """

    status: int
    completed: int = 0
    failed: int = 0
    comment: str | None = None
    has_failed_count: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether everything was sent, with warnings of its receiver perhaps (PS3.4 §C.4.2.1.5)."""
        category = categorize_status(self.status)
        is_warned = category is StatusCategory.WARNING and self.has_failed_count
        return (is_warned or category is StatusCategory.SUCCESS) and not self.failed


async def move(
    target: AssociationTarget,
    sop_class_uid: str,
    identifier: EncodedIdentifier,
    *,
    destination: str,
    message_id: int,
    on_open: Callable[[DimseAssociation], None] = lambda _: None,
) -> RetrieveResult:
    """Let a remote modality send instances to an application entity that it knows.

    Parameters
    ----------
    destination
        AE title of the receiver.
    message_id
        1 to 65535; the receiver learns of it.
    on_open
        Called with the association, to keep it alive while its peer is busy.

    Raises
    ------
    RemoteError
        If there is no association, or it ends first.
    DeadlineExceededError
        If the remote modality is silent for too long.

    References
    ----------
    PS3.7 §9.3.4
    """
    proposal = AssociationProposal(build_proposals([(sop_class_uid, IDENTIFIER_SYNTAXES)]))
    async with open_association(target, proposal) as association:
        on_open(association)
        command = Command(
            command_field=CommandField.C_MOVE_RQ,
            message_id=message_id,
            affected_sop_class_uid=sop_class_uid,
            priority=Priority.MEDIUM,
            move_destination=destination,
        )
        return await _finish(association, command, identifier)


async def get(
    target: AssociationTarget,
    sop_class_uid: str,
    identifier: EncodedIdentifier,
    *,
    storage: Sequence[tuple[str, Sequence[str]]],
    handler: RequestHandler,
) -> RetrieveResult:
    """Let a remote modality send instances over the association of the request.

    Parameters
    ----------
    storage
        SOP classes that may come, at most `GET_CONTEXTS`, with their transfer syntaxes.
    handler
        Takes the instances.

    Raises
    ------
    RemoteError
        If there is no association, or it ends first.
    DeadlineExceededError
        If the remote modality is silent for too long.

    References
    ----------
    PS3.7 §9.3.3, §D.3.3.4 (roles)
    """
    contexts = build_proposals([(sop_class_uid, IDENTIFIER_SYNTAXES), *storage])
    roles = tuple(RoleSelection(uid, is_scu=False, is_scp=True) for uid, _ in storage)
    proposal = AssociationProposal(contexts, roles)
    async with open_association(target, proposal, handler=handler) as association:
        command = Command(
            command_field=CommandField.C_GET_RQ,
            message_id=association.next_message_id(),
            affected_sop_class_uid=sop_class_uid,
            priority=Priority.MEDIUM,
        )
        return await _finish(association, command, identifier)


async def _finish(
    association: DimseAssociation, command: Command, identifier: EncodedIdentifier
) -> RetrieveResult:
    """Send the request and wait for its final response; a canceled task cancels it as well."""
    context: PresentationContext = association.get_context(command.affected_sop_class_uid or "")
    question = identifier[context.transfer_syntax_uid]
    # Its own task, since it goes on for a moment after ours was canceled.
    answering = asyncio.ensure_future(
        _receive_final(association.iter_responses(context.context_id, command, question))
    )
    try:
        return await asyncio.shield(answering)
    except asyncio.CancelledError:
        await _cancel(association, context, command, answering)
        raise
    finally:
        await _drop(answering)


async def _receive_final(responses: AsyncGenerator[Response, None]) -> RetrieveResult:
    async with aclosing(responses):
        async for response in responses:
            if response.is_final:
                return _build_result(response)
    return RetrieveResult(0)


def _build_result(response: Response) -> RetrieveResult:
    answer = response.command
    failed = answer.failed_suboperations
    return RetrieveResult(
        response.status,
        (answer.completed_suboperations or 0) + (answer.warning_suboperations or 0),
        failed or 0,
        answer.error_comment,
        has_failed_count=failed is not None,
    )


async def _cancel(
    association: DimseAssociation,
    context: PresentationContext,
    command: Command,
    answering: "asyncio.Future[RetrieveResult]",
) -> None:
    """Ask the peer to stop; if it says in time that it has, the association ends in agreement.

    References
    ----------
    PS3.4 §C.4.2.3, §C.4.3.3; PS3.7 §9.3.3.3, §9.3.4.3
    """
    try:
        async with asyncio.timeout(_CANCEL_S):
            await association.send_cancel(context.context_id, command.message_id or 0)
            await asyncio.wait([answering])
            await association.release()
    except (ServerError, TimeoutError):
        # The association is aborted now, which says the same.
        return


async def _drop(answering: "asyncio.Future[RetrieveResult]") -> None:
    """End the wait for a response that nobody wants any more."""
    if not answering.done():
        answering.cancel()
        await asyncio.wait([answering])
    if not answering.cancelled():
        # Whoever wanted to know has asked already.
        answering.exception()
