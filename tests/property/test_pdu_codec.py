"""PDUs survive a round trip, and foreign bytes never do harm."""

from hypothesis import given
from hypothesis import strategies as st

from isocenter.dimse.pdu import (
    HEADER_LENGTH,
    PDU,
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    DataTransfer,
    NegotiatedContext,
    PresentationDataValue,
    ProposedContext,
    ReleaseReply,
    ReleaseRequest,
    decode_pdu,
    encode_pdu,
    read_header,
)
from isocenter.dimse.protocol_error import ProtocolViolationError
from isocenter.dimse.user_information import (
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    OperationsWindow,
    RoleSelection,
    UserIdentity,
    UserInformation,
    decode_user_information,
    encode_user_information,
)

BYTE = st.integers(0, 0xFF)
WORD = st.integers(0, 0xFFFF)
UIDS = st.from_regex(r"[0-9.]{1,64}", fullmatch=True)
SHORT_BYTES = st.binary(max_size=40)
TITLES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=16)

USER_INFORMATION = st.builds(
    UserInformation,
    maximum_length=st.integers(0, 0xFFFFFFFF),
    implementation_class_uid=UIDS,
    implementation_version_name=st.none() | TITLES,
    operations_window=st.none() | st.builds(OperationsWindow, WORD, WORD),
    roles=st.lists(
        st.builds(RoleSelection, UIDS, is_scu=st.booleans(), is_scp=st.booleans()), max_size=3
    ).map(tuple),
    extended_negotiations=st.lists(
        st.builds(ExtendedNegotiation, UIDS, SHORT_BYTES), max_size=3
    ).map(tuple),
    common_extended_negotiations=st.lists(
        st.builds(CommonExtendedNegotiation, UIDS, UIDS, st.lists(UIDS, max_size=3).map(tuple)),
        max_size=3,
    ).map(tuple),
    user_identity=st.none()
    | st.builds(UserIdentity, BYTE, SHORT_BYTES, SHORT_BYTES, st.booleans()),
    user_identity_response=st.none() | SHORT_BYTES,
)

CONTEXT_IDS = st.lists(st.integers(0, 127).map(lambda n: 2 * n + 1), unique=True, max_size=4)


def proposals(context_ids: list[int]) -> st.SearchStrategy[tuple[ProposedContext, ...]]:
    syntaxes = st.lists(UIDS, max_size=3).map(tuple)
    return st.tuples(
        *(st.builds(ProposedContext, st.just(number), UIDS, syntaxes) for number in context_ids)
    )


def answers(context_ids: list[int]) -> st.SearchStrategy[tuple[NegotiatedContext, ...]]:
    return st.tuples(
        *(
            st.builds(NegotiatedContext, st.just(number), st.integers(0, 4), UIDS)
            for number in context_ids
        )
    )


PDUS: st.SearchStrategy[PDU] = st.one_of(
    st.builds(
        AssociateRequest,
        TITLES,
        TITLES,
        CONTEXT_IDS.flatmap(proposals),
        USER_INFORMATION,
        UIDS,
        WORD,
    ),
    st.builds(
        AssociateAccept, TITLES, TITLES, CONTEXT_IDS.flatmap(answers), USER_INFORMATION, UIDS, WORD
    ),
    st.builds(AssociateReject, BYTE, BYTE, BYTE),
    st.builds(
        DataTransfer,
        st.lists(
            st.builds(
                PresentationDataValue, BYTE, st.booleans(), st.booleans(), st.binary(max_size=200)
            ),
            min_size=1,
            max_size=4,
        ).map(tuple),
    ),
    st.just(ReleaseRequest()),
    st.just(ReleaseReply()),
    st.builds(Abort, BYTE, BYTE),
)


@given(PDUS)
def test_pdu_survives_round_trip(pdu: PDU) -> None:
    encoded = memoryview(encode_pdu(pdu))
    header = read_header(encoded)
    assert header == (encoded[0], len(encoded) - HEADER_LENGTH)
    assert decode_pdu(encoded[0], encoded[HEADER_LENGTH:]) == pdu


@given(USER_INFORMATION)
def test_user_information_survives_round_trip(information: UserInformation) -> None:
    encoded = encode_user_information(information)
    assert decode_user_information(memoryview(encoded)) == information


@given(st.integers(1, 7), st.binary(max_size=400))
def test_random_bytes_raise_only_a_violation(pdu_type: int, body: bytes) -> None:
    try:
        pdu = decode_pdu(pdu_type, memoryview(body))
    except ProtocolViolationError:
        return
    encode_pdu(pdu)


@given(PDUS, st.data())
def test_mutated_pdu_raises_only_a_violation(pdu: PDU, data: st.DataObject) -> None:
    encoded = bytearray(encode_pdu(pdu))
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(HEADER_LENGTH, len(encoded) - 1))] = data.draw(BYTE)
    end = data.draw(st.integers(HEADER_LENGTH, len(encoded)))
    try:
        decode_pdu(encoded[0], memoryview(encoded)[HEADER_LENGTH:end])
    except ProtocolViolationError:
        return


@given(st.binary(max_size=400))
def test_random_user_information_raises_only_a_violation(value: bytes) -> None:
    try:
        decode_user_information(memoryview(value))
    except ProtocolViolationError:
        return
