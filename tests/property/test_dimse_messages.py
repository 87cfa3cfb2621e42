"""Commands survive a round trip; a stream means the same however the network cuts it."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
from tests.support.scripted_peer import EXPLICIT_VR, IMPLICIT_VR, build_request, encode_message

from isocenter.dimse.association import AssociationMachine, Role
from isocenter.dimse.commands import Command, CommandField, decode_command, encode_command
from isocenter.dimse.indications import (
    AssociationRequested,
    CommandReceived,
    DataReceived,
    Indication,
)
from isocenter.dimse.messages import DataSetFragmenter, encode_fragments
from isocenter.dimse.negotiation import AssociateAcceptance, build_accept, negotiate_contexts
from isocenter.dimse.pdu import Abort, ReleaseRequest, encode_pdu
from isocenter.dimse.protocol_error import ProtocolViolationError

WORD = st.integers(0, 0xFFFF)
UIDS = st.from_regex(r"[0-9.]{1,64}", fullmatch=True)
TITLES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=16)
TAGS = st.lists(st.integers(0, 0xFFFFFFFF), min_size=1, max_size=4).map(tuple)

COMMANDS = st.builds(
    Command,
    command_field=st.sampled_from(CommandField),
    has_data_set=st.booleans(),
    message_id=WORD,
    message_id_being_responded_to=WORD,
    affected_sop_class_uid=st.none() | UIDS,
    requested_sop_class_uid=st.none() | UIDS,
    affected_sop_instance_uid=st.none() | UIDS,
    requested_sop_instance_uid=st.none() | UIDS,
    status=WORD,
    priority=st.none() | WORD,
    move_destination=st.none() | TITLES,
    move_originator_ae_title=st.none() | TITLES,
    move_originator_message_id=st.none() | WORD,
    offending_elements=st.none() | TAGS,
    error_comment=st.none() | TITLES,
    error_id=st.none() | WORD,
    event_type_id=st.none() | WORD,
    action_type_id=st.none() | WORD,
    attribute_identifiers=st.none() | TAGS,
    remaining_suboperations=st.none() | WORD,
    completed_suboperations=st.none() | WORD,
    failed_suboperations=st.none() | WORD,
    warning_suboperations=st.none() | WORD,
)

REQUEST = encode_pdu(build_request())
TAILS = st.sampled_from(
    [b"", encode_pdu(ReleaseRequest()), encode_pdu(Abort()), b"GET /", b"\x04\0\xff\0\0\0", REQUEST]
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Build what a peer may send: messages and then something that may be wrong."""
    messages = draw(
        st.lists(
            st.tuples(
                st.sampled_from((1, 3, 5, 7, 9)),
                COMMANDS,
                st.none() | st.binary(max_size=300),
                st.integers(1, 200),
            ),
            max_size=4,
        )
    )
    encoded = b"".join(
        encode_message(context_id, command, data, size=size)
        for context_id, command, data, size in messages
    )
    return encoded + draw(TAILS) + draw(st.binary(max_size=30))


def play(chunks: list[bytes]) -> tuple[list[Indication], bytes, int, bool]:
    """Feed a freshly accepted association; return what it tells, what it sends and how it ends."""
    machine = AssociationMachine(Role.ACCEPTOR)
    machine.connection_opened()
    (requested,) = machine.receive_data(REQUEST)
    assert isinstance(requested, AssociationRequested)
    contexts = negotiate_contexts(requested.request.contexts, lambda _: (EXPLICIT_VR, IMPLICIT_VR))
    acceptance = AssociateAcceptance(contexts)
    machine.accept_association(build_accept(requested.request, acceptance, maximum_length=16384))
    indications = [item for chunk in chunks for item in machine.receive_data(chunk)]
    return indications, b"".join(machine.take_output()), machine.state, machine.is_close_requested


@given(COMMANDS)
def test_command_survives_round_trip(command: Command) -> None:
    encoded = encode_command(command, has_data_set=command.has_data_set)
    assert decode_command(encoded) == command


@given(st.binary(max_size=200))
def test_random_command_raises_only_a_violation(data: bytes) -> None:
    try:
        decode_command(data)
    except ProtocolViolationError:
        return


@given(COMMANDS, st.data())
def test_mutated_command_raises_only_a_violation(command: Command, data: st.DataObject) -> None:
    encoded = bytearray(encode_command(command, has_data_set=False))
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_command(bytes(encoded))
    except ProtocolViolationError:
        return


@given(streams(), st.data())
def test_stream_cut_anywhere_means_the_same(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)))
    borders = [0, *cuts, len(stream)]
    chunks = [stream[start:end] for start, end in itertools.pairwise(borders)]
    assert play(chunks) == play([stream])


@given(st.binary(max_size=300))
def test_random_stream_is_survived_in_every_position(data: bytes) -> None:
    play([data])
    machine = AssociationMachine(Role.ACCEPTOR)
    machine.connection_opened()
    machine.receive_data(data)
    machine.artim_expired()
    machine.connection_closed()


@given(COMMANDS, st.binary(max_size=2000), st.integers(1, 300))
def test_message_survives_the_way_through_an_association(
    command: Command, data: bytes, size: int
) -> None:
    indications, *_ = play([encode_message(3, command, data, size=size)])
    assert isinstance(indications[0], CommandReceived)
    fragments = [item for item in indications[1:] if isinstance(item, DataReceived)]
    assert b"".join(bytes(item.fragment) for item in fragments) == data
    assert [item.is_last for item in fragments].index(True) == len(fragments) - 1


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(1, 60))
def test_fragmenter_keeps_content_of_any_chunks(chunks: list[bytes], size: int) -> None:
    fragmenter = DataSetFragmenter(3, size=size)
    stream = b"".join(fragmenter.feed(chunk) for chunk in chunks) + fragmenter.finish()
    command = Command(command_field=CommandField.C_STORE_RQ, message_id=1)
    command_set = encode_command(command, has_data_set=True)
    head = encode_fragments(3, command_set, size=1000, is_command=True)
    indications, *_ = play([head + stream])
    fragments = [item for item in indications[1:] if isinstance(item, DataReceived)]
    assert b"".join(bytes(item.fragment) for item in fragments) == b"".join(chunks)
    assert all(len(item.fragment) == size for item in fragments[:-1])
