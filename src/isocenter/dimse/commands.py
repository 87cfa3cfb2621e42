"""Command sets: the part of a DIMSE message that says what is asked or answered.

One record serves all messages: each has a subset of the same elements, all of group 0000 and always
in implicit VR little endian. Unknown elements are ignored; a command without the elements that
every message of its kind has is a violation.

References
----------
PS3.7 §6.3.1 (encoding), §9.3 and §10.3 (messages), Annex E.1 (elements)
"""

from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from struct import error as struct_error
from typing import Any, NamedTuple

import msgspec

from isocenter.dimse.protocol_error import ProtocolViolationError
from isocenter.errors import BadParameterError

__all__ = [
    "Command",
    "CommandField",
    "Priority",
    "SubOperationCounters",
    "decode_command",
    "encode_command",
]

_RESPONSE_BIT = 0x8000
_NO_DATA_SET = 0x0101
_HAS_DATA_SET = 0x0001

_ELEMENT_HEADER = Struct("<HHI")
_US = Struct("<H")
_GROUP_LENGTH = Struct("<HHII")
_US_ELEMENT = Struct("<HHIH")


class CommandField(IntEnum):
    """Kinds of messages, element (0000,0100) (PS3.7 Table E.1-1)."""

    C_STORE_RQ = 0x0001
    C_STORE_RSP = 0x8001
    C_GET_RQ = 0x0010
    C_GET_RSP = 0x8010
    C_FIND_RQ = 0x0020
    C_FIND_RSP = 0x8020
    C_MOVE_RQ = 0x0021
    C_MOVE_RSP = 0x8021
    C_ECHO_RQ = 0x0030
    C_ECHO_RSP = 0x8030
    N_EVENT_REPORT_RQ = 0x0100
    N_EVENT_REPORT_RSP = 0x8100
    N_GET_RQ = 0x0110
    N_GET_RSP = 0x8110
    N_SET_RQ = 0x0120
    N_SET_RSP = 0x8120
    N_ACTION_RQ = 0x0130
    N_ACTION_RSP = 0x8130
    N_CREATE_RQ = 0x0140
    N_CREATE_RSP = 0x8140
    N_DELETE_RQ = 0x0150
    N_DELETE_RSP = 0x8150
    C_CANCEL_RQ = 0x0FFF


class Priority(IntEnum):
    """Element (0000,0700) (PS3.7 Table E.1-1)."""

    MEDIUM = 0x0000
    HIGH = 0x0001
    LOW = 0x0002


class SubOperationCounters(NamedTuple):
    """C-STORE sub-operations of a C-MOVE or C-GET; ``remaining`` is absent in a final answer."""

    remaining: int | None
    completed: int
    failed: int
    warning: int


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One command set; ``None`` stands for an absent element.

    ``command_field`` may be a number that `CommandField` does not know. ``has_data_set`` tells of a
    received command whether a data set follows; when sending, the presence of data decides.
    """

    command_field: int
    has_data_set: bool = False
    message_id: int | None = None
    message_id_being_responded_to: int | None = None
    affected_sop_class_uid: str | None = None
    requested_sop_class_uid: str | None = None
    affected_sop_instance_uid: str | None = None
    requested_sop_instance_uid: str | None = None
    status: int | None = None
    priority: int | None = None
    move_destination: str | None = None
    move_originator_ae_title: str | None = None
    move_originator_message_id: int | None = None
    offending_elements: tuple[int, ...] | None = None
    error_comment: str | None = None
    error_id: int | None = None
    event_type_id: int | None = None
    action_type_id: int | None = None
    attribute_identifiers: tuple[int, ...] | None = None
    remaining_suboperations: int | None = None
    completed_suboperations: int | None = None
    failed_suboperations: int | None = None
    warning_suboperations: int | None = None

    @property
    def is_response(self) -> bool:
        """Whether this answers a request (PS3.7 Annex E.1: bit 15 of the command field)."""
        return bool(self.command_field & _RESPONSE_BIT)

    def build_response(
        self,
        status: int,
        *,
        error_comment: str | None = None,
        offending_elements: tuple[int, ...] | None = None,
        counters: SubOperationCounters | None = None,
    ) -> "Command":
        """Build the answer to this request, which repeats what identifies the request.

        Parameters
        ----------
        status
            See ``status``.
        error_comment
            Text for people at the other side, cut after 64 characters.
        offending_elements
            Tags at fault.
        counters
            Of a C-MOVE or C-GET; what 16 bits cannot hold is told as the most that they can.

        References
        ----------
        PS3.7 §9.3 and §10.3, Annex E.1 (VR US)
        """
        counts = (None if n is None else min(n, 0xFFFF) for n in counters or (None,) * 4)
        remaining, completed, failed, warning = counts
        return Command(
            command_field=self.command_field | _RESPONSE_BIT,
            message_id_being_responded_to=self.message_id,
            affected_sop_class_uid=self.affected_sop_class_uid or self.requested_sop_class_uid,
            affected_sop_instance_uid=self.affected_sop_instance_uid
            or self.requested_sop_instance_uid,
            event_type_id=self.event_type_id,
            action_type_id=self.action_type_id,
            status=status,
            error_comment=error_comment,
            offending_elements=offending_elements,
            remaining_suboperations=remaining,
            completed_suboperations=completed,
            failed_suboperations=failed,
            warning_suboperations=warning,
        )


def _decode_us(value: bytes) -> int:
    if len(value) != _US.size:
        raise ProtocolViolationError(f"an US element of the command has {len(value)} bytes")
    return int(_US.unpack(value)[0])


def _decode_ui(value: bytes) -> str:
    try:
        return value.decode("ascii").rstrip("\0 ")
    except UnicodeDecodeError as error:
        raise ProtocolViolationError("a UID of the command is not ASCII text") from error


def _decode_text(value: bytes) -> str:
    return value.decode("latin-1").strip("\0 ")


def _decode_tags(value: bytes) -> tuple[int, ...]:
    if len(value) % 4:
        raise ProtocolViolationError(f"an AT element of the command has {len(value)} bytes")
    return tuple(group << 16 | element for group, element in Struct("<HH").iter_unpack(value))


_encode_us = _US.pack


def _encode_ui(value: str) -> bytes:
    return _pad(value.encode("ascii"), b"\0")


def _encode_ae(value: str) -> bytes:
    return _pad(value.encode("latin-1"), b" ")


def _encode_comment(value: str) -> bytes:
    # VR LO: 64 characters at most; the command set has no character set (PS3.7 §6.3.1).
    return _pad(value[:64].encode("ascii", "replace"), b" ")


def _encode_tags(value: tuple[int, ...]) -> bytes:
    return b"".join(_US.pack(tag >> 16) + _US.pack(tag & 0xFFFF) for tag in value)


def _pad(value: bytes, padding: bytes) -> bytes:
    return value + padding if len(value) % 2 else value


_ELEMENTS: tuple[tuple[int, str, Callable[[bytes], Any], Callable[[Any], bytes]], ...] = (
    (0x0002, "affected_sop_class_uid", _decode_ui, _encode_ui),
    (0x0003, "requested_sop_class_uid", _decode_ui, _encode_ui),
    (0x0100, "command_field", _decode_us, _encode_us),
    (0x0110, "message_id", _decode_us, _encode_us),
    (0x0120, "message_id_being_responded_to", _decode_us, _encode_us),
    (0x0600, "move_destination", _decode_text, _encode_ae),
    (0x0700, "priority", _decode_us, _encode_us),
    (0x0800, "has_data_set", _decode_us, _encode_us),
    (0x0900, "status", _decode_us, _encode_us),
    (0x0901, "offending_elements", _decode_tags, _encode_tags),
    (0x0902, "error_comment", _decode_text, _encode_comment),
    (0x0903, "error_id", _decode_us, _encode_us),
    (0x1000, "affected_sop_instance_uid", _decode_ui, _encode_ui),
    (0x1001, "requested_sop_instance_uid", _decode_ui, _encode_ui),
    (0x1002, "event_type_id", _decode_us, _encode_us),
    (0x1005, "attribute_identifiers", _decode_tags, _encode_tags),
    (0x1008, "action_type_id", _decode_us, _encode_us),
    (0x1020, "remaining_suboperations", _decode_us, _encode_us),
    (0x1021, "completed_suboperations", _decode_us, _encode_us),
    (0x1022, "failed_suboperations", _decode_us, _encode_us),
    (0x1023, "warning_suboperations", _decode_us, _encode_us),
    (0x1030, "move_originator_ae_title", _decode_text, _encode_ae),
    (0x1031, "move_originator_message_id", _decode_us, _encode_us),
)
"""Element number of group 0000, attribute of `Command`, how to read and to write (Annex E.1)."""

_READERS = {element: (name, decode) for element, name, decode, _ in _ELEMENTS}


def decode_command(data: bytes) -> Command:
    """Read a command set.

    Raises
    ------
    ProtocolViolationError
        If it is malformed or lacks what every message of its kind has.

    References
    ----------
    PS3.7 §6.3.1, Annex E.1
    """
    values: dict[str, Any] = {}
    position, end = 0, len(data)
    while position < end:
        if end - position < _ELEMENT_HEADER.size:
            raise ProtocolViolationError("a command element is cut off")
        group, element, length = _ELEMENT_HEADER.unpack_from(data, position)
        start = position + _ELEMENT_HEADER.size
        position = start + length
        if group or position > end:
            raise ProtocolViolationError(f"({group:04X},{element:04X}) is no valid command element")
        reader = _READERS.get(element)
        if reader is not None and length:
            name, decode = reader
            value = decode(data[start:position])
            # An element without a value, or of padding only, says as much as an absent one.
            if value != "":
                values[name] = value
    _check_mandatory(values)
    return Command(**values)


def _check_mandatory(values: dict[str, Any]) -> None:
    """Insist on the elements that every message has, and replace the data set type by a flag."""
    if "command_field" not in values or "has_data_set" not in values:
        raise ProtocolViolationError("the command lacks its field or its data set type")
    values["has_data_set"] = values["has_data_set"] != _NO_DATA_SET
    command_field = values["command_field"]
    if command_field & _RESPONSE_BIT:
        needed: tuple[str, ...] = ("message_id_being_responded_to", "status")
    elif command_field == CommandField.C_CANCEL_RQ:
        needed = ("message_id_being_responded_to",)
    else:
        needed = ("message_id",)
    for name in needed:
        if name not in values:
            raise ProtocolViolationError(f"command {command_field:04X}H lacks its {name}")


def encode_command(command: Command, *, has_data_set: bool) -> bytes:
    """Build a command set, elements in ascending order, group length first.

    Parameters
    ----------
    command
        What to say; its own ``has_data_set`` is not looked at.
    has_data_set
        Whether a data set follows.

    Raises
    ------
    BadParameterError
        If a value cannot be represented.

    References
    ----------
    PS3.7 §6.3.1, Annex E.1
    """
    parts = [b""]
    try:
        for element, name, _, encode in _ELEMENTS:
            value = getattr(command, name)
            if value is None:
                continue
            if name == "has_data_set":
                value = _HAS_DATA_SET if has_data_set else _NO_DATA_SET
            if encode is _encode_us:
                parts.append(_US_ELEMENT.pack(0, element, 2, value))
            else:
                content = encode(value)
                parts += (_ELEMENT_HEADER.pack(0, element, len(content)), content)
    except (UnicodeEncodeError, struct_error) as error:
        raise BadParameterError(f"the command cannot be sent: {error}") from error
    parts[0] = _GROUP_LENGTH.pack(0, 0, 4, sum(map(len, parts)))
    return b"".join(parts)
