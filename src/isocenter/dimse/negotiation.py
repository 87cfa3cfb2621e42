"""Agreement on presentation contexts and roles, as pure functions.

References
----------
PS3.8 §9.3.2.2, §9.3.3.2 (contexts); PS3.7 Annex D.3.3 (roles, window, user identity)
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from isocenter.dimse.pdu import (
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    ContextResult,
    NegotiatedContext,
    ProposedContext,
)
from isocenter.dimse.user_information import (
    ExtendedNegotiation,
    OperationsWindow,
    RoleSelection,
    UserInformation,
)
from isocenter.errors import BadParameterError

__all__ = [
    "MAXIMUM_CONTEXTS",
    "REJECT_APPLICATION_CONTEXT",
    "REJECT_CALLED_AE_TITLE",
    "REJECT_CALLING_AE_TITLE",
    "REJECT_LOCAL_LIMIT",
    "REJECT_NO_REASON",
    "REJECT_PROTOCOL_VERSION",
    "AssociateAcceptance",
    "Preference",
    "PresentationContext",
    "build_accept",
    "build_contexts",
    "build_proposals",
    "describe_rejection",
    "negotiate_contexts",
]

MAXIMUM_CONTEXTS = 128
"""Odd numbers from 1 to 255 (PS3.8 §9.3.2.2)."""

# Result, source, reason of PS3.8 Table 9-21.
REJECT_NO_REASON = AssociateReject(1, 1, 1)
REJECT_APPLICATION_CONTEXT = AssociateReject(1, 1, 2)
REJECT_CALLING_AE_TITLE = AssociateReject(1, 1, 3)
REJECT_CALLED_AE_TITLE = AssociateReject(1, 1, 7)
REJECT_PROTOCOL_VERSION = AssociateReject(1, 2, 2)
REJECT_LOCAL_LIMIT = AssociateReject(2, 3, 2)

_RESULTS = {1: "permanently", 2: "for now"}
_SOURCES = {1: "service user", 2: "association control", 3: "presentation layer"}
_REASONS = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognized",
    (1, 7): "called AE title not recognized",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}


class Preference(Enum):
    """Whose order decides between several transfer syntaxes that both sides know."""

    REQUESTOR = "requestor"
    ACCEPTOR = "acceptor"


@dataclass(frozen=True, slots=True)
class PresentationContext:
    """An accepted presentation context.

    The two flags tell which roles the association requestor may take; by default it is the SCU
    (PS3.7 §D.3.3.4).
    """

    context_id: int
    abstract_syntax: str
    transfer_syntax_uid: str
    requestor_is_scu: bool = True
    requestor_is_scp: bool = False


@dataclass(frozen=True, slots=True)
class AssociateAcceptance:
    """What an acceptor grants a requestor.

    Parameters
    ----------
    contexts
        One answer for each proposed context, see `negotiate_contexts`.
    roles
        Roles granted; `build_accept` never grants more than was proposed.
    user_identity_response
        Bytes that confirm the user identity (empty for types 1 and 2), ``None`` if the acceptor
        does not look at identities. Sent only if the requestor asked for a response.
    extended_negotiations
        Answers for SOP classes of which the requestor sent application information.
    """

    contexts: tuple[NegotiatedContext, ...]
    roles: tuple[RoleSelection, ...] = ()
    user_identity_response: bytes | None = None
    extended_negotiations: tuple[ExtendedNegotiation, ...] = ()


def negotiate_contexts(
    proposed: Iterable[ProposedContext],
    lookup_syntaxes: Callable[[str], Collection[str] | None],
    *,
    preference: Preference = Preference.REQUESTOR,
) -> tuple[NegotiatedContext, ...]:
    """Answer each proposed presentation context.

    Parameters
    ----------
    proposed
        Contexts of the request.
    lookup_syntaxes
        Gives the accepted transfer syntaxes of an abstract syntax, the preferred ones first, or
        ``None`` if the abstract syntax is not supported.
    preference
        Whose order counts.

    Returns
    -------
    tuple of NegotiatedContext
        In the order of the proposals. Refused ones repeat a transfer syntax of the proposal,
        because the field must not be empty and is not looked at.

    References
    ----------
    PS3.8 §9.3.3.2, Table 9-18
    """
    return tuple(
        _negotiate_context(context, lookup_syntaxes(context.abstract_syntax), preference)
        for context in proposed
    )


def _negotiate_context(
    context: ProposedContext, supported: Collection[str] | None, preference: Preference
) -> NegotiatedContext:
    fallback = context.transfer_syntaxes[0] if context.transfer_syntaxes else ""
    if supported is None:
        result = ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED
        return NegotiatedContext(context.context_id, result, fallback)
    if preference is Preference.REQUESTOR:
        candidates, allowed = context.transfer_syntaxes, supported
    else:
        candidates, allowed = tuple(supported), context.transfer_syntaxes
    for transfer_syntax in candidates:
        if transfer_syntax in allowed:
            return NegotiatedContext(context.context_id, ContextResult.ACCEPTANCE, transfer_syntax)
    result = ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
    return NegotiatedContext(context.context_id, result, fallback)


def build_accept(
    request: AssociateRequest, acceptance: AssociateAcceptance, *, maximum_length: int
) -> AssociateAccept:
    """Build the A-ASSOCIATE-AC for a request.

    Sub-items are answered only if the requestor sent them: the asynchronous operations window
    always with 1, 1; roles with what both sides agree on.

    References
    ----------
    PS3.8 §9.3.3; PS3.7 §D.3.3.3 to §D.3.3.7
    """
    asked = request.user_information
    identity = asked.user_identity
    is_response_due = identity is not None and identity.is_response_requested
    offered = {extended.sop_class_uid for extended in asked.extended_negotiations}
    information = UserInformation(
        maximum_length=maximum_length,
        operations_window=None if asked.operations_window is None else OperationsWindow(),
        roles=_agree_on_roles(asked.roles, acceptance.roles),
        extended_negotiations=tuple(
            answer for answer in acceptance.extended_negotiations if answer.sop_class_uid in offered
        ),
        user_identity_response=acceptance.user_identity_response if is_response_due else None,
    )
    return AssociateAccept(
        request.called_ae_title, request.calling_ae_title, acceptance.contexts, information
    )


def _agree_on_roles(
    proposed: Iterable[RoleSelection], granted: Iterable[RoleSelection]
) -> tuple[RoleSelection, ...]:
    """Keep of the granted roles what was proposed; 0 cannot be answered by 1 (PS3.7 §D.3.3.4)."""
    wanted = {role.sop_class_uid: role for role in proposed}
    return tuple(
        RoleSelection(
            role.sop_class_uid,
            role.is_scu and wanted[role.sop_class_uid].is_scu,
            role.is_scp and wanted[role.sop_class_uid].is_scp,
        )
        for role in granted
        if role.sop_class_uid in wanted
    )


def build_contexts(
    request: AssociateRequest, accept: AssociateAccept
) -> dict[int, PresentationContext]:
    """List the accepted contexts by identifier; both sides compute the same.

    Answers that fit no proposal count as refusals, so that nothing is sent in a transfer syntax
    that the requestor did not offer.

    References
    ----------
    PS3.8 §9.3.3.2; PS3.7 §D.3.3.4
    """
    proposals = {context.context_id: context for context in request.contexts}
    agreed = _agree_on_roles(request.user_information.roles, accept.user_information.roles)
    roles = {role.sop_class_uid: (role.is_scu, role.is_scp) for role in agreed}
    contexts = {}
    for answer in accept.contexts:
        proposal = proposals.get(answer.context_id)
        if proposal is None or answer.result != ContextResult.ACCEPTANCE:
            continue
        if answer.transfer_syntax in proposal.transfer_syntaxes:
            is_scu, is_scp = roles.get(proposal.abstract_syntax, (True, False))
            contexts[answer.context_id] = PresentationContext(
                answer.context_id, proposal.abstract_syntax, answer.transfer_syntax, is_scu, is_scp
            )
    return contexts


def build_proposals(
    syntaxes: Iterable[tuple[str, Sequence[str]]],
) -> tuple[ProposedContext, ...]:
    """Number proposals of (abstract syntax, transfer syntaxes) with odd identifiers from 1.

    Raises
    ------
    BadParameterError
        If there are more than 128, or a proposal has no transfer syntax.

    References
    ----------
    PS3.8 §9.3.2.2
    """
    proposals = tuple(
        ProposedContext(2 * index + 1, abstract_syntax, tuple(transfer_syntaxes))
        for index, (abstract_syntax, transfer_syntaxes) in enumerate(syntaxes)
    )
    if len(proposals) > MAXIMUM_CONTEXTS:
        raise BadParameterError(f"{len(proposals)} presentation contexts are more than 128")
    if not all(proposal.transfer_syntaxes for proposal in proposals):
        raise BadParameterError("a presentation context needs a transfer syntax")
    return proposals


def describe_rejection(reject: AssociateReject) -> str:
    """Say for people why an association was rejected (PS3.8 Table 9-21)."""
    result = _RESULTS.get(reject.result, f"with result {reject.result}")
    source = _SOURCES.get(reject.source, f"source {reject.source}")
    reason = _REASONS.get((reject.source, reject.reason), f"reason {reject.reason}")
    return f"rejected {result} by the {source}: {reason}"
