import pytest

from isocenter.dimse.negotiation import (
    REJECT_CALLED_AE_TITLE,
    REJECT_LOCAL_LIMIT,
    AssociateAcceptance,
    Preference,
    PresentationContext,
    build_accept,
    build_contexts,
    build_proposals,
    describe_rejection,
    negotiate_contexts,
)
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
    UserIdentity,
    UserInformation,
)
from isocenter.errors import BadParameterError

SUPPORTED = {"1.1": ("b", "a"), "1.2": ("c",)}
ACCEPTANCE = AssociateAcceptance((NegotiatedContext(1, 0, "a"),))


def request_with(**information: object) -> AssociateRequest:
    user_information = UserInformation(**information)  # type: ignore[arg-type]
    return AssociateRequest("A", "B", (ProposedContext(1, "1.1", ("a", "b")),), user_information)


@pytest.mark.parametrize(
    ("proposal", "preference", "result", "transfer_syntax"),
    [
        (("1.1", ("a", "b")), Preference.REQUESTOR, ContextResult.ACCEPTANCE, "a"),
        (("1.1", ("a", "b")), Preference.ACCEPTOR, ContextResult.ACCEPTANCE, "b"),
        (("1.1", ("z", "a")), Preference.ACCEPTOR, ContextResult.ACCEPTANCE, "a"),
        (
            ("1.2", ("a", "b")),
            Preference.REQUESTOR,
            ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED,
            "a",
        ),
        (("1.2", ()), Preference.REQUESTOR, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED, ""),
        (("1.9", ("a",)), Preference.ACCEPTOR, ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED, "a"),
    ],
)
def test_negotiate_contexts_answers_each_proposal(
    proposal: tuple[str, tuple[str, ...]],
    preference: Preference,
    result: ContextResult,
    transfer_syntax: str,
) -> None:
    answers = negotiate_contexts(
        [ProposedContext(5, *proposal)], SUPPORTED.get, preference=preference
    )
    assert answers == (NegotiatedContext(5, result, transfer_syntax),)


def test_build_accept_unasked_items_are_left_out() -> None:
    acceptance = AssociateAcceptance(
        ACCEPTANCE.contexts,
        roles=(RoleSelection("1.1", is_scu=True, is_scp=True),),
        user_identity_response=b"",
        extended_negotiations=(ExtendedNegotiation("1.1", b"\1"),),
    )
    accept = build_accept(request_with(), acceptance, maximum_length=4096)
    assert accept == AssociateAccept(
        "A", "B", ACCEPTANCE.contexts, UserInformation(maximum_length=4096)
    )


def test_build_accept_window_is_one() -> None:
    request = request_with(operations_window=OperationsWindow(0, 10))
    accept = build_accept(request, ACCEPTANCE, maximum_length=4096)
    assert accept.user_information.operations_window == OperationsWindow(1, 1)


@pytest.mark.parametrize(
    ("is_requested", "response", "answered"),
    [(True, b"ok", b"ok"), (True, None, None), (False, b"ok", None)],
)
def test_build_accept_identity_is_confirmed_only_if_asked_and_given(
    is_requested: bool, response: bytes | None, answered: bytes | None
) -> None:
    identity = UserIdentity(1, b"name", is_response_requested=is_requested)
    acceptance = AssociateAcceptance(ACCEPTANCE.contexts, user_identity_response=response)
    accept = build_accept(request_with(user_identity=identity), acceptance, maximum_length=4096)
    assert accept.user_information.user_identity_response == answered


def test_build_accept_roles_never_exceed_the_proposal() -> None:
    request = request_with(roles=(RoleSelection("1.1", is_scu=False, is_scp=True),))
    granted = (
        RoleSelection("1.1", is_scu=True, is_scp=True),
        RoleSelection("1.2", is_scu=True, is_scp=True),
    )
    acceptance = AssociateAcceptance(ACCEPTANCE.contexts, roles=granted)
    accept = build_accept(request, acceptance, maximum_length=4096)
    assert accept.user_information.roles == (RoleSelection("1.1", is_scu=False, is_scp=True),)


def test_build_accept_extended_negotiation_is_answered_if_offered() -> None:
    request = request_with(extended_negotiations=(ExtendedNegotiation("1.1", b"\1"),))
    answers = (ExtendedNegotiation("1.1", b"\0"), ExtendedNegotiation("1.2", b"\0"))
    acceptance = AssociateAcceptance(ACCEPTANCE.contexts, extended_negotiations=answers)
    accept = build_accept(request, acceptance, maximum_length=4096)
    assert accept.user_information.extended_negotiations == answers[:1]


def test_build_contexts_lists_accepted_with_roles() -> None:
    role = RoleSelection("1.1", is_scu=False, is_scp=True)
    request = request_with(roles=(role,))
    accept = build_accept(
        request, AssociateAcceptance(ACCEPTANCE.contexts, roles=(role,)), maximum_length=4096
    )
    assert build_contexts(request, accept) == {
        1: PresentationContext(1, "1.1", "a", requestor_is_scu=False, requestor_is_scp=True)
    }


@pytest.mark.parametrize(
    "answer",
    [
        NegotiatedContext(1, ContextResult.USER_REJECTION, "a"),
        NegotiatedContext(1, ContextResult.ACCEPTANCE, "never proposed"),
        NegotiatedContext(3, ContextResult.ACCEPTANCE, "a"),
    ],
)
def test_build_contexts_other_answers_count_as_refusal(answer: NegotiatedContext) -> None:
    assert build_contexts(request_with(), AssociateAccept("A", "B", (answer,))) == {}


def test_build_proposals_numbers_are_odd() -> None:
    proposals = build_proposals([("1.1", ["a"]), ("1.2", ["a", "b"])])
    assert proposals == (ProposedContext(1, "1.1", ("a",)), ProposedContext(3, "1.2", ("a", "b")))


def test_build_proposals_128_fit_and_129_raise() -> None:
    assert build_proposals([("1.1", ["a"])] * 128)[-1].context_id == 255
    with pytest.raises(BadParameterError):
        build_proposals([("1.1", ["a"])] * 129)


def test_build_proposals_without_transfer_syntax_raises() -> None:
    with pytest.raises(BadParameterError):
        build_proposals([("1.1", [])])


@pytest.mark.parametrize(
    ("reject", "text"),
    [
        (
            REJECT_CALLED_AE_TITLE,
            "rejected permanently by the service user: called AE title not recognized",
        ),
        (
            REJECT_LOCAL_LIMIT,
            "rejected for now by the presentation layer: local limit exceeded",
        ),
        (AssociateReject(9, 8, 7), "rejected with result 9 by the source 8: reason 7"),
    ],
)
def test_describe_rejection_names_the_cause(reject: AssociateReject, text: str) -> None:
    assert describe_rejection(reject) == text
