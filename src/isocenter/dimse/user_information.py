"""The user information item: what both sides tell about themselves during negotiation.

References
----------
PS3.8 §9.3.2.3 and Annex D.1 (maximum length); PS3.7 Annex D.3.3 (all other sub-items)
"""

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any

from isocenter.dimse.items import decode_uid, encode_field, encode_item, iter_items, read_field
from isocenter.dimse.protocol_error import ProtocolViolationError

__all__ = [
    "DEFAULT_MAXIMUM_LENGTH",
    "IMPLEMENTATION_CLASS_UID",
    "IMPLEMENTATION_VERSION_NAME",
    "CommonExtendedNegotiation",
    "ExtendedNegotiation",
    "OperationsWindow",
    "RoleSelection",
    "UserIdentity",
    "UserInformation",
    "decode_user_information",
    "encode_user_information",
]

DEFAULT_MAXIMUM_LENGTH = 16384
"""Maximum length of a P-DATA-TF PDU when a side does not name one."""

IMPLEMENTATION_CLASS_UID = "2.25.160468231376428731652122727558496884230"
"""Identifies this implementation to its peers (PS3.7 §D.3.3.2); never changes."""

IMPLEMENTATION_VERSION_NAME = "ISOCENTER_0"
"""Version shown to peers, at most 16 characters (PS3.7 §D.3.3.2)."""

_UINT32 = Struct(">I")
_WINDOW = Struct(">HH")
_ROLES = Struct(">BB")


@dataclass(frozen=True, slots=True)
class OperationsWindow:
    """How many operations each side may have outstanding; 0 means no limit (PS3.7 §D.3.3.3)."""

    invoked: int = 1
    performed: int = 1


@dataclass(frozen=True, slots=True)
class RoleSelection:
    """Roles of the association requestor for one SOP class (PS3.7 §D.3.3.4)."""

    sop_class_uid: str
    is_scu: bool
    is_scp: bool


@dataclass(frozen=True, slots=True)
class ExtendedNegotiation:
    """Application information of one SOP class, e.g. relational queries (PS3.7 §D.3.3.5)."""

    sop_class_uid: str
    application_information: bytes


@dataclass(frozen=True, slots=True)
class CommonExtendedNegotiation:
    """Service class and related general SOP classes of one SOP class (PS3.7 §D.3.3.6)."""

    sop_class_uid: str
    service_class_uid: str
    related_sop_class_uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class UserIdentity:
    """Who uses the requesting system (PS3.7 §D.3.3.7); its representation hides the credentials.

    Parameters
    ----------
    identity_type
        1 user name, 2 user name and passcode, 3 Kerberos ticket, 4 SAML assertion, 5 JSON web
        token.
    primary
        User name, ticket, assertion or token.
    secondary
        Passcode for type 2, else empty.
    is_response_requested
        Whether the acceptor should confirm the identity.
    """

    identity_type: int
    primary: bytes
    secondary: bytes = b""
    is_response_requested: bool = False

    def __repr__(self) -> str:
        return f"UserIdentity(identity_type={self.identity_type})"


@dataclass(frozen=True, slots=True)
class UserInformation:
    """Content of a user information item.

    Parameters
    ----------
    maximum_length
        Longest P-DATA-TF variable field that the sender of the item can receive; 0 for no limit.
    implementation_class_uid, implementation_version_name
        The sender's software.
    operations_window
        ``None`` for the default of one outstanding operation in each direction.
    roles, extended_negotiations, common_extended_negotiations
        One record for each SOP class.
    user_identity
        Only in a request.
    user_identity_response
        Only in an acceptance; empty for identity types 1 and 2.
    """

    maximum_length: int = DEFAULT_MAXIMUM_LENGTH
    implementation_class_uid: str = IMPLEMENTATION_CLASS_UID
    implementation_version_name: str | None = IMPLEMENTATION_VERSION_NAME
    operations_window: OperationsWindow | None = None
    roles: tuple[RoleSelection, ...] = ()
    extended_negotiations: tuple[ExtendedNegotiation, ...] = ()
    common_extended_negotiations: tuple[CommonExtendedNegotiation, ...] = ()
    user_identity: UserIdentity | None = None
    user_identity_response: bytes | None = None


def _decode_maximum_length(value: memoryview) -> int:
    _require_length(value, _UINT32.size, "maximum length")
    return int(_UINT32.unpack_from(value)[0])


def _decode_version_name(value: memoryview) -> str:
    return bytes(value).decode("latin-1").strip("\0 ")


def _decode_window(value: memoryview) -> OperationsWindow:
    _require_length(value, _WINDOW.size, "asynchronous operations window")
    return OperationsWindow(*_WINDOW.unpack_from(value))


def _decode_role(value: memoryview) -> RoleSelection:
    uid, end = read_field(value, 0)
    roles = value[end:]
    _require_length(roles, _ROLES.size, "role selection")
    is_scu, is_scp = _ROLES.unpack_from(roles)
    return RoleSelection(decode_uid(uid), is_scu == 1, is_scp == 1)


def _decode_extended(value: memoryview) -> ExtendedNegotiation:
    uid, end = read_field(value, 0)
    return ExtendedNegotiation(decode_uid(uid), bytes(value[end:]))


def _decode_common_extended(value: memoryview) -> CommonExtendedNegotiation:
    sop_class, end = read_field(value, 0)
    service_class, end = read_field(value, end)
    related: list[str] = []
    # Version 0 ends with the list of related classes; later versions may append fields, and some
    # systems leave an empty list away altogether (PS3.7 Table D.3-12).
    if end < len(value):
        classes, _ = read_field(value, end)
        position = 0
        while position < len(classes):
            uid, position = read_field(classes, position)
            related.append(decode_uid(uid))
    return CommonExtendedNegotiation(
        decode_uid(sop_class), decode_uid(service_class), tuple(related)
    )


def _decode_identity(value: memoryview) -> UserIdentity:
    if len(value) < 2:
        raise ProtocolViolationError("the user identity is cut off")
    primary, end = read_field(value, 2)
    secondary, _ = read_field(value, end)
    return UserIdentity(value[0], bytes(primary), bytes(secondary), value[1] == 1)


def _decode_identity_response(value: memoryview) -> bytes:
    response, _ = read_field(value, 0)
    return bytes(response)


def _require_length(value: memoryview, length: int, name: str) -> None:
    if len(value) < length:
        raise ProtocolViolationError(f"the {name} is cut off")


_SINGLE: dict[int, tuple[str, Callable[[memoryview], Any]]] = {
    0x51: ("maximum_length", _decode_maximum_length),
    0x52: ("implementation_class_uid", decode_uid),
    0x53: ("operations_window", _decode_window),
    0x55: ("implementation_version_name", _decode_version_name),
    0x58: ("user_identity", _decode_identity),
    0x59: ("user_identity_response", _decode_identity_response),
}
"""Sub-items that occur once; of repeated ones the last counts."""

_REPEATED: dict[int, tuple[str, Callable[[memoryview], Any]]] = {
    0x54: ("roles", _decode_role),
    0x56: ("extended_negotiations", _decode_extended),
    0x57: ("common_extended_negotiations", _decode_common_extended),
}
"""Sub-items that occur once for each SOP class."""


def decode_user_information(value: memoryview) -> UserInformation:
    """Read the value of a user information item; unknown sub-items are skipped.

    Raises
    ------
    ProtocolViolationError
        If a known sub-item is malformed.

    References
    ----------
    PS3.7 Annex D.3.3; PS3.8 §9.3.1 (unrecognized items are ignored)
    """
    fields: dict[str, Any] = {"implementation_class_uid": "", "implementation_version_name": None}
    repeated: dict[str, list[Any]] = {}
    for item_type, content in iter_items(value):
        if item_type in _SINGLE:
            name, decode = _SINGLE[item_type]
            fields[name] = decode(content)
        elif item_type in _REPEATED:
            name, decode = _REPEATED[item_type]
            repeated.setdefault(name, []).append(decode(content))
    fields.update((name, tuple(records)) for name, records in repeated.items())
    return UserInformation(**fields)


def encode_user_information(information: UserInformation) -> bytes:
    """Build the value of a user information item, sub-items in ascending order of their type.

    Raises
    ------
    BadParameterError
        If a value is too long for its field.

    References
    ----------
    PS3.7 Annex D.3.3
    """
    parts = [
        encode_item(0x51, _UINT32.pack(information.maximum_length)),
        encode_item(0x52, information.implementation_class_uid.encode("ascii")),
    ]
    if information.operations_window is not None:
        window = information.operations_window
        parts.append(encode_item(0x53, _WINDOW.pack(window.invoked, window.performed)))
    parts += [encode_item(0x54, _encode_role(role)) for role in information.roles]
    if information.implementation_version_name is not None:
        name = information.implementation_version_name.encode("latin-1")
        parts.append(encode_item(0x55, name))
    for extended in information.extended_negotiations:
        uid = encode_field(extended.sop_class_uid.encode("ascii"))
        parts.append(encode_item(0x56, uid + extended.application_information))
    for common in information.common_extended_negotiations:
        parts.append(encode_item(0x57, _encode_common_extended(common)))
    if information.user_identity is not None:
        parts.append(encode_item(0x58, _encode_identity(information.user_identity)))
    if information.user_identity_response is not None:
        parts.append(encode_item(0x59, encode_field(information.user_identity_response)))
    return b"".join(parts)


def _encode_role(role: RoleSelection) -> bytes:
    uid = encode_field(role.sop_class_uid.encode("ascii"))
    return uid + _ROLES.pack(role.is_scu, role.is_scp)


def _encode_common_extended(common: CommonExtendedNegotiation) -> bytes:
    related = (encode_field(uid.encode("ascii")) for uid in common.related_sop_class_uids)
    return (
        encode_field(common.sop_class_uid.encode("ascii"))
        + encode_field(common.service_class_uid.encode("ascii"))
        + encode_field(b"".join(related))
    )


def _encode_identity(identity: UserIdentity) -> bytes:
    return (
        bytes((identity.identity_type, identity.is_response_requested))
        + encode_field(identity.primary)
        + encode_field(identity.secondary)
    )
