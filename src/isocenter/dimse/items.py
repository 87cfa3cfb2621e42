"""Items and length-prefixed fields, of which association PDUs are made.

Every item starts with its type (1 byte), a reserved byte and its length (2 bytes, big endian). All
functions read views without copying more than the value asked for, and check every length before
they use it.

References
----------
PS3.8 §9.3.2.1 to §9.3.2.3, Annex D.1; PS3.7 Annex D.3.3
"""

from collections.abc import Iterator
from struct import Struct

from isocenter.dimse.protocol_error import ProtocolViolationError
from isocenter.errors import BadParameterError

__all__ = ["decode_uid", "encode_field", "encode_item", "iter_items", "read_field"]

_ITEM_HEADER = Struct(">BxH")
_LENGTH = Struct(">H")
_MAXIMUM_LENGTH = 0xFFFF


def iter_items(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the type and the value of each item in ``content``.

    Raises
    ------
    ProtocolViolationError
        If the last item is cut off.
    """
    position, end = 0, len(content)
    while position < end:
        if end - position < _ITEM_HEADER.size:
            raise ProtocolViolationError("an item header is cut off")
        item_type, length = _ITEM_HEADER.unpack_from(content, position)
        start = position + _ITEM_HEADER.size
        position = start + length
        if position > end:
            raise ProtocolViolationError(f"item {item_type:02X}H is longer than its container")
        yield item_type, content[start:position]


def encode_item(item_type: int, value: bytes) -> bytes:
    """Build one item.

    Raises
    ------
    BadParameterError
        If the value does not fit the 16-bit length.
    """
    if len(value) > _MAXIMUM_LENGTH:
        raise BadParameterError(f"an item of {len(value)} bytes is too long for a PDU")
    return _ITEM_HEADER.pack(item_type, len(value)) + value


def read_field(content: memoryview, position: int) -> tuple[memoryview, int]:
    """Read a field with a 2-byte length in front; return it and the position after it.

    Raises
    ------
    ProtocolViolationError
        If the field is cut off.
    """
    start = position + _LENGTH.size
    if start > len(content):
        raise ProtocolViolationError("the length of a field is cut off")
    end = start + int(_LENGTH.unpack_from(content, position)[0])
    if end > len(content):
        raise ProtocolViolationError("a field is longer than its item")
    return content[start:end], end


def encode_field(value: bytes) -> bytes:
    """Build a field with a 2-byte length in front.

    Raises
    ------
    BadParameterError
        If the value does not fit the 16-bit length.
    """
    if len(value) > _MAXIMUM_LENGTH:
        raise BadParameterError(f"a field of {len(value)} bytes is too long for a PDU")
    return _LENGTH.pack(len(value)) + value


def decode_uid(value: memoryview) -> str:
    """Read a UID, without the padding that some systems add.

    Raises
    ------
    ProtocolViolationError
        If it is not ASCII.

    References
    ----------
    PS3.8 Annex F; PS3.5 §9.1 (padding)
    """
    try:
        return bytes(value).decode("ascii").strip("\0 ")
    except UnicodeDecodeError as error:
        raise ProtocolViolationError("a UID is not ASCII text") from error
