"""The seven protocol data units: bytes to records and back.

Offsets in comments count from 1 at the start of the PDU, as in the standard; the six bytes of the
header are not part of the views that the decoders get. Unknown items are skipped, padding is
tolerated, and every length is checked before it is used.

References
----------
PS3.8 §9.3
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct
from typing import Any, TypeVar

import msgspec

from isocenter.dimse.items import decode_uid, encode_item, iter_items
from isocenter.dimse.protocol_error import (
    AbortReason,
    AbortSource,
    ProtocolViolationError,
)
from isocenter.dimse.user_information import (
    UserInformation,
    decode_user_information,
    encode_user_information,
)
from isocenter.errors import BadParameterError

__all__ = [
    "APPLICATION_CONTEXT_NAME",
    "HEADER_LENGTH",
    "PDU",
    "Abort",
    "AssociateAccept",
    "AssociateReject",
    "AssociateRequest",
    "ContextResult",
    "DataTransfer",
    "NegotiatedContext",
    "PDUType",
    "PresentationDataValue",
    "ProposedContext",
    "ReleaseReply",
    "ReleaseRequest",
    "decode_data_transfer",
    "decode_pdu",
    "encode_pdu",
    "read_header",
]

APPLICATION_CONTEXT_NAME = "1.2.840.10008.3.1.1.1"
"""The DICOM application context (PS3.7 Annex A.2.1)."""

HEADER_LENGTH = 6
"""Bytes 1-6 of every PDU: type, reserved, length."""

_HEADER = Struct(">BxI")
# 7-8 protocol version, 9-10 reserved, 11-26 called AE, 27-42 calling AE, 43-74 reserved.
_ASSOCIATE = Struct(">H2x16s16s32x")
_REJECT = Struct(">xBBB")
_RELEASE = Struct(">4x")
_ABORT = Struct(">2xBB")
# Presentation data value: length, context, message control header (PS3.8 §9.3.5.1).
_DATA_VALUE = Struct(">IBB")
_CONTEXT = Struct(">BxBx")

_ITEM_APPLICATION_CONTEXT = 0x10
_ITEM_PROPOSED_CONTEXT = 0x20
_ITEM_CONTEXT_RESULT = 0x21
_ITEM_ABSTRACT_SYNTAX = 0x30
_ITEM_TRANSFER_SYNTAX = 0x40
_ITEM_USER_INFORMATION = 0x50


class PDUType(IntEnum):
    """First byte of a PDU (PS3.8 §9.3.2 to §9.3.8)."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA_TF = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


_FIRST_TYPE, _LAST_TYPE = int(min(PDUType)), int(max(PDUType))


class ContextResult(IntEnum):
    """Answer to one proposed presentation context (PS3.8 Table 9-18)."""

    ACCEPTANCE = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """A presentation context that the requestor proposes (PS3.8 §9.3.2.2)."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NegotiatedContext:
    """The acceptor's answer to a proposed context (PS3.8 §9.3.3.2).

    ``transfer_syntax`` has a meaning only if ``result`` is acceptance.
    """

    context_id: int
    result: int
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class AssociateRequest:
    """A-ASSOCIATE-RQ PDU (PS3.8 §9.3.2); titles come without padding."""

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[ProposedContext, ...]
    user_information: UserInformation = field(default_factory=UserInformation)
    application_context_name: str = APPLICATION_CONTEXT_NAME
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateAccept:
    """A-ASSOCIATE-AC PDU (PS3.8 §9.3.3); titles repeat those of the request."""

    called_ae_title: str
    calling_ae_title: str
    contexts: tuple[NegotiatedContext, ...]
    user_information: UserInformation = field(default_factory=UserInformation)
    application_context_name: str = APPLICATION_CONTEXT_NAME
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateReject:
    """A-ASSOCIATE-RJ PDU (PS3.8 §9.3.4)."""

    result: int
    source: int
    reason: int


class PresentationDataValue(msgspec.Struct, frozen=True):
    """One fragment of a command or a data set (PS3.8 §9.3.5.1, Annex E.2).

    ``fragment`` is a view into the receive buffer and is valid only until more bytes are received.
    """

    context_id: int
    is_command: bool
    is_last: bool
    fragment: memoryview | bytes


class DataTransfer(msgspec.Struct, frozen=True):
    """P-DATA-TF PDU (PS3.8 §9.3.5)."""

    values: tuple[PresentationDataValue, ...]


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """A-RELEASE-RQ PDU (PS3.8 §9.3.6)."""


@dataclass(frozen=True, slots=True)
class ReleaseReply:
    """A-RELEASE-RP PDU (PS3.8 §9.3.7)."""


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT PDU (PS3.8 §9.3.8); unknown sources and reasons are kept."""

    source: int = AbortSource.SERVICE_USER
    reason: int = AbortReason.NOT_SPECIFIED


PDU = (
    AssociateRequest
    | AssociateAccept
    | AssociateReject
    | DataTransfer
    | ReleaseRequest
    | ReleaseReply
    | Abort
)


_Context = TypeVar("_Context", ProposedContext, NegotiatedContext)


def read_header(data: memoryview) -> tuple[int, int] | None:
    """Read the type of a PDU and the length of what follows its header.

    Returns
    -------
    tuple of int or None
        ``None`` if more bytes are needed.

    Raises
    ------
    ProtocolViolationError
        If no PDU has this type; one byte is enough to know.

    References
    ----------
    PS3.8 §9.3.1
    """
    if not data:
        return None
    if not _FIRST_TYPE <= data[0] <= _LAST_TYPE:
        raise ProtocolViolationError(
            f"there is no PDU of type {data[0]:02X}H", reason=AbortReason.UNRECOGNIZED_PDU
        )
    if len(data) < HEADER_LENGTH:
        return None
    pdu_type, length = _HEADER.unpack_from(data)
    return pdu_type, length


def decode_pdu(pdu_type: int, body: memoryview) -> PDU:
    """Read what follows the header of a PDU.

    Parameters
    ----------
    pdu_type
        One of `PDUType`.
    body
        Exactly the bytes that the header announced.

    Raises
    ------
    ProtocolViolationError
        If the PDU is malformed.

    References
    ----------
    PS3.8 §9.3
    """
    return _DECODERS[pdu_type](body)


def _decode_associate_request(body: memoryview) -> AssociateRequest:
    return AssociateRequest(
        *_decode_associate(body, _ITEM_PROPOSED_CONTEXT, _decode_proposed_context)
    )


def _decode_associate_accept(body: memoryview) -> AssociateAccept:
    return AssociateAccept(
        *_decode_associate(body, _ITEM_CONTEXT_RESULT, _decode_negotiated_context)
    )


def _decode_associate(
    body: memoryview, context_item: int, decode_context: Callable[[memoryview], _Context]
) -> tuple[str, str, tuple[_Context, ...], UserInformation, str, int]:
    """Read what A-ASSOCIATE-RQ and -AC have in common, in the order of the records' fields."""
    if len(body) < _ASSOCIATE.size:
        raise ProtocolViolationError("an association PDU is cut off")
    version, called, calling = _ASSOCIATE.unpack_from(body)
    application_context, user_information = "", memoryview(b"")
    contexts: list[_Context] = []
    for item_type, value in iter_items(body[_ASSOCIATE.size :]):
        if item_type == context_item:
            contexts.append(decode_context(value))
        elif item_type == _ITEM_APPLICATION_CONTEXT:
            application_context = decode_uid(value)
        elif item_type == _ITEM_USER_INFORMATION:
            user_information = value
    _check_context_ids([context.context_id for context in contexts])
    return (
        _decode_ae_title(called),
        _decode_ae_title(calling),
        tuple(contexts),
        decode_user_information(user_information),
        application_context,
        version,
    )


def _decode_ae_title(value: bytes) -> str:
    # Spaces at both ends mean nothing (PS3.8 Table 9-11); NUL padding occurs in the field.
    return value.decode("latin-1").strip("\0 ")


def _check_context_ids(context_ids: list[int]) -> None:
    """Insist on odd, unique identifiers, hence on 128 contexts at most (PS3.8 §9.3.2.2)."""
    if any(context_id % 2 == 0 for context_id in context_ids):
        raise ProtocolViolationError("a presentation context has an even identifier")
    if len(set(context_ids)) < len(context_ids):
        raise ProtocolViolationError("two presentation contexts share an identifier")


def _decode_context(value: memoryview) -> tuple[int, int, list[tuple[int, str]]]:
    if len(value) < _CONTEXT.size:
        raise ProtocolViolationError("a presentation context is cut off")
    context_id, result = _CONTEXT.unpack_from(value)
    syntaxes = [
        (item_type, decode_uid(content))
        for item_type, content in iter_items(value[_CONTEXT.size :])
        if item_type in (_ITEM_ABSTRACT_SYNTAX, _ITEM_TRANSFER_SYNTAX)
    ]
    return context_id, result, syntaxes


def _decode_proposed_context(value: memoryview) -> ProposedContext:
    context_id, _, syntaxes = _decode_context(value)
    abstract = [uid for item_type, uid in syntaxes if item_type == _ITEM_ABSTRACT_SYNTAX]
    if len(abstract) != 1:
        raise ProtocolViolationError("a presentation context needs exactly one abstract syntax")
    transfer = (uid for item_type, uid in syntaxes if item_type == _ITEM_TRANSFER_SYNTAX)
    return ProposedContext(context_id, abstract[0], tuple(transfer))


def _decode_negotiated_context(value: memoryview) -> NegotiatedContext:
    context_id, result, syntaxes = _decode_context(value)
    transfer = [uid for item_type, uid in syntaxes if item_type == _ITEM_TRANSFER_SYNTAX]
    if result == ContextResult.ACCEPTANCE and len(transfer) != 1:
        raise ProtocolViolationError("an accepted context needs exactly one transfer syntax")
    return NegotiatedContext(context_id, result, transfer[0] if transfer else "")


def _decode_associate_reject(body: memoryview) -> AssociateReject:
    return AssociateReject(*_unpack_fixed(_REJECT, body))


def _decode_release_request(body: memoryview) -> ReleaseRequest:
    _unpack_fixed(_RELEASE, body)
    return ReleaseRequest()


def _decode_release_reply(body: memoryview) -> ReleaseReply:
    _unpack_fixed(_RELEASE, body)
    return ReleaseReply()


def _decode_abort(body: memoryview) -> Abort:
    return Abort(*_unpack_fixed(_ABORT, body))


def _unpack_fixed(layout: Struct, body: memoryview) -> tuple[int, ...]:
    if len(body) != layout.size:
        raise ProtocolViolationError(f"a PDU has {len(body)} bytes instead of {layout.size}")
    return layout.unpack(body)


def decode_data_transfer(body: memoryview) -> DataTransfer:
    """Read what follows the header of a P-DATA-TF PDU (see `decode_pdu`)."""
    values: list[PresentationDataValue] = []
    position, end = 0, len(body)
    while position < end:
        if end - position < _DATA_VALUE.size:
            raise ProtocolViolationError("a presentation data value is cut off")
        length, context_id, control = _DATA_VALUE.unpack_from(body, position)
        start = position + _DATA_VALUE.size
        # The length counts the context identifier and the message control header as well.
        position += 4 + length
        if length < 2 or position > end:
            raise ProtocolViolationError(f"a presentation data value cannot have {length} bytes")
        # Bit 0: command or data set; bit 1: last fragment (PS3.8 Annex E.2).
        fragment = body[start:position]
        values.append(
            PresentationDataValue(context_id, bool(control & 1), bool(control & 2), fragment)
        )
    if not values:
        raise ProtocolViolationError("a P-DATA-TF PDU holds no presentation data value")
    return DataTransfer(tuple(values))


_DECODERS: dict[int, Callable[[memoryview], PDU]] = {
    PDUType.ASSOCIATE_RQ: _decode_associate_request,
    PDUType.ASSOCIATE_AC: _decode_associate_accept,
    PDUType.ASSOCIATE_RJ: _decode_associate_reject,
    PDUType.P_DATA_TF: decode_data_transfer,
    PDUType.RELEASE_RQ: _decode_release_request,
    PDUType.RELEASE_RP: _decode_release_reply,
    PDUType.ABORT: _decode_abort,
}


def encode_pdu(pdu: PDU) -> bytes:
    """Build the bytes of a PDU, header included.

    Raises
    ------
    BadParameterError
        If a value does not fit its field, e.g. an AE title of more than 16 characters.

    References
    ----------
    PS3.8 §9.3
    """
    pdu_type, encode = _ENCODERS[type(pdu)]
    body = encode(pdu)
    return _HEADER.pack(pdu_type, len(body)) + body


def _encode_associate(pdu: AssociateRequest | AssociateAccept) -> bytes:
    called, calling = _encode_ae_title(pdu.called_ae_title), _encode_ae_title(pdu.calling_ae_title)
    parts = [
        _ASSOCIATE.pack(pdu.protocol_version, called, calling),
        encode_item(_ITEM_APPLICATION_CONTEXT, pdu.application_context_name.encode("ascii")),
    ]
    for context in pdu.contexts:
        if isinstance(context, ProposedContext):
            parts.append(encode_item(_ITEM_PROPOSED_CONTEXT, _encode_proposed(context)))
        else:
            parts.append(encode_item(_ITEM_CONTEXT_RESULT, _encode_negotiated(context)))
    parts.append(encode_item(_ITEM_USER_INFORMATION, encode_user_information(pdu.user_information)))
    return b"".join(parts)


def _encode_ae_title(title: str) -> bytes:
    if len(title) > 16:
        raise BadParameterError(f"AE title {title!r} has more than 16 characters")
    try:
        return title.encode("latin-1").ljust(16)
    except UnicodeEncodeError as error:
        raise BadParameterError(f"AE title {title!r} cannot be sent") from error


def _encode_proposed(context: ProposedContext) -> bytes:
    abstract = encode_item(_ITEM_ABSTRACT_SYNTAX, context.abstract_syntax.encode("ascii"))
    transfer = (
        encode_item(_ITEM_TRANSFER_SYNTAX, uid.encode("ascii")) for uid in context.transfer_syntaxes
    )
    return _CONTEXT.pack(context.context_id, 0) + abstract + b"".join(transfer)


def _encode_negotiated(context: NegotiatedContext) -> bytes:
    syntax = encode_item(_ITEM_TRANSFER_SYNTAX, context.transfer_syntax.encode("ascii"))
    return _CONTEXT.pack(context.context_id, context.result) + syntax


def _encode_associate_reject(pdu: AssociateReject) -> bytes:
    return _REJECT.pack(pdu.result, pdu.source, pdu.reason)


def _encode_release(_: ReleaseRequest | ReleaseReply) -> bytes:
    return _RELEASE.pack()


def _encode_abort(pdu: Abort) -> bytes:
    return _ABORT.pack(pdu.source, pdu.reason)


def _encode_data_transfer(pdu: DataTransfer) -> bytes:
    return b"".join(map(_encode_data_value, pdu.values))


def _encode_data_value(value: PresentationDataValue) -> bytes:
    control = value.is_command | value.is_last << 1
    header = _DATA_VALUE.pack(len(value.fragment) + 2, value.context_id, control)
    return header + bytes(value.fragment)


_ENCODERS: dict[type[PDU], tuple[PDUType, Callable[[Any], bytes]]] = {
    AssociateRequest: (PDUType.ASSOCIATE_RQ, _encode_associate),
    AssociateAccept: (PDUType.ASSOCIATE_AC, _encode_associate),
    AssociateReject: (PDUType.ASSOCIATE_RJ, _encode_associate_reject),
    DataTransfer: (PDUType.P_DATA_TF, _encode_data_transfer),
    ReleaseRequest: (PDUType.RELEASE_RQ, _encode_release),
    ReleaseReply: (PDUType.RELEASE_RP, _encode_release),
    Abort: (PDUType.ABORT, _encode_abort),
}
