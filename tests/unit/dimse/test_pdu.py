from dataclasses import replace

import pytest

from isocenter.dimse.pdu import (
    APPLICATION_CONTEXT_NAME,
    HEADER_LENGTH,
    PDU,
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    ContextResult,
    DataTransfer,
    NegotiatedContext,
    PDUType,
    PresentationDataValue,
    ProposedContext,
    ReleaseReply,
    ReleaseRequest,
    decode_pdu,
    encode_pdu,
    read_header,
)
from isocenter.dimse.protocol_error import AbortReason, ProtocolViolationError
from isocenter.dimse.user_information import UserInformation
from isocenter.errors import BadParameterError

# Typed from PS3.8 Tables 9-11 to 9-20: fixed part, application context, context, user information.
FIXED = "0001 0000" + "41" + "20" * 15 + "4242" + "20" * 14 + "00" * 32
APPLICATION = "10000015" + APPLICATION_CONTEXT_NAME.encode().hex()
PROPOSED = "20000015 01000000 30000003 312E32 40000001 33 40000001 34"
NEGOTIATED = "21000009 01 00 00 00 40000001 34"
USER = "5000000F 51000004 00004000 52000003 312E32"
INFORMATION = UserInformation(16384, "1.2", None)

REQUEST = AssociateRequest("A", "BB", (ProposedContext(1, "1.2", ("3", "4")),), INFORMATION)
ACCEPT = AssociateAccept("A", "BB", (NegotiatedContext(1, 0, "4"),), INFORMATION)


def pdu_bytes(pdu_type: int, *parts: str) -> bytes:
    body = bytes.fromhex("".join(parts))
    return bytes((pdu_type, 0)) + len(body).to_bytes(4, "big") + body


def decode(encoded: bytes) -> PDU:
    return decode_pdu(encoded[0], memoryview(encoded)[HEADER_LENGTH:])


ENCODINGS: list[tuple[PDU, bytes]] = [
    (REQUEST, pdu_bytes(1, FIXED, APPLICATION, PROPOSED, USER)),
    (ACCEPT, pdu_bytes(2, FIXED, APPLICATION, NEGOTIATED, USER)),
    (AssociateReject(2, 3, 2), pdu_bytes(3, "00 02 03 02")),
    (
        DataTransfer(
            (
                PresentationDataValue(1, True, True, b"abcd"),
                PresentationDataValue(3, False, False, b""),
            )
        ),
        pdu_bytes(4, "00000006 01 03 61626364 00000002 03 00"),
    ),
    (ReleaseRequest(), pdu_bytes(5, "00000000")),
    (ReleaseReply(), pdu_bytes(6, "00000000")),
    (Abort(2, 6), pdu_bytes(7, "0000 02 06")),
]


@pytest.mark.parametrize(("pdu", "encoded"), ENCODINGS)
def test_encode_pdu_gives_bytes_of_the_standard(pdu: PDU, encoded: bytes) -> None:
    assert encode_pdu(pdu) == encoded


@pytest.mark.parametrize(("pdu", "encoded"), ENCODINGS)
def test_decode_pdu_gives_record(pdu: PDU, encoded: bytes) -> None:
    assert decode(encoded) == pdu


@pytest.mark.parametrize(("pdu", "encoded"), ENCODINGS)
def test_decode_pdu_cut_off_anywhere_raises_or_decodes(pdu: PDU, encoded: bytes) -> None:
    for end in range(HEADER_LENGTH, len(encoded)):
        try:
            shorter = decode(encoded[:end])
        except ProtocolViolationError:
            continue
        assert shorter != pdu


def test_decode_request_titles_padded_with_nul_are_cleaned() -> None:
    fixed = "0001 0000" + "00" * 14 + "4120" + "4242" + "00" * 14 + "00" * 32
    decoded = decode(pdu_bytes(1, fixed, APPLICATION, PROPOSED, USER))
    assert isinstance(decoded, AssociateRequest)
    assert (decoded.called_ae_title, decoded.calling_ae_title) == ("A", "BB")


def test_decode_request_unknown_items_are_skipped() -> None:
    unknown = "60000001 00"
    context = "2000000F 01000000 30000003 312E32 61000000"
    decoded = decode(pdu_bytes(1, FIXED, unknown, context, USER))
    assert isinstance(decoded, AssociateRequest)
    assert decoded.contexts == (ProposedContext(1, "1.2", ()),)
    assert decoded.application_context_name == ""


def test_decode_request_without_user_information_knows_no_implementation() -> None:
    decoded = decode(pdu_bytes(1, FIXED, APPLICATION, PROPOSED))
    assert isinstance(decoded, AssociateRequest)
    assert decoded.user_information.implementation_class_uid == ""


@pytest.mark.parametrize(
    "items",
    [
        pytest.param("20000002 0100", id="context cut off"),
        pytest.param("20000009 01000000 40000001 33", id="no abstract syntax"),
        pytest.param("2000000E 01000000 30000001 31 30000001 32", id="two abstract syntaxes"),
        pytest.param("20000009 02000000 30000001 31", id="even identifier"),
        pytest.param("20000009 01000000 30000001 31" * 2, id="repeated identifier"),
        pytest.param("20000009 01000000 30000001 FF", id="not ASCII"),
    ],
)
def test_decode_request_bad_context_raises(items: str) -> None:
    with pytest.raises(ProtocolViolationError):
        decode(pdu_bytes(1, FIXED, items))


def test_decode_accept_refused_context_needs_no_transfer_syntax() -> None:
    decoded = decode(pdu_bytes(2, FIXED, "21000004 01 00 03 00"))
    assert isinstance(decoded, AssociateAccept)
    result = ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED
    assert decoded.contexts == (NegotiatedContext(1, result, ""),)


def test_decode_accept_without_transfer_syntax_raises() -> None:
    with pytest.raises(ProtocolViolationError):
        decode(pdu_bytes(2, FIXED, "21000004 01 00 00 00"))


@pytest.mark.parametrize(
    "values",
    [
        pytest.param("", id="nothing"),
        pytest.param("00000002 01", id="header cut off"),
        pytest.param("00000001 01 03", id="length below two"),
        pytest.param("00000004 01 03 61", id="longer than PDU"),
    ],
)
def test_decode_data_transfer_malformed_raises(values: str) -> None:
    with pytest.raises(ProtocolViolationError):
        decode(pdu_bytes(4, values))


@pytest.mark.parametrize("pdu_type", [3, 5, 6, 7])
@pytest.mark.parametrize("length", [0, 3, 5])
def test_decode_fixed_pdu_wrong_length_raises(pdu_type: int, length: int) -> None:
    with pytest.raises(ProtocolViolationError):
        decode_pdu(pdu_type, memoryview(bytes(length)))


def test_read_header_needs_more_bytes_returns_none() -> None:
    encoded = encode_pdu(Abort())
    assert all(read_header(memoryview(encoded[:end])) is None for end in range(HEADER_LENGTH))
    assert read_header(memoryview(encoded)) == (PDUType.ABORT, 4)


@pytest.mark.parametrize("first", [0, 8, ord("G"), 0x16, 0xFF])
def test_read_header_unknown_type_raises_at_first_byte(first: int) -> None:
    with pytest.raises(ProtocolViolationError) as caught:
        read_header(memoryview(bytes((first,))))
    assert caught.value.reason is AbortReason.UNRECOGNIZED_PDU


@pytest.mark.parametrize("title", ["A" * 17, "\N{SNOWMAN}"])
def test_encode_pdu_impossible_title_raises(title: str) -> None:
    with pytest.raises(BadParameterError):
        encode_pdu(replace(REQUEST, calling_ae_title=title))
