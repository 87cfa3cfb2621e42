"""One association without a network: bytes go in, indications and bytes come out.

`AssociationMachine` executes the state table for either role. It performs no input or output and
knows no clock: the transport reads into its buffer, asks for indications, writes what it has to
send, keeps the ARTIM timer as asked, and closes the connection when told so.

References
----------
PS3.8 §9.1 and §9.2
"""

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from isocenter.dimse.indications import (
    AssociationAborted,
    AssociationAccepted,
    AssociationRejected,
    AssociationRequested,
    DataReceived,
    Indication,
    ReleaseConfirmed,
    ReleaseRequested,
)
from isocenter.dimse.messages import Chunk, MessageAssembler, compute_fragment_size
from isocenter.dimse.negotiation import (
    REJECT_PROTOCOL_VERSION,
    PresentationContext,
    build_contexts,
)
from isocenter.dimse.pdu import (
    PDU,
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    DataTransfer,
    PDUType,
    ReleaseReply,
    ReleaseRequest,
    decode_data_transfer,
    decode_pdu,
    encode_pdu,
)
from isocenter.dimse.protocol_error import (
    AbortReason,
    AbortSource,
    ProtocolViolationError,
)
from isocenter.dimse.receive_buffer import ReceiveBuffer
from isocenter.dimse.state_table import TRANSITIONS, Action, Event, State
from isocenter.dimse.user_information import DEFAULT_MAXIMUM_LENGTH
from isocenter.errors import InternalError

__all__ = ["AssociationMachine", "Role", "TimerRequest"]

_MINIMUM_PEER_LENGTH = 128
"""A peer that wants smaller PDUs would make us send more headers than content."""

_PDU_EVENTS: dict[int, Event] = {
    PDUType.ASSOCIATE_RQ: Event.ASSOCIATE_RQ_PDU,
    PDUType.ASSOCIATE_AC: Event.ASSOCIATE_AC_PDU,
    PDUType.ASSOCIATE_RJ: Event.ASSOCIATE_RJ_PDU,
    PDUType.P_DATA_TF: Event.P_DATA_PDU,
    PDUType.RELEASE_RQ: Event.RELEASE_RQ_PDU,
    PDUType.RELEASE_RP: Event.RELEASE_RP_PDU,
    PDUType.ABORT: Event.ABORT_PDU,
}

_DATA = int(PDUType.P_DATA_TF)

_RELEASE_RESPONSE_STATES = frozenset(
    {
        State.AWAITING_LOCAL_RELEASE_RESPONSE,
        State.COLLISION_REQUESTOR_AWAITING_LOCAL_RESPONSE,
        State.COLLISION_ACCEPTOR_AWAITING_LOCAL_RESPONSE,
    }
)


class Role(Enum):
    """Which side of the association we are (PS3.8 §3.1)."""

    REQUESTOR = "requestor"
    ACCEPTOR = "acceptor"


class TimerRequest(Enum):
    """What the transport has to do with the ARTIM timer (PS3.8 §9.1.5)."""

    START = "start"
    STOP = "stop"


class AssociationMachine:
    """The state machine of one association.

    Parameters
    ----------
    role
        Our side.
    maximum_length
        Longest P-DATA-TF variable field that we advertise and accept.
    """

    def __init__(self, role: Role, *, maximum_length: int = DEFAULT_MAXIMUM_LENGTH) -> None:
        self.role = role
        self.maximum_length = maximum_length
        self.state = State.IDLE
        self.contexts: dict[int, PresentationContext] = {}
        self.fragment_size = compute_fragment_size(DEFAULT_MAXIMUM_LENGTH)
        self.is_close_requested = False
        self._request: AssociateRequest | None = None
        self._accept: AssociateAccept | None = None
        self._buffer = ReceiveBuffer(maximum_length)
        self._assembler = MessageAssembler(self.contexts)
        self._indications: deque[Indication] = deque()
        self._output: list[Chunk] = []
        self._timer_request: TimerRequest | None = None
        # Set after bytes that are no PDU: what follows them cannot be read either.
        self._is_deaf = False
        self._violation: ProtocolViolationError | None = None

    @property
    def request(self) -> AssociateRequest:
        """The request of this association; an error before there is one."""
        if self._request is None:
            raise InternalError("no association was requested yet")
        return self._request

    @property
    def accept(self) -> AssociateAccept:
        """The acceptance of this association; an error before there is one."""
        if self._accept is None:
            raise InternalError("no association was accepted yet")
        return self._accept

    @property
    def is_established(self) -> bool:
        """Whether messages can be sent (Sta6, and Sta8 until the release is answered)."""
        return self.state in (State.ESTABLISHED, State.AWAITING_LOCAL_RELEASE_RESPONSE)

    # Bytes in.

    def get_free_space(self) -> memoryview:
        """Return memory to read into; views in earlier indications are no longer valid."""
        return self._buffer.get_free_space()

    def commit(self, size: int) -> None:
        """Take note of ``size`` bytes read into the free space."""
        self._buffer.commit(size)

    def next_indication(self) -> Indication | None:
        """Process received bytes until there is something to tell.

        Returns
        -------
        Indication or None
            ``None`` if more bytes are needed.
        """
        while not self._indications:
            if self._is_deaf or self.state is State.IDLE:
                self._buffer.clear()
                return None
            try:
                pdu = self._buffer.next_pdu()
                if pdu is None:
                    return None
                if pdu[0] == _DATA and self.state is State.ESTABLISHED:
                    # DT-2, which leaves the state as it is: nearly all that ever arrives.
                    self._dt_2(decode_data_transfer(pdu[1]))
                else:
                    self._receive(*pdu)
            except ProtocolViolationError as violation:
                self._is_deaf = True
                self._fail(violation)
        return self._indications.popleft()

    def receive_data(self, data: bytes) -> list[Indication]:
        """Copy ``data`` in and return all indications, their fragments as own bytes objects.

        The convenient form for tests and small inputs; transports use `get_free_space`.
        """
        indications: list[Indication] = []
        position = 0
        while position < len(data):
            space = self.get_free_space()
            size = min(len(space), len(data) - position)
            space[:size] = data[position : position + size]
            self.commit(size)
            position += size
            while (indication := self.next_indication()) is not None:
                indications.append(_own_fragment(indication))
        return indications

    # What the transport reports.

    def connection_opened(self) -> None:
        """The transport connection is open."""
        if self.role is Role.REQUESTOR:
            self._fire(Event.CONNECTION_CONFIRMED, self.request)
        else:
            self._fire(Event.CONNECTION_INDICATED)

    def connection_closed(self) -> None:
        """The transport connection is gone."""
        # At once, not when the garbage collector comes: the objects here know each other.
        self._buffer.release()
        if self.state is not State.IDLE:
            self._fire(Event.CONNECTION_CLOSED)

    def artim_expired(self) -> None:
        """The ARTIM timer ran out."""
        if (self.state, Event.ARTIM_EXPIRED) in TRANSITIONS:
            self._fire(Event.ARTIM_EXPIRED)

    # What the user asks.

    def request_association(self, request: AssociateRequest) -> None:
        """Ask for an association as soon as the connection is open."""
        self._request = request
        self._fire(Event.ASSOCIATE_REQUEST)

    def accept_association(self, accept: AssociateAccept) -> None:
        """Accept the association that the peer asked for."""
        self._fire(Event.ASSOCIATE_ACCEPT, accept)

    def reject_association(self, reject: AssociateReject) -> None:
        """Reject the association that the peer asked for."""
        self._fire(Event.ASSOCIATE_REJECT, reject)

    def send_data(self, pdus: Sequence[Chunk]) -> None:
        """Send encoded P-DATA-TF PDUs, see ``messages``, cut anywhere."""
        self._fire(Event.P_DATA_REQUEST, pdus)

    def request_release(self) -> None:
        """Ask the peer to release the association."""
        self._fire(Event.RELEASE_REQUEST)

    def respond_release(self) -> None:
        """Agree to a release, if one waits for our answer."""
        if self.state in _RELEASE_RESPONSE_STATES:
            self._fire(Event.RELEASE_RESPONSE)

    def abort(self) -> None:
        """End the association at once; without an association, just close the connection."""
        if (self.state, Event.ABORT_REQUEST) in TRANSITIONS:
            self._fire(Event.ABORT_REQUEST)
        else:
            self.is_close_requested = True

    # What the transport has to do.

    def take_output(self) -> list[Chunk]:
        """Return the bytes to send, once."""
        output, self._output = self._output, []
        return output

    def take_timer_request(self) -> TimerRequest | None:
        """Return what to do with the ARTIM timer, once."""
        request, self._timer_request = self._timer_request, None
        return request

    # The machine.

    def _receive(self, pdu_type: int, body: memoryview) -> None:
        event = _PDU_EVENTS[pdu_type]
        if self.state is State.AWAITING_CONNECTION_CLOSE:
            # The content of a PDU has no meaning any more.
            self._fire(event)
        else:
            self._fire(event, decode_pdu(pdu_type, body))

    def _fail(self, violation: ProtocolViolationError) -> None:
        self._violation = violation
        self._fire(Event.INVALID_PDU)

    def _fire(self, event: Event, subject: object = None) -> None:
        """Execute a cell of the table; ``subject`` is the PDU or primitive of the event."""
        transition = TRANSITIONS.get((self.state, event))
        if transition is None:
            raise InternalError(f"{event.name} is not possible in state {self.state.name}")
        takes_other_state = _ACTIONS[transition.action](self, subject)
        self.state = transition.other_state if takes_other_state else transition.next_state

    def _send(self, pdu: PDU) -> None:
        self._output.append(encode_pdu(pdu))

    def _adopt(self, request: AssociateRequest, accept: AssociateAccept) -> None:
        """Take over what was negotiated."""
        self._accept = accept
        peer = accept if self.role is Role.REQUESTOR else request
        self.fragment_size = compute_fragment_size(peer.user_information.maximum_length)
        self.contexts.update(build_contexts(request, accept))

    # Actions of association establishment, PS3.8 Table 9-6.

    def _ae_1(self, _: object) -> None:
        """The transport opens the connection."""

    def _ae_2(self, request: AssociateRequest) -> None:
        self._send(request)

    def _ae_3(self, accept: AssociateAccept) -> None:
        _check_peer_length(accept)
        self._adopt(self.request, accept)
        self._indications.append(AssociationAccepted(accept))

    def _ae_4(self, reject: AssociateReject) -> None:
        self._indications.append(AssociationRejected(reject))
        self.is_close_requested = True

    def _ae_5(self, _: object) -> None:
        self._timer_request = TimerRequest.START

    def _ae_6(self, request: AssociateRequest) -> bool:
        _check_peer_length(request)
        # Only bit 0 counts: it stands for version 1 (PS3.8 Table 9-11).
        is_refused = not request.protocol_version & 1
        if is_refused:
            self._send(REJECT_PROTOCOL_VERSION)
            self._timer_request = TimerRequest.START
        else:
            self._request = request
            self._indications.append(AssociationRequested(request))
            self._timer_request = TimerRequest.STOP
        return is_refused

    def _ae_7(self, accept: AssociateAccept) -> None:
        self._adopt(self.request, accept)
        self._send(accept)

    def _ae_8(self, reject: AssociateReject) -> None:
        self._send(reject)
        self._timer_request = TimerRequest.START

    # Actions of data transfer, PS3.8 Table 9-7.

    def _dt_1(self, pdus: Sequence[Chunk]) -> None:
        self._output.extend(pdus)

    def _dt_2(self, pdu: DataTransfer) -> None:
        for value in pdu.values:
            indication = self._assembler.add(value)
            if indication is not None:
                self._indications.append(indication)

    # Actions of association release, PS3.8 Table 9-8.

    def _ar_1(self, _: object) -> None:
        self._send(ReleaseRequest())

    def _ar_2(self, _: object) -> None:
        self._indications.append(ReleaseRequested())

    def _ar_3(self, _: object) -> None:
        self._indications.append(ReleaseConfirmed())
        self.is_close_requested = True

    def _ar_4(self, _: object) -> None:
        self._send(ReleaseReply())
        self._timer_request = TimerRequest.START

    def _ar_5(self, _: object) -> None:
        self._timer_request = TimerRequest.STOP

    def _ar_8(self, _: object) -> bool:
        self._indications.append(ReleaseRequested())
        return self.role is Role.ACCEPTOR

    def _ar_9(self, _: object) -> None:
        self._send(ReleaseReply())

    def _ar_10(self, _: object) -> None:
        self._indications.append(ReleaseConfirmed())

    # Actions of association abort, PS3.8 Table 9-9.

    def _aa_1(self, _: object) -> None:
        self._send(Abort(AbortSource.SERVICE_USER))
        if self.state is State.AWAITING_REQUEST_PDU:
            # The table has no indication here, but somebody should know what came instead.
            reason, details = self._explain_abort()
            aborted = AssociationAborted(AbortSource.SERVICE_USER, reason, details)
            self._indications.append(aborted)
        self._timer_request = TimerRequest.START

    def _aa_2(self, _: object) -> None:
        self._timer_request = TimerRequest.STOP
        self.is_close_requested = True

    def _aa_3(self, abort: Abort) -> None:
        self._indications.append(
            AssociationAborted(abort.source, abort.reason, "the peer aborted the association")
        )
        self.is_close_requested = True

    def _aa_4(self, _: object) -> None:
        details = "the connection was closed without a release"
        self._indications.append(
            AssociationAborted(AbortSource.SERVICE_PROVIDER, AbortReason.NOT_SPECIFIED, details)
        )

    def _aa_5(self, _: object) -> None:
        self._timer_request = TimerRequest.STOP

    def _aa_6(self, _: object) -> None:
        """Ignore the PDU."""

    def _aa_7(self, _: object) -> None:
        # Once is enough: a peer that goes on regardless shall not make us fill our memory.
        self._is_deaf = True
        self._send(Abort(AbortSource.SERVICE_PROVIDER, self._explain_abort()[0]))

    def _aa_8(self, _: object) -> None:
        reason, details = self._explain_abort()
        self._send(Abort(AbortSource.SERVICE_PROVIDER, reason))
        self._indications.append(AssociationAborted(AbortSource.SERVICE_PROVIDER, reason, details))
        self._timer_request = TimerRequest.START

    def _explain_abort(self) -> tuple[AbortReason, str]:
        if self._violation is None:
            return AbortReason.UNEXPECTED_PDU, f"a PDU is not expected in {self.state.name}"
        return self._violation.reason, str(self._violation)


def _check_peer_length(pdu: AssociateRequest | AssociateAccept) -> None:
    length = pdu.user_information.maximum_length
    if 0 < length < _MINIMUM_PEER_LENGTH:
        raise ProtocolViolationError(f"a maximum length of {length} bytes is too small")


def _own_fragment(indication: Indication) -> Indication:
    if isinstance(indication, DataReceived):
        return DataReceived(bytes(indication.fragment), indication.is_last)
    return indication


_ACTIONS: dict[Action, Callable[[AssociationMachine, Any], bool | None]] = {
    action: getattr(AssociationMachine, f"_{action.name.lower()}")
    for action in Action
    if action not in (Action.AR_6, Action.AR_7)
}
"""What each action does; ``True`` chooses the second of two next states."""

# Data that arrive or leave while a release is under way are treated like any other data.
_ACTIONS[Action.AR_6] = _ACTIONS[Action.DT_2]
_ACTIONS[Action.AR_7] = _ACTIONS[Action.DT_1]
