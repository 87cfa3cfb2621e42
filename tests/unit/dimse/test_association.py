from collections.abc import Callable

import pytest
from tests.support.scripted_peer import (
    EXPLICIT_VR,
    IMPLICIT_VR,
    build_command,
    build_request,
    encode_message,
)

from isocenter.dimse.association import AssociationMachine, Role, TimerRequest
from isocenter.dimse.commands import CommandField
from isocenter.dimse.indications import (
    AssociationAborted,
    AssociationAccepted,
    AssociationRejected,
    AssociationRequested,
    CommandReceived,
    DataReceived,
    ReleaseConfirmed,
    ReleaseRequested,
)
from isocenter.dimse.negotiation import (
    REJECT_CALLED_AE_TITLE,
    AssociateAcceptance,
    build_accept,
    negotiate_contexts,
)
from isocenter.dimse.pdu import (
    PDU,
    Abort,
    AssociateAccept,
    AssociateReject,
    DataTransfer,
    PresentationDataValue,
    ReleaseReply,
    ReleaseRequest,
    encode_pdu,
)
from isocenter.dimse.protocol_error import AbortReason, AbortSource
from isocenter.dimse.state_table import State
from isocenter.dimse.user_information import UserInformation
from isocenter.errors import InternalError

REQUEST = build_request()
ACCEPT = build_accept(
    REQUEST,
    AssociateAcceptance(negotiate_contexts(REQUEST.contexts, lambda _: (EXPLICIT_VR, IMPLICIT_VR))),
    maximum_length=16384,
)
ECHO = encode_message(1, build_command(CommandField.C_ECHO_RQ))
DATA_PDU = DataTransfer((PresentationDataValue(1, False, True, b""),))


def idle_acceptor() -> AssociationMachine:
    return AssociationMachine(Role.ACCEPTOR)


def opened_acceptor() -> AssociationMachine:
    machine = idle_acceptor()
    machine.connection_opened()
    return machine


def asked_acceptor() -> AssociationMachine:
    machine = opened_acceptor()
    machine.receive_data(encode_pdu(REQUEST))
    return machine


def established_acceptor() -> AssociationMachine:
    machine = asked_acceptor()
    machine.accept_association(ACCEPT)
    machine.take_output()
    machine.take_timer_request()
    return machine


def connecting_requestor() -> AssociationMachine:
    machine = AssociationMachine(Role.REQUESTOR)
    machine.request_association(REQUEST)
    return machine


def asking_requestor() -> AssociationMachine:
    machine = connecting_requestor()
    machine.connection_opened()
    machine.take_output()
    return machine


def established_requestor() -> AssociationMachine:
    machine = asking_requestor()
    machine.receive_data(encode_pdu(ACCEPT))
    return machine


def releasing(machine: AssociationMachine) -> AssociationMachine:
    machine.request_release()
    machine.take_output()
    return machine


def asked_to_release(machine: AssociationMachine) -> AssociationMachine:
    machine.receive_data(encode_pdu(ReleaseRequest()))
    return machine


def colliding_requestor_answered() -> AssociationMachine:
    machine = asked_to_release(releasing(established_requestor()))
    machine.respond_release()
    machine.take_output()
    return machine


def colliding_acceptor_confirmed() -> AssociationMachine:
    machine = asked_to_release(releasing(established_acceptor()))
    machine.receive_data(encode_pdu(ReleaseReply()))
    return machine


def closing() -> AssociationMachine:
    machine = asked_acceptor()
    machine.reject_association(REJECT_CALLED_AE_TITLE)
    machine.take_output()
    return machine


BUILDERS: dict[State, Callable[[], AssociationMachine]] = {
    State.IDLE: idle_acceptor,
    State.AWAITING_REQUEST_PDU: opened_acceptor,
    State.AWAITING_LOCAL_ASSOCIATE_RESPONSE: asked_acceptor,
    State.AWAITING_CONNECTION: connecting_requestor,
    State.AWAITING_ASSOCIATE_REPLY_PDU: asking_requestor,
    State.ESTABLISHED: established_acceptor,
    State.AWAITING_RELEASE_REPLY_PDU: lambda: releasing(established_requestor()),
    State.AWAITING_LOCAL_RELEASE_RESPONSE: lambda: asked_to_release(established_acceptor()),
    State.COLLISION_REQUESTOR_AWAITING_LOCAL_RESPONSE: lambda: asked_to_release(
        releasing(established_requestor())
    ),
    State.COLLISION_ACCEPTOR_AWAITING_REPLY_PDU: lambda: asked_to_release(
        releasing(established_acceptor())
    ),
    State.COLLISION_REQUESTOR_AWAITING_REPLY_PDU: colliding_requestor_answered,
    State.COLLISION_ACCEPTOR_AWAITING_LOCAL_RESPONSE: colliding_acceptor_confirmed,
    State.AWAITING_CONNECTION_CLOSE: closing,
}
ESTABLISHED_AND_LATER = range(State.ESTABLISHED, State.AWAITING_CONNECTION_CLOSE)


@pytest.mark.parametrize("state", State)
def test_machine_reaches_every_state(state: State) -> None:
    assert BUILDERS[state]().state is state


def test_acceptor_association_accepted_sends_accept_and_stops_timer() -> None:
    machine = opened_acceptor()
    assert machine.take_timer_request() is TimerRequest.START
    assert machine.receive_data(encode_pdu(REQUEST)) == [AssociationRequested(REQUEST)]
    assert machine.take_timer_request() is TimerRequest.STOP
    machine.accept_association(ACCEPT)
    assert b"".join(machine.take_output()) == encode_pdu(ACCEPT)
    assert machine.is_established
    assert sorted(machine.contexts) == [1, 3, 5, 7]
    assert machine.take_timer_request() is None


def test_acceptor_association_rejected_sends_reject_and_waits_for_close() -> None:
    machine = asked_acceptor()
    machine.reject_association(REJECT_CALLED_AE_TITLE)
    assert b"".join(machine.take_output()) == encode_pdu(REJECT_CALLED_AE_TITLE)
    assert machine.take_timer_request() is TimerRequest.START
    machine.connection_closed()
    assert machine.take_timer_request() is TimerRequest.STOP
    assert machine.state is State.IDLE


def test_acceptor_unknown_protocol_version_is_rejected() -> None:
    machine = opened_acceptor()
    assert machine.receive_data(encode_pdu(build_request(protocol_version=2))) == []
    assert b"".join(machine.take_output()) == encode_pdu(AssociateReject(1, 2, 2))
    assert machine.take_timer_request() is TimerRequest.START
    assert machine.state is State.AWAITING_CONNECTION_CLOSE


def test_acceptor_tiny_maximum_length_is_aborted() -> None:
    machine = opened_acceptor()
    request = build_request(user_information=UserInformation(maximum_length=7))
    (indication,) = machine.receive_data(encode_pdu(request))
    assert isinstance(indication, AssociationAborted)
    # AA-1 names the service user, whatever the cause (PS3.8 Table 9-9).
    assert b"".join(machine.take_output()) == encode_pdu(Abort(AbortSource.SERVICE_USER))


def test_requestor_association_accepted_takes_over_peer_limit() -> None:
    machine = connecting_requestor()
    assert b"".join(machine.take_output()) == b""
    machine.connection_opened()
    assert b"".join(machine.take_output()) == encode_pdu(REQUEST)
    accept = AssociateAccept(
        "ISOCENTER", "PEER", ACCEPT.contexts, UserInformation(maximum_length=4096)
    )
    assert machine.receive_data(encode_pdu(accept)) == [AssociationAccepted(accept)]
    assert machine.fragment_size == 4090
    assert machine.accept == accept


def test_requestor_tiny_maximum_length_is_aborted() -> None:
    machine = asking_requestor()
    accept = AssociateAccept("A", "B", ACCEPT.contexts, UserInformation(maximum_length=1))
    (indication,) = machine.receive_data(encode_pdu(accept))
    assert isinstance(indication, AssociationAborted)
    assert indication.reason == AbortReason.INVALID_PDU_PARAMETER_VALUE


def test_requestor_association_rejected_closes() -> None:
    machine = asking_requestor()
    indications = machine.receive_data(encode_pdu(REJECT_CALLED_AE_TITLE))
    assert indications == [AssociationRejected(REJECT_CALLED_AE_TITLE)]
    assert machine.is_close_requested
    assert machine.state is State.IDLE


@pytest.mark.parametrize("state", ESTABLISHED_AND_LATER)
def test_connection_closed_without_release_is_told(state: State) -> None:
    machine = BUILDERS[state]()
    machine.connection_closed()
    indication = machine.next_indication()
    assert isinstance(indication, AssociationAborted)
    assert machine.next_indication() is None
    assert machine.state is State.IDLE


def test_connection_closed_before_request_is_no_news() -> None:
    machine = opened_acceptor()
    machine.take_timer_request()
    machine.connection_closed()
    machine.connection_closed()
    assert machine.next_indication() is None
    assert machine.take_timer_request() is TimerRequest.STOP


def test_artim_expired_before_request_closes() -> None:
    machine = opened_acceptor()
    machine.artim_expired()
    assert machine.is_close_requested


def test_artim_expired_too_late_does_nothing() -> None:
    machine = established_acceptor()
    machine.artim_expired()
    assert machine.is_established
    assert not machine.is_close_requested


def test_message_is_received_with_own_fragments() -> None:
    command = build_command(CommandField.C_STORE_RQ)
    message = encode_message(3, command, b"x" * 300_000)
    indications = established_acceptor().receive_data(message)
    assert isinstance(indications[0], CommandReceived)
    assert indications[0].context.context_id == 3
    fragments = [item for item in indications[1:] if isinstance(item, DataReceived)]
    assert b"".join(bytes(item.fragment) for item in fragments) == b"x" * 300_000
    assert [item.is_last for item in fragments] == [False] * (len(fragments) - 1) + [True]


def test_send_data_while_peer_waits_for_release_is_possible() -> None:
    machine = asked_to_release(established_acceptor())
    assert machine.is_established
    machine.send_data([ECHO])
    assert b"".join(machine.take_output()) == ECHO


def test_data_while_we_wait_for_release_is_received() -> None:
    machine = releasing(established_requestor())
    (indication,) = machine.receive_data(ECHO)
    assert isinstance(indication, CommandReceived)


def test_release_by_peer_is_answered() -> None:
    machine = established_acceptor()
    assert machine.receive_data(encode_pdu(ReleaseRequest())) == [ReleaseRequested()]
    machine.respond_release()
    assert b"".join(machine.take_output()) == encode_pdu(ReleaseReply())
    assert machine.take_timer_request() is TimerRequest.START
    assert machine.state is State.AWAITING_CONNECTION_CLOSE


def test_release_by_us_is_confirmed_and_closes() -> None:
    machine = established_requestor()
    machine.request_release()
    assert b"".join(machine.take_output()) == encode_pdu(ReleaseRequest())
    assert machine.receive_data(encode_pdu(ReleaseReply())) == [ReleaseConfirmed()]
    assert machine.is_close_requested


def test_release_collision_of_requestor_ends_with_both_replies() -> None:
    machine = releasing(established_requestor())
    assert machine.receive_data(encode_pdu(ReleaseRequest())) == [ReleaseRequested()]
    machine.respond_release()
    assert b"".join(machine.take_output()) == encode_pdu(ReleaseReply())
    assert machine.receive_data(encode_pdu(ReleaseReply())) == [ReleaseConfirmed()]
    assert machine.is_close_requested


def test_release_collision_of_acceptor_ends_with_both_replies() -> None:
    machine = releasing(established_acceptor())
    assert machine.receive_data(encode_pdu(ReleaseRequest())) == [ReleaseRequested()]
    assert machine.receive_data(encode_pdu(ReleaseReply())) == [ReleaseConfirmed()]
    machine.respond_release()
    assert b"".join(machine.take_output()) == encode_pdu(ReleaseReply())
    assert machine.state is State.AWAITING_CONNECTION_CLOSE


def test_respond_release_unasked_does_nothing() -> None:
    machine = established_acceptor()
    machine.respond_release()
    assert machine.is_established


@pytest.mark.parametrize("state", [State.AWAITING_LOCAL_ASSOCIATE_RESPONSE, *range(5, 13)])
def test_abort_by_us_is_sent_by_service_user(state: State) -> None:
    machine = BUILDERS[state]()
    machine.take_output()
    machine.abort()
    assert b"".join(machine.take_output()) == encode_pdu(Abort(AbortSource.SERVICE_USER))
    assert machine.take_timer_request() is TimerRequest.START
    assert machine.state is State.AWAITING_CONNECTION_CLOSE


@pytest.mark.parametrize(
    "state",
    [
        State.IDLE,
        State.AWAITING_REQUEST_PDU,
        State.AWAITING_CONNECTION,
        State.AWAITING_CONNECTION_CLOSE,
    ],
)
def test_abort_without_association_only_closes(state: State) -> None:
    machine = BUILDERS[state]()
    machine.abort()
    assert b"".join(machine.take_output()) == b""
    assert machine.is_close_requested


@pytest.mark.parametrize("state", [State.AWAITING_LOCAL_ASSOCIATE_RESPONSE, *range(5, 13)])
def test_abort_by_peer_is_told_and_closes(state: State) -> None:
    machine = BUILDERS[state]()
    indications = machine.receive_data(encode_pdu(Abort(0, 0)))
    assert indications == [AssociationAborted(0, 0, "the peer aborted the association")]
    assert machine.is_close_requested


@pytest.mark.parametrize("state", [State.AWAITING_REQUEST_PDU, State.AWAITING_CONNECTION_CLOSE])
def test_abort_by_peer_without_association_only_closes(state: State) -> None:
    machine = BUILDERS[state]()
    assert machine.receive_data(encode_pdu(Abort(0, 0))) == []
    assert machine.is_close_requested


@pytest.mark.parametrize("pdu", [ACCEPT, REJECT_CALLED_AE_TITLE, REQUEST])
@pytest.mark.parametrize("state", ESTABLISHED_AND_LATER)
def test_unexpected_pdu_is_aborted_by_provider(state: State, pdu: PDU) -> None:
    machine = BUILDERS[state]()
    machine.take_output()
    (indication,) = machine.receive_data(encode_pdu(pdu))
    assert isinstance(indication, AssociationAborted)
    assert indication.reason == AbortReason.UNEXPECTED_PDU
    abort = Abort(AbortSource.SERVICE_PROVIDER, AbortReason.UNEXPECTED_PDU)
    assert b"".join(machine.take_output()) == encode_pdu(abort)
    assert machine.take_timer_request() is TimerRequest.START


@pytest.mark.parametrize("pdu", [ACCEPT, REJECT_CALLED_AE_TITLE, DATA_PDU, ReleaseReply()])
def test_unexpected_first_pdu_is_aborted_by_user(pdu: PDU) -> None:
    machine = opened_acceptor()
    (indication,) = machine.receive_data(encode_pdu(pdu))
    assert isinstance(indication, AssociationAborted)
    assert indication.reason == AbortReason.UNEXPECTED_PDU
    assert b"".join(machine.take_output()) == encode_pdu(Abort(AbortSource.SERVICE_USER))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", AbortReason.UNRECOGNIZED_PDU),
        (b"\x04\0\0\1\0\0", AbortReason.INVALID_PDU_PARAMETER_VALUE),
        (b"\x04\0\0\0\0\0", AbortReason.INVALID_PDU_PARAMETER_VALUE),
        (encode_message(9, build_command(CommandField.C_ECHO_RQ)), 6),
        (encode_pdu(DATA_PDU), AbortReason.UNEXPECTED_PDU_PARAMETER),
    ],
)
def test_invalid_pdu_is_aborted_with_its_reason(data: bytes, reason: AbortReason) -> None:
    machine = established_acceptor()
    indications = machine.receive_data(data + ECHO)
    assert [type(item) for item in indications] == [AssociationAborted]
    assert b"".join(machine.take_output()) == encode_pdu(
        Abort(AbortSource.SERVICE_PROVIDER, reason)
    )
    assert machine.receive_data(ECHO) == []


def test_garbage_instead_of_request_is_aborted_and_ignored() -> None:
    machine = opened_acceptor()
    indications = [
        indication
        for _ in range(1000)
        for indication in machine.receive_data(b"GET / HTTP/1.1\r\nHost: dicom\r\n\r\n")
    ]
    assert [type(indication) for indication in indications] == [AssociationAborted]
    assert b"".join(machine.take_output()) == encode_pdu(Abort(AbortSource.SERVICE_USER))


def test_pdus_while_closing_are_ignored() -> None:
    machine = closing()
    for pdu in (ACCEPT, REJECT_CALLED_AE_TITLE, DATA_PDU, ReleaseRequest(), ReleaseReply()):
        assert machine.receive_data(encode_pdu(pdu)) == []
    assert b"".join(machine.take_output()) == b""


def test_requests_while_closing_are_answered_by_one_abort() -> None:
    machine = closing()
    for _ in range(1000):
        assert machine.receive_data(encode_pdu(REQUEST)) == []
    abort = Abort(AbortSource.SERVICE_PROVIDER, AbortReason.UNEXPECTED_PDU)
    assert b"".join(machine.take_output()) == encode_pdu(abort)


def test_artim_expired_while_closing_closes() -> None:
    machine = closing()
    machine.artim_expired()
    assert machine.is_close_requested
    assert machine.take_timer_request() is TimerRequest.STOP


def test_bytes_after_the_end_are_ignored() -> None:
    machine = asking_requestor()
    indications = machine.receive_data(encode_pdu(REJECT_CALLED_AE_TITLE) + b"rest")
    assert [type(item) for item in indications] == [AssociationRejected]
    assert machine.receive_data(b"more") == []


def test_primitive_in_wrong_state_is_our_error() -> None:
    with pytest.raises(InternalError):
        opened_acceptor().send_data([b""])


def test_negotiated_values_before_negotiation_are_our_error() -> None:
    machine = opened_acceptor()
    with pytest.raises(InternalError):
        _ = machine.request
    with pytest.raises(InternalError):
        _ = machine.accept
