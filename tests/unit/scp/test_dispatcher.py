"""Decisions about associations, without a network."""

from typing import Any

import pytest

from isocenter.archive.acceptance import build_acceptance
from isocenter.config.configuration import Configuration
from isocenter.dimse.negotiation import (
    REJECT_CALLED_AE_TITLE,
    REJECT_CALLING_AE_TITLE,
    AssociateAcceptance,
    build_proposals,
)
from isocenter.dimse.pdu import AssociateReject, AssociateRequest
from isocenter.dimse.transport import PeerAddress
from isocenter.dimse.user_information import (
    ExtendedNegotiation,
    RoleSelection,
    UserIdentity,
    UserInformation,
)
from isocenter.scp.dispatcher import Dispatcher, LocalTitle
from isocenter.scp.permissions import build_permissions
from isocenter.scp.supported import VERIFICATION, WORKLIST_FIND, ServiceKind, SupportedSyntaxes

CT = "1.2.840.10008.5.1.4.1.1.2"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
PEER = PeerAddress("127.0.0.1", 11112)


def negotiate(
    options: dict[str, object] | None = None,
    *,
    called: str = "ARCHIVE",
    calling: str = "CT1",
    proposals: dict[str, tuple[str, ...]] | None = None,
    **information: Any,
) -> AssociateAcceptance | AssociateReject:
    configuration = Configuration.defaults().with_values({"DicomAet": "ARCHIVE", **(options or {})})
    kinds = frozenset({ServiceKind.VERIFICATION, ServiceKind.FIND})
    dispatcher = Dispatcher(
        LocalTitle("ARCHIVE", is_checked=configuration.boolean("DicomCheckCalledAet")),
        build_permissions(configuration, configuration.remote_modalities.values()),
        SupportedSyntaxes(build_acceptance(configuration), kinds),
        {},
    )
    request = AssociateRequest(
        called_ae_title=called,
        calling_ae_title=calling,
        contexts=build_proposals((proposals or {VERIFICATION: (IMPLICIT,)}).items()),
        user_information=UserInformation(**information),
    )
    return dispatcher.negotiate(request, PEER)


def test_any_called_title_is_accepted_unless_it_is_checked() -> None:
    assert isinstance(negotiate(called="OTHER"), AssociateAcceptance)
    checked: dict[str, object] = {"DicomCheckCalledAet": True}
    assert negotiate(checked, called="OTHER") == REJECT_CALLED_AE_TITLE
    assert isinstance(negotiate(checked, called="archive"), AssociateAcceptance)
    strict = {**checked, "StrictAetComparison": True}
    assert negotiate(strict, called="archive") == REJECT_CALLED_AE_TITLE


def test_stranger_is_rejected_if_nothing_is_open() -> None:
    closed: dict[str, object] = {
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "DicomModalities": {"ct": ["CT1", "127.0.0.1", 104]},
    }
    assert negotiate(closed, calling="STRANGER") == REJECT_CALLING_AE_TITLE
    assert isinstance(negotiate(closed, calling="CT1"), AssociateAcceptance)
    # One open operation is enough for an association (behaviour manual §25.1, rule 1).
    half = {**closed, "DicomAlwaysAllowEcho": True}
    assert isinstance(negotiate(half, calling="STRANGER"), AssociateAcceptance)


def test_contexts_are_answered_each() -> None:
    answer = negotiate(
        proposals={
            VERIFICATION: (IMPLICIT,),
            CT: (IMPLICIT, EXPLICIT),
            WORKLIST_FIND: (IMPLICIT,),
            "1.2.3.4": (IMPLICIT,),
        }
    )
    assert isinstance(answer, AssociateAcceptance)
    results = [(context.result, context.transfer_syntax) for context in answer.contexts]
    assert [result == 0 for result, _ in results] == [True, True, False, False]
    # Explicit keeps the value representations of private elements, so it is preferred.
    assert results[1][1] == EXPLICIT


def test_transfer_syntax_that_is_not_accepted_is_refused_by_its_own_result() -> None:
    answer = negotiate(
        {"AcceptedTransferSyntaxes": [EXPLICIT]},
        proposals={CT: (IMPLICIT,), WORKLIST_FIND: (IMPLICIT,)},
    )
    assert isinstance(answer, AssociateAcceptance)
    # PS3.8 Table 9-18: 4 = transfer syntaxes not supported, 3 = abstract syntax not supported.
    assert [int(context.result) for context in answer.contexts] == [4, 3]


def test_requestor_may_be_the_provider_of_storage_only() -> None:
    # PS3.4 §C.5.3.1: during a C-GET we are the user of the storage service.
    asked = [RoleSelection(uid, is_scu=True, is_scp=True) for uid in (CT, FIND)]
    answer = negotiate(proposals={CT: (EXPLICIT,), FIND: (EXPLICIT,)}, roles=tuple(asked))
    assert isinstance(answer, AssociateAcceptance)
    assert answer.roles == (
        RoleSelection(CT, is_scu=True, is_scp=True),
        RoleSelection(FIND, is_scu=True, is_scp=False),
    )


def test_order_of_who_receives_decides_between_transfer_syntaxes() -> None:
    proposals: dict[str, tuple[str, ...]] = {CT: (IMPLICIT, EXPLICIT)}
    sent = negotiate(proposals=proposals)
    got = negotiate(proposals=proposals, roles=(RoleSelection(CT, is_scu=False, is_scp=True),))
    assert isinstance(sent, AssociateAcceptance)
    assert isinstance(got, AssociateAcceptance)
    assert [one.contexts[0].transfer_syntax for one in (sent, got)] == [EXPLICIT, IMPLICIT]


@pytest.mark.parametrize(
    ("uid", "asked", "answered"),
    [
        (FIND, b"\1\1\1\1", b"\1\0\0\0"),
        (FIND, b"\0\1\1", b"\0\0\0"),
        (FIND, b"\1" * 9, b"\1\0\0\0\0"),
        (FIND, b"", None),
        (CT, b"\2\0", None),
    ],
)
def test_relational_queries_are_agreed_on_and_nothing_else(
    uid: str, asked: bytes, answered: bytes | None
) -> None:
    answer = negotiate(
        proposals={uid: (EXPLICIT,)}, extended_negotiations=(ExtendedNegotiation(uid, asked),)
    )
    assert isinstance(answer, AssociateAcceptance)
    expected = () if answered is None else (ExtendedNegotiation(uid, answered),)
    assert answer.extended_negotiations == expected


@pytest.mark.parametrize(
    ("identity_type", "expected"), [(1, b""), (2, b""), (3, None), (4, None), (5, None)]
)
def test_user_names_are_confirmed_and_tickets_are_not(
    identity_type: int, expected: bytes | None
) -> None:
    identity = UserIdentity(identity_type, b"alice", b"", is_response_requested=True)
    answer = negotiate(user_identity=identity)
    assert isinstance(answer, AssociateAcceptance)
    assert answer.user_identity_response == expected
